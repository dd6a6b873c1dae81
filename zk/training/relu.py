"""Hidden layers: rounding, ReLU and its derivative, on the way forward and back.

Committed for each sample and unit: the sign bit ``β`` of ``A``, its low part ``L``, ``D' = D + 2^(t-1)·μ``, and the remainders of both
roundings in limbs; all but ``β`` are looked up in ``[0, 2^t)``. With ``A = 2^t·(β - μ) + L``, at a random point ``t``:

    ``d·Z = 2^s·A + rem - 2^(s-1)·μ``                      rounding
    ``β² = β``                                             a bit
    ``d·κ·β·E = 2^s'·D + rem' - 2^(s'-1)·μ``               the derivative, and rounding
    ``H = κ·β·L``                                          the activation (never committed)

``κ`` is the public mask of the units that dropout keeps and ``d`` the scale that ``s`` and ``s'`` take back; without dropout both are
one. ``κ·β·E`` and ``κ·(β² - β)`` share one sum-check of ``eq(t, ·)·κ·β·(E + λ·β - λ)``; every claim about ``H`` is reduced by a second
one. In a dropped unit ``β`` is not shown to be a bit: nothing depends on it there. In padded entries, where ``κ = 1``, ``Z = 0``
forces ``β = L = rem = 0``, and then ``D' = rem' = 0``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zk import vectors
from zk.field import ORDER
from zk.forms import Form, combine
from zk.multilinear import bilinear, eq, eq_table, variables
from zk.sumcheck import ProductSum, sumcheck
from zk.training.context import Context, Values, rounded
from zk.training.dense import InputClaim
from zk.training.shape import Direction, Shape, Tensor, padded, remainder_tensors, split_limbs
from zk.vectors import IntArray, Vector


@dataclass(frozen=True)
class Relu:
    """Relations of hidden layer ``layer``."""

    shape: Shape
    layer: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What is committed."""
        rule = self.shape.rule
        return (
            Tensor(self._sign, self.units, ()),
            Tensor(self._low, self.units),
            Tensor(self._error, self.units),
            *remainder_tensors(rule, self._forward, rule.forward_shift(self.layer), self.units),
            *remainder_tensors(rule, self._backward, rule.backward_shift(self.layer), self.units),
        )

    def witness(self, Z: IntArray, A: IntArray, E: IntArray, D: IntArray, dropped: IntArray) -> dict[str, IntArray]:
        """Return the committed values, (samples, width) each."""
        rule, t = self.shape.rule, self.shape.rule.plan.limb_bits
        s, back = rule.forward_shift(self.layer), rule.backward_shift(self.layer)
        sign = (A >= 0).astype(np.int64)
        return {
            self._sign: sign,
            self._low: A - ((sign - 1) << t),
            self._error: D + (1 << (t - 1)),
            **split_limbs(self._forward, rule.scale * Z + (1 << (s - 1)) - (A << s), rule.limbs(s), t),
            **split_limbs(self._backward, rule.scale * (1 - dropped) * sign * E + (1 << (back - 1)) - (D << back), rule.limbs(back), t),
        }

    def relations(
        self, context: Context, point: Sequence[int], out: Direction, dropped: IntArray
    ) -> tuple[Form, tuple[int, ...], Direction, Form]:
        """Demand the relations at a random point.

        Parameters
        ----------
        context, point, out
        dropped : int64 array of shape (samples, width)
            1 where dropout leaves a unit out.

        Returns
        -------
        z : Form
            What ``Z(point, out)`` must be.
        at, units, e
            What ``E(at, units)`` must be.
        """
        channel, rule, t = context.channel, self.shape.rule, self.shape.rule.plan.limb_bits
        full = [*point, *out.point]
        one = self.shape.mask(point) * sum(out.dense) % ORDER
        A = combine([(1 << t, context.at(self._sign, full)), (-(1 << t), one), (1, context.at(self._low, full))])
        s, back, unscale = rule.forward_shift(self.layer), rule.backward_shift(self.layer), pow(rule.scale, -1, ORDER)
        z = rounded(A, context.limbs(self._forward, rule.limbs(s), full), s, one) * unscale
        D = self.error(context, point, out)
        product = rounded(D, context.limbs(self._backward, rule.limbs(back), full), back, one) * unscale
        mix = channel.challenge("sign mix")
        prover = self._sign_tables(context.tensors, context.values, full, mix, dropped) if context.tensors and context.values else None
        r, value = sumcheck(channel, "derivative", product, len(full), 3, prover)
        f_sign, f_mixed, both = channel.product("derivative", prover.final()[1:] if prover else None)
        at_rows = self._each(point, r[: len(point)])
        at_units = [x * y % ORDER for x, y in zip(eq_table(out.point), eq_table(r[len(point) :]), strict=True)]
        weight = (eq(full, r) - bilinear(at_rows, dropped, at_units)) % ORDER
        channel.vanish(f"derivative {self.layer + 1}", value - weight * both)
        channel.vanish(f"derivative {self.layer + 1} sign", f_sign - context.at(self._sign, r))
        at, units = tuple(r[: len(point)]), Direction(tuple(r[len(point) :]), out.size)
        return z, at, units, combine([(1, f_mixed), (-mix, f_sign), (mix, 1)])

    def error(self, context: Context, point: Sequence[int], out: Direction) -> Form:
        """Return ``D(point, out)``."""
        one = self.shape.mask(point) * sum(out.dense) % ORDER
        half = 1 << (self.shape.rule.plan.limb_bits - 1)
        return context.at(self._error, [*point, *out.point]) - half * one

    def activations(self, context: Context, claims: Sequence[InputClaim], dropped: IntArray) -> None:
        """Demand claims about the inputs of the next layer: ``H = κ·β·L``, and the constant."""
        channel, width = context.channel, self.shape.rule.layers[self.layer + 1]
        constant = 1 << self.shape.rule.plan.activation_bits
        mix = channel.challenge("activation mix")
        powers = [pow(mix, i, ORDER) for i in range(len(claims))]
        total: list[tuple[int, Form | int]] = [(power, claim.value) for power, claim in zip(powers, claims, strict=True)]
        for power, claim in zip(powers, claims, strict=True):
            bias = sum(claim.rows[width:]) * constant  # the weight of the constant, if the claim has one
            total.append((-power * bias, self.shape.mask(claim.point)))
        prover = self._activation_tables(context.tensors, claims, powers, dropped) if context.tensors else None
        rounds = self.shape.sample_variables + variables(width)
        r, value = sumcheck(channel, "activation", combine(total), rounds, 3, prover)
        n, h = r[: self.shape.sample_variables], eq_table(r[self.shape.sample_variables :])
        weight = sum(power * self._kept(claim, n, h[:width], dropped) for power, claim in zip(powers, claims, strict=True)) % ORDER
        f_sign, f_low, product = channel.product("activation", prover.final()[1:] if prover else None)
        channel.vanish(f"activation {self.layer + 1}", value - weight * product)
        channel.vanish(f"activation {self.layer + 1} sign", f_sign - context.at(self._sign, r))
        channel.vanish(f"activation {self.layer + 1} low", f_low - context.at(self._low, r))

    def _kept(self, claim: InputClaim, n: Sequence[int], h: Sequence[int], dropped: IntArray) -> int:
        """Return ``Σ eq(claim.point, ·)·eq(n, ·)·claim.rows·h`` over the units that are kept."""
        units = [x * y % ORDER for x, y in zip(claim.rows, h, strict=False)]
        return (eq(claim.point, n) * sum(units) - bilinear(self._each(claim.point, n), dropped, units)) % ORDER

    def _each(self, point: Sequence[int], n: Sequence[int]) -> list[int]:
        """Return ``eq(point, ·)·eq(n, ·)`` at each real sample: nothing where no unit is dropped."""
        if not self.shape.rule.dropout:
            return []
        a, b = eq_table(point), eq_table(n)
        return [a[row] * b[row] % ORDER for row in self.shape.positions]

    def _keep(self, dropped: IntArray) -> Vector:
        """Return ``κ`` over the whole cube: one in padding."""
        return vectors.from_int64(1 - self.shape.spread(dropped, self.units))

    def _sign_tables(
        self, tensors: Mapping[str, IntArray], values: Values, point: Sequence[int], mix: int, dropped: IntArray
    ) -> ProductSum:
        E = values.propagated[self.layer]
        table = np.zeros((E.shape[0], E.shape[1], self.units), dtype=np.int64)
        table[:, :, : E.shape[2]] = E
        sign = vectors.from_int64(tensors[self._sign])
        shifted = vectors.from_int64(tensors[self._sign] - 1)
        mixed = vectors.add(vectors.from_int64(table.reshape(-1)), vectors.scale(shifted, mix))
        return ProductSum([vectors.multiply(vectors.eq_table(point), self._keep(dropped)), sign, mixed], [(0, 1, 2)])

    def _activation_tables(
        self, tensors: Mapping[str, IntArray], claims: Sequence[InputClaim], powers: Sequence[int], dropped: IntArray
    ) -> ProductSum:
        width = self.shape.rule.layers[self.layer + 1]
        sign, low = (vectors.from_int64(tensors[name]) for name in (self._sign, self._low))
        weights: Vector = vectors.constant(0, len(sign))
        for power, claim in zip(powers, claims, strict=True):
            rows = [power * x % ORDER for x in claim.rows[:width]]
            columns = vectors.from_ints(rows + [0] * (self.units - len(rows)))
            weights = vectors.add(weights, vectors.outer(vectors.eq_table(claim.point), columns))
        return ProductSum([vectors.multiply(weights, self._keep(dropped)), sign, low], [(0, 1, 2)])

    @property
    def units(self) -> int:
        """Padded width."""
        return padded(self.shape.rule.layers[self.layer + 1])

    @property
    def _sign(self) -> str:
        return f"layer {self.layer + 1} sign"

    @property
    def _low(self) -> str:
        return f"layer {self.layer + 1} low"

    @property
    def _error(self) -> str:
        return f"layer {self.layer + 1} error"

    @property
    def _forward(self) -> str:
        return f"layer {self.layer + 1} forward remainder"

    @property
    def _backward(self) -> str:
        return f"layer {self.layer + 1} backward remainder"
