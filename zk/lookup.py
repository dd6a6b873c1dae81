"""Lookups: every entry of some columns stands in a public table, by logarithmic derivatives over a fraction tree.

A row ``(x, y)`` looked up in the table with tag ``τ`` has the fingerprint ``f = x + γ·y + γ²·τ``. All rows looked up are table rows if
and only if multiplicities ``m`` exist with

    ``Σ_rows 1/(α - f_row) - Σ_entries m_entry/(α - f_entry) = 0``  as rational functions of ``α``

(fewer rows than the field's characteristic, so no pole cancels by itself). Columns and multiplicities are committed before ``γ`` and ``α``
are drawn: a zero denominator, two rows that share a fingerprint, or a false identity that holds have probability below
``(leaves² + leaves) / r``. That also covers a root denominator of zero, so none is excluded by a check of its own.

The sum is proved over a binary tree of fractions, ``p/q = p₀/q₀ + p₁/q₁`` with ``p = p₀q₁ + p₁q₀`` and ``q = q₀q₁``: from a claim
``p(r) + λ·q(r)`` about one level, a sum-check over

    ``Σ_x eq(r, x)·(p₀(x)·q₁(x) + q₀(x)·(p₁(x) + λ·q₁(x)))``

and a random ``c`` lead to a claim about the next at ``(c, ρ)``. A column is a part of the leaves, a power of two long and aligned, so the
leaves at the final point are a linear function of the columns' claims. The root's numerator is public (zero), its denominator is masked.
A tree needs no committed inverses, which would be full-width scalars and ten times dearer than all the rest of a proof. Sources: Haböck,
ePrint 2022/1530; Papini and Haböck, ePrint 2023/1284.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zk import vectors
from zk.forms import Form, combine
from zk.hyrax import tensor_claim
from zk.multilinear import corner, eq, variables
from zk.pads import Channel, Claim
from zk.sumcheck import ProductSum, sumcheck
from zk.vectors import IntArray, Vector


@dataclass(frozen=True)
class Committed:
    """A looked-up column: ``factor`` times a committed tensor."""

    block: str
    factor: int = 1

    def values(self, tensors: Mapping[str, IntArray]) -> IntArray:
        """Return the entries."""
        return tensors[self.block] * self.factor

    def at(self, channel: Channel, width: int, point: Sequence[int]) -> Form:
        """Return the column's extension at ``point``."""
        return self.factor * channel.claim(tensor_claim(self.block, width, point, [1]))


@dataclass(frozen=True)
class Slots:
    """A looked-up column: slots ``first … first + count - 1`` of every row of a committed block, row after row.

    ``count`` is a power of two; ``first`` need not be a multiple of it. The prover's tensor of such a block is its rows, not flat.
    """

    block: str
    first: int
    count: int

    def values(self, tensors: Mapping[str, IntArray]) -> IntArray:
        """Return the entries."""
        return tensors[self.block][:, self.first : self.first + self.count].reshape(-1)

    def at(self, channel: Channel, width: int, point: Sequence[int]) -> Form:
        """Return the column's extension at ``point``."""
        split = len(point) - variables(self.count)
        columns = np.concatenate([vectors.constant(0, self.first), vectors.eq_table(point[split:])])
        return channel.claim(Claim(self.block, tuple(point[:split]), columns))


@dataclass(frozen=True)
class Leaves:
    """Looked-up rows: the fractions ``1/(α - f)``.

    Attributes
    ----------
    size : int
        Number of rows, a power of two.
    tag : int
        The table they are looked up in.
    columns : tuple of Committed or Slots
        ``x``, or ``x`` and ``y``.
    """

    size: int
    tag: int
    columns: tuple[Committed | Slots, ...]


@dataclass(frozen=True)
class Table:
    """A public table: the fractions ``-m/(α - f)``.

    Attributes
    ----------
    tag : int
    columns : tuple of int64 arrays
        A power of two of entries each; not all tables need the same size.
    multiplicities : str
        The committed tensor that counts how often each entry is looked up.
    """

    tag: int
    columns: tuple[IntArray, ...]
    multiplicities: str

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.columns[0])


def count_uses(table: Table, leaves: Sequence[Leaves], tensors: Mapping[str, IntArray]) -> IntArray:
    """Return how often each entry of ``table`` is looked up; its first column must be ``0, 1, 2 …``; strangers are not counted."""
    uses = np.zeros(table.size, dtype=np.int64)
    for part in leaves:
        if part.tag == table.tag:
            first = part.columns[0].values(tensors)
            uses += np.bincount(first[(first >= 0) & (first < table.size)], minlength=table.size)
    return uses


