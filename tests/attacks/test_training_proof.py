"""Attacks on the training proof.

Each prover here cheats in one place and is consistent everywhere else: it trains with its lie, commits to the values that follow from it
and follows the protocol. The equations that its values do not satisfy are named: where it is one, only that check rejects it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.attacks.crooked import Change, Crooked, claim, column, forge, honest, put, refused, relations_of, update_of
from tests.zk.training_cases import Case, accepts, case_of, data_of, key, rule_of, weights_of
from zk import sgd
from zk.group import PyEcc
from zk.rule import Loss, Rule
from zk.tables import EXP_BITS, exp_table
from zk.training.shape import split_limbs
from zk.training.witness import Witness
from zk.vectors import IntArray

LOOKUP = {"lookup level"}


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(rule_of())


def test_the_harness_itself_proves_the_truth(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Crooked().run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert not labels
    assert accepts(case.statement, proof)
    assert accepts(case.statement, proof, key(PyEcc))


def _another_update(kind: str, case: Case) -> tuple[IntArray, ...]:
    rng = np.random.default_rng(5)
    update = case.statement.update
    match kind:
        case "unchanged weights":
            return tuple(np.zeros_like(change) for change in update)
        case "random weights":
            return tuple(rng.integers(-(2**12), 2**12, change.shape) for change in update)
        case "twice the update":
            return tuple(2 * change for change in update)
        case "one weight, one unit":
            changed = [change.copy() for change in update]
            changed[1][-1, -1] += 1
            return tuple(changed)
        case "a step less":
            return update_of(honest(case)[:-1])
    raise ValueError(kind)


@pytest.mark.parametrize("kind", ["unchanged weights", "random weights", "twice the update", "one weight, one unit", "a step less"])
def test_another_update_than_training_gives(kind: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = replace(case.statement, update=_another_update(kind, case))
    proof, labels = forge(monkeypatch, case, honest(case), statement)
    assert labels == {"history"}
    assert refused(statement, proof)


def test_a_smaller_learning_rate(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of nearly nothing: what broke approximate proofs of learning."""
    steps = Crooked(numerator=1).run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == {"history"}
    assert refused(claim(case, steps), proof)


