"""Exact aggregation: the mean of Fractions, whatever the order; optimisers equal to plain Python floats, to the last bit."""

import math
from fractions import Fraction
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.aggregation import ServerOptimizer, rounded_mean, weighted_sum
from ledger.agreement import Aggregation, Optimizer
from ledger.canonical import digest, dump_vector

IntVector = npt.NDArray[np.int64]
RANGE_BITS, WEIGHT_BITS = 31, 28


def vector(*values: int) -> IntVector:
    return np.array(values, dtype=np.int64)


def optimizer(kind: Optimizer, range_bits: int = RANGE_BITS, weight_bits: int = WEIGHT_BITS, **coefficients: float) -> ServerOptimizer:
    return ServerOptimizer(Aggregation.model_validate({"optimizer": kind, **coefficients}), range_bits, weight_bits)


UPDATES = st.lists(
    st.tuples(st.lists(st.integers(-(2**32) + 1, 2**32 - 1), min_size=3, max_size=3), st.integers(1, 2**20)), min_size=1, max_size=8
)


@settings(deadline=None)
@given(UPDATES, st.randoms(use_true_random=False))
def test_the_weighted_sum_is_exact_in_any_order(replies: list[tuple[list[int], int]], random: Random) -> None:
    expected = [sum(update[i] * samples for update, samples in replies) for i in range(3)]
    random.shuffle(replies)
    assert weighted_sum([vector(*update) for update, _ in replies], [samples for _, samples in replies]).tolist() == expected


def test_the_largest_sum_that_an_agreement_allows_does_not_overflow() -> None:
    update = 2**32 - 1  # 200 participants of 2^20 samples, weights of 31 bits
    assert weighted_sum([vector(update, -update)] * 200, [2**20] * 200).tolist() == [200 * 2**20 * update, -200 * 2**20 * update]


def test_the_updates_are_left_as_they_were() -> None:
    updates = [vector(1, 2), vector(3, 4)]
    weighted_sum(updates, [5, 6])
    assert [update.tolist() for update in updates] == [[1, 2], [3, 4]]


def test_updates_and_samples_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        weighted_sum([vector(1)], [1, 2])


@settings(deadline=None)
@given(st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=5), st.integers(1, 200 * 2**20))
def test_the_mean_is_the_nearest_integer_and_halves_go_up(totals: list[int], samples: int) -> None:
    expected = [math.floor(Fraction(total, samples) + Fraction(1, 2)) for total in totals]
    assert rounded_mean(vector(*totals), samples).tolist() == expected


@pytest.mark.parametrize(
    ("total", "samples", "mean"), [(1, 2, 1), (-1, 2, 0), (3, 2, 2), (-3, 2, -1), (4, 3, 1), (5, 3, 2), (-4, 3, -1), (-5, 3, -2), (7, 1, 7)]
)
def test_halves_go_up_on_both_sides_of_zero(total: int, samples: int, mean: int) -> None:
    assert rounded_mean(vector(total), samples).tolist() == [mean]


@pytest.mark.parametrize(("total", "change"), [(23, 1), (24, 2), (-24, -1), (-25, -2), (16, 1)])
def test_updates_on_a_finer_grid_are_rounded_once(total: int, change: int) -> None:
    step = ServerOptimizer(Aggregation(), RANGE_BITS, WEIGHT_BITS, 3).step
    assert step(vector(100), vector(total), 2).tolist() == [100 + change]


def test_an_adaptive_optimiser_sees_the_real_values_of_a_finer_grid() -> None:
    rule = Aggregation(optimizer=Optimizer.ADAM)
    coarse, fine = ServerOptimizer(rule, RANGE_BITS, WEIGHT_BITS), ServerOptimizer(rule, RANGE_BITS, WEIGHT_BITS, 12)
    total = vector(3 * 2**20, -(5 * 2**24), 7)
    for _ in range(2):
        assert coarse.step(vector(1, 2, 3), total, 4).tolist() == fine.step(vector(1, 2, 3), total << 12, 4).tolist()


def test_averaging_adds_the_mean_to_the_model() -> None:
    step = optimizer(Optimizer.AVERAGE, learning_rate=0.5, momentum=0.5).step
    assert step(vector(10, -10, 0), vector(7, -7, 2**40), 2).tolist() == [14, -13, 2**31 - 1]


@pytest.mark.parametrize("kind", list(Optimizer))
def test_a_model_stays_within_the_agreed_range(kind: Optimizer) -> None:
    limit = 2**10 - 1
    step = optimizer(kind, range_bits=10, weight_bits=8, learning_rate=1000.0).step
    assert step(vector(0, 0, limit, -limit), vector(2**62, -(2**62), 2**62, -(2**62)), 1).tolist() == [limit, -limit, limit, -limit]
    if kind is Optimizer.AVERAGE:
        assert step(vector(limit - 1, 1 - limit, limit - 2, 0), vector(1, -1, 1, 5), 1).tolist() == [limit, -limit, limit - 1, 5]


