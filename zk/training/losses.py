"""What a loss must state: from logits to the error ``G`` that training propagates."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zk.forms import Form
from zk.lookup import Committed, Leaves, Table
from zk.tables import loss_table
from zk.training.context import Context
from zk.training.shape import LOSS_TAG, LOSS_USES, Direction, Shape, Tensor, limb_names, padded, remainder_tensors, split_limbs
from zk.vectors import IntArray

REMAINDER = "logit remainder"


@dataclass(frozen=True)
class LossRelation(ABC):
    """Relations between the product ``Z`` of the last layer, the labels and the error ``G``.

    Every use of an output axis has weights for the real outputs only, so padded outputs are neither constrained nor used.
    """

    shape: Shape

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """What is committed."""

    @property
    def lookups(self) -> tuple[Leaves, ...]:
        """What is looked up in the loss's own table."""
        return ()

    @property
    def table(self) -> Table | None:
        """The loss's own table."""
        return None

    @abstractmethod
    def witness(self, Z: IntArray, A: IntArray, P: IntArray) -> dict[str, IntArray]:
        """Return the committed values, (samples, columns) each.

        Parameters
        ----------
        Z, A : int64 arrays, (samples, outputs)
            Products and rounded logits.
        P : int64 array, (samples, outputs)
            ``G + 2^f_p·Y``: predictions on the grid of errors.
        """

    @abstractmethod
    def logits(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """Demand the relations at a random point, and return what ``Z(point, out)`` must be."""

    @abstractmethod
    def error(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """Return ``G(point, out)``."""

    @property
    def outputs(self) -> int:
        """Padded outputs."""
        return padded(self.shape.classes)

    @property
    def forward_shift(self) -> int:
        """Bits that rounding drops from ``Z``."""
        return self.shape.rule.forward_shift(self.shape.rule.depth)

    @property
    def remainder_limbs(self) -> int:
        """Limbs of that rounding's remainder."""
        return self.shape.rule.limbs(self.forward_shift)

    @property
    def remainder(self) -> tuple[Tensor, ...]:
        """Those limbs as tensors."""
        return remainder_tensors(self.shape.rule, REMAINDER, self.forward_shift, self.outputs)

    def ranged(self, name: str, count: int, last: int) -> tuple[Tensor, ...]:
        """Return the limbs of a value as tensors."""
        return tuple(Tensor(limb, last) for limb in limb_names(name, count))

    def limbs(self, name: str, values: IntArray, count: int) -> dict[str, IntArray]:
        """Return the values of those tensors."""
        return split_limbs(name, values, count, self.shape.rule.plan.limb_bits)

    def rounding(self, Z: IntArray, A: IntArray) -> dict[str, IntArray]:
        """Return the limbs of the remainder of rounding ``Z`` to ``A``."""
        remainder = Z + (1 << (self.forward_shift - 1)) - (A << self.forward_shift)
        return self.limbs(REMAINDER, remainder, self.remainder_limbs)

    def pair(self, first: str, second: str) -> tuple[Leaves, ...]:
        """Return the lookup of ``(first, second)`` in the loss's table."""
        return (Leaves(self.outputs << self.shape.sample_variables, LOSS_TAG, (Committed(first), Committed(second))),)

    def differences(self, sign: int) -> Table:
        """Return the loss's table with ``sign·(T[i] - T[0])`` for ``T[i]``: a padded row of zeros is its first entry."""
        values = np.array(loss_table(self.shape.rule), dtype=np.int64)
        return Table(LOSS_TAG, (np.arange(len(values)), sign * (values - values[0])), LOSS_USES)
