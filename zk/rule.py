"""The rule of training: layers, loss, batches, optimiser and fixed-point plan, all that parties agree on before a round.

Source: ``docs/exact-training.md``, exact fixed-point SGD. Weights live on a grid so fine that SGD never
rounds them; only activations and back-propagated errors are rounded, half up. A ``Rule`` that exists is consistent: one weight grid for
all layers, rounding shifts that a range check of ``t``-bit limbs can prove, and no product that float64 could not hold exactly.

Pure Python, integers only; the public tables are in :mod:`zk.tables`.
Layers count from 0 in code and from 1 in messages, as in the formulas.
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from zk.coefficients import decay_coefficients, rate_coefficients
from zk.errors import RangeError, RuleError
from zk.plan import EXACT_BITS, MAX_LIMBS, WORD_BITS, Loss, Plan, largest_gradient, products, scale_bits

__all__ = ["EXACT_BITS", "LABEL_SLOTS", "Bound", "Loss", "Plan", "Rule"]

LABEL_SLOTS = 16  # a committed sample keeps its label in the last 16 slots
MAX_HISTORY = 1024  # steps with momentum or decay: a client keeps every gradient of a round
MAX_FRACTION_BITS = 96  # of the denominators of momentum and decay: 17 decimal digits and a learning rate
DROPOUTS = (0, 2, 5)  # one of so many hidden units is dropped: the others are scaled by 2 or 5/4, a fraction of a power of two


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
    momentum
        ``μ``, of the heavy ball: ``V[k] = μ·V[k-1] + G[k]``; 0 for none. The velocity begins at zero in each round.
    decay
        The part of every weight that a step takes away, learning rate times weight decay (decoupled; Loshchilov and Hutter, ICLR
        2019); 0 for none.
    dropout
        One of so many hidden units is dropped while training; 0 for none.
    norm
        The longest update (L2, in real units) that is accepted; None for any.

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
    momentum: Fraction = Fraction(0)
    decay: Fraction = Fraction(0)
    dropout: int = 0
    norm: Fraction | None = None

    def __post_init__(self) -> None:
        """Refuse sizes, grids, shifts and products that cannot be trained exactly."""
        self._check_sizes()
        self._check_optimiser()
        self._check_grids()
        for product in products(self.layers, self.loss, self.batch, self.plan, self.dropout):
            if not product.exact:
                raise RuleError(
                    f"layer {product.layer + 1}: {product.name} can reach 2^{math.log2(product.bound):.2f}, but "
                    f"it is exact only up to 2^{math.log2(product.limit):.4g}: {product.advice}"
                )
        if self.history:
            largest = sum(self.rates) * largest_gradient(self.loss, self.batch, self.plan)
            if largest + (1 << (self.plan.weight_range_bits + self.plan.coefficient_bits)) > 1 << WORD_BITS:
                raise RuleError(
                    f"the sum of {self.steps} gradients can reach 2^{math.log2(largest):.2f}, but it is exact only up to "
                    f"2^{WORD_BITS}: use fewer steps, a smaller batch or a smaller learning rate"
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
        """Fractional bits ``F`` of every weight of the global model."""
        return self.local_bits - self.plan.coefficient_bits

    @property
    def local_bits(self) -> int:
        """Fractional bits ``F + h`` of weights inside a round, and of updates."""
        return self._update_bits(0)

    @property
    def history(self) -> bool:
        """Whether a step's weights depend on more than the last step's: with momentum or weight decay."""
        return bool(self.momentum or self.decay)

    @cached_property
    def keeps(self) -> tuple[int, ...]:
        """What is left of ``W₀`` after ``k`` steps, in units of ``2^-h``: ``k`` from 0 to ``steps``."""
        return decay_coefficients(1 - self.decay, self.steps, self.plan.coefficient_bits)

    @cached_property
    def rates(self) -> tuple[int, ...]:
        """What a gradient counts ``n`` steps later, in units of ``2^-rate_shift``: ``n`` from 0 to ``steps``."""
        return rate_coefficients(self.momentum, 1 - self.decay, self.plan.rate_numerator, self.steps)

    @property
    def scale(self) -> int:
        """What ``Z`` and ``E`` of hidden layers are multiplied by while training, over ``2^scale_bits``: the kept units of dropout."""
        return self.dropout or 1

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
        """Bits that rounding drops from ``layer``'s product while training (s1, s2 of the design)."""
        scaled = scale_bits(self.dropout) if layer < self.depth else 0
        return self.input_bits(layer) + self.local_bits - self.output_bits(layer) + scaled

    def inference_shift(self, layer: int) -> int:
        """Bits that rounding drops from the product with weights of the global model, without dropout."""
        return self.input_bits(layer) + self.weight_bits - self.output_bits(layer)

    def backward_shift(self, layer: int) -> int:
        """Bits that rounding drops from the error that reaches hidden ``layer`` (s3 of the design)."""
        return self.error_bits(layer + 1) + self.local_bits - self.error_bits(layer) + scale_bits(self.dropout)

    def limbs(self, shift: int) -> int:
        """Limbs of the remainder of a rounding that drops ``shift`` bits."""
        return -(-shift // self.plan.limb_bits)

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
        """Weights of a layer of the global model, on its grid."""
        return self._weight_bound(layer, self.plan.weight_range_bits)

    def local_bound(self, layer: int) -> Bound:
        """Weights of a layer inside a round, on their finer grid."""
        return self._weight_bound(layer, self.plan.weight_range_bits + self.plan.coefficient_bits)

    def _weight_bound(self, layer: int, bits: int) -> Bound:
        return self._bound(f"the weight W of layer {layer + 1}", 1 - 2**bits, bits)

    @property
    def step_bounds(self) -> tuple[Bound, ...]:
        """What one step checks, in the order in which it computes: A, the logits, D, new weights."""
        hidden = range(self.depth)
        return (
            *(self.activation_bound(layer) for layer in hidden),
            self.logit_bound,
            *(self.error_bound(layer) for layer in reversed(hidden)),
            *(self.local_bound(layer) for layer in range(self.depth + 1)),
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

    def _check_optimiser(self) -> None:
        if not 0 <= self.momentum < 1:
            raise RuleError(f"momentum {self.momentum} must be at least 0 and below 1")
        if not 0 <= self.decay < 1:
            raise RuleError(f"a step takes {self.decay} of each weight away: lower the weight decay or the learning rate")
        if max(self.momentum.denominator, self.decay.denominator).bit_length() > MAX_FRACTION_BITS:
            raise RuleError("momentum and weight decay have too many digits: their powers would take for ever")
        if self.history and self.steps > MAX_HISTORY:
            raise RuleError(f"{self.steps} steps with momentum or weight decay: a client keeps every gradient, at most {MAX_HISTORY}")
        if self.decay and self.keeps[-1] == self.keeps[0]:
            raise RuleError(
                f"{self.steps} steps of weight decay leave all of a weight at {self.plan.coefficient_bits} coefficient_bits: "
                "raise coefficient_bits, the weight decay or the steps"
            )
        if self.dropout not in DROPOUTS:
            raise RuleError(f"dropout of one unit in {self.dropout}: exact scaling takes one in 2, one in 5, or 0 for none")
        if self.dropout and not self.depth:
            raise RuleError("dropout needs a hidden layer")
        if self.norm is not None and self.norm <= 0:
            raise RuleError("the longest update must have a positive norm")

    def _update_bits(self, layer: int) -> int:
        """Fractional bits of ``layer``'s weight updates: input bits + error bits + rate shift."""
        return self.input_bits(layer) + self.error_bits(layer) + self.plan.rate_shift

    def _check_grids(self) -> None:
        for layer in range(self.depth + 1):
            bits = self._update_bits(layer)
            if bits != self.local_bits:
                raise RuleError(
                    f"updates of layer {layer + 1} have {bits} fractional bits, those of layer 1 {self.local_bits}: "
                    "choose input and error bits with the same sum for every layer"
                )
        most = MAX_LIMBS * self.plan.limb_bits
        shifts = [(self.forward_shift(layer), layer, "pre-activation") for layer in range(self.depth + 1)]
        shifts += [(self.backward_shift(layer), layer, "back-propagated error") for layer in range(self.depth)]
        shifts += [(self.inference_shift(layer), layer, "pre-activation of inference") for layer in range(self.depth + 1)]
        for shift, layer, name in shifts:
            if not 1 <= shift <= most:
                raise RuleError(
                    f"rounding the {name} of layer {layer + 1} drops {shift} bits, a proof takes 1 to {most}: "
                    "change rate_shift, coefficient_bits, the error bits or limb_bits"
                )
