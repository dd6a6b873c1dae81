"""Binary cross-entropy: ``G = SIGMOID[A] - 2^f_p·Y`` for each output.

Committed: ``A' = A + 2^(t-1)`` and ``c = SIGMOID[A'] - SIGMOID[0]``, looked up together in the public table, and the remainder of
rounding. The lookup is also the range check of the logit. In padded rows ``Z = 0`` forces ``A' = 0`` and the lookup ``c = 0``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zk.field import ORDER
from zk.forms import Form, combine
from zk.lookup import Leaves, Table
from zk.tables import sigmoid_table
from zk.training.context import Context, rounded
from zk.training.losses import REMAINDER, LossRelation
from zk.training.shape import Direction, Tensor
from zk.vectors import IntArray

LOGIT, PROBABILITY = "logit", "probability"


@dataclass(frozen=True)
class Binary(LossRelation):
    """See the module."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`LossRelation`."""
        return (
            Tensor(LOGIT, self.outputs, ()),
            Tensor(PROBABILITY, self.outputs, ()),
            *self.remainder,
        )

    @property
    def lookups(self) -> tuple[Leaves, ...]:
        """See :class:`LossRelation`."""
        return self.pair(LOGIT, PROBABILITY)

    @property
    def table(self) -> Table:
        """See :class:`LossRelation`."""
        return self.differences(1)

    def witness(self, Z: IntArray, A: IntArray, P: IntArray) -> dict[str, IntArray]:
        """See :class:`LossRelation`."""
        return {LOGIT: A + self._offset, PROBABILITY: P - self._least, **self.rounding(Z, A)}

    def logits(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        one = self._one(point, out)
        remainder = context.limbs(REMAINDER, self.remainder_limbs, point, out.padded)
        return rounded(context.at(LOGIT, point, out.padded) - self._offset * one, remainder, self.forward_shift, one)

    def error(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        scale = 1 << self.shape.rule.plan.output_error_bits
        probability = context.at(PROBABILITY, point, out.padded)
        return combine([(1, probability), (self._least, self._one(point, out)), (-scale, context.labels(point, out))])

    @property
    def _offset(self) -> int:
        return 1 << (self.shape.rule.plan.limb_bits - 1)

    @property
    def _least(self) -> int:
        return sigmoid_table(self.shape.rule.plan)[0]

    def _one(self, point: Sequence[int], out: Direction) -> int:
        return self.shape.mask(point) * sum(out.dense) % ORDER
