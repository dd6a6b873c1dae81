"""Section 3, the layers, and section 4, steps 3 to 6: rounding and ReLU, matrix products, the history of weights, activations.

A claim is a weighted sum over a matrix that nobody committed to, and its value. Weights are lists over whole padded axes. Those of errors
are ``eq``, not cut to the real units: the tensors of a hidden layer are weighed by all of it, which is what forces padded units to be zero.
Everything else (weights, inputs, the loss, constants) is weighed by the real units only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zk.field import ORDER
from zk.plain.algebra import Affine, cube, cut, dot, log2
from zk.plain.losses import Values, last_product, output_error, unround
from zk.plain.messages import Conversation
from zk.plain.statement import coefficients, dropped_units
from zk.training.statement import TrainingStatement


@dataclass(frozen=True)
class SampleClaim:
    """``Σ over[n]·units[i]·M[n, i] = value`` for the inputs of a layer, the constant last, or the errors at its output."""

    layer: int
    over: list[int]
    units: list[int]
    value: Affine


@dataclass(frozen=True)
class WeightClaim:
    """``Σ steps[k]·rows[i]·columns[o]·W[k][i, o] = value``; ``compared`` if the update is compared at these rows and columns."""

    layer: int
    steps: list[int]
    rows: list[int]
    columns: list[int]
    value: Affine
    compared: bool


class Layers:
    """One run of steps 2 to 6."""

    def __init__(self, talk: Conversation, values: Values, statement: TrainingStatement) -> None:
        self.talk = talk
        self.values = values
        self.shape = values.shape
        self.rule = statement.rule
        self.statement = statement
        self.kept = [self._kept(dropped) for dropped in dropped_units(statement)]
        self.inputs: list[SampleClaim] = []
        self.errors: list[SampleClaim] = []
        self.weights: list[WeightClaim] = []

    def check(self) -> None:
        """Demand that the update is what training gives."""
        last = self.rule.depth
        point, units = self._random(last)
        full = cube(units)
        Z = last_product(self.talk, self.values, point, cut(full, self.rule.layers[-1]))
        self._forward(last, point, full, Z)
        for layer in reversed(range(last)):
            self._hidden(layer)
        self._history()
        for claim in self.errors:
            self.talk.must_vanish(f"error {claim.layer + 1}", claim.value - self._error(claim))
        for claim in self.inputs:
            if claim.layer == 0:
                self.talk.must_vanish("samples", claim.value - self.values.slots(0, claim.over, claim.units[: self.rule.layers[0] + 1]))
        for layer in range(last):
            self._activations(layer, [claim for claim in self.inputs if claim.layer == layer + 1])

    def _random(self, layer: int) -> tuple[list[int], list[int]]:
        """Draw a point over the samples and one over the outputs of a layer."""
        point = self.talk.transcript.challenges("samples", log2(self.shape.samples))
        return point, self.talk.transcript.challenges("units", log2(self.shape.units(layer)))

    def _hidden(self, layer: int) -> None:
        """Demand rounding, ReLU and its derivative in a hidden layer, then the two matrix products that they speak of."""
        point, units = self._random(layer)
        width, t, name = self.rule.layers[layer + 1], self.shape.t, f"layer {layer + 1}"
        over, full = cube(point), cube(units)
        one = dot(over, self.shape.mask) * sum(full[:width])
        A = self.values.at(f"{name} beta", over, full) * (1 << t) - (one << t) + self.values.at(f"{name} L", over, full)
        remainder = self.values.limbs(f"{name} rem", self.shape.forward_limbs(layer), over, full)
        unscale = pow(max(1, self.rule.dropout), -1, ORDER)
        Z = unround(A, remainder, self.rule.forward_shift(layer), one) * unscale
        D = self.values.at(f"{name} D'", over, full) - (one << (t - 1))
        remainder = self.values.limbs(f"{name} rem'", self.shape.backward_limbs(layer), over, full)
        beta_E = unround(D, remainder, self.rule.backward_shift(layer), one) * unscale
        # Σ eq(point, ·)·κ·β·(E + λβ - λ): the derivative, and that β is a bit
        mix = self.talk.challenge("sign mix")
        r, value = self.talk.sumcheck("derivative", beta_E, len(point) + len(units))
        f_beta, f_mixed, both = self.talk.read_product("derivative")
        n = len(point)
        at_samples, at_units = cube(r[:n]), cube(r[n:])
        weight = self._weigh(layer, over, at_samples, full, at_units)
        self.talk.must_vanish(f"derivative {layer + 1}", value - both * weight)
        self.talk.must_vanish(f"derivative {layer + 1} sign", f_beta - self.values.at(f"{name} beta", at_samples, at_units))
        E = f_mixed - f_beta * mix + mix
        self._backward(layer + 1, r[:n], cut(at_units, width), E)
        self._forward(layer, point, full, Z)

    def _forward(self, layer: int, point: Sequence[int], columns: list[int], Z: Affine) -> None:
        """Reduce ``Σ_n Σ_o eq(point, n)·columns[o]·Z[n, o]`` over the real units ``o``, where ``Z = In·W``."""
        width = self.rule.layers[layer] + 1
        k = log2(self.shape.steps)
        r, value = self.talk.sumcheck("forward", Z, k + log2(width))
        f_in, f_w, both = self.talk.read_product("matrix product")
        steps, rows = cube(r[:k]), cut(cube(r[k:]), width)
        self.talk.must_vanish(f"forward {layer + 1}", value - both * dot(cube(point[:k]), steps))
        self.inputs.append(SampleClaim(layer, cube([*r[:k], *point[k:]]), rows, f_in))
        self.weights.append(WeightClaim(layer, steps, rows, columns, f_w, compared=True))

    def _backward(self, layer: int, point: Sequence[int], v: list[int], E: Affine) -> None:
        """Reduce ``Σ_n Σ_i eq(point, n)·v[i]·E[n, i]``, where ``E = Err·Wᵀ`` without the row of the constant."""
        width = self.rule.layers[layer + 1]
        k = log2(self.shape.steps)
        r, value = self.talk.sumcheck("backward", E, k + log2(width))
        f_error, f_w, both = self.talk.read_product("matrix product")
        steps, columns = cube(r[:k]), cube(r[k:])
        self.talk.must_vanish(f"backward {layer + 1}", value - both * dot(cube(point[:k]), steps))
        self.errors.append(SampleClaim(layer, cube([*r[:k], *point[k:]]), columns, f_error))
        self.weights.append(WeightClaim(layer, steps, v, columns, f_w, compared=False))

    def _kept(self, dropped: list[list[int]]) -> list[list[int]]:
        """Return ``κ``, 0 where a unit is dropped, over padded samples and units: the padded ones are kept."""
        units = 1 << log2(len(dropped[0]))
        rows = iter(dropped)
        return [[1 - x for x in next(rows)] + [1] * (units - len(dropped[0])) if real else [1] * units for real in self.shape.mask]

    def _weigh(self, layer: int, over: list[int], samples: list[int], full: list[int], units: list[int]) -> int:
        """Return ``Σ_n Σ_o over[n]·samples[n]·full[o]·units[o]·κ[n, o]``; ``full`` may end before the padded units."""
        each = [x * y % ORDER for x, y in zip(full, units, strict=False)]
        return sum(a * b % ORDER * dot(each, row[: len(each)]) for a, b, row in zip(over, samples, self.kept[layer], strict=True)) % ORDER

    def _history(self) -> None:
        """Reduce all claims about weights, and the update's, to one about ``Σ_j Σ_b past(j)·In[j, b]·Err[j, b]``."""
        K = self.rule.steps
        kept, counted = coefficients(self.rule)
        mix, power = self.talk.challenge("history mix"), 1
        claimed, factors = Affine(), []
        for claim in self.weights:
            start, update = self.statement.start[claim.layer].tolist(), self.statement.update[claim.layer].tolist()
            at_start = _bilinear(claim.rows, start, claim.columns)
            over_steps = [0] * self.shape.steps
            for k, weight in enumerate(claim.steps):
                step = min(k, K)  # in padded steps the weights are the trained ones
                claimed = claimed + power * weight * kept[step] * at_start
                for j in range(step):
                    over_steps[j] += power * weight * counted[step - j]
            claimed = claimed - claim.value * power
            power *= mix
            if claim.compared:  # W[K] - 2^h·W₀ - update = 0
                claimed = claimed + power * ((kept[K] - kept[0]) * at_start - _bilinear(claim.rows, update, claim.columns))
                for j in range(K):
                    over_steps[j] += power * counted[K - j]
                power *= mix
            factors.append(over_steps)
        r, value = self.talk.sumcheck("history", claimed, log2(self.shape.samples))
        over, at_steps = cube(r), cube(r[: log2(self.shape.steps)])
        for claim, over_steps in zip(self.weights, factors, strict=True):
            f_in, f_error, both = self.talk.read_product("history")
            value = value - both * dot(over_steps, at_steps)
            self.inputs.append(SampleClaim(claim.layer, over, claim.rows, f_in))
            self.errors.append(SampleClaim(claim.layer, over, claim.columns, f_error))
        self.talk.must_vanish("history", value)

    def _error(self, claim: SampleClaim) -> Affine:
        """Return the weighted error at the output of a layer: ``G``, or ``D = D' - 2^(t-1)·μ``."""
        width = self.rule.layers[claim.layer + 1]
        if claim.layer == self.rule.depth:
            return output_error(self.values, claim.over, cut(claim.units, width))
        one = dot(claim.over, self.shape.mask) * sum(claim.units[:width])
        return self.values.at(f"layer {claim.layer + 1} D'", claim.over, claim.units) - (one << (self.shape.t - 1))

    def _activations(self, layer: int, claims: Sequence[SampleClaim]) -> None:
        """Demand all claims about what enters the next layer: ``κ∘β∘L``, and the constant."""
        width, name = self.rule.layers[layer + 1], f"layer {layer + 1}"
        mix = self.talk.challenge("activation mix")
        claimed = Affine()
        for i, claim in enumerate(claims):
            constant = sum(claim.units[width : width + 1]) << self.rule.plan.activation_bits
            claimed = claimed + (claim.value - constant * dot(claim.over, self.shape.mask)) * mix**i
        n = log2(self.shape.samples)
        r, value = self.talk.sumcheck("activation", claimed, n + log2(width))
        f_beta, f_low, both = self.talk.read_product("activation")
        over, units = cube(r[:n]), cube(r[n:])
        weight = sum(mix**i * self._weigh(layer, claim.over, over, claim.units[:width], units[:width]) for i, claim in enumerate(claims))
        self.talk.must_vanish(f"activation {layer + 1}", value - both * weight)
        self.talk.must_vanish(f"activation {layer + 1} sign", f_beta - self.values.at(f"{name} beta", over, units))
        self.talk.must_vanish(f"activation {layer + 1} low", f_low - self.values.at(f"{name} L", over, units))


def _bilinear(rows: Sequence[int], matrix: list[list[int]], columns: Sequence[int]) -> int:
    """Return ``Σ rows[i]·columns[o]·matrix[i][o]`` over the real entries."""
    return sum(rows[i] * columns[o] * x for i, row in enumerate(matrix) if i < len(rows) for o, x in enumerate(row))
