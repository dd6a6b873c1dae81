"""The fixed-point plan of a rule: how many fractional bits each quantity has, and how large the products of training can become.

Source: ``docs/exact-training.md``. Integers only. Layers count from 0 in code and from 1 in messages, as in the formulas.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, Self

from zk.errors import RuleError

EXACT_BITS = 53  # float64 holds every integer up to 2^53
WORD_BITS = 62  # what an int64 holds with a bit to spare
MAX_WEIGHT_RANGE_BITS = 31
MAX_LIMB_BITS = 16  # tables have 2^limb_bits entries
MAX_LIMBS = 3  # of the remainder of one rounding
WEIGHT_BITS, LEAST_ERROR_BITS = 28, 8  # of a derived plan
WHOLE_BITS = 3  # a derived plan gives weights a range of 8, where products stay exact
# with momentum or weight decay: the rate in units of 2^-18, errors of 10 bits, so weights of 36 bits, 24 of them in the global model
HISTORY_RATE_SHIFT, HISTORY_ERROR_BITS, HISTORY_COEFFICIENT_BITS = 18, 10, 12


class Loss(StrEnum):
    """What training minimises, averaged over a batch and summed over outputs."""

    SOFTMAX = "softmax-cross-entropy"
    BINARY = "binary-cross-entropy"
    SQUARED = "mean-squared-error"  # one half of the squared difference, for each output


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
        Width ``t`` of a range check; a rounding drops at most ``3t`` bits.
    weight_range_bits
        Every weight of the global model is smaller than two to this power, on its grid.
    rate_numerator, rate_shift
        The learning rate divided by the batch size is ``rate_numerator * 2^-rate_shift``, exactly. Momentum's coefficients are
        multiples of ``2^-rate_shift`` too.
    coefficient_bits
        Fractional bits ``h`` of what weight decay leaves of the global model. Weights inside a round have ``h`` more bits than it.

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
    coefficient_bits: int = 0

    def __post_init__(self) -> None:
        """Refuse widths that no rule could use."""
        for field in fields(self):
            least = 0 if field.name in ("rate_shift", "coefficient_bits") else 1
            if getattr(self, field.name) < least:
                raise RuleError(f"{field.name} is {getattr(self, field.name)}: it must be at least {least}")
        for name in ("feature_bits", "activation_bits", "logit_bits"):
            if getattr(self, name) > self.limb_bits:
                raise RuleError(f"{name} exceeds limb_bits: a value of one would leave the checked range")
        if self.weight_range_bits > MAX_WEIGHT_RANGE_BITS:
            raise RuleError(f"weight_range_bits is at most {MAX_WEIGHT_RANGE_BITS}")
        if self.limb_bits > MAX_LIMB_BITS:
            raise RuleError(f"limb_bits is at most {MAX_LIMB_BITS}: a table has 2^limb_bits entries")
        if self.coefficient_bits >= self.weight_range_bits:
            raise RuleError("coefficient_bits must be below weight_range_bits: products with the low bits of a weight would not be exact")

    @classmethod
    def derive(
        cls, learning_rate: float | Fraction, batch: int, layers: tuple[int, ...], *, history: bool = False, dropout: int = 0
    ) -> Self:
        """Derive the plan for a learning rate, with 28 fractional bits of weight and 14-bit limbs.

        The rate shift ``l`` is the least of 8..12 that represents the rate exactly; errors get ``20 - l``
        fractional bits. A smaller shift would leave back-propagated errors, ``t`` bits in all, a range of one or less; a larger one
        fewer than eight bits.

        Parameters
        ----------
        learning_rate
            Step size for the mean gradient of a batch; a float counts as the dyadic rational that it is.
        batch
            Samples in a batch.
        layers
            Widths, inputs first; they decide how large a weight may be (``weight_range_bits``).
        history
            Whether there is momentum or weight decay: then ``l`` is 18, so that coefficients that are no powers of two are
            close to what they round, errors have 10 bits, weights 36 inside a round and 24 in the global model.
        dropout
            One of so many units is dropped (see :class:`zk.rule.Rule`). What scaling the others takes, two bits for one in five, is
            taken from errors, weights and the largest ``l``, so that roundings still take two limbs.

        Raises
        ------
        RuleError
            If the rate is not representable (the message names the nearest that is), or no weight range
            keeps the layers' products exact.
        """
        if batch < 1 or not math.isfinite(learning_rate) or learning_rate <= 0:
            raise RuleError("the learning rate and the batch size must be positive")
        rate = Fraction(learning_rate) / batch
        bits = WEIGHT_BITS - scale_bits(dropout)
        shifts = (HISTORY_RATE_SHIFT,) if history else range(8, bits - LEAST_ERROR_BITS - cls.feature_bits + 1)
        shift = next((bits for bits in shifts if (rate * (1 << bits)).denominator == 1), None)
        if shift is None:
            finest = max(shifts)
            nearest = Fraction(max(1, round(rate * 2**finest)), 2**finest) * batch
            raise RuleError(
                f"learning rate {learning_rate} over batch {batch} is not a multiple of 2^-{finest}: "
                f"use {float(nearest)}, the nearest that is"
            )
        errors = HISTORY_ERROR_BITS if history else bits - cls.feature_bits - shift
        coefficient_bits = HISTORY_COEFFICIENT_BITS if history else 0
        plan = cls(
            output_error_bits=errors,
            error_bits=errors,
            rate_numerator=int(rate * 2**shift),
            rate_shift=shift,
            coefficient_bits=coefficient_bits,
        )
        weight_bits = plan.feature_bits + errors + shift - coefficient_bits
        for range_bits in range(min(MAX_WEIGHT_RANGE_BITS, weight_bits + WHOLE_BITS), coefficient_bits, -1):
            plan = replace(plan, weight_range_bits=range_bits)
            if all(product.exact for loss in Loss for product in products(layers, loss, batch, plan, dropout)):
                return plan
        raise RuleError("no weight range keeps these products exact: use narrower layers or a smaller batch")


def scale_bits(dropout: int) -> int:
    """Return ``b`` where dropping one of ``dropout`` units scales the others by ``dropout / 2^b``; 0 without dropout."""
    return (dropout - 1).bit_length() - 1 if dropout else 0


class Product(NamedTuple):
    """A matrix product of training with the largest magnitude that any of its partial sums can have."""

    layer: int
    name: str
    bound: int
    limit: int
    advice: str

    @property
    def exact(self) -> bool:
        """Whether all partial sums are exact."""
        return self.bound <= self.limit


def products(layers: tuple[int, ...], loss: Loss, batch: int, plan: Plan, dropout: int = 0) -> Iterator[Product]:
    """Yield each product of a step with its worst case over all values within the agreed ranges.

    Sums of magnitudes, so the bound holds for partial sums in any order, with the rounding constant (half
    of a shift, at most 3t bits) or the weight that is added afterwards. Weights of a round are cut into the bits above the grid of
    the global model and the ``coefficient_bits`` below; the bound is for the former, a product with the latter is smaller.
    """
    weight = (1 << plan.weight_range_bits) - (0 if plan.coefficient_bits else 1)
    half = 1 << (_largest_shift(layers, plan, dropout) - 1)
    limit = 1 << EXACT_BITS
    if plan.coefficient_bits:  # the same sums with whole weights, scaled for dropout, fit an int64, and with their low bits a float64
        limit = min(limit, 1 << (WORD_BITS - plan.coefficient_bits)) // max(1, dropout)
    depth = len(layers) - 2
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        one = 1 << (plan.feature_bits if layer == 0 else plan.activation_bits)
        largest = one - 1 if layer == 0 else (1 << plan.limb_bits) - 1
        error = _largest_output_error(loss, plan) if layer == depth else 1 << (plan.limb_bits - 1)
        lower = "lower weight_range_bits or narrow the layer"
        yield Product(layer, "the product of inputs and weights", (inputs * largest + one) * weight + half, limit, lower)
        if layer > 0:
            yield Product(layer, "the product of errors and weights", outputs * error * weight + half, limit, lower)
        update = plan.rate_numerator * batch * max(one, largest) * error + weight
        smaller = "use a smaller batch, learning rate or error precision"
        yield Product(layer, "the product of inputs and errors", update, 1 << EXACT_BITS, smaller)


def _largest_shift(layers: tuple[int, ...], plan: Plan, dropout: int) -> int:
    """Return at least as many bits as any rounding drops, and two limbs at least."""
    first_error = plan.error_bits if len(layers) > 2 else plan.output_error_bits
    local_bits = plan.feature_bits + first_error + plan.rate_shift
    inputs, outputs = max(plan.feature_bits, plan.activation_bits), min(plan.activation_bits, plan.logit_bits)
    most = max(2 * plan.limb_bits, local_bits + scale_bits(dropout) + inputs - outputs)
    return min(MAX_LIMBS * plan.limb_bits, most)


def largest_gradient(loss: Loss, batch: int, plan: Plan) -> int:
    """Return the largest magnitude that an entry of any layer's product of inputs and errors can have."""
    error = max(_largest_output_error(loss, plan), 1 << (plan.limb_bits - 1))
    return batch * error << plan.limb_bits


def _largest_output_error(loss: Loss, plan: Plan) -> int:
    if loss == Loss.SQUARED:
        # A - Y reaches from -2^t - (2^f_z - 1) to 2^t - 1.
        scale = max(0, plan.output_error_bits - plan.logit_bits)
        return ((1 << plan.limb_bits) + (1 << plan.logit_bits) - 1) << scale
    return 1 << plan.output_error_bits
