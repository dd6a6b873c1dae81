"""The plain verifier of ``zk.plain`` and the fast one give the same verdict, at the same stage, on true and on changed proofs."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from Crypto.Hash import SHA256
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, decompress_G1
from py_ecc.optimized_bls12_381 import add, curve_order, is_inf, multiply

from tests.zk.frozen import FOLDER, read
from tests.zk.training_cases import Case, case_of, dropout_rule, history_rule, rule_of, source
from zk import closing, pads
from zk.equations import hold
from zk.errors import CommitmentError, EncodingError, RuleError
from zk.field import ORDER
from zk.group import Arkworks, PyEcc
from zk.pedersen import DOMAIN, commitment_key
from zk.plain import statement as plain_statement
from zk.plain import verify as verify_plainly
from zk.plain.tensors import Shape
from zk.rule import Loss, Plan, Rule
from zk.training import TrainingStatement, prove, verify
from zk.training.relations import budget

WIDTH = 64
FILES = sorted(FOLDER.glob("*.json"))


def fast_verdict(statement: TrainingStatement, proof: bytes, width: int = WIDTH) -> str:
    """Return what the fast verifier says, and at which stage."""
    key = commitment_key(Arkworks, width)
    try:
        equation = verify(key, statement, proof)
    except (EncodingError, CommitmentError, RuleError) as error:
        return type(error).__name__
    return "accepted" if hold(key, [equation]) else "a group equation"


def plain_verdict(statement: TrainingStatement, proof: bytes, width: int = WIDTH) -> str:
    """Return the same of the plain one, whose errors name the group equation."""
    try:
        verify_plainly(width, commitment_key(PyEcc, width), statement, proof)
    except CommitmentError as error:
        return "a group equation" if "does not open" in str(error) else type(error).__name__
    except (EncodingError, RuleError) as error:
        return type(error).__name__
    return "accepted"


def verdict(statement: TrainingStatement, proof: bytes, width: int = WIDTH) -> str:
    """Return what both say."""
    fast, plain = fast_verdict(statement, proof, width), plain_verdict(statement, proof, width)
    assert fast == plain
    return fast


def proved(case: Case, width: int = WIDTH) -> bytes:
    return prove(commitment_key(Arkworks, width), case.statement, case.samples, source())


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(rule_of((5, 3, 2), Loss.SOFTMAX, 3, 2))


@pytest.fixture(scope="module")
def proof(case: Case) -> bytes:
    return proved(case)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_frozen_proofs(path: Path) -> None:
    statement, proof, width = read(path)
    assert verdict(statement, proof, width) == "accepted"
    assert verdict(replace(statement, round=statement.round + 1), proof, width) == "CommitmentError"


SHAPES: list[tuple[tuple[int, ...], Loss, int, int]] = [
    ((5, 2), Loss.SOFTMAX, 3, 1),  # no hidden layer, one step
    ((1, 1), Loss.SQUARED, 1, 1),  # no variable of a sample or of an output at all
    ((7, 3, 3), Loss.SOFTMAX, 3, 3),  # nothing a power of two
    ((4, 2, 4, 1), Loss.BINARY, 2, 2),  # everything a power of two
    ((3, 1, 5, 3), Loss.SOFTMAX, 1, 3),  # one unit, one sample a step
]
EXTRAS = {
    "momentum": replace(history_rule(decay=Fraction(0)), layers=(5, 3, 2)),
    "momentum and decay, padded steps": replace(history_rule(), layers=(5, 3, 2)),
    "decay, no padded step": replace(history_rule(Fraction(0), steps=2), layers=(5, 3, 2)),
    "dropout, roundings of two limbs and two bits": dropout_rule(layers=(5, 3, 2)),
    "dropout of one half, two hidden layers": dropout_rule(2, (5, 3, 6, 1), Loss.BINARY),
    "everything": replace(history_rule(dropout=5), layers=(5, 3, 4, 2), norm=Fraction(3, 2)),
    "momentum without a hidden layer": replace(history_rule(), layers=(5, 2), loss=Loss.SQUARED),
}
MORE = [(layers, loss, batch, steps) for layers in [(6, 3), (2, 3, 2), (5, 2, 3, 4)] for loss in Loss for batch, steps in [(1, 2), (3, 3)]]


@pytest.mark.parametrize(("layers", "loss", "batch", "steps"), SHAPES)
def test_true_proofs(layers: tuple[int, ...], loss: Loss, batch: int, steps: int) -> None:
    case = case_of(rule_of(layers, loss, batch, steps))
    assert verdict(case.statement, proved(case)) == "accepted"


@pytest.mark.parametrize("name", EXTRAS)
def test_true_proofs_with_an_optimiser_or_dropout(name: str) -> None:
    case = case_of(EXTRAS[name])
    assert verdict(case.statement, proved(case)) == "accepted"


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "loss", "batch", "steps"), MORE)
def test_more_true_proofs(layers: tuple[int, ...], loss: Loss, batch: int, steps: int) -> None:
    case = case_of(rule_of(layers, loss, batch, steps), seed=5)
    assert verdict(case.statement, proved(case)) == "accepted"


@pytest.mark.slow
@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("width", [32, 128])
def test_other_widths(loss: Loss, width: int) -> None:
    """Tensors narrower than a row, as wide, and wider; layers wider than a row."""
    layers = (3, 2) if width == 32 else (9, 130, 2)
    case = case_of(rule_of(layers, loss, 2, 2))
    assert verdict(case.statement, proved(case, width), width) == "accepted"


@pytest.mark.slow
def test_the_default_plan() -> None:
    rule = Rule((20, 12, 3), Loss.SOFTMAX, 8, 2, Plan.derive(0.125, 8, (20, 12, 3)))
    case = case_of(rule)
    assert verdict(case.statement, proved(case, 256), 256) == "accepted"


@pytest.mark.parametrize("loss", list(Loss))
def test_both_count_the_same_messages(loss: Loss) -> None:
    """By a formula here, by running the protocol on zeros there."""
    for layers in [(5, 2), (5, 1, 2), (13, 6, 3), (7, 16, 5, 16), (20, 130, 2), (3, 4, 5, 6, 7, 8)]:
        for batch, steps in [(1, 1), (3, 1), (1, 3), (4, 4), (5, 9)]:
            rule = rule_of(layers, loss, batch, steps)
            shape, used = Shape(rule, 128), budget(rule, 128)
            assert (shape.pads, shape.products) == (used.pads, used.products)


def test_generators_are_hashes_to_the_curve() -> None:
    for message, point in zip((b"H", b"G\0\0\0\0", b"G\0\0\0\1"), _points(3), strict=True):
        assert compress_G1(hash_to_G1(message, DOMAIN, _sha256)) == compress_G1(point)


def _points(count: int) -> list[Any]:
    key = commitment_key(PyEcc, WIDTH)
    return [key.blinding, *key.generators][:count]


def _sha256(data: bytes = b"") -> Any:  # noqa: ANN401
    return SHA256.new(data)


CHANGES: dict[str, Callable[[TrainingStatement], Any]] = {
    "federation": lambda old: old.federation + b"x",
    "run": lambda old: old.run[1:],
    "round": lambda old: old.round + 1,
    "beacon": lambda old: b"",
    "client": lambda old: b"somebody",
    "public_key": lambda old: old.client,
    "dataset_root": lambda old: bytes(32),
    "indices": lambda old: old.indices[::-1],
    "rows": lambda old: old.rows[48:96] + old.rows[:48] + old.rows[96:],
    "rule": lambda old: replace(old.rule, plan=replace(old.rule.plan, weight_range_bits=23)),
    "start": lambda old: (old.start[0], old.start[1] + 1),
    "update": lambda old: (old.update[0], old.update[1] - 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_proof_of_another_statement(name: str, case: Case, proof: bytes) -> None:
    changed: dict[str, Any] = {name: CHANGES[name](case.statement)}
    assert verdict(replace(case.statement, **changed), proof) == "CommitmentError"


def test_every_field_of_the_statement_is_changed() -> None:
    assert set(TrainingStatement.__dataclass_fields__) == set(CHANGES)


def _parts(shape: Shape) -> dict[str, tuple[int, int]]:
    """Return where the parts of a proof are."""
    points = len(shape.committed_rows) - shape.rule.samples + 1
    lengths = {
        "magic": 19,
        "commitments": 48 * points,
        "messages": 32 * (shape.pads + 2 * shape.products + shape.closing_pads),
        "announcements": 48 * 6,
        "sigma": 32,
        "row": 32 * shape.width,
        "closing pads": 32 * shape.closing_pads,
        "left": 32 * shape.products,
        "right": 32 * shape.products,
        "blinds": 32 * 5,
    }
    edges, end = {}, 0
    for name, length in lengths.items():
        edges[name] = (end, end + length)
        end += length
    return edges


def test_a_bit_changed_in_each_part_of_a_proof(case: Case, proof: bytes) -> None:
    parts = _parts(Shape(case.statement.rule, WIDTH))
    assert parts["blinds"][1] == len(proof)
    for name, (start, stop) in parts.items():
        early = name in ("magic", "commitments", "messages", "announcements")
        for position in (start, (start + stop) // 2, stop - 1) if early else (stop - 1,):
            changed = bytearray(proof)
            changed[position] ^= 1
            assert verdict(case.statement, bytes(changed)) != "accepted", (name, position)


def test_points_exchanged_in_a_proof(case: Case, proof: bytes) -> None:
    """All canonical: only what follows from them differs."""
    for start in (19, 19 + 48, _parts(Shape(case.statement.rule, WIDTH))["announcements"][0]):
        changed = proof[:start] + proof[start + 48 : start + 96] + proof[start : start + 48] + proof[start + 96 :]
        assert verdict(case.statement, changed) == "CommitmentError"


def test_encodings_that_are_not_canonical(case: Case, proof: bytes) -> None:
    statement = case.statement
    last = int.from_bytes(proof[-32:], "big") + ORDER
    start, stop = _parts(Shape(statement.rule, WIDTH))["messages"]
    assert verdict(statement, proof[:-32] + last.to_bytes(32, "big")) == "EncodingError"
    assert verdict(statement, proof[:start] + ORDER.to_bytes(32, "big") + proof[start + 32 :]) == "EncodingError"
    for changed in (b"", proof[:-1], proof + b"\0", proof[:19], b"lunaria training 2\n" + proof[19:]):
        assert verdict(statement, changed) == "EncodingError"
    of_order_three = [b"\x80" + bytes(47), b"\xa0" + bytes(47)]  # (0, ±2): on the curve, but no verifier reads them
    for point in (bytes(48), b"\xff" * 48, b"\x9f" + b"\xff" * 47, b"\xc0" + b"\1" * 47, b"\xe0" + bytes(47), *of_order_three):
        for place in (19, stop):
            assert verdict(statement, proof[:place] + point + proof[place + 48 :]) == "EncodingError"
        assert verdict(replace(statement, rows=point + statement.rows[48:]), proof) == "EncodingError"


def test_the_identity_as_a_commitment(case: Case, proof: bytes) -> None:
    identity = b"\xc0" + bytes(47)
    assert verdict(case.statement, proof[:19] + identity + proof[67:]) == "CommitmentError"


def test_rows_too_narrow(case: Case, proof: bytes) -> None:
    assert verdict(case.statement, proof, 16) == "RuleError"


def test_the_opening_of_anothers_proof(case: Case, proof: bytes) -> None:
    """Everything but the commitments and messages is from a second, true proof of the same statement."""
    start = _parts(Shape(case.statement.rule, WIDTH))["announcements"][0]
    assert verdict(case.statement, proof[:start] + proved(case)[start:]) == "CommitmentError"


@pytest.mark.parametrize("dropped", range(6))
def test_each_group_equation_counts(dropped: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a last challenge that is known in advance, one announced point is exchanged afterwards."""
    truth = plain_statement.Transcript.challenge

    def known(transcript: plain_statement.Transcript, label: str) -> int:
        return 12345 if label == "opening" else truth(transcript, label)

    monkeypatch.setattr(plain_statement.Transcript, "challenge", known)
    monkeypatch.setattr(closing, "_challenge", lambda *_: 12345)
    proof = proved(case)
    start = _parts(Shape(case.statement.rule, WIDTH))["announcements"][0] + 48 * dropped
    changed = proof[:start] + proof[19:67] + proof[start + 48 :]
    assert fast_verdict(case.statement, changed) == "a group equation"
    names = ["combined row", "closing pads", "left factors", "right factors", "row of products", "row of products"]
    with pytest.raises(CommitmentError, match=names[dropped]):
        verify_plainly(WIDTH, commitment_key(PyEcc, WIDTH), case.statement, changed)


