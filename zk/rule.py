"""The rule of training: layers, loss, batches and fixed-point plan, all that parties agree on before a round.

Source: ``docs/training-proof.md``, exact fixed-point SGD. Weights live on a grid so fine that SGD never
rounds them; only activations and back-propagated errors are rounded, half up, by a multiple of the limb
width ``t``. A ``Rule`` that exists is consistent: one weight grid for all layers, rounding shifts that a
range check of ``t``-bit limbs can prove, and no product that float64 could not hold exactly.

Pure Python, integers only; the two public tables come from ``decimal``, so every platform has the same.
Layers count from 0 in code and from 1 in messages, as in the formulas.
"""

import functools
import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, Self

from zk.errors import RangeError, RuleError
from zk.hashing import sha256

EXACT_BITS = 53  # float64 holds every integer up to 2^53
LABEL_SLOTS = 16  # a committed sample keeps its label in the last 16 slots
EXP_BITS = 14  # fractional bits of the exponential table
MAX_WEIGHT_RANGE_BITS = 31
MAX_LIMB_BITS = 16  # tables have 2^limb_bits entries
_DIGITS = 50  # far more than any table entry needs to round the right way


class Loss(StrEnum):
    """What training minimises, averaged over a batch and summed over outputs."""

    SOFTMAX = "softmax-cross-entropy"
    BINARY = "binary-cross-entropy"
    SQUARED = "mean-squared-error"  # one half of the squared difference, for each output


