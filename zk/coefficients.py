"""Momentum and weight decay as public coefficients: what a step's weights are made of, in units that training never rounds.

With momentum ``μ`` and a decay that leaves ``ρ`` of the weights in each step, ``V[k] = μ·V[k-1] + G[k]`` and ``W[k+1] = ρ·W[k] - η·V[k]``.
Unrolled,

    ``W[k] = ρ^k·W₀ - η·Σ_{j<k} c(k-j)·G[j]``  with  ``c(n) = Σ_{i<n} ρ^(n-1-i)·μ^i``.

``ρ^k`` and ``η·c(n)`` are rounded once, half up, to multiples of ``2^-h`` and ``2^-l``; with the rounded ones the sum is exact. Rounding
``V`` or ``W`` in each step instead would cost the proof a range check for every weight and step. Computed in integers, so every
platform has the same.
"""

import math
from fractions import Fraction


def decay_coefficients(rest: Fraction, steps: int, bits: int) -> tuple[int, ...]:
    """Return ``round(2^bits·rest^k)``, half up, for ``k`` from 0 to ``steps``."""
    found, numerator, denominator = [], 1, 1
    for _ in range(steps + 1):
        found.append(_half_up(numerator << bits, denominator))
        numerator, denominator = numerator * rest.numerator, denominator * rest.denominator
    return tuple(found)


def rate_coefficients(momentum: Fraction, rest: Fraction, numerator: int, steps: int) -> tuple[int, ...]:
    """Return ``round(numerator·c(n))``, half up, for ``n`` from 0 to ``steps``; ``c(0) = 0``."""
    common = math.lcm(momentum.denominator, rest.denominator)
    of_momentum, of_rest = int(momentum * common), int(rest * common)
    found, c, scale, power = [0], 1, 1, 1  # c(n) is c / scale with scale = common^(n-1); power is of_momentum^(n-1)
    for _ in range(steps):
        found.append(_half_up(numerator * c, scale))
        power *= of_momentum
        c, scale = of_rest * c + power, scale * common
    return tuple(found)


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
