"""Softmax cross-entropy in integers: ``P_j = floor((2^(f_p+1)·e_j + S) / 2S)``, ``G = P - 2^f_p·Y``.

Committed for each sample: ``max`` in limbs; for each class ``u_j = max - A_j`` and ``c_j = EXP[0] - EXP[u_j]``, looked up together; a
selector ``s_j``; ``P_j``, the remainder ``ρ_j`` and the slack ``σ_j`` in limbs; the remainder of rounding. With ``e_j = 2^14·μ - c_j``
and ``S = Σ_j e_j`` over the real classes, at a random point:

    ``Z_j = 2^s·(max - u_j) + rem_j - 2^(s-1)·μ``            rounding
    ``Σ_j s_j = μ`` and ``s_j·u_j = 0``                       some ``u_j`` is zero, so ``max`` is the maximum
    ``σ_j = 2S - μ - ρ_j``                                   so ``0 ≤ ρ_j < 2S``
    ``2S·P_j = 2^(f_p+1)·e_j + S - ρ_j``                      division with remainder

The selector needs no bit check: all ``s_j·u_j`` vanish and some ``s_j`` does not. ``S ≥ 2^14 > 0`` because that ``u_j`` is zero. The
two products share one sum-check over ``(n, j)``. In padded rows nothing binds ``P``, and nothing need: their inputs are zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zk import vectors
from zk.field import ORDER
from zk.forms import Form, combine
from zk.lookup import Leaves, Table
from zk.multilinear import dot, eq, eq_table, variables
from zk.rule import EXACT_BITS
from zk.sumcheck import ProductSum, sumcheck
from zk.tables import EXP_BITS, exp_table
from zk.training.context import Context, rounded
from zk.training.losses import REMAINDER, LossRelation
from zk.training.shape import Direction, Tensor
from zk.vectors import IntArray

MAXIMUM, DISTANCE, DEFICIT, SELECTOR = "maximum logit", "distance", "deficit", "selector"
PROBABILITY, DIVISION, SLACK = "probability", "division remainder", "division slack"


@dataclass(frozen=True)
class Softmax(LossRelation):
    """See the module."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`LossRelation`."""
        return (
            Tensor(DISTANCE, self.outputs, ()),
            Tensor(DEFICIT, self.outputs, ()),
            Tensor(SELECTOR, self.outputs, ()),
            *self.remainder,
            *self.ranged(PROBABILITY, self._probability_limbs, self.outputs),
            *self.ranged(DIVISION, self._division_limbs, self.outputs),
            *self.ranged(SLACK, self._division_limbs, self.outputs),
            *self.ranged(MAXIMUM, self._maximum_limbs, 1),
        )

    @property
    def lookups(self) -> tuple[Leaves, ...]:
        """See :class:`LossRelation`."""
        return self.pair(DISTANCE, DEFICIT)

    @property
    def table(self) -> Table:
        """See :class:`LossRelation`."""
        return self.differences(-1)

    def witness(self, Z: IntArray, A: IntArray, P: IntArray) -> dict[str, IntArray]:
        """See :class:`LossRelation`."""
        maximum = A.max(axis=1, keepdims=True)
        distance = maximum - A
        e = np.array(exp_table(self.shape.rule.plan), dtype=np.int64)[distance]
        S = e.sum(axis=1, keepdims=True)
        division = (e << (self.shape.rule.plan.output_error_bits + 1)) + S - 2 * S * P
        return {
            DISTANCE: distance,
            DEFICIT: (1 << EXP_BITS) - e,
            SELECTOR: np.eye(self.shape.classes, dtype=np.int64)[A.argmax(axis=1)],
            **self.rounding(Z, A),
            **self.limbs(PROBABILITY, P, self._probability_limbs),
            **self.limbs(DIVISION, division, self._division_limbs),
            **self.limbs(SLACK, 2 * S - 1 - division, self._division_limbs),
            **self.limbs(MAXIMUM, maximum + self._offset, self._maximum_limbs),
        }

    def logits(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        channel, mask, ones = context.channel, self.shape.mask(point), sum(out.dense) % ORDER
        all_classes = [1] * self.shape.classes + [0] * (self.outputs - self.shape.classes)
        channel.vanish("one selector", context.at(SELECTOR, point, all_classes) - mask)
        S = self._sum(context, point)
        division = context.limbs(DIVISION, self._division_limbs, point, out.padded)
        slack = context.limbs(SLACK, self._division_limbs, point, out.padded)
        channel.vanish("division slack", combine([(1, slack), (1, division), (-2 * ones, S), (1, mask * ones)]))
        e = combine([(ones << EXP_BITS, mask), (-1, context.at(DEFICIT, point, out.padded))])
        scale = 2 << self.shape.rule.plan.output_error_bits
        self._products(context, point, out, combine([(scale, e), (ones, S), (-1, division)]))
        maximum = context.limbs(MAXIMUM, self._maximum_limbs, point) - self._offset * mask
        logits = combine([(ones, maximum), (-1, context.at(DISTANCE, point, out.padded))])
        remainder = context.limbs(REMAINDER, self.remainder_limbs, point, out.padded)
        return rounded(logits, remainder, self.forward_shift, mask * ones)

    def error(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """See :class:`LossRelation`."""
        scale = 1 << self.shape.rule.plan.output_error_bits
        probability = context.limbs(PROBABILITY, self._probability_limbs, point, out.padded)
        return combine([(1, probability), (-scale, context.labels(point, out))])

    def _products(self, context: Context, point: Sequence[int], out: Direction, quotient: Form) -> None:
        """Demand ``2S·P = quotient`` and ``s·u = 0`` at ``(point, out)``."""
        channel, shape = context.channel, self.shape
        mix = channel.challenge("softmax mix")
        rounds = shape.sample_variables + variables(shape.classes)
        prover = self._tables(context.tensors, point, out, mix) if context.tensors is not None else None
        r, value = sumcheck(channel, "softmax", quotient, rounds, 3, prover)
        final = prover.final() if prover else None
        f_2S, f_P, division = channel.product("softmax division", [final[1], final[2]] if final else None)
        f_selector, f_distance, selection = channel.product("softmax selector", [final[3], final[4]] if final else None)
        n, j = r[: shape.sample_variables], r[shape.sample_variables :]
        weight = eq(point, n) * dot(out.dense, eq_table(j)) % ORDER
        channel.vanish("softmax products", combine([(1, value), (-weight, division), (-weight, selection)]))
        channel.vanish("softmax sum", f_2S - 2 * self._sum(context, n))
        channel.vanish("softmax probability", f_P - context.limbs(PROBABILITY, self._probability_limbs, r))
        channel.vanish("softmax selector", f_selector - mix * context.at(SELECTOR, r))
        channel.vanish("softmax distance", f_distance - context.at(DISTANCE, r))

    def _tables(self, tensors: Mapping[str, IntArray], point: Sequence[int], out: Direction, mix: int) -> ProductSum:
        shape, bits = self.shape, self.shape.rule.plan.limb_bits
        rows = 1 << shape.sample_variables
        columns = vectors.from_ints(out.padded)
        real = np.zeros((rows, 1), dtype=np.int64)
        real[list(shape.positions)] = shape.classes << EXP_BITS
        S = real - tensors[DEFICIT].reshape(rows, self.outputs)[:, : shape.classes].sum(axis=1, keepdims=True)
        P = sum(tensors[limb.name] << (bits * i) for i, limb in enumerate(self.ranged(PROBABILITY, self._probability_limbs, 1)))
        return ProductSum(
            [
                vectors.outer(vectors.eq_table(point), columns),
                vectors.from_int64(np.repeat(2 * S, self.outputs)),
                vectors.from_int64(np.asarray(P)),
                vectors.scale(vectors.from_int64(tensors[SELECTOR]), mix),
                vectors.from_int64(tensors[DISTANCE]),
            ],
            [(0, 1, 2), (0, 3, 4)],
        )

    def _sum(self, context: Context, point: Sequence[int]) -> Form:
        """Return ``S(point) = 2^14·classes·μ - Σ_j c_j``."""
        classes = self.shape.classes
        weights = [1] * classes + [0] * (self.outputs - classes)
        return combine([(classes << EXP_BITS, self.shape.mask(point)), (-1, context.at(DEFICIT, point, weights))])

    @property
    def _probability_limbs(self) -> int:
        """``P ≤ 2^f_p``."""
        return -(-(self.shape.rule.plan.output_error_bits + 1) // self.shape.rule.plan.limb_bits)

    @property
    def _division_limbs(self) -> int:
        """``2S ≤ 2^15·classes``."""
        return -(-(EXP_BITS + 1 + variables(self.shape.classes)) // self.shape.rule.plan.limb_bits)

    @property
    def _maximum_limbs(self) -> int:
        """``|Z| ≤ 2^(53+h)``, so ``|A| ≤ 2^(53+h-s) + 1``."""
        bits = EXACT_BITS + self.shape.rule.plan.coefficient_bits
        return -(-(bits - self.forward_shift + 2) // self.shape.rule.plan.limb_bits)

    @property
    def _offset(self) -> int:
        return 1 << (self._maximum_limbs * self.shape.rule.plan.limb_bits - 1)
