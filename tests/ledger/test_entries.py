"""Entries and statements: one canonical encoding each, nothing unknown, and signatures that cannot be moved elsewhere."""

import base64
import json
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from ledger.agreement import complete
from ledger.canonical import dump_json
from ledger.entries import (
    ENROLMENT_PROOF,
    MAX_ENTRY_BYTES,
    POINTS,
    SCALARS,
    STATEMENT,
    TENSOR,
    Aggregate,
    AgreementEntry,
    ClosingEntry,
    ContributionStatement,
    EnrolmentEntry,
    EnrolmentStatement,
    Entry,
    Reference,
    Reveal,
    RoundEntry,
    Settled,
    SettlementEntry,
    SignedContribution,
    SignedEnrolment,
    SignedStatement,
    Statement,
    TestResult,
    Verdict,
    decode_contribution,
    decode_enrolment,
    decode_entry,
    encode_entry,
)
from ledger.errors import FormatError, VerificationError
from ledger.identity import public_key, signing_key
from ledger.schema import Section
from ledger.verdicts import EXPLANATIONS, Reason

# ---- a small run, also for the tests of the state machine, of judging and of messages

DIGEST = "d1" * 32
KEYS = sorted((signing_key(bytes([i]) * 32) for i in range(6)), key=public_key)  # in the order of their numbers
NAMES = [public_key(key) for key in KEYS]
S = TypeVar("S", bound=Section)


def changed(section: S, **fields: Any) -> S:  # noqa: ANN401 - any field of any section
    """Return a copy with other fields, validated again."""
    return type(section).model_validate({**{name: getattr(section, name) for name in type(section).model_fields}, **fields})


def opening_entry(**fields: Any) -> AgreementEntry:  # noqa: ANN401
    """Return entry 0 of a run of three clients and two rounds; sections of the agreement can be given, such as ``rounds``."""
    agreement: dict[str, Any] = {
        "federation": {"name": "tests", "clients": 3, "minimum-clients": 2, "maximum-samples": 100, **fields.pop("federation", {})},
        "model": {"layers": [3, 16, 2], "seed": "5e" * 32, **fields.pop("model", {})},
        "training": {"batch": 4, "local-steps": 2, "learning-rate": 0.125},
        "rounds": {"count": 2, "participants": 2, "minimum-accepted": 1, **fields.pop("rounds", {})},
        **{name: fields.pop(name) for name in ("proof", "settlement") if name in fields},
    }
    entry = AgreementEntry(
        run="a5" * 32,
        origin="example.com/log",
        log_key="example.com/log+530d903a+key",
        model=Reference(digest="00" * 32, size=328, media_type=TENSOR),
        tables="7a" * 32,
        agreement=complete(agreement),
    )
    return changed(entry, **fields)


def enrolment(run: str, number: int, samples: int = 10, **fields: Any) -> EnrolmentStatement:  # noqa: ANN401
    statement = EnrolmentStatement(
        run=run,
        client=NAMES[number],
        samples=samples,
        rows=Reference(digest="01" * 32, size=48 * samples, media_type=POINTS),
        proof=Reference(digest="02" * 32, size=1104, media_type=ENROLMENT_PROOF),
        nonce=f"{number:02x}" * 32,
    )
    return changed(statement, **fields)


def contribution(run: str, number: int, round_number: int = 1, samples: int = 10, **fields: Any) -> ContributionStatement:  # noqa: ANN401
    statement = ContributionStatement(
        run=run,
        round=round_number,
        client=NAMES[number],
        model="00" * 32,
        batch="03" * 32,
        samples=samples,
        commitment=Reference(digest="04" * 32, size=96, media_type=POINTS),
        update=Reference(digest="05" * 32, size=328, media_type=TENSOR),
        blinds=Reference(digest="06" * 32, size=64, media_type=SCALARS),
        nonce=f"{16 * round_number + number:02x}" * 32,
    )
    return changed(statement, **fields)


# ---- the tests


def json_of(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encode_entry(entry))
    return value