def reference(kind: Optimizer, rule: Aggregation, model: list[int], rounds: list[tuple[list[int], int]]) -> list[int]:
    """Reddi et al., Algorithm 2, one weight at a time in Python floats."""
    tau, beta_2, scale = rule.epsilon, rule.beta_2, 2.0**WEIGHT_BITS
    first, second = [0.0] * len(model), [tau * tau] * len(model)
    for total, samples in rounds:
        for i, value in enumerate(total):
            delta = float(value) / samples / scale
            if kind is Optimizer.MOMENTUM:
                first[i] = first[i] * rule.momentum + delta
                step = first[i] * rule.learning_rate
            else:
                first[i] = first[i] * rule.momentum + delta * (1.0 - rule.momentum)
                if kind is Optimizer.ADAM:
                    second[i] = second[i] * beta_2 + delta * delta * (1.0 - beta_2)
                else:
                    sign = (second[i] > delta * delta) - (second[i] < delta * delta)
                    second[i] = second[i] - delta * delta * (1.0 - beta_2) * sign
                step = first[i] * rule.learning_rate / (math.sqrt(second[i]) + tau)
            limit = 2.0 ** (RANGE_BITS + 1)
            change = round(min(max(step * scale, -limit), limit))
            model[i] = min(max(model[i] + change, -(2**RANGE_BITS) + 1), 2**RANGE_BITS - 1)
    return model


ADAPTIVE = pytest.mark.parametrize("kind", [Optimizer.MOMENTUM, Optimizer.ADAM, Optimizer.YOGI])
ROUNDS = st.lists(
    st.tuples(st.lists(st.integers(-(2**55), 2**55) | st.integers(-100, 100), min_size=3, max_size=3), st.integers(1, 2**27)),
    min_size=1,
    max_size=4,
)


@ADAPTIVE
@settings(deadline=None)
@given(rounds=ROUNDS, rate=st.sampled_from([1.0, 0.1, 0.0078125, 3.0]), momentum=st.sampled_from([0.0, 0.9, 0.3]))
def test_an_optimiser_equals_plain_python_to_the_last_bit(
    kind: Optimizer, rounds: list[tuple[list[int], int]], rate: float, momentum: float
) -> None:
    rule = Aggregation(optimizer=kind, learning_rate=rate, momentum=momentum)
    server = ServerOptimizer(rule, RANGE_BITS, WEIGHT_BITS)
    model = vector(5, -(2**20), 0)
    for total, samples in rounds:
        model = server.step(model, vector(*total), samples)
    assert model.dtype == np.int64
    assert model.tolist() == reference(kind, rule, [5, -(2**20), 0], rounds)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Optimizer.AVERAGE, "e46b071d626e39a34fa288df8493becdf4684b4ff5da6dc7143d6b0a3bb2d9ad"),
        (Optimizer.MOMENTUM, "b63ba7c61608527062e770a252f8baeeaad2ad5ea66e2fbc36172c457997c8b2"),
        (Optimizer.ADAM, "91da26236e77d12b158d6562c0e63df4574a0a1ec70e640552d578681a10df3d"),
        (Optimizer.YOGI, "6c124877794695deaff3be564e1618ae369073d405917af1175832dcb3eb0180"),
    ],
)
def test_three_rounds_end_in_the_model_of_the_first_version(kind: Optimizer, expected: str) -> None:
    assert digest(dump_vector(three_rounds(kind))) == expected


def three_rounds(kind: Optimizer) -> IntVector:
    server, model = optimizer(kind, learning_rate=0.5), vector(*range(-500, 500)) * 100_003
    for number in range(3):
        updates = [(model // (3 + client) + 7919 * number) % 2_000_003 - 1_000_001 for client in range(4)]
        samples = [11 + 17 * client for client in range(4)]
        model = server.step(model, weighted_sum(updates, samples), sum(samples))
    return model


@ADAPTIVE
def test_an_optimiser_remembers_earlier_rounds_and_a_new_one_does_not(kind: Optimizer) -> None:
    total = vector(2**40, -(2**40), 0)
    server = optimizer(kind, learning_rate=0.01)
    first = server.step(vector(0, 0, 0), total, 1)
    second = server.step(first, total, 1) - first
    assert first.tolist() != second.tolist()
    assert optimizer(kind, learning_rate=0.01).step(vector(0, 0, 0), total, 1).tolist() == first.tolist()
    coasting = server.step(vector(0, 0, 0), vector(0, 0, 0), 1)
    assert coasting[0] > 0 > coasting[1]
    assert coasting[2] == 0


def test_a_step_leaves_the_model_it_started_from() -> None:
    model, total = vector(1, 2), vector(30, 40)
    for kind in Optimizer:
        optimizer(kind).step(model, total, 10)
    assert (model.tolist(), total.tolist()) == ([1, 2], [30, 40])
