"""Attacks on momentum, weight decay and dropout: a prover that counts gradients otherwise, or drops other units.

As in ``test_training_proof``: it trains with its lie, is consistent everywhere else, and the equations that refuse it are named.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.attacks.crooked import Change, Crooked, forge, refused
from tests.zk.training_cases import Case, case_of, dropout_rule, history_rule
from zk import sgd
from zk.dropout import dropped_units
from zk.rule import Rule
from zk.sgd import Step
from zk.training import TrainingStatement
from zk.training.witness import Witness
from zk.vectors import IntArray

HISTORY, DROPOUT = history_rule(), dropout_rule()


@pytest.fixture(scope="module")
def with_history() -> Case:
    return case_of(HISTORY)


@pytest.fixture(scope="module")
def with_dropout() -> Case:
    case = case_of(DROPOUT)
    assert all(part.any() for part in case.statement.dropped)
    return case


def other_coefficients(rates: Sequence[int] = (), keeps: Sequence[int] = ()) -> Rule:
    """Return the rule with these coefficients in the place of its own: what a prover may compute with, and a verifier does not."""
    rule = replace(HISTORY)
    vars(rule).update({"rates": tuple(rates) or HISTORY.rates, "keeps": tuple(keeps) or HISTORY.keeps})
    return rule


OTHERS: dict[str, Rule] = {
    "less momentum": replace(HISTORY, momentum=Fraction(1, 2)),
    "no momentum": replace(HISTORY, momentum=Fraction(0)),
    "no decay": replace(HISTORY, decay=Fraction(0)),
    "more decay": replace(HISTORY, decay=Fraction(1, 4)),
    "a gradient counted one unit more": other_coefficients(rates=[0, 3, 6, 9]),
    "the last gradient left out": other_coefficients(rates=[0, 0, 3, 6]),
    "one unit less of the model": other_coefficients(keeps=[64, 62, 61, 58]),
    "a model that grows": other_coefficients(keeps=[64, 66, 67, 69]),
}


def steps_of(case: Case, rule: Rule) -> list[Step]:
    return list(sgd.trace(rule, case.statement.start, case.samples.x, case.samples.y, case.statement.dropped))


def claimed(case: Case, steps: Sequence[Step]) -> TrainingStatement:
    statement = case.statement
    return replace(statement, update=tuple(sgd.update_of(statement.rule, statement.start, steps[-1].updated)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_coefficients(name: str, with_history: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of(with_history, OTHERS[name])
    statement = claimed(with_history, steps)
    proof, labels = forge(monkeypatch, with_history, steps, statement)
    assert labels == {"history"}
    assert refused(statement, proof)


@pytest.mark.parametrize("kind", ["rounded to the grid of the model", "in units of the model", "with what decay took away"])
def test_an_update_on_another_grid(kind: str, with_history: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    statement, bits = with_history.statement, HISTORY.plan.coefficient_bits
    match kind:
        case "rounded to the grid of the model":
            update = tuple((change >> bits) << bits for change in statement.update)
        case "in units of the model":
            update = tuple(change >> bits for change in statement.update)
        case _:
            taken = HISTORY.keeps[0] - HISTORY.keeps[-1]
            update = tuple(change + taken * W for change, W in zip(statement.update, statement.start, strict=True))
    lie = replace(statement, update=update)
    proof, labels = forge(monkeypatch, with_history, steps_of(with_history, HISTORY), lie)
    assert labels == {"history"}
    assert refused(lie, proof)


def test_weights_on_the_way_without_the_momentum_of_the_update(with_history: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients are taken at other weights than those that momentum leads to; the update is their right sum."""
    rule, start = HISTORY, with_history.statement.start
    lie = steps_of(with_history, replace(rule, momentum=Fraction(0)))
    gradients = [[rows.T @ error for rows, error in zip(step.inputs, step.errors, strict=True)] for step in lie]
    lie[-1] = replace(lie[-1], updated=sgd.descend(rule, start, lie[-1].weights, gradients))
    statement = claimed(with_history, lie)
    proof, labels = forge(monkeypatch, with_history, lie, statement)
    assert labels == {"history"}
    assert refused(statement, proof)


