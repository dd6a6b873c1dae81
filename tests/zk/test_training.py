"""The training proof: true statements are accepted, and a proof is bound to every part of its statement and of itself."""

from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.zk.training_cases import WIDTH, Case, accepts, case_of, dropout_rule, history_rule, key, plainly_accepts, rule_of, source
from zk.equations import false_ones, hold
from zk.errors import CommitmentError, EncodingError, RangeError, RuleError
from zk.field import ORDER
from zk.group import Arkworks, PyEcc
from zk.rule import Loss, Plan, Rule
from zk.training import TrainingStatement, proof_bytes, prove, verify


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(rule_of())


@pytest.fixture(scope="module")
def proof(case: Case) -> bytes:
    return prove(key(), case.statement, case.samples, source())


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize(
    ("layers", "batch", "steps"),
    [
        ((13, 3), 4, 1),  # no hidden layer, one step
        ((13, 6, 3), 3, 3),  # nothing a power of two
        ((8, 8, 8, 2), 4, 2),  # everything a power of two
        ((7, 16, 5, 16), 2, 5),  # as many outputs as there is room for
        ((3, 1, 2), 1, 1),  # one sample, one unit
        ((20, 130, 2), 2, 3),  # a layer wider than a committed row
    ],
)
def test_training_is_proved(layers: tuple[int, ...], batch: int, steps: int, loss: Loss) -> None:
    case = case_of(rule_of(layers, loss, batch, steps))
    proof = prove(key(), case.statement, case.samples, source())
    assert len(proof) == proof_bytes(case.statement, WIDTH)
    assert accepts(case.statement, proof)


