"""Tensors as committed rows, and claims about them.

All committed values of a proof form one matrix of rows of ``width`` values, each row a Pedersen commitment. A block is a tensor: its flat
values row by row, in ``2^h`` rows, of which some (padding, always zero) have no commitment at all. Blocks stand one after another, the
tallest first, so that each begins at a multiple of its own height and the extension over all rows splits:

    ``eq(r, offset + i) = eq(r_high, offset / 2^h)·eq(r_low, i)``.

A claim weighs the rows of a block by ``eq(point, ·)`` and the columns by any public vector. Because ``r`` fixes one weight for each row,
any number of claims at one ``r`` opens with a single combined row ``z = Σ_i eq(r, i)·row_i`` (:mod:`zk.closing`).
Source: Wahby, Tzialla, shelat, Thaler and Walfish, "Doubly-efficient zkSNARKs without trusted setup" (Hyrax), IEEE S&P 2018, section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from zk import vectors
from zk.combine import combine_rows
from zk.field import ORDER
from zk.multilinear import corner, dot, eq, variables
from zk.pads import Claim, Row, Spot
from zk.vectors import IntArray, Vector


@dataclass(frozen=True)
class Block:
    """One tensor of the matrix.

    Attributes
    ----------
    name : str
    present : tuple of int
        The rows that have a commitment, ascending; all others are zero by construction.
    height : int
        Number of rows, a power of two greater than every row of ``present``.
    """

    name: str
    present: tuple[int, ...]
    height: int


def tensor_block(name: str, size: int, used: int, width: int) -> Block:
    """Return the block of a flat tensor of ``size`` values (a power of two) that is zero from ``used`` on."""
    return Block(name, tuple(range(-(-used // width))), max(1, size // width))


def tensor_claim(block: str, width: int, point: Sequence[int], last: Sequence[int]) -> Claim:
    """Return the claim ``Σ eq(point, i)·last[j]·T[i·len(last) + j]`` about a flat tensor of ``2^len(point)·len(last)`` values.

    Parameters
    ----------
    block : str
    width : int
        Values in a row, a power of two.
    point : sequence of int
        The leading axes.
    last : sequence of int
        Dense weights of the last axis, a power of two of them and at most ``width``; ``[1]`` if every axis is in ``point``.
    """
    inside = min(len(point), variables(width) - variables(len(last)))  # how much of the point lies within a row
    split = len(point) - inside
    return Claim(block, tuple(point[:split]), _columns(tuple(point[split:]), tuple(last)))


@lru_cache(maxsize=32)
def _columns(point: tuple[int, ...], last: tuple[int, ...]) -> Vector:
    """Return ``eq(point, ·)⊗last``; a protocol makes many claims at the same point in a row."""
    return vectors.outer(vectors.eq_table(point), vectors.from_ints(last))


class Layout:
    """Where each block stands.

    Parameters
    ----------
    width : int
        Values in a row.
    blocks : sequence of Block
        In the order in which their commitments are listed.
    """

    def __init__(self, width: int, blocks: Sequence[Block]) -> None:
        self.width = width
        self.blocks = {block.name: block for block in blocks}
        if len(self.blocks) != len(blocks):
            raise ValueError("two blocks of one name")
        self._offsets: dict[str, int] = {}
        end = 0
        for block in sorted(blocks, key=lambda block: -block.height):
            self._offsets[block.name] = end
            end += block.height
        self.variables = variables(end)

    def offset(self, name: str) -> int:
        """Return the first row of a block."""
        return self._offsets[name]

    @cached_property
    def rows(self) -> list[int]:
        """Return the position of every commitment, block by block in the order of ``blocks``."""
        return [self._offsets[name] + i for name, block in self.blocks.items() for i in block.present]

    def weight(self, name: str, point: Sequence[int], r: Sequence[int]) -> int:
        """Return the extension at ``r`` of the row weights of a claim."""
        split = self.variables - len(point)
        prefix = corner(self._offsets[name] >> len(point), split)
        return eq(prefix, r[:split]) * eq(point, r[split:]) % ORDER

    def row_claims(self, atoms: Sequence[Spot | Claim], terms: dict[int, int]) -> list[tuple[int, Claim]]:
        """Return ``Σ terms[a]·atom_a`` as ``Σ factor·claim``; the entries of one row become one claim about it."""
        claims = []
        entries: dict[Row, dict[int, int]] = {}
        for number, coefficient in terms.items():
            atom = atoms[number]
            if isinstance(atom, Claim):
                claims.append((coefficient, atom))
                continue
            of_row = entries.setdefault(atom.row, {})
            of_row[atom.position] = of_row.get(atom.position, 0) + coefficient
        for row, of_row in entries.items():
            height = self.blocks[row].height
            columns = vectors.constant(0, height * self.width)
            columns[list(of_row)] = vectors.from_ints(list(of_row.values()))
            for i in range(height):
                point = tuple(corner(i, variables(height)))
                claims.append((1, Claim(row, point, columns[i * self.width : (i + 1) * self.width])))
        return claims


class Matrix:
    """The prover's rows: small integers where they are, field elements for pads.

    Parameters
    ----------
    layout : Layout
    integers : mapping from a block to int64 rows
        Shape ``(len(present), at most width)``.
    scalars : mapping from a block to rows of Python integers
        As many rows as ``present``; the entries that are missing are zero.
    """

    def __init__(self, layout: Layout, integers: dict[str, IntArray], scalars: dict[str, list[list[int]]]) -> None:
        self.layout = layout
        self.integers = integers
        self.scalars = scalars

    def row_values(self, columns: Vector) -> Vector:
        """Return ``⟨row, columns⟩`` for every row of the matrix."""
        out = vectors.constant(0, 1 << self.layout.variables)
        weights = vectors.to_ints(columns) if self.scalars else []
        for name, block in self.layout.blocks.items():
            if name in self.integers:
                rows = self.integers[name]
                used = min(rows.shape[1], len(columns))
                values = vectors.contract(rows[:, :used].reshape(len(rows), used, 1), columns[:used]).reshape(-1, 4)
            else:
                values = vectors.from_ints([dot(row, weights) for row in self.scalars[name]])
            out[[self.layout.offset(name) + i for i in block.present]] = values
        return out

    def combine(self, weights: Sequence[int]) -> list[int]:
        """Return ``Σ weights[i]·row_i`` over the committed rows, in the order of ``layout.rows``."""
        total = [0] * self.layout.width
        start = 0
        for name, block in self.layout.blocks.items():
            part = weights[start : start + len(block.present)]
            start += len(block.present)
            if name in self.integers:
                combined = combine_rows(part, self.integers[name])
            else:
                rows = self.scalars[name]
                longest = max((len(row) for row in rows), default=0)
                combined = [sum(w * row[j] for w, row in zip(part, rows, strict=True) if j < len(row)) for j in range(longest)]
            for j, value in enumerate(combined):
                total[j] += value
        return [value % ORDER for value in total]


def as_block_rows(block: Block, flat: IntArray, width: int) -> IntArray:
    """Cut a flat tensor into the rows of ``block`` that are committed; everything behind them must be zero."""
    rows = len(block.present)
    padded = np.zeros(rows * width, dtype=np.int64)
    kept = flat[: rows * width]
    padded[: len(kept)] = kept
    if flat[rows * width :].any():
        raise ValueError(f"{block.name}: values in rows that have no commitment")
    return padded.reshape(rows, width)
