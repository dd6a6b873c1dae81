"""Provers that run a sum-check over other values than they committed to.

Every relation and every sum-check holds for them; only the comparison at its end, of an evaluation with the committed tensor, refuses them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from tests.attacks.crooked import Crooked, claim, column, forge, honest, put, refused, relations_of
from tests.zk.training_cases import Case, case_of, rule_of
from zk import lookup, sgd
from zk.lookup import Leaves, Table
from zk.rule import Rule
from zk.tables import EXP_BITS, exp_table
from zk.training.relu import Relu
from zk.training.shape import split_limbs
from zk.training.softmax import Softmax
from zk.training.witness import Witness
from zk.vectors import IntArray, Vector

Tensors = Mapping[str, IntArray]


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(rule_of())


def substitute(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, change: Callable[[Tensors], dict[str, IntArray]]) -> None:
    """Let a sum-check's tables be built from changed tensors."""
    original = getattr(owner, method)

    def crooked(self: object, tensors: Tensors, *rest: object) -> object:
        return original(self, {**tensors, **change(tensors)}, *rest)

    monkeypatch.setattr(owner, method, crooked)


def run(case: Case, crooked: Crooked) -> list[sgd.Step]:
    return crooked.run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)


def test_activations_of_other_low_parts(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = run(case, Crooked(activation=lambda A: np.where(A >= 0, A + 1, 0)))
    substitute(monkeypatch, Relu, "_activation_tables", lambda tensors: {"layer 1 low": tensors["layer 1 low"] + 1})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == {"activation 1 low"}
    assert refused(claim(case, steps), proof)


def test_activations_of_other_signs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = run(case, Crooked(activation=lambda A: 2 * np.maximum(A, 0)))
    substitute(monkeypatch, Relu, "_activation_tables", lambda tensors: {"layer 1 sign": 2 * tensors["layer 1 sign"]})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == {"activation 1 sign"}
    assert refused(claim(case, steps), proof)


def test_derivatives_of_other_signs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors pass the units that are off, and no others."""
    steps = run(case, Crooked(derivative=lambda A: (A < 0).astype(np.int64)))
    back = case.statement.rule.backward_shift(0)

    def remainders(witness: Witness) -> None:
        passed = np.where(column(steps, "A", 0) < 0, column(steps, "E", 0), 0)
        rest = passed + (1 << (back - 1)) - (column(steps, "errors", 0) << back)
        put(case, witness, split_limbs("layer 1 backward remainder", rest, 2, 8))

    substitute(monkeypatch, Relu, "_sign_tables", lambda tensors: {"layer 1 sign": 1 - tensors["layer 1 sign"]})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), remainders)
    assert labels == {"derivative 1 sign"}
    assert refused(claim(case, steps), proof)


def predictions(rule: Rule, A: IntArray, distance: int = 0) -> tuple[IntArray, IntArray, IntArray]:
    """Return powers, their sums and probabilities; ``distance`` is added to every ``u``."""
    e = np.array(exp_table(rule.plan), dtype=np.int64)[A.max(axis=1, keepdims=True) - A + distance]
    S = e.sum(axis=1, keepdims=True)
    return e, S, ((e << (rule.plan.output_error_bits + 1)) + S) // (2 * S)


def test_quotients_other_than_the_committed_ones(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error uses probabilities that are one too large; the division is shown for the right ones."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        return predictions(rule, A)[2] + 1 - (y << rule.plan.output_error_bits)

    steps = run(case, Crooked(output_error=error))
    right = relations_of(case).loss.witness(
        column(steps, "Z", -1), column(steps, "A", -1), predictions(case.statement.rule, column(steps, "A", -1))[2]
    )

    def division(witness: Witness) -> None:
        put(case, witness, {name: values for name, values in right.items() if name.startswith("division")})

    shape = relations_of(case).shape
    name = "probability limb 0"
    substitute(monkeypatch, Softmax, "_tables", lambda tensors: {name: shape.spread(right[name], 4)})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), division)
    assert labels == {"softmax probability"}
    assert refused(claim(case, steps), proof)


@pytest.mark.parametrize("what", ["selector", "distance"])
def test_a_maximum_that_no_logit_reaches_shown_with_other(what: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """All distances are one too large; the selector, or the distances, of the sum-check are others."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        return predictions(rule, A, 1)[2] - (y << rule.plan.output_error_bits)

    rule, loss, shape = case.statement.rule, relations_of(case).loss, relations_of(case).shape
    steps = run(case, Crooked(output_error=error))
    A = column(steps, "A", -1)
    maximum = A.max(axis=1, keepdims=True) + 1

    def change(witness: Witness) -> None:
        e, S, P = predictions(rule, A, 1)
        division = (e << (rule.plan.output_error_bits + 1)) + S - 2 * S * P
        found = {"distance": maximum - A, "deficit": (1 << EXP_BITS) - e}
        found |= loss.limbs("division remainder", division, 3) | loss.limbs("division slack", 2 * S - 1 - division, 3)
        count = sum(name.startswith("maximum") for name in witness.tensors)
        found |= loss.limbs("maximum logit", maximum + (1 << (8 * count - 1)), count)
        put(case, witness, found)

    other = np.zeros_like(A) if what == "selector" else maximum - 1 - A
    substitute(monkeypatch, Softmax, "_tables", lambda tensors: {what: shape.spread(other, 4)})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {f"softmax {what}"}
    assert refused(claim(case, steps), proof)


def test_a_sum_of_powers_other_than_the_committed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the probabilities, divided by twice the sum: true where every right probability is even."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        return predictions(rule, A)[2] // 2 - (y << rule.plan.output_error_bits)

    for seed in range(100):
        case = case_of(rule_of((5, 4, 3), batch=1, steps=1), seed)
        steps = run(case, Crooked(output_error=error))
        rule, A = case.statement.rule, column(steps, "A", -1)
        if not (predictions(rule, A)[2] % 2).any():
            break
    e, S, P = predictions(rule, A)
    right = relations_of(case).loss.witness(column(steps, "Z", -1), A, P)

    def division(witness: Witness) -> None:
        put(case, witness, {name: values for name, values in right.items() if name.startswith("division")})

    # S is 2^14·classes minus the deficits: these deficits give twice the true sum
    doubled = (1 << EXP_BITS) - 2 * e
    substitute(monkeypatch, Softmax, "_tables", lambda tensors: {"deficit": relations_of(case).shape.spread(doubled, 4)})
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), division)
    assert S.min() > 0
    assert labels == {"softmax sum"}
    assert refused(claim(case, steps), proof)


