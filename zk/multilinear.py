"""Multilinear polynomials in Python integers: what a verifier evaluates. Long tables are vectors (:mod:`zk.vectors`).

A point lists its variables from the most significant bit of a table's index to the least. ``eq(x, y) = Π (x_i·y_i + (1-x_i)(1-y_i))``
is the extension of equality; the extension of a table ``T`` is ``T(x) = Σ_b eq(x, b)·T[b]``.
Source: Thaler, "Proofs, Arguments, and Zero-Knowledge" (2022), section 3.5.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from zk import vectors
from zk.field import ORDER
from zk.vectors import IntArray


def variables(size: int) -> int:
    """Return the number of variables of the smallest Boolean cube with at least ``size`` corners."""
    return (size - 1).bit_length()


def corner(index: int, count: int) -> list[int]:
    """Return ``index`` as a point of ``count`` bits."""
    return [(index >> bit) & 1 for bit in reversed(range(count))]


def eq(x: Sequence[int], y: Sequence[int]) -> int:
    """Return ``eq(x, y)``."""
    product = 1
    for a, b in zip(x, y, strict=True):
        product = product * (1 - a - b + 2 * a * b) % ORDER
    return product


def eq_table(point: Sequence[int]) -> list[int]:
    """Return ``eq(point, b)`` for every corner ``b``."""
    table = [1]
    for x in point:
        table = [value for parent in table for upper in (parent * x % ORDER,) for value in (parent - upper, upper)]
    return [value % ORDER for value in table]


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    """Return ``Σ a_i·b_i``; the shorter one counts as filled with zeros."""
    return sum(x * y for x, y in zip(a, b, strict=False)) % ORDER


def bilinear(left: Sequence[int], matrix: IntArray, right: Sequence[int]) -> int:
    """Return ``leftᵀ·matrix·right``; what either side lacks has no weight."""
    rows, columns = min(len(left), matrix.shape[0]), min(len(right), matrix.shape[1])
    combined = vectors.contract(matrix[np.newaxis, :rows, :columns], vectors.from_ints(left[:rows]))[0]
    return vectors.inner(combined, vectors.from_ints(right[:columns]))


def lagrange(count: int, x: int) -> list[int]:
    """Return the coefficients ``c`` with ``g(x) = Σ c_i·g(i)``, ``i`` in ``0 … count-1``, for every ``g`` of smaller degree."""
    differences = [x - j for j in range(count)]
    return [
        prod((*differences[:i], *differences[i + 1 :]), start=inverse) % ORDER for i, inverse in enumerate(_inverse_denominators(count))
    ]


@lru_cache(maxsize=8)
def _inverse_denominators(count: int) -> list[int]:
    """Return ``1 / Π_{j≠i} (i - j)`` for every ``i``."""
    return [pow(prod(i - j for j in range(count) if j != i), -1, ORDER) for i in range(count)]
