"""The coefficients of momentum and weight decay: the recurrence they unroll, and what rounding them costs."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk.coefficients import decay_coefficients, rate_coefficients

NINE_TENTHS = Fraction(9, 10)


def recurrence(start: int, gradients: list[int], momentum: Fraction, rest: Fraction, rate: Fraction) -> list[Fraction]:
    """Return ``W[0], W[1] …`` as Keras' SGD has it: ``V = μV + G``, ``W = ρW - ηV``, in fractions."""
    weights, velocity = [Fraction(start)], Fraction(0)
    for gradient in gradients:
        velocity = momentum * velocity + gradient
        weights.append(rest * weights[-1] - rate * velocity)
    return weights


@given(
    momentum=st.integers(0, 99).map(lambda n: Fraction(n, 100)),
    rest=st.integers(1, 128).map(lambda n: Fraction(n, 128)),
    steps=st.integers(1, 12),
    numerator=st.integers(1, 300),
    bits=st.integers(0, 16),
    seed=st.integers(0, 1000),
)
def test_the_rounded_sum_is_the_recurrence_to_half_a_unit_of_each_coefficient(
    momentum: Fraction, rest: Fraction, steps: int, numerator: int, bits: int, seed: int
) -> None:
    start, *gradients = np.random.default_rng(seed).integers(-(2**24), 2**24, 1 + steps).tolist()
    keeps, rates = decay_coefficients(rest, steps, bits), rate_coefficients(momentum, rest, numerator, steps)
    exact = recurrence(start, gradients, momentum, rest, Fraction(numerator, 2**bits))
    for k in range(steps + 1):
        rounded = keeps[k] * start - sum(rates[k - j] * gradients[j] for j in range(k))
        assert abs(rounded - exact[k] * 2**bits) <= Fraction(abs(start) + sum(map(abs, gradients[:k])), 2)


def test_without_momentum_and_decay_they_are_one_and_the_rate() -> None:
    assert decay_coefficients(Fraction(1), 3, 0) == (1, 1, 1, 1)
    assert decay_coefficients(Fraction(1), 2, 5) == (32, 32, 32)
    assert rate_coefficients(Fraction(0), Fraction(1), 7, 3) == (0, 7, 7, 7)


def test_known_coefficients() -> None:
    assert rate_coefficients(NINE_TENTHS, Fraction(1), 128, 5) == (0, 128, 243, 347, 440, 524)
    assert rate_coefficients(NINE_TENTHS, NINE_TENTHS, 10, 3) == (0, 10, 18, 24)  # 1, 1.8, 2.43
    assert decay_coefficients(Fraction(1, 2), 4, 2) == (4, 2, 1, 1, 0)  # halves are rounded up


@pytest.mark.parametrize("steps", [1, 16, 500])
def test_an_old_gradient_counts_ten_times_at_most(steps: int) -> None:
    rates = rate_coefficients(NINE_TENTHS, Fraction(1), 1000, steps)
    assert len(rates) == steps + 1
    assert all(a <= b <= 10_000 for a, b in pairwise(rates))
