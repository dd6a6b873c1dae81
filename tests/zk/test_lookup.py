"""Lookups: honest ones are accepted, and each way to cheat fails against a prover that follows the protocol otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zk.toys import Tensors, Toy, accepts, int64, prove_toy
from zk.errors import CommitmentError
from zk.lookup import Committed, Leaves, Table, count_uses, lookup
from zk.pads import Channel

SQUARES = int64(*(i * i for i in range(16)))
RANGE = Table(0, (np.arange(128),), "range uses")
SQUARE = Table(1, (np.arange(16), SQUARES), "square uses")
LEAVES = [
    Leaves(256, 0, (Committed("x"),)),
    Leaves(4, 0, (Committed("bit"),)),
    Leaves(4, 0, (Committed("bit", 64),)),
    Leaves(32, 1, (Committed("u"), Committed("v"))),
]
SIZES = {"x": 256, "bit": 4, "u": 32, "v": 32, "range uses": 128, "square uses": 16}


def relation(channel: Channel, width: int, tensors: Tensors | None) -> None:
    lookup(channel, width, LEAVES, [RANGE, SQUARE], tensors)


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    u = rng.integers(0, 16, 32)
    values = {"x": rng.integers(0, 128, 256), "bit": int64(0, 1, 1, 0), "u": u, "v": SQUARES[u]}
    return with_uses(values)


def with_uses(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**values, "range uses": count_uses(RANGE, LEAVES, values), "square uses": count_uses(SQUARE, LEAVES, values)}


def test_values_in_the_tables_are_accepted() -> None:
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    assert accepts(toy, proof, points)


@pytest.mark.parametrize(("name", "value"), [("x", 128), ("x", -1), ("x", 2**62), ("bit", 2), ("bit", -1), ("u", 16), ("v", 5), ("u", -3)])
def test_a_value_outside_cannot_be_proved(name: str, value: int) -> None:
    values = tensors()
    values[name][-1] = value
    with pytest.raises(CommitmentError, match="do not satisfy"):
        prove_toy(Toy(SIZES, relation), with_uses(values))


@pytest.mark.parametrize(("name", "position", "change"), [("range uses", 3, 1), ("square uses", 15, -1), ("square uses", 0, 2**40)])
def test_a_wrong_multiplicity_cannot_be_proved(name: str, position: int, change: int) -> None:
    values = tensors()
    values[name][position] += change
    with pytest.raises(CommitmentError, match="do not satisfy"):
        prove_toy(Toy(SIZES, relation), values)


def test_a_row_of_one_table_is_no_row_of_another() -> None:
    """(u, v) = (5, 0) would be a row of the range table."""
    values = tensors()
    values["u"][0], values["v"][0] = 5, 0
    with pytest.raises(CommitmentError, match="do not satisfy"):
        prove_toy(Toy(SIZES, relation), with_uses(values))


def test_another_table_does_not_verify() -> None:
    """The cheating prover's table has one entry changed; so has its tensor."""
    wrong = replace(SQUARE, columns=(SQUARE.columns[0], SQUARES + (SQUARES == 9)))

    def cheat(channel: Channel, width: int, values: Tensors | None) -> None:
        lookup(channel, width, LEAVES, [RANGE, wrong], values)

    values = tensors()
    values["u"][:] = 3
    values["v"][:] = 10
    proof, points = prove_toy(Toy(SIZES, relation), with_uses(values), prover=Toy(SIZES, cheat))
    assert not accepts(Toy(SIZES, relation), proof, points)
    assert accepts(Toy(SIZES, cheat), proof, points)