@pytest.mark.parametrize("layers", [(5, 2), (9, 4, 6, 3)])
def test_the_plain_verifier_agrees(layers: tuple[int, ...]) -> None:
    case = case_of(rule_of(layers, Loss.SOFTMAX, 3, 1))
    narrow = key(Arkworks, 64)
    proof = prove(narrow, case.statement, case.samples, source())
    assert plainly_accepts(case.statement, proof, 64)
    first = 19 + 48 * 3  # the fourth commitment
    for position in (0, first, first + 30, len(proof) // 2, len(proof) - 1):
        changed = bytearray(proof)
        changed[position] ^= 1
        assert not plainly_accepts(case.statement, bytes(changed), 64)
        assert not accepts(case.statement, bytes(changed), narrow)


def test_one_output_of_binary_cross_entropy() -> None:
    case = case_of(rule_of((5, 4, 1), Loss.BINARY, 3, 2))
    assert accepts(case.statement, prove(key(), case.statement, case.samples, source()))


def test_both_groups_accept(case: Case, proof: bytes) -> None:
    assert accepts(case.statement, proof, key(PyEcc))


def test_phases_are_timed(case: Case) -> None:
    timings: dict[str, float] = {}
    prove(key(), case.statement, case.samples, source(), timings)
    assert list(timings) == ["commit", "protocol", "closing"]


def test_two_proofs_of_one_statement_have_no_scalar_in_common(case: Case, proof: bytes) -> None:
    other = prove(key(), case.statement, case.samples, source())
    scalars = [{p[i : i + 32] for i in range(len(p) - 32 * 200, len(p), 32)} for p in (proof, other)]
    assert not scalars[0] & scalars[1]


CHANGES: dict[str, Any] = {
    "federation": b"other",
    "run": b"other",
    "round": 5,
    "beacon": b"other",
    "client": b"other",
    "public_key": b"other",
    "dataset_root": b"other",
    "indices": tuple(range(200, 209)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_proof_is_for_one_statement(name: str, case: Case, proof: bytes) -> None:
    assert not accepts(replace(case.statement, **{name: CHANGES[name]}), proof)


def test_every_field_of_the_statement_is_tried() -> None:
    assert {field.name for field in fields(TrainingStatement)} == {*CHANGES, "rows", "rule", "start", "update"}


def test_fields_do_not_run_into_each_other(case: Case, proof: bytes) -> None:
    assert not accepts(replace(case.statement, federation=b"federatio", run=b"nrun"), proof)


def test_rows_of_other_samples_are_refused(case: Case, proof: bytes) -> None:
    rows = case.statement.rows
    assert not accepts(replace(case.statement, rows=rows[48:96] + rows[:48] + rows[96:]), proof)
    other = case_of(case.statement.rule, seed=2)
    assert not accepts(replace(case.statement, rows=other.statement.rows[:48] + rows[48:]), proof)


@pytest.mark.parametrize("which", ["start", "update"])
def test_one_unit_in_any_matrix_is_refused(which: str, case: Case, proof: bytes) -> None:
    for layer in range(2):
        matrices = [matrix.copy() for matrix in getattr(case.statement, which)]
        matrices[layer][0, 0] += 1
        changed: dict[str, Any] = {which: tuple(matrices)}
        assert not accepts(replace(case.statement, **changed), proof)


@pytest.mark.parametrize(
    "change",
    [{"rate_numerator": 1}, {"weight_range_bits": 23}],
)
def test_another_plan_is_refused(change: dict[str, Any], case: Case, proof: bytes) -> None:
    rule = case.statement.rule
    assert not accepts(replace(case.statement, rule=replace(rule, plan=replace(rule.plan, **change))), proof)


def test_a_proof_with_dropout_is_for_one_client_and_one_beacon() -> None:
    case = case_of(dropout_rule())
    proof = prove(key(), case.statement, case.samples, source())
    assert accepts(case.statement, proof)
    assert accepts(case.statement, proof, key(PyEcc))
    for change in ({"client": b"another"}, {"beacon": b"another"}):
        assert not accepts(replace(case.statement, **change), proof)  # type: ignore[arg-type]
    for rule in (replace(case.statement.rule, dropout=0), replace(case.statement.rule, dropout=2)):
        assert not accepts(replace(case.statement, rule=rule), proof)


def test_a_proof_with_momentum_is_for_one_momentum_and_one_decay() -> None:
    case = case_of(history_rule())
    proof = prove(key(), case.statement, case.samples, source())
    assert accepts(case.statement, proof)
    assert accepts(case.statement, proof, key(PyEcc))
    rule = case.statement.rule
    changes: list[dict[str, Any]] = [{"momentum": Fraction(901, 1000)}, {"decay": Fraction(1, 41)}, {"norm": Fraction(1)}]
    for change in changes:
        other = replace(rule, **change)
        assert (other.rates, other.keeps) == (rule.rates, rule.keeps)  # the same calculation, agreed otherwise
        assert not accepts(replace(case.statement, rule=other), proof)


def test_another_loss_or_batch_is_refused(case: Case, proof: bytes) -> None:
    rule = case.statement.rule
    for other in (replace(rule, loss=Loss.SQUARED), replace(rule, loss=Loss.BINARY), replace(rule, batch=1, steps=9)):
        assert not accepts(replace(case.statement, rule=other), proof)


def test_another_clients_proof_is_refused(case: Case) -> None:
    other = case_of(case.statement.rule, seed=2)
    assert not accepts(case.statement, prove(key(), other.statement, other.samples, source()))


def test_every_part_of_a_proof_counts(case: Case, proof: bytes) -> None:
    step = len(proof) // 90
    for position in [0, len(proof) - 1, *range(7, len(proof), step)]:
        changed = bytearray(proof)
        changed[position] ^= 1
        assert not accepts(case.statement, bytes(changed)), position


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_other_lengths_are_refused(length: int, case: Case, proof: bytes) -> None:
    changed = proof[:length] if length < 1 else proof + bytes(length)
    with pytest.raises(EncodingError, match="of this statement takes"):
        verify(key(), case.statement, changed)


def test_encodings_that_are_not_canonical_are_refused(case: Case, proof: bytes) -> None:
    last = int.from_bytes(proof[-32:], "big")
    with pytest.raises(EncodingError, match="not below"):
        verify(key(), case.statement, proof[:-32] + (last + ORDER).to_bytes(32, "big"))
    start = len(b"lunaria training 1\n")
    for point in (bytes(48), b"\xff" * 48, b"\x9f" + b"\xff" * 47, b"\xc0" + b"\1" * 47):
        for group in (key(), key(PyEcc)):
            with pytest.raises(EncodingError, match="canonical"):
                verify(group, case.statement, proof[:start] + point + proof[start + 48 :])
            with pytest.raises(EncodingError, match="canonical"):
                verify(group, replace(case.statement, rows=point + case.statement.rows[48:]), proof)


def test_proofs_of_a_round_are_checked_together(case: Case, proof: bytes) -> None:
    others = [case_of(case.statement.rule, seed) for seed in (2, 3, 4)]
    proofs = [proof, *(prove(key(), other.statement, other.samples, source()) for other in others)]
    cases = [case, *others]
    equations = [verify(key(), one.statement, one_proof) for one, one_proof in zip(cases, proofs, strict=True)]
    assert hold(key(), equations)
    # the third client's commitment of the closing pads is replaced: only the group equation can tell
    start = proofs[2].index(b"\n") + 1
    points = proofs[2][start : start + 48]
    guilty = replace(equations[2], points=[key().decode(points, 1)[0], *equations[2].points[1:]])
    assert not hold(key(), [*equations[:2], guilty, equations[3]])
    assert false_ones(key(), [*equations[:2], guilty, equations[3]]) == [2]


def test_two_proofs_swapped_in_a_batch_are_refused(case: Case, proof: bytes) -> None:
    other = case_of(case.statement.rule, seed=2)
    second = prove(key(), other.statement, other.samples, source())
    assert not accepts(case.statement, second)
    assert not accepts(other.statement, proof)


def test_the_wrong_blinds_prove_nothing(case: Case) -> None:
    blinds = [blind + 1 for blind in case.samples.blinds]
    proof = prove(key(), case.statement, replace(case.samples, blinds=blinds), source())
    assert not accepts(case.statement, proof)


def test_an_honest_client_learns_what_is_wrong(case: Case) -> None:
    statement = replace(case.statement, update=tuple(change + 1 for change in case.statement.update))
    with pytest.raises(CommitmentError, match="gives another update"):
        prove(key(), statement, case.samples, source())
    large = replace(case.statement, start=(case.statement.start[0] * 80, case.statement.start[1]))
    with pytest.raises(RangeError, match=r"step 1: the pre-activation A of layer 1 .* agreed range"):
        prove(key(), large, case.samples, source())


def test_a_key_must_be_as_wide_as_a_sample(case: Case) -> None:
    with pytest.raises(RuleError, match="a sample takes 32 values, the key has 16"):
        prove(key(width=16), case.statement, case.samples, source())


def test_a_statement_fits_its_rule(case: Case) -> None:
    statement = case.statement
    with pytest.raises(EncodingError, match="trains on 9 samples"):
        replace(statement, indices=statement.indices[1:])
    with pytest.raises(EncodingError, match="trains on 9 samples"):
        replace(statement, rows=statement.rows[48:])
    for change in ({"round": -1}, {"indices": (-1, *statement.indices[1:])}, {"round": 2**64}):
        wrong: dict[str, Any] = change
        with pytest.raises(EncodingError, match="from 0 to"):
            replace(statement, **wrong)
    with pytest.raises(EncodingError, match="int64 matrices"):
        replace(statement, update=statement.update[:1])
    with pytest.raises(EncodingError, match="int64 matrices"):
        replace(statement, start=tuple(matrix.astype(np.float64) for matrix in statement.start))
    limit = 1 << statement.rule.plan.weight_range_bits
    with pytest.raises(RangeError, match="W0"):
        replace(statement, start=(statement.start[0] + limit, statement.start[1]))
    with pytest.raises(RangeError, match="the trained weights"):
        replace(statement, update=(statement.update[0] + 2 * limit, statement.update[1]))


def test_the_default_plan_and_a_wider_key() -> None:
    layers = (20, 12, 3)
    rule = Rule(layers, Loss.SOFTMAX, 8, 2, Plan.derive(0.125, 8, layers))
    case = case_of(rule)
    statement, samples = case.statement, case.samples
    assert accepts(statement, prove(key(width=256), statement, samples, source()), key(width=256))
