"""Exact aggregation: the same bits for whoever repeats it, in whatever order the replies came.

FedAvg weights each update by its client's enrolled samples: ``S = Σ n_i·Δ_i`` is an integer sum, and the mean ``S / N`` is rounded half
up. The adaptive server optimisers of Reddi et al. (ICLR 2021) use only IEEE 754 additions, products, quotients and square roots,
element by element and in a fixed order: these are correctly rounded, so every platform computes the same model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.agreement import Aggregation, Optimizer

IntVector = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.float64]


def weighted_sum(updates: Sequence[IntVector], samples: Sequence[int]) -> IntVector:
    """Return ``Σ samples[i]·updates[i]``; the agreement has made sure that it fits 64 bits."""
    total = np.zeros_like(updates[0])
    for update, weight in zip(updates, samples, strict=True):
        total += update * weight
    return total


def rounded_mean(total: IntVector, samples: int) -> IntVector:
    """Return ``round(total / samples)``, halves up."""
    whole, rest = np.divmod(total, samples)
    return np.asarray(whole + (2 * rest >= samples), dtype=np.int64)


@dataclass
class ServerOptimizer:
    """The server's step from one global model to the next.

    Parameters
    ----------
    rule : Aggregation
        Which optimiser, with its coefficients.
    weight_range_bits : int
        Weights are kept within ``(-2^bits, 2^bits)``: the one place where a model is clipped, and the audit clips alike.
    weight_bits : int
        Fractional bits of a weight; the optimisers compute on real values ``integer·2^-weight_bits``.
    coefficient_bits : int
        Fractional bits that an update has besides (see :class:`zk.plan.Plan`): the mean is rounded to the model's grid, once.
    """

    rule: Aggregation
    weight_range_bits: int
    weight_bits: int
    coefficient_bits: int = 0
    _first: FloatVector | None = None
    _second: FloatVector | None = None

    def step(self, model: IntVector, total: IntVector, samples: int) -> IntVector:
        """Return the next model from the weighted sum of the accepted updates and the sum of their weights."""
        divisor = samples << self.coefficient_bits
        change = rounded_mean(total, divisor) if self.rule.optimizer is Optimizer.AVERAGE else self._adaptive(total, divisor)
        limit = (1 << self.weight_range_bits) - 1
        return np.asarray(np.clip(model + change, -limit, limit), dtype=np.int64)

    def _adaptive(self, total: IntVector, divisor: int) -> IntVector:
        rule, scale = self.rule, float(1 << self.weight_bits)
        mean = total.astype(np.float64) / float(divisor) / scale
        first = np.zeros_like(mean) if self._first is None else self._first
        if rule.optimizer is Optimizer.MOMENTUM:
            self._first = first * rule.momentum + mean
            step = self._first * rule.learning_rate
        else:
            second = np.full_like(mean, rule.epsilon * rule.epsilon) if self._second is None else self._second
            square = mean * mean
            self._first = first * rule.momentum + mean * (1.0 - rule.momentum)
            if rule.optimizer is Optimizer.ADAM:
                self._second = second * rule.beta_2 + square * (1.0 - rule.beta_2)
            else:
                self._second = second - square * (1.0 - rule.beta_2) * np.sign(second - square)
            step = self._first * rule.learning_rate / (np.sqrt(self._second) + rule.epsilon)
        limit = float(1 << (self.weight_range_bits + 1))
        return np.rint(np.clip(step * scale, -limit, limit)).astype(np.int64)
