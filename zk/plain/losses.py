"""Section 3, the loss, and section 4, step 2: what the last product ``Z`` must be, and what the error ``G`` is.

Weights ``over`` are over the padded samples, weights ``w`` over the padded outputs, zero for those that are padded.
"""

from collections.abc import Sequence

from zk.plain.algebra import Affine, cube, cut, dot, log2, outer, total, weigh
from zk.plain.messages import Conversation
from zk.plain.tensors import SAMPLES, Shape
from zk.rule import LABEL_SLOTS, Loss
from zk.tables import EXP_BITS, sigmoid_table


class Values:
    """Sums over committed tensors."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def at(self, name: str, over: Sequence[int], units: Sequence[int] = (1,)) -> Affine:
        """Return ``Σ over[n]·units[j]·T[n, j]``."""
        return weigh(name, outer(over, units))

    def limbs(self, name: str, count: int, over: Sequence[int], units: Sequence[int] = (1,)) -> Affine:
        """Return the same for a value in limbs, the least significant first."""
        return total(self.at(f"{name} limb {i}", over, units) * (1 << (self.shape.t * i)) for i in range(count))

    def slots(self, first: int, over: Sequence[int], slots: Sequence[int]) -> Affine:
        """Return ``Σ over[n]·slots[i]·sample[n, first + i]``: a sample fills one row of the matrix."""
        width = self.shape.width
        row = [0] * first + list(slots) + [0] * (width - first - len(slots))
        return weigh(SAMPLES, outer(over, row))

    def labels(self, over: Sequence[int], w: Sequence[int]) -> Affine:
        """Return ``Σ over[n]·w[j]·Y[n, j]``; labels are in the last 16 slots of a sample."""
        return self.slots(self.shape.sample_width - LABEL_SLOTS, over, w[: self.shape.rule.layers[-1]])


def unround(value: Affine, remainder: Affine, shift: int, one: int) -> Affine:
    """Return ``Z`` from ``Z + 2^(shift-1)·one = 2^shift·value + remainder``."""
    return value * (1 << shift) + remainder - (1 << (shift - 1)) * one


def last_product(talk: Conversation, values: Values, point: Sequence[int], w: Sequence[int]) -> Affine:
    """Demand the loss's relations at the random ``point`` over the samples and direction ``w``, and return ``Z`` there."""
    shape, over = values.shape, cube(point)
    one = dot(over, shape.mask) * sum(w)
    remainder = values.limbs("rem", shape.forward_limbs(shape.rule.depth), over, w)
    if shape.rule.loss is Loss.SOFTMAX:
        _check_softmax(talk, values, over, w)
        half = 1 << (shape.t * shape.maximum_limbs - 1)
        maximum = values.limbs("max", shape.maximum_limbs, over) - half * dot(over, shape.mask)
        logits = maximum * sum(w) - values.at("u", over, w)
    else:
        logits = _logits(values, over, w)
    return unround(logits, remainder, shape.rule.forward_shift(shape.rule.depth), one)


def output_error(values: Values, over: Sequence[int], w: Sequence[int]) -> Affine:
    """Return ``Σ over[n]·w[j]·G[n, j]``."""
    shape, plan = values.shape, values.shape.rule.plan
    labels = values.labels(over, w)
    match shape.rule.loss:
        case Loss.SOFTMAX:
            return values.limbs("P", shape.probability_limbs, over, w) - labels * (1 << plan.output_error_bits)
        case Loss.BINARY:
            one = dot(over, shape.mask) * sum(w)
            probability = values.at("c", over, w) + sigmoid_table(plan)[0] * one
            return probability - labels * (1 << plan.output_error_bits)
        case Loss.SQUARED:
            return (_logits(values, over, w) - labels) * (1 << (plan.output_error_bits - plan.logit_bits))


def _logits(values: Values, over: Sequence[int], w: Sequence[int]) -> Affine:
    """Return ``A`` of the losses that have it as a column: ``A' = A + 2^(t-1)``, or ``low + 2^t·high = A + 2^t``."""
    shape = values.shape
    one = dot(over, shape.mask) * sum(w)
    if shape.rule.loss is Loss.BINARY:
        return values.at("A'", over, w) - (1 << (shape.t - 1)) * one
    return values.at("low", over, w) + values.at("high", over, w) * (1 << shape.t) - (1 << shape.t) * one


def _check_softmax(talk: Conversation, values: Values, over: Sequence[int], w: Sequence[int]) -> None:
    """Demand that ``max`` is reached, and that ``P`` is the quotient with remainder ``ρ``."""
    shape = values.shape
    classes, ones = shape.rule.layers[-1], sum(w)
    real = cut([1] * shape.units(shape.rule.depth), classes)
    mask = dot(over, shape.mask)

    def powers(rows: Sequence[int]) -> Affine:
        """Return ``S = Σ_j e_j`` with ``e_j = 2^14·μ - c_j``."""
        return Affine((classes << EXP_BITS) * dot(rows, shape.mask)) - values.at("c", rows, real)

    talk.must_vanish("one selector", values.at("s", over, real) - mask)
    S = powers(over)
    rho = values.limbs("rho", shape.division_limbs, over, w)
    sigma = values.limbs("sigma", shape.division_limbs, over, w)
    talk.must_vanish("division slack", sigma + rho - S * (2 * ones) + mask * ones)
    e = Affine((ones << EXP_BITS) * mask) - values.at("c", over, w)
    quotient = e * (2 << shape.rule.plan.output_error_bits) + S * ones - rho
    mix = talk.challenge("softmax mix")
    n = log2(shape.samples)
    r, value = talk.sumcheck("softmax", quotient, n + log2(classes))
    f_2S, f_P, division = talk.read_product("softmax division")
    f_s, f_u, selection = talk.read_product("softmax selector")  # f_s = mix·s
    rows, units = cube(r[:n]), cube(r[n:])
    talk.must_vanish("softmax products", value - (division + selection) * (dot(over, rows) * dot(w, units)))
    talk.must_vanish("softmax sum", f_2S - powers(rows) * 2)
    talk.must_vanish("softmax probability", f_P - values.limbs("P", shape.probability_limbs, rows, units))
    talk.must_vanish("softmax selector", f_s - values.at("s", rows, units) * mix)
    talk.must_vanish("softmax distance", f_u - values.at("u", rows, units))