def change_tree(monkeypatch: pytest.MonkeyPatch, values: dict[str, IntArray]) -> None:
    """Let the fraction tree be built over other values."""
    original = lookup._build

    def build(parts: Sequence[Leaves | Table], depth: int, gamma: int, alpha: int, tensors: Tensors) -> list[tuple[Vector, Vector]]:
        return original(parts, depth, gamma, alpha, {**tensors, **values})

    monkeypatch.setattr(lookup, "_build", build)


def test_a_tree_over_other_multiplicities(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(witness: Witness) -> None:
        change_tree(monkeypatch, {"range uses": witness.tensors["range uses"].copy()})
        witness.tensors["range uses"][3] += 1

    proof, labels = forge(monkeypatch, case, honest(case), case.statement, change, count=False)
    assert labels == {"lookup numerators"}
    assert refused(case.statement, proof)


def test_a_tree_over_other_values(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limb out of range is committed, and one in range stands in the tree."""
    names = [f"layer 1 forward remainder limb {i}" for i in (0, 1)]

    def change(witness: Witness) -> None:
        change_tree(monkeypatch, {name: witness.tensors[name].copy() for name in names})
        witness.tensors[names[0]][0] += 256
        witness.tensors[names[1]][0] -= 1

    proof, labels = forge(monkeypatch, case, honest(case), case.statement, change, count=False)
    assert labels == {"lookup denominators"}
    assert refused(case.statement, proof)
