"""Mean squared error: ``G = 2^(f_p - f_z)·(A - Y)``, linear in the logits.

Committed: ``A + 2^t = low + 2^t·high`` with ``low`` in ``[0, 2^t)`` and the bit ``high``, and the remainder of rounding. A bit is what is
in ``[0, 2^t)`` both as it is and times ``2^(t-1)``: two lookups. In padded rows ``Z = 0`` forces ``low = high = remainder = 0``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zk.field import ORDER
from zk.forms import Form, combine
from zk.training.context import Context, rounded
from zk.training.losses import REMAINDER, LossRelation
from zk.training.shape import Direction, Tensor
from zk.vectors import IntArray

LOW, HIGH = "logit low", "logit high"


@dataclass(frozen=True)
class Squared(LossRelation):
    """See the module."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`LossRelation`."""
        t = self.shape.rule.plan.limb_bits
        return (
            Tensor(LOW, self.outputs),
            Tensor(HIGH, self.outputs, (1, 1 << (t - 1))),
            *self.remainder,
        )

    def witness(self, Z: IntArray, A: IntArray, P: IntArray) -> dict[str, IntArray]:
        """See :class:`LossRelation`."""
        t = self.shape.rule.plan.limb_bits
        shifted = A + (1 << t)
        return {LOW: shifted & ((1 << t) - 1), HIGH: shifted >> t, **self.rounding(Z, A)}

    def logits(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        remainder = context.limbs(REMAINDER, self.remainder_limbs, point, out.padded)
        return rounded(self._logit(context, point, out), remainder, self.forward_shift, self._one(point, out))

    def error(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        plan = self.shape.rule.plan
        return (self._logit(context, point, out) - context.labels(point, out)) * (1 << (plan.output_error_bits - plan.logit_bits))

    def _logit(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        low, high = context.at(LOW, point, out.padded), context.at(HIGH, point, out.padded)
        t = self.shape.rule.plan.limb_bits
        return combine([(1, low), (1 << t, high), (-(1 << t), self._one(point, out))])

    def _one(self, point: Sequence[int], out: Direction) -> int:
        return self.shape.mask(point) * sum(out.dense) % ORDER
