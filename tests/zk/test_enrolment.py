"""The enrolment proof: good data sets are accepted, a proof has one encoding, and whoever makes one knows every row."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.zk.enrolment_cases import CONTEXT, WIDTH, Case, accepts, case_of, commit, enrolment_rule, good_rows, key
from tests.zk.frozen import ENROLMENT
from tests.zk.training_cases import source
from zk import closing
from zk.argument import layout_of
from zk.blinding import BlindingSource
from zk.enrolment import EnrolmentArgument, EnrolmentStatement, Relations, powers, proof_bytes, prove, verify
from zk.equations import false_ones, hold
from zk.errors import CommitmentError, EncodingError, RangeError, RuleError
from zk.field import ORDER
from zk.group import PyEcc
from zk.multilinear import eq_table
from zk.pads import Channel
from zk.pedersen import CommitmentKey
from zk.rule import Loss, Plan, Rule
from zk.training.shape import Shape
from zk.training.witness import sample_rows

KNOWN = ENROLMENT / "enrolment-1.json"


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(enrolment_rule())


@pytest.fixture(scope="module")
def proof(case: Case) -> bytes:
    return case.prove()


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize(
    ("features", "outputs", "count"),
    [
        (13, 3, 5),  # nothing a power of two
        (8, 4, 8),  # everything a power of two
        (1, 2, 1),  # one sample of one feature
        (15, 16, 3),  # no slot unused
        (14, 2, 2),
        (7, 5, 33),
    ],
)
def test_good_rows_are_accepted(features: int, outputs: int, count: int, loss: Loss) -> None:
    case = case_of(enrolment_rule(features, outputs, loss), count)
    proof = case.prove()
    assert len(proof) == proof_bytes(case.statement, WIDTH)
    assert accepts(case.statement, proof)


@pytest.mark.parametrize("count", range(1, 18))
def test_any_number_of_samples(count: int) -> None:
    case = case_of(enrolment_rule(3, 1, Loss.BINARY), count)
    assert accepts(case.statement, case.prove())


@pytest.mark.parametrize(("features", "width"), [(16, 64), (47, 64), (48, 128), (5, 64), (13, 256)])
def test_any_width(features: int, width: int) -> None:
    """Also a key that is wider than a sample: the rows are the same commitments."""
    case = case_of(enrolment_rule(features), 6, width=width)
    assert accepts(case.statement, case.prove(key(width=width)), key(width=width))


def test_rows_may_be_as_wide_as_the_key() -> None:
    case = case_of(enrolment_rule(), width=64)
    wide = replace(case, rows=np.pad(case.rows, ((0, 0), (0, 32))))
    assert accepts(case.statement, wide.prove(key(width=64)), key(width=64))


def test_both_groups_accept(case: Case, proof: bytes) -> None:
    assert accepts(case.statement, proof, key(PyEcc))


def test_the_default_plan() -> None:
    layers = (20, 12, 10)
    rule = Rule(layers, Loss.SOFTMAX, 8, 2, Plan.derive(0.125, 8, layers))
    x = np.random.default_rng(1).integers(0, 256, (9, 20))
    case = commit(rule, sample_rows(Shape(rule), x, np.eye(10, dtype=np.int64)[:9]), width=64)
    assert accepts(case.statement, case.prove(key(width=64)), key(width=64))


def test_samples_of_the_training_proof_are_what_is_enrolled() -> None:
    rule = enrolment_rule(13, 3)
    rows = good_rows(rule, 4, np.random.default_rng(1))
    assert (rows == sample_rows(Shape(rule), rows[:, :13], rows[:, 16:19])).all()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 10, 784, 1007])
def test_slots_are_cut_into_powers_of_two(count: int) -> None:
    pieces = list(powers(range(5, 5 + count)))
    assert [slot for piece in pieces for slot in range(piece.first, piece.first + piece.count)] == list(range(5, 5 + count))
    assert len(pieces) == count.bit_count()


def test_half_the_leaves_of_whole_rows() -> None:
    relations = Relations(enrolment_rule(784, 10), 512)
    assert sum(leaves.size for leaves in relations.lookups) == 512 * (784 + 10)


def test_a_proof_of_an_earlier_version_still_verifies() -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    statement = EnrolmentStatement(CONTEXT, bytes.fromhex(known["rows"]), enrolment_rule())
    assert accepts(statement, bytes.fromhex(known["proof"]))
    assert accepts(statement, bytes.fromhex(known["proof"]), key(PyEcc))


def test_phases_are_timed(case: Case) -> None:
    timings: dict[str, float] = {}
    prove(key(), case.statement, case.rows, case.blinds, source(), timings)
    assert list(timings) == ["commit", "protocol", "closing"]


def test_two_proofs_have_no_scalar_in_common(case: Case, proof: bytes) -> None:
    scalars = [{p[i : i + 32] for i in range(len(p) - 32 * 100, len(p), 32)} for p in (proof, case.prove())]
    assert not scalars[0] & scalars[1]


def test_everything_stated_is_absorbed(case: Case) -> None:
    statement, rule = case.statement, case.statement.rule
    others = [
        replace(statement, context=b"other"),
        replace(statement, context=CONTEXT + statement.rows[:48], rows=statement.rows[48:]),
        replace(statement, rows=statement.rows[48:]),
        replace(statement, rule=replace(rule, plan=replace(rule.plan, rate_numerator=1))),
    ]
    generators = key().generators
    keys = [
        key(width=64),
        CommitmentKey(key().group, generators[::-1], key().blinding),
        CommitmentKey(key().group, generators, generators[0]),
    ]
    states = [statement.begin(key()).state(), *(other.begin(key()).state() for other in others)]
    assert len({*states, *(statement.begin(other).state() for other in keys)}) == 1 + len(others) + len(keys)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_other_lengths_are_refused(length: int, case: Case, proof: bytes) -> None:
    with pytest.raises(EncodingError, match="of this statement takes"):
        verify(key(), case.statement, proof[:length] if length < 1 else proof + bytes(length))


def test_other_kinds_and_versions_are_refused(case: Case, proof: bytes) -> None:
    for magic in (b"lunaria enrolment 2\n", b"lunaria training 11\n"):
        with pytest.raises(EncodingError, match="kind and version"):
            verify(key(), case.statement, magic + proof[len(magic) :])


def test_encodings_that_are_not_canonical_are_refused(case: Case, proof: bytes) -> None:
    argument = EnrolmentArgument(case.statement, WIDTH)
    first_message = len(proof) - closing.opening_bytes(layout_of(argument, WIDTH), argument.budget.products) - 32
    for start in (first_message, len(proof) - 32):
        value = int.from_bytes(proof[start : start + 32], "big") + ORDER
        with pytest.raises(EncodingError, match="not below"):
            verify(key(), case.statement, proof[:start] + value.to_bytes(32, "big") + proof[start + 32 :])
    start = len(b"lunaria enrolment 1\n")
    for point in (bytes(48), b"\xff" * 48, b"\x9f" + b"\xff" * 47, b"\xc0" + b"\1" * 47):
        for group in (key(), key(PyEcc)):
            with pytest.raises(EncodingError, match="canonical"):
                verify(group, case.statement, proof[:start] + point + proof[start + 48 :])
            with pytest.raises(EncodingError, match="canonical"):
                verify(group, replace(case.statement, rows=point + case.statement.rows[48:]), proof)


@pytest.mark.parametrize("length", [0, 1, 47, 49])
def test_rows_are_points(length: int) -> None:
    with pytest.raises(EncodingError, match="one or more of them"):
        EnrolmentStatement(CONTEXT, bytes(length), enrolment_rule())


def test_enrolments_are_checked_together(case: Case, proof: bytes) -> None:
    others = [case_of(enrolment_rule(), count, seed=count) for count in (1, 4, 9)]
    equations = [verify(key(), one.statement, one.prove()) for one in others]
    assert hold(key(), [verify(key(), case.statement, proof), *equations])
    changed = replace(equations[1], blinding=equations[1].blinding + 1)
    assert false_ones(key(), [equations[0], changed, equations[2]]) == [1]


def test_an_honest_client_learns_what_is_wrong(case: Case) -> None:
    def prove_changed(column: int, value: int) -> None:
        rows = case.rows.copy()
        rows[2, column] = value
        replace(case, rows=rows).prove()

    with pytest.raises(RangeError, match=r"the data set: a feature spans \[0, 16\]"):
        prove_changed(4, 16)
    with pytest.raises(RangeError, match=r"the data set: a label spans \[-1, 1\]"):
        prove_changed(16, -1)
    with pytest.raises(CommitmentError, match=r"do not satisfy: constant one$"):
        prove_changed(13, 1)
    with pytest.raises(CommitmentError, match=r"do not satisfy: unused slots$"):
        prove_changed(14, 1)
    with pytest.raises(CommitmentError, match=r"do not satisfy: one label$"):
        prove_changed(16 + int(case.rows[2, 16:].argmax()), 0)


def test_a_prover_gives_every_row_and_its_blind(case: Case) -> None:
    for changed in (replace(case, rows=case.rows[1:]), replace(case, blinds=case.blinds[1:]), replace(case, rows=case.rows[:, :31])):
        with pytest.raises(ValueError, match="5 rows of 32 values or more"):
            changed.prove()
    with pytest.raises(ValueError, match="5 rows of 32 values or more"):
        replace(case, rows=np.pad(case.rows, ((0, 0), (0, 1)))).prove()


def test_a_key_must_be_as_wide_as_a_sample(case: Case, proof: bytes) -> None:
    with pytest.raises(RuleError, match="a sample takes 32 values, the key has 16"):
        case.prove(key(width=16))
    with pytest.raises(RuleError, match="a sample takes 32 values, the key has 16"):
        verify(key(width=16), case.statement, proof)


def solve(matrix: list[list[int]], right: list[list[int]]) -> list[list[int]]:
    """Return ``X`` with ``matrix·X = right`` modulo r (Gauss and Jordan)."""
    rows = [[*a, *b] for a, b in zip(matrix, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(j for j in range(i, len(rows)) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        inverse = pow(rows[i][i], -1, ORDER)
        rows[i] = [x * inverse % ORDER for x in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [(x - rows[j][i] * y) % ORDER for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[len(rows) :] for row in rows]


def test_an_extractor_that_rewinds_the_prover_gets_every_row_and_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knowledge: enough answers of one prover, to other challenges of the closing, determine all that it committed to."""
    case = case_of(enrolment_rule(), 3)
    argument = EnrolmentArgument(case.statement, WIDTH)
    layout, products = layout_of(argument, WIDTH), argument.budget.products
    fixed = BlindingSource(bytes(32), deterministic=True)
    drawn: Iterator[int] = iter(())
    truth = Channel.challenge
    monkeypatch.setattr(Channel, "challenge", lambda channel, label: next(drawn) if label == "rows" else truth(channel, label))

    def answer(point: list[int], e: int) -> list[int]:
        nonlocal drawn
        drawn = iter(point)
        monkeypatch.setattr(closing, "_challenge", lambda *_: e)
        proof = prove(key(), case.statement, case.rows, case.blinds, fixed)
        opening = closing.decode_opening(proof[-closing.opening_bytes(layout, products) :], layout, products)
        return [*opening.row, opening.blinds[0]]

    weights, sums = [], []
    for _ in layout.rows:
        point = [secrets.randbelow(ORDER) for _ in range(layout.variables)]
        table = eq_table(point)
        weights.append([table[row] for row in layout.rows])
        sums.append([(b - a) % ORDER for a, b in zip(answer(point, 6), answer(point, 7), strict=True)])
    extracted = solve(weights, sums)[:3]
    assert [row[:-1] for row in extracted] == case.rows.tolist()
    assert [row[-1] for row in extracted] == case.blinds