@dataclass(frozen=True)
class Bound:
    """A quantity of training and the half-open range that the plan gives it."""

    quantity: str
    allowed: range
    advice: str

    def check(self, lowest: float, highest: float, where: str) -> None:
        """Refuse values that span more than the allowed range.

        Parameters
        ----------
        lowest, highest
            Extremes of the quantity, on its own grid; a NaN is refused.
        where
            What was being computed, such as ``"step 3"``.

        Raises
        ------
        RangeError
            Naming the place, the quantity, the range and what to do.
        """
        if not (self.allowed.start <= lowest and highest < self.allowed.stop):
            raise RangeError(
                f"{where}: {self.quantity} spans [{lowest}, {highest}], outside the agreed range "
                f"[{self.allowed.start}, {self.allowed.stop}): {self.advice}"
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The fixed-point plan: how many fractional bits each quantity has.

    Parameters
    ----------
    feature_bits, activation_bits, logit_bits
        Fractional bits ``f_x``, ``f_a``, ``f_z`` of features, hidden activations and logits.
    output_error_bits, error_bits
        Fractional bits ``f_p``, ``f_d`` of the loss's error and of back-propagated errors.
    limb_bits
        Width ``t`` of a range check; every rounding shift is ``t`` or ``2t``.
    weight_range_bits
        Every weight is smaller than two to this power, on the weight grid.
    rate_numerator, rate_shift
        The learning rate divided by the batch size is ``rate_numerator * 2^-rate_shift``, exactly.

    Raises
    ------
    RuleError
        If a width is not positive or too large to work with.
    """

    feature_bits: int = 8
    activation_bits: int = 8
    logit_bits: int = 8
    output_error_bits: int = 12
    error_bits: int = 12
    limb_bits: int = 14
    weight_range_bits: int = MAX_WEIGHT_RANGE_BITS
    rate_numerator: int
    rate_shift: int

    def __post_init__(self) -> None:
        """Refuse widths that no rule could use."""
        for field in fields(self):
            least = 0 if field.name == "rate_shift" else 1
            if getattr(self, field.name) < least:
                raise RuleError(f"{field.name} is {getattr(self, field.name)}: it must be at least {least}")
        for name in ("feature_bits", "activation_bits", "logit_bits"):
            if getattr(self, name) > self.limb_bits:
                raise RuleError(f"{name} exceeds limb_bits: a value of one would leave the checked range")
        if self.weight_range_bits > MAX_WEIGHT_RANGE_BITS:
            raise RuleError(f"weight_range_bits is at most {MAX_WEIGHT_RANGE_BITS}")
        if self.limb_bits > MAX_LIMB_BITS:
            raise RuleError(f"limb_bits is at most {MAX_LIMB_BITS}: a table has 2^limb_bits entries")

    @classmethod
    def derive(cls, learning_rate: float | Fraction, batch: int, layers: tuple[int, ...]) -> Self:
        """Derive the plan for a learning rate, with 28 fractional bits of weight and 14-bit limbs.

        The rate shift ``l`` is the least of 8..12 that represents the rate exactly; errors get ``20 - l``
        fractional bits. A smaller shift would leave back-propagated errors, ``t`` bits in all, a range of one or less.

        Parameters
        ----------
        learning_rate
            Step size for the mean gradient of a batch; a float counts as the dyadic rational that it is.
        batch
            Samples in a batch.
        layers
            Widths, inputs first; they decide how large a weight may be (``weight_range_bits``).

        Raises
        ------
        RuleError
            If the rate is not representable (the message names the nearest that is), or no weight range
            keeps the layers' products exact.
        """
        if batch < 1 or not math.isfinite(learning_rate) or learning_rate <= 0:
            raise RuleError("the learning rate and the batch size must be positive")
        rate = Fraction(learning_rate) / batch
        shift = next((bits for bits in range(8, 13) if (rate * (1 << bits)).denominator == 1), None)
        if shift is None:
            nearest = Fraction(max(1, round(rate * 2**12)), 2**12) * batch
            raise RuleError(
                f"learning rate {learning_rate} over batch {batch} is not a multiple of 2^-12: use {float(nearest)}, the nearest that is"
            )
        plan = cls(
            output_error_bits=20 - shift,
            error_bits=20 - shift,
            rate_numerator=int(rate * 2**shift),
            rate_shift=shift,
        )
        for bits in range(MAX_WEIGHT_RANGE_BITS, 0, -1):
            plan = replace(plan, weight_range_bits=bits)
            if all(product.exact for loss in Loss for product in _products(layers, loss, batch, plan)):
                return plan
        raise RuleError("no weight range keeps these products exact: use narrower layers or a smaller batch")


@dataclass(frozen=True)
class Rule:
    """What one client's local training computes, to the last bit.

    Parameters
    ----------
    layers
        Widths, inputs first: ``(784, 128, 10)``. Weights of layer ``i`` have the shape
        ``(layers[i] + 1, layers[i + 1])``; the last row is the bias, whose input is the constant one on
        the grid of that layer's inputs. ReLU between layers; ``(n, m)`` alone is a linear model.
    loss
        Softmax cross-entropy takes one-hot labels; binary cross-entropy takes 0 or 1 for each output; mean
        squared error takes targets in [0, 1) times ``2^logit_bits``.
    batch, steps
        Samples of a step, and steps of a round: consecutive batches of ``batch * steps`` samples.
    plan
        The fixed-point plan.

    Raises
    ------
    RuleError
        If the parts contradict each other; one line says why and what to change.
    """

    layers: tuple[int, ...]
    loss: Loss
    batch: int
    steps: int
    plan: Plan

    def __post_init__(self) -> None:
        """Refuse sizes, grids, shifts and products that cannot be trained exactly."""
        self._check_sizes()
        self._check_grids()
        for product in _products(self.layers, self.loss, self.batch, self.plan):
            if not product.exact:
                raise RuleError(
                    f"layer {product.layer + 1}: {product.name} can reach 2^{math.log2(product.bound):.2f}, but "
                    f"float64 is exact only up to 2^{EXACT_BITS}: {product.advice}"
                )

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of each layer's weights, the bias row included."""
        return tuple((inputs + 1, outputs) for inputs, outputs in itertools.pairwise(self.layers))

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def samples(self) -> int:
        """Samples that one round of training takes."""
        return self.batch * self.steps

    @property
    def depth(self) -> int:
        """Number of hidden layers, and so the index of the last layer."""
        return len(self.layers) - 2

    @property
    def weight_bits(self) -> int:
        """Fractional bits ``F`` of every weight."""
        return _update_bits(self.plan, 0, self.depth)

    def input_bits(self, layer: int) -> int:
        """Fractional bits of what enters ``layer``."""
        return self.plan.feature_bits if layer == 0 else self.plan.activation_bits

    def output_bits(self, layer: int) -> int:
        """Fractional bits of what leaves ``layer``, before ReLU or loss."""
        return self.plan.logit_bits if layer == self.depth else self.plan.activation_bits

    def error_bits(self, layer: int) -> int:
        """Fractional bits of the error at the output of ``layer``."""
        return self.plan.output_error_bits if layer == self.depth else self.plan.error_bits

    def forward_shift(self, layer: int) -> int:
        """Bits that rounding drops from ``layer``'s product (s1, s2 of the design)."""
        return self.input_bits(layer) + self.weight_bits - self.output_bits(layer)

    def backward_shift(self, layer: int) -> int:
        """Bits that rounding drops from the error that reaches hidden ``layer`` (s3 of the design)."""
        return self.error_bits(layer + 1) + self.weight_bits - self.error_bits(layer)

    @property
    def feature_bound(self) -> Bound:
        """Features: fractions of one, never one itself."""
        scale = f"scale features into [0, 1) and multiply by 2^{self.plan.feature_bits}"
        return Bound("a feature", range(2**self.plan.feature_bits), scale)

    @property
    def label_bound(self) -> Bound:
        """Labels: bits, or targets on the logit grid."""
        if self.loss == Loss.SQUARED:
            scale = f"scale targets into [0, 1) and multiply by 2^{self.plan.logit_bits}"
            return Bound("a target", range(2**self.plan.logit_bits), scale)
        return Bound("a label", range(2), "labels are 0 or 1")

    def activation_bound(self, layer: int) -> Bound:
        """Pre-activations ``A`` of a hidden layer: a sign and one limb."""
        return self._bound(f"the pre-activation A of layer {layer + 1}", -(2**self.plan.limb_bits), self.plan.limb_bits)

    @property
    def logit_bound(self) -> Bound:
        """What the loss looks up or subtracts: ``max - A`` (softmax), or the logits ``A`` themselves."""
        t, last = self.plan.limb_bits, self.depth + 1
        match self.loss:
            case Loss.SOFTMAX:
                return self._bound(f"the logit distance max - A of layer {last}", 0, t)
            case Loss.BINARY:
                return self._bound(f"the logit A of layer {last}", -(2 ** (t - 1)), t - 1)
            case Loss.SQUARED:
                return self._bound(f"the logit A of layer {last}", -(2**t), t)

    def error_bound(self, layer: int) -> Bound:
        """Back-propagated errors ``D`` of a hidden layer: one limb, signed."""
        t = self.plan.limb_bits
        return self._bound(f"the back-propagated error D of layer {layer + 1}", -(2 ** (t - 1)), t - 1)

    def weight_bound(self, layer: int) -> Bound:
        """Weights of a layer, on the weight grid."""
        bits = self.plan.weight_range_bits
        return self._bound(f"the weight W of layer {layer + 1}", 1 - 2**bits, bits)

    @property
    def step_bounds(self) -> tuple[Bound, ...]:
        """What one step checks, in the order in which it computes: A, the logits, D, new weights."""
        hidden = range(self.depth)
        return (
            *(self.activation_bound(layer) for layer in hidden),
            self.logit_bound,
            *(self.error_bound(layer) for layer in reversed(hidden)),
            *(self.weight_bound(layer) for layer in range(self.depth + 1)),
        )

    def _bound(self, quantity: str, start: int, stop_bits: int) -> Bound:
        advice = "use a smaller learning rate, scale the features down or agree a wider plan"
        return Bound(quantity, range(start, 2**stop_bits), advice)

    def _check_sizes(self) -> None:
        if len(self.layers) < 2 or min(self.layers) < 1:
            raise RuleError(f"layers {self.layers}: name the inputs and at least one layer, all positive")
        if self.batch < 1 or self.steps < 1:
            raise RuleError(f"batch {self.batch} and steps {self.steps} must be positive")
        outputs = self.layers[-1]
        if outputs > LABEL_SLOTS:
            raise RuleError(f"{outputs} outputs: a committed sample has room for {LABEL_SLOTS} label values")
        if self.loss == Loss.SOFTMAX and outputs == 1:
            raise RuleError(f"{self.loss} needs two classes or more: use {Loss.BINARY} for one output")
        if self.loss == Loss.SQUARED and self.plan.output_error_bits < self.plan.logit_bits:
            raise RuleError(f"{self.loss}: raise output_error_bits to logit_bits or more, errors are logits scaled up")

    def _check_grids(self) -> None:
        t = self.plan.limb_bits
        for layer in range(self.depth + 1):
            bits = _update_bits(self.plan, layer, self.depth)
            if bits != self.weight_bits:
                raise RuleError(
                    f"updates of layer {layer + 1} have {bits} fractional bits, those of layer 1 {self.weight_bits}: "
                    "choose input and error bits with the same sum for every layer"
                )
        shifts = [(self.forward_shift(layer), layer, "pre-activation") for layer in range(self.depth + 1)]
        shifts += [(self.backward_shift(layer), layer, "back-propagated error") for layer in range(self.depth)]
        for shift, layer, name in shifts:
            if shift not in (t, 2 * t):
                raise RuleError(
                    f"rounding the {name} of layer {layer + 1} drops {shift} bits, a proof needs {t} or {2 * t}: "
                    "change rate_shift, the error bits or limb_bits"
                )


class _Product(NamedTuple):
    """A matrix product of training with the largest magnitude that any of its partial sums can have."""

    layer: int
    name: str
    bound: int
    advice: str

    @property
    def exact(self) -> bool:
        return self.bound <= 1 << EXACT_BITS


def _update_bits(plan: Plan, layer: int, depth: int) -> int:
    """Fractional bits of ``layer``'s weight updates: input bits + error bits + rate shift."""
    inputs = plan.feature_bits if layer == 0 else plan.activation_bits
    errors = plan.output_error_bits if layer == depth else plan.error_bits
    return inputs + errors + plan.rate_shift


def _largest_output_error(loss: Loss, plan: Plan) -> int:
    if loss == Loss.SQUARED:
        # A - Y reaches from -2^t - (2^f_z - 1) to 2^t - 1.
        scale = max(0, plan.output_error_bits - plan.logit_bits)
        return ((1 << plan.limb_bits) + (1 << plan.logit_bits) - 1) << scale
    return 1 << plan.output_error_bits


def _products(layers: tuple[int, ...], loss: Loss, batch: int, plan: Plan) -> Iterator[_Product]:
    """Yield each product of a step with its worst case over all values within the agreed ranges.

    Sums of magnitudes, so the bound holds for partial sums in any order, with the rounding constant (half
    of a shift, at most 2t bits) or the weight that is added afterwards.
    """
    weight, half = (1 << plan.weight_range_bits) - 1, 1 << (2 * plan.limb_bits - 1)
    depth = len(layers) - 2
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        one = 1 << (plan.feature_bits if layer == 0 else plan.activation_bits)
        largest = one - 1 if layer == 0 else (1 << plan.limb_bits) - 1
        error = _largest_output_error(loss, plan) if layer == depth else 1 << (plan.limb_bits - 1)
        lower = "lower weight_range_bits or narrow the layer"
        yield _Product(layer, "the product of inputs and weights", (inputs * largest + one) * weight + half, lower)
        if layer > 0:
            yield _Product(layer, "the product of errors and weights", outputs * error * weight + half, lower)
        update = plan.rate_numerator * batch * max(one, largest) * error + weight
        smaller = "use a smaller batch, learning rate or error precision"
        yield _Product(layer, "the product of inputs and errors", update, smaller)


def exp_table(plan: Plan) -> tuple[int, ...]:
    """Tabulate the exponential: ``EXP[u] = round(2^14 exp(-u / 2^f_z))`` half up, for ``u`` in [0, 2^t)."""
    return _exp_table(plan.logit_bits, plan.limb_bits)


def sigmoid_table(plan: Plan) -> tuple[int, ...]:
    """Tabulate the logistic function at every logit of binary cross-entropy.

    Returns
    -------
    tuple of int
        ``round(2^f_p / (1 + exp(-A / 2^f_z)))`` half up, at index ``A + 2^(t-1)`` for ``A`` in
        ``[-2^(t-1), 2^(t-1))``.
    """
    return _sigmoid_table(plan.logit_bits, plan.limb_bits, plan.output_error_bits)


def loss_table(rule: Rule) -> tuple[int, ...]:
    """Return the public table that the rule's loss looks up; mean squared error has none."""
    match rule.loss:
        case Loss.SOFTMAX:
            return exp_table(rule.plan)
        case Loss.BINARY:
            return sigmoid_table(rule.plan)
        case Loss.SQUARED:
            return ()


@functools.lru_cache(maxsize=8)
def tables_digest(rule: Rule) -> str:
    """SHA-256, in hex, of the rule's table as little-endian 64-bit integers (empty if there is none)."""
    table = loss_table(rule)
    return sha256(struct.pack(f"<{len(table)}q", *table)).hex()


@functools.lru_cache(maxsize=8)
def _exp_table(logit_bits: int, limb_bits: int) -> tuple[int, ...]:
    with localcontext(Context(prec=_DIGITS)):
        unit = Decimal(2**logit_bits)
        return tuple(_half_up(2**EXP_BITS * (-u / unit).exp()) for u in range(2**limb_bits))


@functools.lru_cache(maxsize=8)
def _sigmoid_table(logit_bits: int, limb_bits: int, output_error_bits: int) -> tuple[int, ...]:
    half = 2 ** (limb_bits - 1)
    with localcontext(Context(prec=_DIGITS)):
        unit, one = Decimal(2**logit_bits), Decimal(2**output_error_bits)
        return tuple(_half_up(one / (1 + (-A / unit).exp())) for A in range(-half, half))


def _half_up(value: Decimal) -> int:
    """Round a non-negative number half up."""
    return int(value + Decimal("0.5"))
