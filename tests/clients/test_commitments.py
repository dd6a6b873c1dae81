"""How samples are laid out in rows, and what their commitments hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.commitments import client_key, commit_data, data_blinds
from ledger.agreement import LABEL_SLOTS
from tests.federation import samples_of, terms
from zk.field import ORDER
from zk.group import POINT_BYTES, PyEcc
from zk.pedersen import commitment_key
from zk.rule import Loss
from zk.training.shape import Shape
from zk.training.witness import sample_rows


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("layers", [(3, 2), (5, 4, 3), (15, 16), (16, 2), (60, 8, 10)])
def test_row_is_features_one_zeros_and_labels(loss: Loss, layers: tuple[int, ...]) -> None:
    agreement = terms(1, layers=layers, training={"loss": loss.value})
    rule, width = agreement.rule, Shape(agreement.rule).data_width
    x, y = samples_of(0, rule)
    rows = sample_rows(Shape(rule), np.asarray(x, np.int64), np.asarray(y, np.int64))
    features, labels = layers[0], layers[-1]
    assert rows.shape == (len(x), width)
    assert width & (width - 1) == 0
    assert features + 1 + LABEL_SLOTS <= width <= agreement.row_width
    assert (rows[:, :features] == x).all()
    assert (rows[:, features] == 1 << rule.plan.feature_bits).all()
    assert (rows[:, features + 1 : width - LABEL_SLOTS] == 0).all()
    assert (rows[:, width - LABEL_SLOTS :][:, :labels] == y).all()
    assert (rows[:, width - LABEL_SLOTS + labels :] == 0).all()


def test_labels_never_overlap_the_features() -> None:
    for features in range(1, 200):
        assert features + 1 + LABEL_SLOTS <= terms(1, layers=(features, 2)).row_width


def test_commitments_open_on_the_reference_group() -> None:
    """What the fast group wrote, the reference reads and repeats."""
    agreement = terms(1)
    x, y = samples_of(0, agreement.rule, 3)
    rows = sample_rows(Shape(agreement.rule), np.asarray(x, np.int64), np.asarray(y, np.int64))
    blinds = data_blinds(b"\1" * 32, 3)
    points = commit_data(client_key(32), rows, blinds)
    reference = commitment_key(PyEcc, 32)
    assert points == reference.encode([reference.commit(row, blind) for row, blind in zip(rows, blinds, strict=True)])


def test_equal_samples_look_different() -> None:
    """Else a data set's commitments would tell which samples are the same."""
    rows = np.ones((2, 32), np.int64)
    points = commit_data(client_key(32), rows, data_blinds(b"\1" * 32, 2))
    assert points[:POINT_BYTES] != points[POINT_BYTES:]


def test_number_of_blinds_is_that_of_the_rows() -> None:
    with pytest.raises(ValueError, match="zip"):
        commit_data(client_key(32), np.ones((2, 32), np.int64), data_blinds(b"\1" * 32, 1))


@given(seed=st.binary(min_size=32, max_size=32), count=st.integers(1, 20))
def test_blinds_come_from_the_seed_alone(seed: bytes, count: int) -> None:
    """So that a client need not remember them: more rows have the same blinds to begin with."""
    blinds = data_blinds(seed, count)
    assert blinds == data_blinds(seed, 20)[:count]
    assert len(set(blinds)) == count
    assert all(0 <= blind < ORDER for blind in blinds)


def test_other_seed_other_blinds() -> None:
    assert not set(data_blinds(bytes(32), 10)) & set(data_blinds(b"\1" * 32, 10))