VERDICTS = (
    Verdict(client=0, reason=Reason.ACCEPTED, contribution=Reference(digest=DIGEST, size=900, media_type=STATEMENT)),
    Verdict(client=2, reason=Reason.NO_REPLY),
)
ROUND = RoundEntry(
    round=1,
    reveals=(Reveal(client=0, nonce=DIGEST), Reveal(client=2, nonce=DIGEST)),
    withheld=(1,),
    beacon=DIGEST,
    model_before="00" * 32,
    model_after=Reference(digest="0a" * 32, size=328, media_type=TENSOR),
    verdicts=VERDICTS,
    aggregate=Aggregate(
        samples=10,
        sum=Reference(digest="0b" * 32, size=328, media_type=TENSOR),
        blinds=Reference(digest="0c" * 32, size=64, media_type=SCALARS),
    ),
    test=TestResult(data=DIGEST, total=100, correct=91),
)
EXAMPLES: dict[str, Entry] = {
    "agreement": opening_entry(),
    "enrolment": EnrolmentEntry(enrolment=SignedEnrolment.sign(enrolment(DIGEST, 0), KEYS[0])),
    "round": ROUND,
    "round without an aggregate": changed(ROUND, aggregate=None, test=None, verdicts=(), reveals=()),
    "settlement": SettlementEntry(
        epoch=1,
        first=1,
        last=1,
        clients=(
            Settled(
                client=0,
                account="0x" + "ab" * 20,
                rounds=1,
                score=-7,
                error=3,
                contribution="0",
                licence="340282366920938463463374607431768211455",
                penalty="0",
                faults=0,
                missed=1,
                reasons=(Reason.NO_REPLY,),
            ),
        ),
        total="340282366920938463463374607431768211455",
        root=DIGEST,
    ),
    "closing": ClosingEntry(outcome="completed", rounds=1, model=DIGEST),
}
EACH_KIND = pytest.mark.parametrize("entry", EXAMPLES.values(), ids=EXAMPLES)


