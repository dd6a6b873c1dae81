"""``ExactFedAvg`` on its own, and the grid that shows chosen nodes only."""

import random

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from ledger.aggregation import rounded_mean, weighted_sum
from strategies.errors import StrategyError
from strategies.exact_fedavg import ExactFedAvg, to_arrays, to_vector
from strategies.selection import SelectedGrid
from tests.federation import client, terms
from tests.local_grid import LocalGrid
from zk.sgd import flatten, initial_weights

AGREEMENT = terms(3)
RULE = AGREEMENT.rule
MODEL = flatten(initial_weights(RULE, bytes(32)))


def reply(update: np.ndarray[tuple[int, ...], np.dtype[np.int64]], samples: int | float) -> Message:
    content = RecordDict({"arrays": to_arrays(RULE, update), "metrics": MetricRecord({"num-examples": samples})})
    return Message(content, dst_node_id=1, message_type=MessageType.TRAIN)


def begun() -> ExactFedAvg:
    LocalGrid([])  # gives messages their task
    strategy = ExactFedAvg(AGREEMENT)
    strategy.configure_train(1, to_arrays(RULE, MODEL), ConfigRecord(), SelectedGrid(LocalGrid([]), []))
    return strategy


@given(seed=st.integers(0, 2**32), samples=st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_result_is_the_rounded_mean_in_any_order(seed: int, samples: list[int]) -> None:
    rng = np.random.default_rng(seed)
    updates = [rng.integers(-(2**20), 2**20, RULE.size) for _ in samples]
    expected = MODEL + rounded_mean(weighted_sum(updates, samples), sum(samples))
    strategy = begun()
    replies = [reply(update, count) for update, count in zip(updates, samples, strict=True)]
    random.Random(seed).shuffle(replies)  # noqa: S311 - an order, not a secret
    arrays, metrics = strategy.aggregate_train(1, replies)
    assert arrays is not None
    assert metrics is not None
    assert (to_vector(arrays) == expected).all()
    assert dict(metrics) == {"num-examples": sum(samples)}


def test_no_reply_keeps_the_model() -> None:
    assert begun().aggregate_train(1, []) == (None, None)


def test_fractions_of_samples_are_no_weight() -> None:
    with pytest.raises(StrategyError, match="num-examples must be an integer"):
        begun().aggregate_train(1, [reply(MODEL, 1.5)])


def test_every_node_that_the_grid_shows_is_asked_once() -> None:
    grid = LocalGrid([client(i) for i in range(5)])
    messages = list(ExactFedAvg(AGREEMENT).configure_train(1, to_arrays(RULE, MODEL), ConfigRecord(), SelectedGrid(grid, [103, 101])))
    assert [message.metadata.dst_node_id for message in messages] == [101, 103]


def test_model_survives_the_journey() -> None:
    arrays = to_arrays(RULE, MODEL)
    assert [array.shape for array in arrays.values()] == [(6, 8), (9, 3)]
    assert (to_vector(arrays) == MODEL).all()
    assert (to_vector(ArrayRecord({name: Array(array.numpy()) for name, array in arrays.items()})) == MODEL).all()


def test_nobody_is_asked_to_evaluate() -> None:
    strategy = begun()
    assert list(strategy.configure_evaluate(1, to_arrays(RULE, MODEL), ConfigRecord(), LocalGrid([]))) == []
    assert strategy.aggregate_evaluate(1, []) is None