def lookup(channel: Channel, width: int, leaves: Sequence[Leaves], tables: Sequence[Table], tensors: Mapping[str, IntArray] | None) -> None:
    """Demand that every row of ``leaves`` stands in the table of its tag.

    Parameters
    ----------
    channel : Channel
    width : int
        Values in a committed row.
    leaves, tables
    tensors : mapping from a block to its flat int64 values, or None on the verifier's side
    """
    gamma, alpha = channel.challenges("lookup", 2)
    parts: list[Leaves | Table] = sorted([*leaves, *tables], key=lambda part: -part.size)
    depth = variables(sum(part.size for part in parts))
    levels = _build(parts, depth, gamma, alpha, tensors) if tensors is not None else None
    p = Form(0)
    (q,) = channel.message("lookup root", 1, vectors.to_ints(levels[0][1]) if levels else None)
    r: list[int] = []
    for level in range(depth):
        p, q, r = _descend(channel, p, q, r, levels[level + 1] if levels else None)
    _check_leaves(channel, width, parts, gamma, alpha, p, q, r)


def _descend(channel: Channel, p: Form, q: Form, r: list[int], level: tuple[Vector, Vector] | None) -> tuple[Form, Form, list[int]]:
    """Turn the claim about one level at ``r`` into a claim about the ``level`` below it."""
    mix = channel.challenge("lookup mix")
    prover = None
    if level:
        half = len(level[0]) // 2
        p0, p1, q0, q1 = (part[i : i + half] for part in level for i in (0, half))
        prover = ProductSum([vectors.eq_table(r), p0, q1, q0, vectors.add(p1, vectors.scale(q1, mix))], [(0, 1, 2), (0, 3, 4)])
    rho, value = sumcheck(channel, "lookup", combine([(1, p), (mix, q)]), len(r), 3, prover)
    final = prover.final() if prover else None
    f_p0, f_q1, first = channel.product("lookup", final[1:3] if final else None)
    f_q0, f_mixed, second = channel.product("lookup", final[3:5] if final else None)
    weight = eq(r, rho)
    channel.vanish("lookup level", combine([(1, value), (-weight, first), (-weight, second)]))
    c = channel.challenge("lookup child")
    p = combine([(1 - c, f_p0), (c, f_mixed), (-c * mix, f_q1)])
    q = combine([(1 - c, f_q0), (c, f_q1)])
    return p, q, [c, *rho]


def _check_leaves(
    channel: Channel, width: int, parts: Sequence[Leaves | Table], gamma: int, alpha: int, p: Form, q: Form, r: list[int]
) -> None:
    """Demand that the leaves at ``r`` are those of the committed columns."""
    numerators: list[tuple[int, Form | int]] = [(-1, p)]
    denominators: list[tuple[int, Form | int]] = [(-1, q)]
    weights: dict[int, Vector] = {}  # tables of one size are weighed alike
    start = 0
    for part in parts:
        split = len(r) - variables(part.size)
        weight = eq(corner(start // part.size, split), r[:split])
        start += part.size
        low = r[split:]
        values: list[Form | int] = []
        if isinstance(part, Table):
            if part.size not in weights:
                weights[part.size] = vectors.eq_table(low)
            values += vectors.to_ints(vectors.contract(np.stack(part.columns, axis=1)[np.newaxis], weights[part.size])[0])
            numerators.append((-weight, channel.claim(tensor_claim(part.multiplicities, width, low, [1]))))
        else:
            values += [column.at(channel, width, low) for column in part.columns]
            numerators.append((weight, 1))
        denominators += [(-weight * gamma**power, value) for power, value in enumerate(values)]
        denominators.append((weight, alpha - gamma * gamma * part.tag - 1))
    denominators.append((1, 1))  # the leaves that no part fills are 0/1
    channel.vanish("lookup numerators", combine(numerators))
    channel.vanish("lookup denominators", combine(denominators))


def _build(
    parts: Sequence[Leaves | Table], depth: int, gamma: int, alpha: int, tensors: Mapping[str, IntArray]
) -> list[tuple[Vector, Vector]]:
    """Return numerators and denominators of every level, the root first."""
    p, q = vectors.constant(0, 1 << depth), vectors.constant(1, 1 << depth)
    start = 0
    for part in parts:
        end = start + part.size
        fingerprint = vectors.constant(gamma * gamma * part.tag, part.size)
        columns: Sequence[Committed | Slots | IntArray] = part.columns
        for power, column in enumerate(columns):
            values = column if isinstance(column, np.ndarray) else column.values(tensors)
            fingerprint = vectors.add(fingerprint, vectors.scale(vectors.from_int64(values), gamma**power))
        q[start:end] = vectors.subtract(vectors.constant(alpha, part.size), fingerprint)
        p[start:end] = vectors.from_int64(-tensors[part.multiplicities]) if isinstance(part, Table) else vectors.constant(1, part.size)
        start = end
    levels = [(p, q)]
    while len(p) > 1:
        half = len(p) // 2
        p0, p1, q0, q1 = p[:half], p[half:], q[:half], q[half:]
        p, q = vectors.add(vectors.multiply(p0, q1), vectors.multiply(p1, q0)), vectors.multiply(q0, q1)
        levels.append((p, q))
    return levels[::-1]
