"""Group equations checked together: all true ones pass, and exactly the false ones are found."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bls12_381 import FQ, field_modulus, is_on_curve, multiply
from py_ecc.optimized_bls12_381 import b as curve

from zk.equations import WEIGHT_BITS, Equation, false_ones, hold, random_weights
from zk.field import ORDER
from zk.group import Arkworks, Group, Point, PyEcc
from zk.pedersen import CommitmentKey, commitment_key

WIDTH = 4
KEY = commitment_key(Arkworks, WIDTH)


def true_equation(seed: int, key: CommitmentKey = KEY) -> Equation:
    values, blind = [seed, -seed, 3, seed * seed], seed + 1000
    return Equation(values, blind, [key.commit(values, blind)], [-1])


def false_equation(seed: int, key: CommitmentKey = KEY) -> Equation:
    equation = true_equation(seed, key)
    return replace(equation, generators=[equation.generators[0] + 1, *equation.generators[1:]])


def outside_the_subgroup() -> bytes:
    for x in range(1, 100):
        point = (FQ(x), FQ(pow(x**3 + 4, (field_modulus + 1) // 4, field_modulus)), FQ(1))
        if is_on_curve(point, curve):
            return PyEcc().encode(multiply(point, ORDER))
    raise AssertionError("half of all x lie on the curve")


class Spy(Arkworks):
    """Remembers how many points each sum had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        self.sizes.append(len(points))
        return super().vanishes(points, scalars)


def spying() -> tuple[CommitmentKey, Spy]:
    spy = Spy()
    return CommitmentKey(spy, KEY.generators, KEY.blinding), spy


def test_no_equations_hold_and_none_is_false() -> None:
    assert hold(KEY, [])
    assert false_ones(KEY, []) == []


@pytest.mark.parametrize("change", ["generators", "blinding", "scalars", "points"])
def test_one_equation_holds_until_any_part_of_it_is_changed(change: str) -> None:
    equation = true_equation(5)
    assert hold(KEY, [equation])
    changed: dict[str, Any] = {
        "generators": [5, -5, 3, 26],
        "blinding": 1006,
        "scalars": [-2],
        "points": [KEY.blinding],
    }
    assert not hold(KEY, [replace(equation, **{change: changed[change]})])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_exactly_the_false_equations_are_found(truth: list[bool]) -> None:
    equations = [true_equation(i) if good else false_equation(i) for i, good in enumerate(truth)]
    assert false_ones(KEY, equations) == [i for i, good in enumerate(truth) if not good]
    assert hold(KEY, equations) == all(truth)


def test_both_groups_find_the_same_equations() -> None:
    key = commitment_key(PyEcc, WIDTH)
    assert false_ones(key, [true_equation(1, key), false_equation(2, key), true_equation(3, key)]) == [1]


def test_two_errors_that_cancel_each_other_are_both_found() -> None:
    plus, minus = true_equation(1), true_equation(2)
    plus, minus = replace(plus, blinding=plus.blinding + 9), replace(minus, blinding=minus.blinding - 9)
    assert not hold(KEY, [plus, minus])
    assert false_ones(KEY, [true_equation(3), plus, true_equation(4), minus]) == [1, 3]


def test_the_same_false_equation_twice_is_found_twice() -> None:
    equation = false_equation(3)
    opposite = Equation([-v for v in equation.generators], -equation.blinding, equation.points, [1])
    assert false_ones(KEY, [equation, equation, opposite]) == [0, 1, 2]


def test_weighted_equations_are_summed_as_they_are() -> None:
    plus = replace(true_equation(1), blinding=1001 + 9, weighted=True)
    minus = replace(true_equation(2), blinding=1002 - 9, weighted=True)
    assert hold(KEY, [plus, minus])  # which is why their coefficients must carry fresh random weights
    assert not hold(KEY, [plus])
    assert not hold(KEY, [replace(plus, weighted=False), minus])
    assert false_ones(KEY, [true_equation(3), plus, true_equation(4)]) == [1]


def test_a_point_that_stands_in_several_equations_is_multiplied_once() -> None:
    key, spy = spying()
    point = key.commit([1, 2], 3)
    several = [Equation([1, 2], 3, [point], [-1]), Equation([2, 4], 6, [point], [-2]), Equation([0, 0], 0, [point, point], [5, -5])]
    assert hold(key, several)
    assert spy.sizes == [WIDTH + 1 + 1]


def test_a_repeated_point_counts_each_time() -> None:
    point = KEY.commit([1, 2], 3)
    several = [Equation([1, 2], 3, [point], [-1]), Equation([2, 4], 6, [point, point], [-1, -1])]
    assert hold(KEY, several)
    assert false_ones(KEY, [several[0], replace(several[1], scalars=[-1, -2])]) == [1]
    assert false_ones(KEY, [replace(several[0], scalars=[-2]), several[1]]) == [0]


def test_equal_points_need_not_be_one_object() -> None:
    equation = true_equation(6)
    (copy,) = KEY.decode(KEY.encode(list(equation.points)), 1)
    assert hold(KEY, [equation, replace(equation, points=[copy])])
    assert hold(KEY, [Equation([], 0, [copy, *equation.points], [7, -7])])


@pytest.mark.parametrize("group", [PyEcc, Arkworks])
def test_a_part_outside_the_subgroup_changes_no_verdict(group: type[Group]) -> None:
    key = commitment_key(group, WIDTH)
    outside = key.group.decode(outside_the_subgroup())
    good, bad = true_equation(4, key), false_equation(5, key)
    shifted = [replace(equation, points=[key.group.msm([equation.points[0], outside], [1, 1])]) for equation in (good, bad)]
    assert hold(key, [shifted[0]])
    assert hold(key, [shifted[0], good, shifted[0]])
    assert false_ones(key, [shifted[0], shifted[1], good]) == [1]


def test_many_true_equations_cost_one_product() -> None:
    key, spy = spying()
    assert false_ones(key, [true_equation(i) for i in range(8)]) == []
    assert spy.sizes == [WIDTH + 1 + 8]


def test_an_equation_may_use_fewer_generators_but_not_more() -> None:
    point = KEY.commit([7], 8)
    assert hold(KEY, [Equation([7], 8, [point], [-1]), Equation([], 0)])
    with pytest.raises(ValueError, match="an equation uses 5 generators, the key has 4"):
        hold(KEY, [Equation([0] * 5, 0)])


def test_points_and_scalars_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        hold(KEY, [Equation([], 0, [KEY.blinding], [])])
    with pytest.raises(ValueError, match=r"zip\(\)"):
        hold(KEY, [Equation([], 0, [], [0])])


def test_weights_are_fresh_and_128_bits_long() -> None:
    weights = random_weights(500)
    assert len(set(weights)) == 500
    assert WEIGHT_BITS == 128
    assert 2**120 < max(weights) < 2**128
    assert not set(weights) & set(random_weights(500))
    assert random_weights(0) == []