@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_product_row_that_is_no_product(index: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def false(secret: pads.Pads) -> list[int]:
        values = [u * v % ORDER for u, v in zip(secret.left, secret.right, strict=True)]
        values[index] += 1
        return values

    monkeypatch.setattr(pads.Pads, "products", property(false))
    monkeypatch.setattr(closing, "_check_values", lambda *_: None)
    assert verdict(case.statement, proved(case)) == "CommitmentError"


def torsion() -> Any:  # noqa: ANN401
    """Return a point on the curve that is outside the subgroup, of an order prime to ``r``."""
    x = 1
    while True:
        try:
            point = decompress_G1((1 << 383) + x)
        except ValueError:
            x += 1
            continue
        outside = multiply(point, curve_order)
        if not is_inf(outside):
            return outside
        x += 1


def test_a_row_commitment_with_a_part_outside_the_subgroup(case: Case) -> None:
    """It commits to the same sample: either verifier kills that part at the end, so a prover who names it is accepted by both."""
    row = decompress_G1(int.from_bytes(case.statement.rows[:48], "big"))
    moved = int(compress_G1(add(row, torsion()))).to_bytes(48, "big")
    statement = replace(case.statement, rows=moved + case.statement.rows[48:])
    proof = proved(replace(case, statement=statement))
    assert moved != case.statement.rows[:48]
    assert verdict(statement, proof) == "accepted"
    assert verdict(case.statement, proof) == "CommitmentError"


def test_clearing_kills_only_what_is_outside() -> None:
    assert is_inf(multiply(torsion(), 0xD201000000010001))
    assert not is_inf(multiply(_points(1)[0], 0xD201000000010001))
