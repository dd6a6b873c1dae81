"""The rule of training: what it derives, what it refuses, and its public tables."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk.errors import RangeError, RuleError
from zk.rule import Bound, Loss, Plan, Rule
from zk.tables import exp_table, loss_table, sigmoid_table, tables_digest

PLAN = Plan(rate_numerator=1, rate_shift=8)
MNIST = Rule((784, 128, 10), Loss.SOFTMAX, 32, 16, PLAN)


def test_the_default_rule_has_the_numbers_of_the_design() -> None:
    assert MNIST.shapes == ((785, 128), (129, 10))
    assert MNIST.size == 101770
    assert MNIST.samples == 512
    assert MNIST.depth == 1
    assert MNIST.weight_bits == 28
    assert [MNIST.forward_shift(layer) for layer in (0, 1)] == [28, 28]
    assert MNIST.backward_shift(0) == 28


def test_a_linear_model_takes_its_grid_from_features_and_output_errors() -> None:
    rule = Rule((30, 1), Loss.BINARY, 8, 2, replace(PLAN, feature_bits=6, logit_bits=6, output_error_bits=14))
    assert (rule.depth, rule.weight_bits, rule.forward_shift(0)) == (0, 28, 28)


def test_rounding_by_one_limb_is_a_rule_too() -> None:
    plan = replace(PLAN, feature_bits=4, activation_bits=4, logit_bits=4, output_error_bits=6, error_bits=6, rate_shift=4)
    rule = Rule((9, 5, 3), Loss.SOFTMAX, 4, 1, plan)
    assert (rule.weight_bits, rule.forward_shift(0), rule.backward_shift(0)) == (14, 14, 14)


def test_a_step_checks_its_bounds_from_the_first_activation_to_the_last_weight() -> None:
    rule = replace(MNIST, layers=(9, 7, 5, 3))
    assert [(bound.quantity, bound.allowed) for bound in rule.step_bounds] == [
        ("the pre-activation A of layer 1", range(-(2**14), 2**14)),
        ("the pre-activation A of layer 2", range(-(2**14), 2**14)),
        ("the logit distance max - A of layer 3", range(2**14)),
        ("the back-propagated error D of layer 2", range(-(2**13), 2**13)),
        ("the back-propagated error D of layer 1", range(-(2**13), 2**13)),
        ("the weight W of layer 1", range(1 - 2**31, 2**31)),
        ("the weight W of layer 2", range(1 - 2**31, 2**31)),
        ("the weight W of layer 3", range(1 - 2**31, 2**31)),
    ]
    assert replace(rule, loss=Loss.BINARY).logit_bound.allowed == range(-(2**13), 2**13)
    assert replace(rule, loss=Loss.SQUARED).logit_bound.allowed == range(-(2**14), 2**14)


def test_labels_are_bits_but_targets_lie_on_the_logit_grid() -> None:
    assert MNIST.label_bound.allowed == range(2)
    assert replace(MNIST, loss=Loss.BINARY).label_bound.allowed == range(2)
    assert replace(MNIST, loss=Loss.SQUARED).label_bound.allowed == range(256)
    assert MNIST.feature_bound.allowed == range(256)


def test_a_bound_takes_its_ends_and_refuses_the_values_beyond_them() -> None:
    bound = Bound("the weight", range(-4, 4), "agree a wider plan")
    bound.check(-4, 3, "step 1")
    for lowest, highest in [(-5, 0), (0, 4), (float("nan"), float("nan"))]:
        with pytest.raises(RangeError, match=r"^step 1: the weight spans .* \[-4, 4\): agree a wider plan$"):
            bound.check(lowest, highest, "step 1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_bits": 0}, "feature_bits is 0: it must be at least 1"),
        ({"rate_numerator": 0}, "rate_numerator is 0"),
        ({"rate_shift": -1}, "rate_shift is -1: it must be at least 0"),
        ({"activation_bits": 15}, "activation_bits exceeds limb_bits"),
        ({"weight_range_bits": 32}, "weight_range_bits is at most 31"),
        ({"limb_bits": 17}, "limb_bits is at most 16"),
    ],
)
def test_a_plan_refuses_widths_that_no_rule_could_use(change: dict[str, int], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        replace(PLAN, **change)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (((784,), Loss.SOFTMAX, 32, 16, PLAN), "name the inputs and at least one layer"),
        (((784, 0, 10), Loss.SOFTMAX, 32, 16, PLAN), "all positive"),
        (((784, 10), Loss.SOFTMAX, 0, 16, PLAN), "batch 0 and steps 16 must be positive"),
        (((784, 10), Loss.SOFTMAX, 32, 0, PLAN), "batch 32 and steps 0 must be positive"),
        (((784, 17), Loss.SOFTMAX, 32, 16, PLAN), "17 outputs: a committed sample has room for 16"),
        (((784, 1), Loss.SOFTMAX, 32, 16, PLAN), "use binary-cross-entropy for one output"),
        (
            ((784, 10), Loss.SQUARED, 32, 16, replace(PLAN, output_error_bits=7, rate_shift=13)),
            "raise output_error_bits to logit_bits or more",
        ),
        (
            ((784, 128, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, activation_bits=7)),
            "updates of layer 2 have 27 fractional bits, those of layer 1 28",
        ),
        (
            ((784, 20, 20, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, feature_bits=7, error_bits=13)),
            "updates of layer 2 have 29 fractional bits, those of layer 1 28",
        ),
        (
            ((784, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, rate_shift=23)),
            "rounding the pre-activation of layer 1 drops 43 bits, a proof takes 1 to 42",
        ),
        (
            ((784, 9, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, error_bits=13, feature_bits=7, activation_bits=7)),
            "updates of layer 2 have 27 fractional bits",
        ),
        (
            ((784, 9, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, error_bits=6, feature_bits=14, logit_bits=1, rate_shift=17)),
            "rounding the pre-activation of layer 1 drops 43 bits",
        ),
        (
            ((784, 10), Loss.SOFTMAX, 32, 16, replace(PLAN, rate_shift=8, coefficient_bits=28)),
            "rounding the pre-activation of inference of layer 1 drops 0 bits",
        ),
        (
            ((784, 300, 10), Loss.SOFTMAX, 32, 16, PLAN),
            r"layer 2: the product of inputs and weights can reach 2\^53\.23.*lower weight_range_bits",
        ),
        (
            ((784, 128, 16), Loss.SQUARED, 32, 16, PLAN),
            r"layer 2: the product of errors and weights can reach 2\^53\.02",
        ),
        (
            ((784, 128, 10), Loss.SOFTMAX, 2**28, 1, PLAN),
            r"layer 2: the product of inputs and errors can reach 2\^54.*smaller batch",
        ),
    ],
)
def test_a_rule_refuses_parts_that_contradict_each_other(rule: tuple[tuple[int, ...], Loss, int, int, Plan], message: str) -> None:
    with pytest.raises(RuleError, match=message) as refusal:
        Rule(*rule)
    assert "\n" not in str(refusal.value)


def test_a_rounding_drops_three_limbs_at_most() -> None:
    rule = Rule((5, 4, 3), Loss.SOFTMAX, 1, 1, replace(PLAN, activation_bits=7, output_error_bits=13))
    assert (rule.forward_shift(0), rule.backward_shift(0)) == (29, 29)
    assert [rule.limbs(shift) for shift in (1, 14, 15, 28, 29, 42)] == [1, 1, 2, 2, 3, 3]


def test_the_design_s_learning_rate_derives_the_default_plan() -> None:
    assert Plan.derive(0.125, 32, (784, 128, 10)) == PLAN


@pytest.mark.parametrize(
    ("learning_rate", "batch", "numerator", "shift"),
    [(4.0, 32, 32, 8), (0.375, 24, 4, 8), (Fraction(3, 10), 30, None, None), (0.0078125, 32, 1, 12), (0.375, 32, 3, 8)],
)
def test_a_rate_is_a_numerator_over_a_power_of_two(
    learning_rate: float | Fraction, batch: int, numerator: int | None, shift: int | None
) -> None:
    if numerator is None:
        with pytest.raises(RuleError, match="is not a multiple of"):
            Plan.derive(learning_rate, batch, (8, 2))
    else:
        plan = Plan.derive(learning_rate, batch, (8, 2))
        assert (plan.rate_numerator, plan.rate_shift) == (numerator, shift)


@given(
    numerator=st.integers(1, 4096),
    batch=st.integers(1, 64),
    layers=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    loss=st.sampled_from(Loss),
)
def test_a_derived_plan_makes_a_rule_and_is_the_rate_exactly(numerator: int, batch: int, layers: list[int], loss: Loss) -> None:
    rate = Fraction(numerator, 4096)
    widths = (*layers, 3)
    plan = Plan.derive(rate * batch, batch, widths)
    assert Fraction(plan.rate_numerator, 2**plan.rate_shift) == rate
    assert Rule(widths, loss, batch, 1, plan).weight_bits == 28


def test_wider_layers_leave_a_smaller_range_to_weights() -> None:
    assert Plan.derive(0.125, 32, (784, 256, 10)).weight_range_bits == 30
    assert Plan.derive(0.125, 32, (784, 1024, 10)).weight_range_bits == 29
    with pytest.raises(RuleError, match="narrower layers or a smaller batch"):
        Plan.derive(2.0**22, 2**30, (784, 10))


def test_a_rate_off_the_grid_is_refused_with_the_nearest_on_it() -> None:
    with pytest.raises(RuleError, match=r"learning rate 0\.1 over batch 32 .*: use 0\.1015625, the nearest that is"):
        Plan.derive(0.1, 32, (784, 128, 10))
    with pytest.raises(RuleError, match=r"use 0\.0078125"):
        Plan.derive(1e-9, 32, (784, 128, 10))
    Plan.derive(0.1015625, 32, (784, 128, 10))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RuleError, match="must be positive"):
            Plan.derive(rate, 32, (784, 10))
    with pytest.raises(RuleError, match="must be positive"):
        Plan.derive(0.125, 0, (784, 10))


def test_the_exponential_table_is_the_exponential_rounded() -> None:
    table = exp_table(PLAN)
    assert (len(table), table[0], table[-1]) == (2**14, 2**14, 0)
    assert all(a >= b for a, b in pairwise(table))
    u = np.arange(2**14)
    np.testing.assert_array_equal(table, np.floor(2**14 * np.exp(-u / 256) + 0.5))


def test_the_logistic_table_is_the_logistic_function_rounded() -> None:
    table = sigmoid_table(PLAN)
    assert (len(table), table[0], table[2**13], table[-1]) == (2**14, 0, 2**11, 2**12)
    A = np.arange(-(2**13), 2**13)
    np.testing.assert_array_equal(table, np.floor(2**12 / (1 + np.exp(-A / 256)) + 0.5))


def test_tables_have_known_digests() -> None:
    assert tables_digest(MNIST) == "8cdc6737a7c0b453f4d089f897828096c597a7735735a5a07445e601eb1bac7c"
    assert tables_digest(replace(MNIST, loss=Loss.BINARY)) == "f85248e98f54ea35182be0c180a0c4c1fff58720693626eeb8e9eb7792d8d42f"
    squared = replace(MNIST, loss=Loss.SQUARED)
    assert loss_table(squared) == ()
    assert tables_digest(squared) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


NINE_TENTHS = Fraction(9, 10)
HISTORY = Plan.derive(1 / 64, 32, MNIST.layers, history=True)


def test_a_plan_with_momentum_has_a_finer_grid_inside_a_round() -> None:
    rule = replace(MNIST, plan=HISTORY, momentum=NINE_TENTHS, decay=Fraction(1, 6400))
    assert (rule.weight_bits, rule.local_bits, rule.plan.weight_range_bits) == (24, 36, 27)
    assert (rule.forward_shift(0), rule.forward_shift(1), rule.backward_shift(0)) == (36, 36, 36)
    assert [rule.inference_shift(layer) for layer in (0, 1)] == [24, 24]
    assert rule.local_bound(0).allowed == range(1 - 2**39, 2**39)
    assert (rule.rates[1], rule.keeps[0], rule.keeps[16]) == (128, 4096, 4086)
    assert Fraction(HISTORY.rate_numerator, 2**HISTORY.rate_shift) == Fraction(1, 64 * 32)
    with pytest.raises(RuleError, match=r"is not a multiple of 2\^-18: use 0\.010009765625"):
        Plan.derive(0.01, 32, MNIST.layers, history=True)


@pytest.mark.parametrize(("dropout", "bits", "shifts"), [(5, 26, [28, 26, 28]), (2, 28, [28, 28, 28])])
def test_a_plan_with_dropout_rounds_by_two_limbs(dropout: int, bits: int, shifts: list[int]) -> None:
    rule = replace(MNIST, plan=Plan.derive(0.125, 32, MNIST.layers, dropout=dropout), dropout=dropout)
    assert rule.weight_bits == rule.local_bits == bits
    assert [rule.forward_shift(0), rule.forward_shift(1), rule.backward_shift(0)] == shifts
    assert rule.scale == dropout


@given(
    numerator=st.integers(1, 4096),
    batch=st.integers(1, 64),
    layers=st.lists(st.integers(1, 300), min_size=2, max_size=4),
    loss=st.sampled_from(Loss),
    dropout=st.sampled_from([0, 2, 5]),
)
def test_a_plan_derived_with_momentum_makes_a_rule(numerator: int, batch: int, layers: list[int], loss: Loss, dropout: int) -> None:
    widths, rate = (*layers, 3), Fraction(numerator, 2**14)
    plan = Plan.derive(rate * batch, batch, widths, history=True, dropout=dropout)
    rule = Rule(widths, loss, batch, 4, plan, NINE_TENTHS, Fraction(1, 1000), dropout)
    assert (rule.weight_bits, rule.local_bits) == (24, 36)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": Fraction(1)}, "momentum 1 must be at least 0 and below 1"),
        ({"momentum": Fraction(-1, 2)}, "momentum -1/2 must be at least 0"),
        ({"decay": Fraction(1)}, "a step takes 1 of each weight away: lower the weight decay"),
        ({"decay": Fraction(1, 10**6)}, "16 steps of weight decay leave all of a weight at 12 coefficient_bits: raise"),
        ({"momentum": NINE_TENTHS, "steps": 1025}, "1025 steps with momentum or weight decay: a client keeps every gradient, at most 1024"),
        ({"momentum": Fraction(1, 10**30)}, "momentum and weight decay have too many digits"),
        ({"dropout": 3}, "dropout of one unit in 3: exact scaling takes one in 2, one in 5, or 0"),
        ({"dropout": 5, "layers": (784, 10)}, "dropout needs a hidden layer"),
        ({"norm": Fraction(0)}, "must have a positive norm"),
        ({"momentum": NINE_TENTHS, "batch": 2**16, "steps": 1024}, r"the sum of 1024 gradients can reach 2\^63.*only up to 2\^62: use"),
    ],
)
def test_a_rule_refuses_an_optimiser_that_is_not_exact(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        replace(MNIST, plan=HISTORY, **change)


def test_low_bits_of_a_weight_are_fewer_than_the_others() -> None:
    with pytest.raises(RuleError, match="coefficient_bits must be below weight_range_bits"):
        replace(HISTORY, weight_range_bits=12)