def objects(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all objects within a JSON value."""
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in objects(item, (*path, i))]
    if isinstance(value, dict):
        return [path, *(found for key, item in value.items() for found in objects(item, (*path, key)))]
    return []


def at(value: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - any JSON value
    for step in path:
        value = value[step]
    return value


@EACH_KIND
def test_an_entry_is_read_back_as_it_was_written(entry: Entry) -> None:
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert encode_entry(decode_entry(data)) == data
    assert data == dump_json(json.loads(data))


@EACH_KIND
def test_an_unknown_field_anywhere_is_refused(entry: Entry) -> None:
    for path in objects(json_of(entry)):
        value = json_of(entry)
        at(value, path)["unknown"] = 1
        with pytest.raises(FormatError, match="unknown: unknown field"):
            decode_entry(dump_json(value))


@EACH_KIND
def test_no_field_anywhere_can_be_left_out(entry: Entry) -> None:
    for path in objects(json_of(entry)):
        for name in at(json_of(entry), path):
            value = json_of(entry)
            del at(value, path)[name]
            with pytest.raises(FormatError):
                decode_entry(dump_json(value))


@EACH_KIND
def test_no_field_anywhere_can_be_of_another_type(entry: Entry) -> None:
    for path in objects(json_of(entry)):
        for name in at(json_of(entry), path):
            for other in (["x"], {"x": 1}, "x" * 300):
                value = json_of(entry)
                if isinstance(at(value, path)[name], str) and name in ("terms", "description"):
                    continue
                at(value, path)[name] = other
                with pytest.raises(FormatError):
                    decode_entry(dump_json(value))


@EACH_KIND
def test_another_spelling_of_the_same_entry_is_refused(entry: Entry) -> None:
    value = json_of(entry)
    for other in (json.dumps(value).encode(), dump_json(value) + b"\n", dump_json(value).replace(b'"kind"', rb'"\u006bind"')):
        with pytest.raises(FormatError, match="not canonical"):
            decode_entry(other)


def test_names_with_underscores_are_not_those_of_the_encoding() -> None:
    value = json_of(ROUND)
    value["model_before"] = value.pop("model-before")
    with pytest.raises(FormatError, match="canonical encoding"):
        decode_entry(dump_json(value))


@pytest.mark.parametrize("kind", ["", "Round", "settlement", "withdrawal", "round ", None, 1, ["round"]])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(FormatError, match="the entry does not follow its schema"):
        decode_entry(dump_json({**json_of(ROUND), "kind": kind}))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"1", b'"round"', b"\xff", b"{", b'{"kind":"round"}'])
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    for decode in (decode_entry, decode_contribution, decode_enrolment):
        with pytest.raises(FormatError):
            decode(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", 1.5),
        ("version", "1"),
        ("round", 0),
        ("round", -1),
        ("round", "1"),
        ("beacon", "D1" * 32),
        ("beacon", "d1" * 31),
        ("beacon", "d1" * 32 + "\n"),
        ("withheld", [-1]),
        ("withheld", [10_000]),
        ("withheld", [True]),
        ("reveals", [{"client": 0, "nonce": "d1" * 33}]),
        ("reveals", [{"client": 10_000, "nonce": "d1" * 32}]),
        ("verdicts", [{"client": 0, "contribution": None, "proof": None, "reason": "fine"}]),
        ("model-after", {"digest": "d1" * 32, "media-type": "application/x-npy", "size": -1}),
        ("model-after", {"digest": "d1" * 32, "media-type": "application/x-npy", "size": 2**32 + 1}),
        ("model-after", {"digest": "d1" * 32, "media-type": "NPY", "size": 1}),
        ("model-after", {"digest": "d1" * 32, "media-type": "a/" + "b" * 80, "size": 1}),
        ("model-after", {"digest": "../../etc/passwd", "media-type": "application/x-npy", "size": 1}),
        ("test", {"correct": -1, "data": "d1" * 32, "squared-error": None, "total": 1}),
        ("test", {"correct": 1.5, "data": "d1" * 32, "squared-error": None, "total": 1}),
    ],
)
def test_a_value_outside_its_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(FormatError, match="the entry does not follow its schema"):
        decode_entry(dump_json({**json_of(ROUND), field: value}))


@pytest.mark.parametrize("outcome", ["completed", "too-few-accepted", "interrupted"])
def test_a_run_ends_in_one_of_three_ways(outcome: str) -> None:
    value = {**json_of(EXAMPLES["closing"]), "outcome": outcome}
    assert decode_entry(dump_json(value))
    with pytest.raises(FormatError):
        decode_entry(dump_json({**value, "outcome": outcome + "!"}))


def test_an_agreement_that_contradicts_itself_is_no_entry() -> None:
    value = json_of(EXAMPLES["agreement"])
    value["agreement"]["rounds"]["participants"] = 4
    with pytest.raises(FormatError, match=r"rounds\.participants is 4, above federation\.clients \(3\)"):
        decode_entry(dump_json(value))


def sized(length: int) -> AgreementEntry:
    """Return an entry whose encoding has ``length`` bytes."""
    entry = opening_entry()
    missing = length - len(encode_entry(entry))
    members = [f"{i:064x}" for i in range(missing // 67)]
    entry = opening_entry(federation={"members": members})
    description = "x" * (length - len(encode_entry(entry)))
    data = changed(entry.agreement.data, description=description)
    return changed(entry, agreement=changed(entry.agreement, data=data))


def test_an_entry_takes_at_most_65535_bytes() -> None:
    largest = encode_entry(sized(MAX_ENTRY_BYTES))
    assert len(largest) == MAX_ENTRY_BYTES == 65_535
    assert encode_entry(decode_entry(largest)) == largest
    with pytest.raises(FormatError, match="this agreement entry takes 65536 bytes, above the limit of 65535"):
        encode_entry(sized(MAX_ENTRY_BYTES + 1))
    larger = dump_json(sized(MAX_ENTRY_BYTES + 1).model_dump(mode="json"))
    for decode, what in ((decode_entry, "entry"), (decode_contribution, "contribution"), (decode_enrolment, "enrolment")):
        with pytest.raises(FormatError, match=f"the {what} takes 65536 bytes, above the limit of 65535"):
            decode(larger)


def test_a_round_of_two_hundred_participants_fits_an_entry() -> None:
    kept = Reference(digest=DIGEST, size=2**32, media_type=STATEMENT)
    longest = max(Reason, key=len)
    full = changed(
        ROUND,
        round=100_000,
        reveals=tuple(Reveal(client=9_800 + i, nonce=DIGEST) for i in range(200)),
        withheld=(),
        verdicts=tuple(Verdict(client=9_800 + i, reason=longest, contribution=kept) for i in range(200)),
        test=TestResult(data=DIGEST, total=2**53 - 1, correct=2**53 - 1, squared_error=2**53 - 1),
    )
    assert len(encode_entry(full)) <= MAX_ENTRY_BYTES


# ---- statements and signatures

ENROLMENT = SignedEnrolment.sign(enrolment(DIGEST, 1), KEYS[1])
CONTRIBUTION = SignedContribution.sign(contribution(DIGEST, 1), KEYS[1])


def test_a_signed_statement_is_read_back_and_verifies() -> None:
    enrolled, contributed = decode_enrolment(ENROLMENT.encode()), decode_contribution(CONTRIBUTION.encode())
    assert (enrolled, contributed) == (ENROLMENT, CONTRIBUTION)
    enrolled.check()
    contributed.check()


@pytest.mark.parametrize("signed", [ENROLMENT, CONTRIBUTION], ids=["enrolment", "contribution"])
def test_a_signature_by_another_key_is_refused(signed: SignedStatement) -> None:
    with pytest.raises(VerificationError, match=f"the signature is not by client {NAMES[1][:16]}"):
        type(signed).sign(signed.statement, KEYS[2]).check()


OTHER_VALUES: dict[str, object] = {
    **dict.fromkeys(("run", "nonce", "model", "batch", "node"), "ee" * 32),
    **dict.fromkeys(("rows", "commitment", "update", "blinds", "proof"), Reference(digest="ee" * 32, size=1, media_type=TENSOR)),
    "client": NAMES[2],
    "account": "0x" + "ee" * 20,
    "samples": 11,
    "round": 2,
}
FIELDS = [(signed, field) for signed in (ENROLMENT, CONTRIBUTION) for field in type(signed.statement).model_fields]


@pytest.mark.parametrize(("signed", "field"), FIELDS, ids=lambda value: value if isinstance(value, str) else "")
def test_no_field_can_be_changed_under_a_signature(signed: SignedStatement, field: str) -> None:
    other = changed(signed.statement, **{field: OTHER_VALUES[field]})
    assert other != signed.statement
    with pytest.raises(VerificationError):
        type(signed)(statement=other, signature=signed.signature).check()


@pytest.mark.parametrize("part", ["digest", "size", "media_type"])
def test_no_part_of_a_reference_can_be_changed_under_a_signature(part: str) -> None:
    other = changed(CONTRIBUTION.statement.update, **{part: {"digest": "ee" * 32, "size": 1, "media_type": POINTS}[part]})
    with pytest.raises(VerificationError):
        SignedContribution(statement=changed(CONTRIBUTION.statement, update=other), signature=CONTRIBUTION.signature).check()


@pytest.mark.parametrize("place", [0, 20, 42, 43, 60, 84])
def test_no_character_of_a_signature_can_be_changed(place: int) -> None:
    signature = CONTRIBUTION.signature
    other = signature[:place] + ("A" if signature[place] != "A" else "B") + signature[place + 1 :]
    with pytest.raises(VerificationError):
        SignedContribution(statement=CONTRIBUTION.statement, signature=other).check()


@pytest.mark.parametrize("signature", ["", "A" * 86, "A" * 88, "A" * 87 + "=", "A" * 86 + "==\n", "-" * 86 + "==", "A" * 89 + "=="])
def test_a_signature_is_64_bytes_in_base64(signature: str) -> None:
    with pytest.raises(ValidationError):
        SignedContribution(statement=CONTRIBUTION.statement, signature=signature)


@pytest.mark.parametrize("client", ["00" * 32, "ff" * 32, "02" + "00" * 31])
def test_a_client_name_that_is_no_key_verifies_nothing(client: str) -> None:
    with pytest.raises(VerificationError):
        SignedEnrolment.sign(enrolment(DIGEST, 0, client=client), KEYS[0]).check()


def test_what_is_signed_is_a_label_and_the_canonical_statement() -> None:
    for signed, label in ((ENROLMENT, b"enrolment"), (CONTRIBUTION, b"contribution")):
        message = b"lunaria/v1/" + label + b"\n" + dump_json(signed.statement.model_dump(mode="json"))
        KEYS[1].public_key().verify(base64.b64decode(signed.signature), message)


def test_a_statement_of_one_kind_cannot_pass_for_the_other() -> None:
    with pytest.raises(FormatError):
        decode_enrolment(CONTRIBUTION.encode())
    with pytest.raises(FormatError):
        decode_contribution(ENROLMENT.encode())
    with pytest.raises(VerificationError):  # signed under the other kind's label
        mislabelled(ENROLMENT.statement, b"contribution").check()


def mislabelled(statement: Statement, label: bytes) -> SignedStatement:
    signature = KEYS[1].sign(b"lunaria/v1/" + label + b"\n" + dump_json(statement.model_dump(mode="json")))
    return SignedStatement(statement=statement, signature=base64.b64encode(signature).decode())


def test_a_reference_is_digest_size_and_type() -> None:
    reference = Reference.of(b"abc", TENSOR)
    assert reference.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (reference.size, reference.media_type) == (3, TENSOR)
    assert Reference.of(b"abd", TENSOR) != reference != Reference.of(b"abc", POINTS)


def test_every_reason_is_explained_and_one_of_them_accepts() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert [reason for reason in Reason if Verdict(client=0, reason=reason).accepted] == [Reason.ACCEPTED]


def test_a_signature_has_one_spelling() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    signature = CONTRIBUTION.signature
    other = signature[:85] + alphabet[alphabet.index(signature[85]) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(signature)
    with pytest.raises(FormatError):
        decode_contribution(CONTRIBUTION.encode().replace(signature.encode(), other.encode()))