MASKS = {
    "nothing": [np.zeros((DROPOUT.samples, 6), dtype=np.int64)],
    "another client's units": list(dropped_units(DROPOUT, b"beacon", b"another client")),
    "the units of the last round": list(dropped_units(DROPOUT, b"last beacon", b"client")),
    "a unit more": [],
}


def mask_of(name: str, case: Case) -> list[IntArray]:
    if name != "a unit more":
        return MASKS[name]
    (mask,) = (part.copy() for part in case.statement.dropped)
    mask[4, np.flatnonzero(mask[4] == 0)] = 1
    return [mask]


@pytest.mark.parametrize("name", MASKS)
def test_other_units_dropped(name: str, with_dropout: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = mask_of(name, with_dropout)
    steps = list(sgd.trace(DROPOUT, with_dropout.statement.start, with_dropout.samples.x, with_dropout.samples.y, mask))
    statement = claimed(with_dropout, steps)
    proof, labels = forge(monkeypatch, with_dropout, steps, statement, dropped=mask)
    assert labels == {"activation 1", "derivative 1"}
    assert refused(statement, proof)


@pytest.mark.parametrize(
    ("crooked", "expected"),
    [(Crooked(forgets=("forward",)), {"activation 1"}), (Crooked(forgets=("backward",)), {"derivative 1"})],
    ids=["forward", "backward"],
)
def test_units_dropped_one_way_only(crooked: Crooked, expected: set[str], with_dropout: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    statement, nothing = with_dropout.statement, MASKS["nothing"]
    steps = crooked.run(DROPOUT, statement.start, with_dropout.samples.x, with_dropout.samples.y, statement.dropped)
    lie = claimed(with_dropout, steps)
    proof, labels = forge(monkeypatch, with_dropout, steps, lie, dropped=statement.dropped if expected == {"activation 1"} else nothing)
    assert labels == expected
    assert refused(lie, proof)


def test_kept_units_that_are_not_scaled(with_dropout: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = with_dropout.statement
    steps = Crooked(forgets=("scale",)).run(DROPOUT, statement.start, with_dropout.samples.x, with_dropout.samples.y, statement.dropped)
    lie = claimed(with_dropout, steps)
    proof, labels = forge(monkeypatch, with_dropout, steps, lie, dropped=statement.dropped)
    assert labels == {"lookup level"}  # the remainders are those of a scaled product
    assert refused(lie, proof)


def narrow(amount: int) -> Change:
    """Move one unit of the second limb into the top one, which has two bits, or the other way."""

    def change(witness: Witness) -> None:
        low, top = (witness.tensors[f"layer 1 forward remainder limb {i}"] for i in (1, 2))
        top[7] += amount
        low[7] -= 256 * amount

    return change


@pytest.mark.parametrize("amount", [1, -1, 4])
def test_a_top_limb_that_takes_more_than_its_bits(amount: int, with_dropout: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of(with_dropout, DROPOUT)
    dropped = with_dropout.statement.dropped
    proof, labels = forge(monkeypatch, with_dropout, steps, with_dropout.statement, narrow(amount), dropped=dropped)
    assert labels == {"lookup level"}
    assert refused(with_dropout.statement, proof)


def test_a_pre_activation_one_off_with_a_remainder_beyond_its_bits(with_dropout: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """``A - 1`` and a remainder of ``2^18`` more: in range as limbs of eight bits, not as a top limb of two."""
    statement, shift = with_dropout.statement, DROPOUT.forward_shift(0)
    assert shift == 18
    lower = Crooked(forward=lambda Z, bits: sgd.round_half_up(Z, bits) - (bits == shift))
    steps = lower.run(DROPOUT, statement.start, with_dropout.samples.x, with_dropout.samples.y, statement.dropped)
    lie = claimed(with_dropout, steps)
    proof, labels = forge(monkeypatch, with_dropout, steps, lie, dropped=statement.dropped)
    assert labels == {"lookup level"}
    assert refused(lie, proof)
