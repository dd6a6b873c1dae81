"""Which units are dropped: by beacon and client, one in so many, and the same for the plain verifier."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zk.training_cases import case_of, dropout_rule
from zk.dropout import dropped_units
from zk.plain.statement import dropped_units as plainly_dropped
from zk.rule import Loss, Plan, Rule

RULE = Rule((20, 100, 50, 10), Loss.SOFTMAX, 32, 16, Plan.derive(0.125, 32, (20, 100, 50, 10), dropout=5), dropout=5)


@pytest.mark.parametrize("dropout", [2, 5])
def test_one_in_so_many_is_dropped(dropout: int) -> None:
    dropped = dropped_units(replace(RULE, dropout=dropout), b"beacon", b"client")
    assert [part.shape for part in dropped] == [(512, 100), (512, 50)]
    for part in dropped:
        assert set(np.unique(part)) == {0, 1}
        deviation = (part.size * (dropout - 1)) ** 0.5 / dropout
        assert abs(part.sum() - part.size / dropout) < 5 * deviation
        assert len({row.tobytes() for row in part}) == 512


def test_beacon_client_and_layer_decide() -> None:
    dropped = dropped_units(RULE, b"beacon", b"client")
    assert all((a == b).all() for a, b in zip(dropped, dropped_units(RULE, b"beacon", b"client"), strict=True))
    others = [dropped_units(RULE, b"beacon 2", b"client"), dropped_units(RULE, b"beacon", b"client 2")]
    assert not any((other[layer] == dropped[layer]).all() for other in others for layer in (0, 1))
    assert (dropped[0][:, :50] != dropped[1]).any()


def test_nothing_is_dropped_without_dropout() -> None:
    assert dropped_units(replace(RULE, dropout=0), b"beacon", b"client") == ()


def test_the_plain_verifier_drops_the_same() -> None:
    statement = case_of(dropout_rule(layers=(13, 6, 5, 3))).statement
    assert [part.tolist() for part in statement.dropped] == plainly_dropped(statement)
    assert any(part.any() for part in statement.dropped)
