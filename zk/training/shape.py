"""Sizes, padding and names of the tensors of one training proof.

A row of every tensor is a sample, numbered ``n = (k, b)``: step ``k`` of ``K``, place ``b`` of ``B`` in its batch. Axes are padded to
powers of two. Padded entries of committed tensors are zero: where a relation has a constant, the constant is multiplied by the public
mask

    ``μ(n) = [k < K]·[b < B]``,

so that zeros satisfy it. Where an entry must be zero the relations force it (``docs/training-proof.md`` says why for each): padded inputs
are zero, so nothing in a padded row enters a gradient. Rows behind the last step have no commitment at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zk.field import ORDER
from zk.hyrax import Block, tensor_block
from zk.lookup import Committed, Leaves
from zk.multilinear import eq_table, variables
from zk.rule import LABEL_SLOTS, Rule
from zk.vectors import IntArray

DATA = "samples"
RANGE_TAG, LOSS_TAG = 0, 1
RANGE_USES, LOSS_USES = "range uses", "loss table uses"


@dataclass(frozen=True)
class Tensor:
    """One committed tensor: ``last`` values for each sample.

    Attributes
    ----------
    name : str
    last : int
        Size of the last axis, a power of two.
    ranges : tuple of int
        For each factor ``c``: every entry times ``c`` is looked up in the range table ``[0, 2^t)``.
    """

    name: str
    last: int
    ranges: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Direction:
    """Weights ``eq(point, ·)`` over the units of a layer, without the padded ones."""

    point: tuple[int, ...]
    size: int

    @cached_property
    def dense(self) -> list[int]:
        """The weights of the real units."""
        return eq_table(self.point)[: self.size]

    @cached_property
    def padded(self) -> list[int]:
        """The same, with zeros up to the power of two."""
        return self.dense + [0] * ((1 << len(self.point)) - self.size)


def padded(size: int) -> int:
    """Return the least power of two that is not below ``size``."""
    return 1 << variables(size)


def limb_names(name: str, count: int) -> list[str]:
    """Return the names of the limbs of a value, least significant first."""
    return [f"{name} limb {i}" for i in range(count)]


def remainder_tensors(rule: Rule, name: str, shift: int, last: int) -> tuple[Tensor, ...]:
    """Return the limbs of the remainder of a rounding that drops ``shift`` bits.

    The top limb may have fewer bits than ``t``: then it is looked up as it is and times two to the missing bits.
    """
    missing = rule.limbs(shift) * rule.plan.limb_bits - shift
    *low, top = limb_names(name, rule.limbs(shift))
    return (*(Tensor(limb, last) for limb in low), Tensor(top, last, (1, 1 << missing) if missing else (1,)))


def split_limbs(name: str, values: IntArray, count: int, bits: int) -> dict[str, IntArray]:
    """Cut values into limbs; what does not fit stays in the last one, where the lookup finds it."""
    parts = [(values >> (bits * i)) & ((1 << bits) - 1) for i in range(count - 1)]
    return dict(zip(limb_names(name, count), [*parts, values >> (bits * (count - 1))], strict=True))


@dataclass(frozen=True)
class Shape:
    """Axes of one rule."""

    rule: Rule

    @property
    def step_variables(self) -> int:
        """Variables of the step axis."""
        return variables(self.rule.steps)

    @property
    def batch_variables(self) -> int:
        """Variables of the batch axis."""
        return variables(self.rule.batch)

    @property
    def sample_variables(self) -> int:
        """Variables of ``n``."""
        return self.step_variables + self.batch_variables

    @property
    def data_width(self) -> int:
        """Values of a committed sample: features, the constant one, zeros, labels in the last slots."""
        return padded(self.rule.layers[0] + 1 + LABEL_SLOTS)

    @property
    def classes(self) -> int:
        """Real outputs."""
        return self.rule.layers[-1]

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Padded row number of each sample, in order."""
        return tuple(k * padded(self.rule.batch) + b for k in range(self.rule.steps) for b in range(self.rule.batch))

    @property
    def data_block(self) -> Block:
        """The samples, one row each."""
        return Block(DATA, self.positions, 1 << self.sample_variables)

    def block(self, tensor: Tensor, width: int) -> Block:
        """Return where a tensor's values are committed."""
        used = (self.positions[-1] + 1) * tensor.last
        return tensor_block(tensor.name, self.size(tensor), used, width)

    def size(self, tensor: Tensor) -> int:
        """Return the number of values of a tensor, padding included."""
        return tensor.last << self.sample_variables

    def spread(self, values: IntArray, last: int) -> IntArray:
        """Return ``values``, (samples, columns), as a flat tensor with ``last`` padded columns."""
        out = np.zeros((1 << self.sample_variables, last), dtype=np.int64)
        out[list(self.positions), : values.shape[1]] = values
        return out.reshape(-1)

    def range_lookups(self, tensors: Sequence[Tensor]) -> list[Leaves]:
        """Return what is looked up in the range table."""
        return [Leaves(self.size(x), RANGE_TAG, (Committed(x.name, factor),)) for x in tensors for factor in x.ranges]

    def split(self, point: Sequence[int]) -> tuple[list[int], list[int]]:
        """Cut a point over ``n`` into its step part and its batch part."""
        return list(point[: self.step_variables]), list(point[self.step_variables :])

    def mask(self, point: Sequence[int]) -> int:
        """Return the extension of ``μ`` at a point over ``n``."""
        k, b = self.split(point)
        return sum(eq_table(k)[: self.rule.steps]) * sum(eq_table(b)[: self.rule.batch]) % ORDER
