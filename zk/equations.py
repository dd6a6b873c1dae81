"""Group equations, checked together in one multi-scalar product.

A verifier never computes with points on the way: each check adds an equation ``Σ a_j·G_j + b·H + Σ s_i·P_i = 0`` over the generators of
one commitment key and the prover's points. :func:`hold` checks any number of them at once with random 128-bit weights drawn locally;
a false equation survives with probability 2^-128. :func:`false_ones` finds the guilty by halving.
Source: Bellare, Garay and Rabin, EUROCRYPT 1998 (the small-exponents test).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from zk.group import Point
from zk.pedersen import CommitmentKey

WEIGHT_BITS = 128


@dataclass(frozen=True)
class Equation:
    """``Σ generators[j]·G_j + blinding·H + Σ scalars[i]·points[i] = 0``.

    Attributes
    ----------
    generators : sequence of int
        At most as many coefficients as the key has generators.
    blinding : int
        The coefficient of ``H``.
    points, scalars : sequences of the same length
        The prover's points and their coefficients.
    weighted : bool
        The coefficients already carry fresh local random weights (:func:`random_weights`), so the equation is summed as it is.
    """

    generators: Sequence[int]
    blinding: int
    points: Sequence[Point] = field(default_factory=tuple)
    scalars: Sequence[int] = field(default_factory=tuple)
    weighted: bool = False

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.points)


def random_weights(count: int) -> list[int]:
    """Return ``count`` fresh 128-bit weights that the prover cannot know."""
    return [secrets.randbits(WEIGHT_BITS) for _ in range(count)]


def hold(key: CommitmentKey, equations: Sequence[Equation]) -> bool:
    """Whether all ``equations`` hold over ``key`` (an empty list does)."""
    if not equations:
        return True
    coefficients = [0] * key.width
    blinding = 0
    merged: dict[int, tuple[Point, int]] = {}  # a point that stands in several equations is multiplied once
    for weight, equation in zip(random_weights(len(equations)), equations, strict=True):
        if len(equation.generators) > key.width:
            raise ValueError(f"an equation uses {len(equation.generators)} generators, the key has {key.width}")
        factor = 1 if equation.weighted or len(equations) == 1 else weight
        for j, value in enumerate(equation.generators):
            coefficients[j] += factor * value
        blinding += factor * equation.blinding
        for point, scalar in zip(equation.points, equation.scalars, strict=True):
            _, before = merged.get(id(point), (point, 0))
            merged[id(point)] = (point, before + factor * scalar)
    points = [*key.generators, key.blinding, *(point for point, _ in merged.values())]
    return key.group.vanishes(points, [*coefficients, blinding, *(scalar for _, scalar in merged.values())])


def false_ones(key: CommitmentKey, equations: Sequence[Equation]) -> list[int]:
    """Return the positions of the equations that do not hold, in ascending order."""

    def search(low: int, high: int) -> list[int]:
        if hold(key, equations[low:high]):
            return []
        if high - low == 1:
            return [low]
        middle = (low + high) // 2
        return search(low, middle) + search(middle, high)

    return search(0, len(equations)) if equations else []
