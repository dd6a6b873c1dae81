"""The sum-check protocol over sums of products of multilinear tables, on masked messages.

Claim: ``s = Σ_{x ∈ {0,1}^n} F(x)`` with ``F = Σ_g w_g(x)·Σ_{(a,b) ∈ g} a(x)·b(x)``, each letter a multilinear table (``w_g`` may be left
out). In round ``i`` the prover sends ``g(X) = Σ_x F(r_1 … r_{i-1}, X, x)`` by its values at ``0, 2, 3 … degree``; ``g(1) = s - g(0)`` is
never sent, so the check of a round vanishes, and the claim of the next round is ``g(r_i)``. After n rounds the claim is ``F(r)``.
Soundness error: ``n·degree / r``. Source: Lund, Fortnow, Karloff and Nisan, JACM 1992; Thaler (2022), section 4.1.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from zk import limbs, vectors
from zk.field import ORDER
from zk.forms import Form, combine
from zk.limbs import Opaque, kernel
from zk.multilinear import lagrange
from zk.pads import Channel
from zk.vectors import Vector

_NO_WEIGHT = -1
_PARALLEL_FROM = 1 << 12  # fewer corners than this are faster on one core


class ProductSum:
    """The prover's tables: ``Σ_x Σ_g w_g(x)·Σ_{(a,b) ∈ g} a(x)·b(x)``.

    Parameters
    ----------
    tables : sequence of Vector
        All of the same length, a power of two.
    products : sequence of (w, a, b)
        Positions in ``tables``; ``w`` is ``None`` for a product without weight. Neighbours with the same ``w`` share its multiplication.
    """

    def __init__(self, tables: Sequence[Vector], products: Sequence[tuple[int | None, int, int]]) -> None:
        self._tables = np.stack(tables)
        self._size = self._tables.shape[1]
        rows = [(_NO_WEIGHT if w is None else w, a, b) for w, a, b in products]
        self._products = np.array(rows, dtype=np.int64)

    def evaluations(self, degree: int) -> list[int]:
        """Return the round polynomial at ``0, 2, 3 … degree``."""
        half = self._size // 2
        parts = _spread(lambda start, stop: _evaluate(self._tables, half, start, stop, self._products, degree), half)
        total = parts[0]
        for part in parts[1:]:
            total = vectors.add(total, part)
        return vectors.to_ints(total)

    def bind(self, value: int) -> None:
        """Fix the first variable."""
        self._size //= 2
        half, x = self._size, vectors.scalar(value)
        _spread(lambda start, stop: _bind(self._tables, half, start, stop, x), half)

    def final(self) -> list[int]:
        """Return the value of each table at the point, when all variables are bound."""
        return vectors.to_ints(np.ascontiguousarray(self._tables[:, 0]))


def sumcheck(channel: Channel, label: str, claim: Form, rounds: int, degree: int, prover: ProductSum | None) -> tuple[list[int], Form]:
    """Run the protocol on either side.

    Parameters
    ----------
    channel : Channel
    label : str
        What the messages are called in the transcript.
    claim : Form
        The sum.
    rounds, degree : int
        Variables, and the degree of each round polynomial.
    prover : ProductSum, or None on the verifier's side

    Returns
    -------
    point : list of int
    value : Form
        What ``F`` must be at ``point``: the caller checks it.
    """
    point, sent = [], []
    for _ in range(rounds):
        sent.append(channel.message(label, degree, prover.evaluations(degree) if prover else None))
        r = channel.challenge(label)
        point.append(r)
        if prover:
            prover.bind(r)
    # each round turns the claim s into zero·g(0) + one·(s - g(0)) + Σ rest·others: from the last round to the first, all of it is one sum
    parts: list[tuple[int, Form]] = []
    factor = 1
    for r, (at_zero, *others) in zip(reversed(point), reversed(sent), strict=True):
        zero, one, *rest = lagrange(degree + 1, r)
        parts.append((factor * (zero - one), at_zero))
        parts += [(factor * coefficient, other) for coefficient, other in zip(rest, others, strict=True)]
        factor = factor * one % ORDER
    return point, combine([(factor, claim), *parts])


def _spread(work: Opaque, count: int) -> list[Opaque]:
    """Call ``work(start, stop)`` over slices of ``range(count)``, one for each core if there is enough to do."""
    if count < _PARALLEL_FROM:
        return [work(0, count)]
    cores = os.cpu_count() or 1
    edges = [count * i // cores for i in range(cores + 1)]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, edges[:-1], edges[1:]))


@kernel
def _get(tables: Vector, t: int, i: int) -> limbs.Element:
    return tables[t, i, 0], tables[t, i, 1], tables[t, i, 2], tables[t, i, 3]


@kernel
def _bind(tables: Vector, half: int, start: int, stop: int, value: Vector) -> None:
    r = (value[0], value[1], value[2], value[3])
    for t in range(tables.shape[0]):
        for i in range(start, stop):
            low = _get(tables, t, i)
            bound = limbs.add(low, limbs.multiply(limbs.subtract(_get(tables, t, i + half), low), r))
            tables[t, i, 0], tables[t, i, 1], tables[t, i, 2], tables[t, i, 3] = bound


@kernel
def _evaluate(tables: Vector, half: int, start: int, stop: int, products: npt.NDArray[np.int64], degree: int) -> Vector:
    count = tables.shape[0]
    value = np.empty((count, 4), dtype=np.uint64)
    slope = np.empty((count, 4), dtype=np.uint64)
    totals = np.zeros((degree, 4), dtype=np.uint64)
    zero = np.uint64(0)
    nothing = (zero, zero, zero, zero)
    for i in range(start, stop):
        for t in range(count):
            low = _get(tables, t, i)
            limbs.store(value, t, low)
            limbs.store(slope, t, limbs.subtract(_get(tables, t, i + half), low))
        for e in range(degree):  # the points 0, 2, 3 …
            for _ in range(2 if e == 1 else min(e, 1)):
                for t in range(count):
                    limbs.store(value, t, limbs.add(limbs.load(value, t), limbs.load(slope, t)))
            total = limbs.load(totals, e)
            group, weight = nothing, products[0, 0]
            for p in range(len(products)):
                if products[p, 0] != weight:
                    total = limbs.add(total, limbs.multiply(group, limbs.load(value, weight)) if weight >= 0 else group)
                    group, weight = nothing, products[p, 0]
                group = limbs.add(group, limbs.multiply(limbs.load(value, products[p, 1]), limbs.load(value, products[p, 2])))
            total = limbs.add(total, limbs.multiply(group, limbs.load(value, weight)) if weight >= 0 else group)
            limbs.store(totals, e, total)
    return totals