def test_another_model_to_start_from(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = weights_of(case.statement.rule, np.random.default_rng(99))
    steps = Crooked().run(case.statement.rule, stale, case.samples.x, case.samples.y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == {"history"}
    assert refused(claim(case, steps), proof)


def test_weights_changed_on_the_way(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second step starts from other weights than the first ended with; every step is consistent in itself."""
    rule, start = case.statement.rule, case.statement.start
    first, second, third = honest(case)
    moved = [W + 7 for W in second.weights]
    one_step = replace(rule, steps=2)
    rest = Crooked().run(one_step, moved, case.samples.x[rule.batch :], case.samples.y[rule.batch :])
    steps = [first, *rest]
    statement = replace(case.statement, update=tuple(W - before for W, before in zip(rest[-1].updated, start, strict=True)))
    proof, labels = forge(monkeypatch, case, steps, statement)
    assert labels == {"history"}
    assert refused(statement, proof)
    assert third.weights is not rest[-1].weights


def test_other_samples_than_the_committed_ones(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = data_of(case.statement.rule, np.random.default_rng(77))
    steps = Crooked().run(case.statement.rule, case.statement.start, x, case.samples.y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == {"samples"}
    assert refused(claim(case, steps), proof)


def test_the_committed_samples_in_another_order(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    order = np.roll(np.arange(case.statement.rule.samples), 1)
    y = case.samples.y[order]
    steps = Crooked().run(case.statement.rule, case.statement.start, case.samples.x[order], y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), y=y)
    assert labels == {"samples", "error 2"}
    assert refused(claim(case, steps), proof)


def test_other_labels_than_the_committed_ones(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.roll(case.samples.y, 1, axis=1)
    steps = Crooked().run(case.statement.rule, case.statement.start, case.samples.x, y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), y=y)
    assert labels == {"error 2"}
    assert refused(claim(case, steps), proof)


def _floor(Z: IntArray, shift: int) -> IntArray:
    return Z >> shift


CROOKED: dict[str, tuple[Crooked, set[str]]] = {
    "rounding down on the way forward": (Crooked(forward=_floor), LOOKUP),
    "rounding down on the way back": (Crooked(backward=_floor), LOOKUP),
    "no ReLU on the way forward": (Crooked(activation=lambda A: A), {"activation 1"}),
    "activations one too large": (Crooked(activation=lambda A: np.maximum(A, 0) + 1), {"activation 1"}),
    "a product of the first layer that is none": (Crooked(product=lambda Z, layer: Z + (layer == 0)), {"forward 1"}),
    "a product of the last layer that is none": (Crooked(product=lambda Z, layer: Z + (layer == 1)), {"forward 2"}),
    "errors propagated by other weights": (Crooked(propagated=lambda E: E + 1), {"backward 2"}),
    "half the error": (Crooked(output_error=lambda rule, A, y: sgd._output_error(rule, A, y, "") // 2), LOOKUP),
    "the error of another loss": (
        Crooked(output_error=lambda rule, A, y: (A - y) << 2), LOOKUP,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CROOKED)
def test_another_calculation(name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    crooked, expected = CROOKED[name]
    steps = crooked.run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == expected
    assert refused(claim(case, steps), proof)


def test_no_derivative_of_relu(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors pass units that are off, with the remainders that this rounding has."""
    rule = case.statement.rule
    steps = Crooked(derivative=np.ones_like).run(rule, case.statement.start, case.samples.x, case.samples.y)
    back = rule.backward_shift(0)

    def change(witness: Witness) -> None:
        rest = column(steps, "E", 0) + (1 << (back - 1)) - (column(steps, "errors", 0) << back)
        put(case, witness, split_limbs("layer 1 backward remainder", rest, 2, 8))

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {"derivative 1"}
    assert refused(claim(case, steps), proof)


def _limb_overflow(name: str, first: int) -> Change:
    """Keep the value, but put one unit of a limb into the one before it: out of range."""

    def change(witness: Witness) -> None:
        low, high = (witness.tensors[f"{name} limb {first + i}"] for i in (0, 1))
        place = int(np.flatnonzero(high > 0)[0])
        low[place] += 256
        high[place] -= 1

    return change


def _limb_underflow(name: str, first: int) -> Change:
    """Make a limb negative: a field element close to r."""

    def change(witness: Witness) -> None:
        low, high = (witness.tensors[f"{name} limb {first + i}"] for i in (0, 1))
        low[4] -= 256
        high[4] += 1

    return change


@pytest.mark.parametrize("kind", [_limb_overflow, _limb_underflow])
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("layer 1 forward remainder", 0),
        ("layer 1 backward remainder", 0),
        ("logit remainder", 0),
        ("division remainder", 0),
        ("division slack", 1),
        ("maximum logit", 3),
    ],
)
def test_a_limb_out_of_range(
    name: str, first: int, kind: Callable[[str, int], Change], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, labels = forge(monkeypatch, case, honest(case), case.statement, kind(name, first))
    assert labels == LOOKUP
    assert refused(case.statement, proof)


def predictions(rule: Rule, A: IntArray, distance: int = 0) -> tuple[IntArray, IntArray, IntArray]:
    """Return powers, their sums and probabilities of logits whose distances from the maximum are ``distance`` too large."""
    e = np.array(exp_table(rule.plan), dtype=np.int64)[A.max(axis=1, keepdims=True) - A + distance]
    S = e.sum(axis=1, keepdims=True)
    return e, S, ((e << (rule.plan.output_error_bits + 1)) + S) // (2 * S)


def quotient_off_by(case: Case, by: int) -> list[sgd.Step]:
    """Train with probabilities that are off."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        return predictions(rule, A)[2] + by - (y << rule.plan.output_error_bits)

    return Crooked(output_error=error).run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)


def test_a_quotient_that_is_one_too_large(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The division's remainder is negative then."""
    steps = quotient_off_by(case, 1)
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == LOOKUP
    assert refused(claim(case, steps), proof)


def test_a_quotient_with_the_remainder_of_another(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remainder and slack are those of the right quotient, and in range."""
    steps = quotient_off_by(case, 1)

    def change(witness: Witness) -> None:
        A = column(steps, "A", -1)
        right = relations_of(case).loss.witness(column(steps, "Z", -1), A, predictions(case.statement.rule, A)[2])
        put(case, witness, {name: values for name, values in right.items() if name.startswith("division")})

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {"softmax products"}
    assert refused(claim(case, steps), proof)


def test_a_quotient_that_is_one_too_small(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remainder is 2S too large; the prover claims a slack in range."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        right = predictions(rule, A)[2]
        return right - (right > 0) - (y << rule.plan.output_error_bits)

    steps = Crooked(output_error=error).run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)

    def change(witness: Witness) -> None:
        for name in [name for name in witness.tensors if name.startswith("division slack")]:
            witness.tensors[name] = witness.tensors[name] % 256

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {"division slack"}
    assert refused(claim(case, steps), proof)


@pytest.mark.parametrize(("selected", "label"), [(None, "softmax products"), ("none", "one selector"), ("a padded class", "one selector")])
def test_a_maximum_that_no_logit_reaches(selected: str | None, label: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """All distances are one more than they should be, and everything follows from that."""

    def error(rule: Rule, A: IntArray, y: IntArray) -> IntArray:
        return predictions(rule, A, 1)[2] - (y << rule.plan.output_error_bits)

    rule = case.statement.rule
    steps = Crooked(output_error=error).run(rule, case.statement.start, case.samples.x, case.samples.y)
    loss = relations_of(case).loss

    def change(witness: Witness) -> None:
        A = column(steps, "A", -1)
        e, S, P = predictions(rule, A, 1)
        division = (e << (rule.plan.output_error_bits + 1)) + S - 2 * S * P
        maximum = A.max(axis=1, keepdims=True) + 1
        found = {"distance": maximum - A, "deficit": (1 << EXP_BITS) - e}
        found |= loss.limbs("division remainder", division, 3) | loss.limbs("division slack", 2 * S - 1 - division, 3)
        count = sum(name.startswith("maximum") for name in witness.tensors)
        found |= loss.limbs("maximum logit", maximum + (1 << (8 * count - 1)), count)
        put(case, witness, found)
        selector = witness.tensors["selector"].reshape(-1, 4)
        if selected == "none":
            selector[:] = 0
        elif selected:
            selector[:, 3] = selector.sum(axis=1)
            selector[:, :3] = 0

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {label}
    assert refused(claim(case, steps), proof)


def test_selectors_of_two_classes_that_cancel(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Σ s = 1 and Σ s·u = 0 with no u = 0: refused because each product must vanish."""

    def change(witness: Witness) -> None:
        selector, distance = (witness.tensors[name].reshape(-1, 4) for name in ("selector", "distance"))
        row = int(np.flatnonzero(selector.sum(axis=1))[0])
        selector[row, :3] = [1, 1, -1]
        assert distance[row, :3].any()

    proof, labels = forge(monkeypatch, case, honest(case), case.statement, change)
    assert labels == {"softmax products"}
    assert refused(case.statement, proof)


def test_a_power_that_is_not_in_the_table(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deficit of one class is one more, and sum, quotient and remainders follow."""

    def change(witness: Witness) -> None:
        witness.tensors["deficit"][0] += 1

    proof, labels = forge(monkeypatch, case, honest(case), case.statement, change)
    assert "lookup level" in labels
    assert refused(case.statement, proof)


def large_activations() -> Case:
    """Return a run whose activations leave their range, so that honest training stops."""
    case = case_of(rule_of(steps=1))
    start = (case.statement.start[0] * 80, case.statement.start[1] // 1024)
    return replace(case, statement=replace(case.statement, start=start))


def test_a_sign_that_is_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation of 2^t + l is shown as β = 2, L = l; H = β·L and β·E follow."""
    case = large_activations()
    rule = case.statement.rule
    limit = 1 << rule.plan.limb_bits

    def sign(A: IntArray) -> IntArray:
        return A // limit + 1

    crooked = Crooked(activation=lambda A: sign(A) * (A % limit), derivative=sign, backward=sgd.round_half_up)
    steps = crooked.run(rule, case.statement.start, case.samples.x, case.samples.y)
    assert any((np.abs(step.A[0]) >= limit).any() for step in steps)

    def change(witness: Witness) -> None:
        A = column(steps, "A", 0)
        back = rule.backward_shift(0)
        rest = sign(A) * column(steps, "E", 0) + (1 << (back - 1)) - (column(steps, "errors", 0) << back)
        put(case, witness, {"layer 1 sign": sign(A), "layer 1 low": A % limit})
        put(case, witness, split_limbs("layer 1 backward remainder", rest, 2, 8))

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), change)
    assert labels == {"derivative 1"}
    assert refused(claim(case, steps), proof)


@pytest.mark.parametrize(("name", "position", "by"), [("range uses", 0, 1), ("range uses", 255, -1), ("loss table uses", 1, 1)])
def test_wrong_multiplicities(name: str, position: int, by: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(witness: Witness) -> None:
        witness.tensors[name][position] += by

    proof, labels = forge(monkeypatch, case, honest(case), case.statement, change, count=False)
    assert labels == LOOKUP
    assert refused(case.statement, proof)


@pytest.mark.parametrize("loss", [Loss.BINARY, Loss.SQUARED])
def test_other_losses_are_bound_as_well(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(rule_of((13, 6, 3), loss))
    crooked = Crooked(output_error=lambda rule, A, y: sgd._output_error(rule, A, y, "") + 1)
    steps = crooked.run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)

    def true_predictions(witness: Witness) -> None:
        batches = np.split(case.samples.y, case.statement.rule.steps)
        right = [sgd._output_error(case.statement.rule, step.A[-1], y, "") for step, y in zip(steps, batches, strict=True)]
        P = np.concatenate(right) + (case.samples.y << case.statement.rule.plan.output_error_bits)
        put(case, witness, relations_of(case).loss.witness(column(steps, "Z", -1), column(steps, "A", -1), P))

    proof, labels = forge(monkeypatch, case, steps, claim(case, steps), true_predictions)
    assert labels == {"error 2"}
    assert refused(claim(case, steps), proof)


def test_a_logit_bit_that_is_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logit of 2^(t+1) or more, shown with high = 2: the second lookup of the bit alone refuses it."""
    case = case_of(rule_of((13, 3), Loss.SQUARED))
    case = replace(case, statement=replace(case.statement, start=(case.statement.start[0] * 90,)))
    crooked = Crooked(output_error=lambda rule, A, y: (A - y) << 2)
    steps = crooked.run(case.statement.rule, case.statement.start, case.samples.x, case.samples.y)
    assert max(int(step.A[-1].max()) for step in steps) >= 256
    proof, labels = forge(monkeypatch, case, steps, claim(case, steps))
    assert labels == LOOKUP
    assert refused(claim(case, steps), proof)
