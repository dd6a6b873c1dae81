"""Parties that try to enrol with what is not theirs, or not as agreed."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.commitments import client_key, commit_data, data_blinds, prove_enrolment
from ledger.canonical import digest
from ledger.enrolment import UNPROVED, enrolment_claims
from ledger.entries import ENROLMENT_PROOF, POINTS, EnrolmentEntry, EnrolmentStatement, Reference, SignedEnrolment, decode_enrolment
from ledger.identity import signing_key
from ledger.messages import RECORD, EnrolReply, LedgerView
from ledger.state import RunState
from strategies.errors import StrategyError
from strategies.observer import Observer
from tests.federation import OK, Content, Federation, LocalMember, Run, Tampered, client, key_of, samples_of, secret, terms
from zk.blinding import BlindingSource
from zk.field import ORDER
from zk.group import POINT_BYTES
from zk.training.shape import Shape
from zk.training.witness import sample_rows

Change = Callable[[LocalMember, EnrolReply], EnrolReply]
IDENTITY = b"\xc0" + bytes(POINT_BYTES - 1)
MAGIC = len(b"lunaria enrolment 1\n")


class Told(Observer):
    """Remembers why enrolments did not stand."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def enrolled(self, state: RunState, refused: list[str]) -> None:
        self.refused = refused


def signed(member: LocalMember, reply: EnrolReply, **claims: object) -> EnrolReply:
    """Sign other claims, and a reference to whatever rows and proof the reply has."""
    statement = decode_enrolment(reply.statement).statement
    parts = {"rows": Reference.of(reply.rows, POINTS), "proof": Reference.of(reply.proof, ENROLMENT_PROOF)}
    forged = EnrolmentStatement.model_validate({**dict(statement), **parts, **claims})
    return replace(reply, statement=SignedEnrolment.sign(forged, signing_key(member.secret)).encode())


def enrolling(number: int, change: Change) -> ClientApp:
    """Return a client that alters its enrolment; ``change`` may sign it again."""

    class Cheater(LocalMember):
        def enrol(self, view: LedgerView) -> EnrolReply:
            return change(self, super().enrol(view))

    return client(number, Cheater)


def kept_out(folder: Path, cheater: ClientApp, line: str, **settings: object) -> Run:
    """Assert that the client at position 1 is not among the members, for one stated reason, and that the run goes on without it."""
    told = Told()
    run = Federation(folder, [client(0), cheater, client(2)], observer=told, **settings).run()  # type: ignore[arg-type]
    run.check()
    assert len(told.refused) == 1
    assert line in told.refused[0]
    assert told.refused[0].isprintable()
    assert set(run.state.keys) == {key_of(0), key_of(2)}
    assert [entry.enrolment.statement.client for entry in run.entries if isinstance(entry, EnrolmentEntry)] == run.state.keys
    assert [run.verdicts(1), run.verdicts(2)] == [[OK, None, OK]] * 2
    assert run.outcome == "completed"
    return run


def all_kept_out(folder: Path, cases: dict[str, Callable[[int], ClientApp]], line: str, backend: str = "arkworks") -> None:
    """Assert that two honest clients are the only members, with a cheater for each case beside them, and that the run goes on."""
    told, count = Told(), len(cases)
    clients = [*(make(number) for number, make in enumerate(cases.values())), client(count), client(count + 1)]
    run = Federation(folder, clients, backend=backend, observer=told).run()
    run.check()
    assert run.state.keys == sorted([key_of(count), key_of(count + 1)])
    assert [line in reason and reason.isprintable() for reason in told.refused] == [True] * count
    assert run.outcome == "completed"


def altered(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def by(change: Change) -> Callable[[int], ClientApp]:
    return lambda number: enrolling(number, change)


def with_proof(change: Callable[[bytes], bytes]) -> Change:
    return lambda member, reply: signed(member, replace(reply, proof=change(reply.proof)))


def with_rows(change: Callable[[bytes], bytes]) -> Change:
    return lambda member, reply: signed(member, replace(reply, rows=change(reply.rows)))


def with_both(change: Callable[[bytes], bytes]) -> Change:
    return lambda member, reply: signed(member, replace(reply, rows=change(reply.rows), proof=change(reply.proof)))


def test_wrong_proof(folder: Path, backend: str) -> None:
    cases = {
        "answer changed": by(with_proof(lambda proof: altered(proof, len(proof) - 40))),
        "blind of the answer changed": by(with_proof(lambda proof: altered(proof, len(proof) - 1))),
        "other multiplicities": by(with_proof(lambda proof: proof[:MAGIC] + IDENTITY + proof[MAGIC + 48 :])),
        "rows in another order": by(with_rows(lambda rows: rows[48:] + rows[:48])),
        "one row six times": by(with_rows(lambda rows: rows[:48] * 6)),
        "row replaced": by(with_rows(lambda rows: IDENTITY + rows[48:])),
        "row negated": by(with_rows(lambda rows: bytes([rows[0] ^ 0x20]) + rows[1:])),
    }
    all_kept_out(folder, cases, UNPROVED, backend)


def test_enrolment_in_other_bytes(folder: Path) -> None:
    cases = {
        "truncated": by(with_proof(lambda proof: proof[:-1])),
        "oversized": by(with_proof(lambda proof: proof + b"\0")),
        "zeros": by(with_proof(lambda proof: proof[:MAGIC] + IDENTITY + bytes(len(proof) - MAGIC - 48))),
        "another protocol's": by(with_proof(lambda proof: b"lunaria training 1\n" + proof[19:])),
        "no proof": by(with_proof(lambda proof: b"")),
        "scalar not below r": by(with_proof(lambda proof: proof[:-32] + ORDER.to_bytes(32, "big"))),
        "commitment that is no point": by(with_proof(lambda proof: proof[:MAGIC] + b"\xff" * 48 + proof[MAGIC + 48 :])),
        "row that is no point": by(with_rows(lambda rows: b"\xff" * 48 + rows[48:])),
        "a byte after the rows": by(with_rows(lambda rows: rows + b"\0")),
        "fewer rows than samples": by(with_rows(lambda rows: rows[:-48])),
        "more rows than samples": by(with_rows(lambda rows: rows + rows[:48])),
        "no rows": by(with_rows(lambda rows: b"")),
    }
    all_kept_out(folder, cases, ": ")


@pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
def test_parts_of_a_large_data_set(folder: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six samples in parts of three: each part is proved, in its place."""
    monkeypatch.setattr("ledger.enrolment.PART_ROWS", 3)
    told = Told()
    run = Federation(folder / "good", [client(0), client(1)], backend=backend, observer=told).run()
    run.check()
    assert (told.refused, len(run.state.members)) == ([], 2)

    def halves(change: Callable[[bytes, bytes], bytes]) -> Callable[[bytes], bytes]:
        return lambda data: change(data[: len(data) // 2], data[len(data) // 2 :])

    swapped, first = halves(lambda one, other: other + one), halves(lambda one, other: one + one)
    cases = {
        "proofs swapped": by(with_proof(swapped)),
        "rows and proofs swapped": by(
            lambda member, reply: signed(member, replace(reply, rows=swapped(reply.rows), proof=swapped(reply.proof)))
        ),
        "one part twice": by(lambda member, reply: signed(member, replace(reply, rows=first(reply.rows), proof=first(reply.proof)))),
        "one part": by(with_proof(halves(lambda one, other: one))),
        "three parts": by(with_proof(halves(lambda one, other: one + other + other))),
    }
    all_kept_out(folder / "bad", cases, ": ", backend)


def test_rows_and_proof_of_somebody_else(folder: Path) -> None:
    """A proof is bound to the client that made it."""
    seen: list[EnrolReply] = []

    def keep(member: LocalMember, reply: EnrolReply) -> EnrolReply:
        seen.append(reply)
        return reply

    def copy(member: LocalMember, reply: EnrolReply) -> EnrolReply:
        return signed(member, replace(reply, rows=seen[0].rows, proof=seen[0].proof))

    told = Told()
    run = Federation(folder, [enrolling(0, keep), enrolling(1, copy), client(2)], observer=told).run()
    assert run.state.keys == sorted([key_of(0), key_of(2)])
    assert [UNPROVED in line for line in told.refused] == [True]


@pytest.mark.parametrize("count", [3, 9])
def test_number_of_samples_outside_the_agreement(folder: Path, count: int) -> None:
    agreement = terms(3, federation={"minimum-samples": 4, "maximum-samples": 8})
    kept_out(folder, client(1, samples=count), f"enrols {count} samples; the agreement takes 4 to 8", agreement=agreement)


def test_key_that_the_agreement_does_not_list(folder: Path) -> None:
    agreement = terms(3, federation={"members": [key_of(0), key_of(2), key_of(5)]})
    kept_out(folder, client(1), "not among federation.members", agreement=agreement)


def test_claim_of_more_samples_than_rows(folder: Path) -> None:
    kept_out(folder, enrolling(1, lambda member, reply: signed(member, reply, samples=60)), "commits to 6 rows but states 60 samples")


def test_enrolment_to_another_run(folder: Path) -> None:
    kept_out(folder, enrolling(1, lambda member, reply: signed(member, reply, run=digest(b"another"))), "belongs to another run")


def by_another(member: LocalMember, reply: EnrolReply) -> EnrolReply:
    statement = decode_enrolment(reply.statement).statement
    return replace(reply, statement=SignedEnrolment.sign(statement, signing_key(secret(7))).encode())


def in_anothers_name(member: LocalMember, reply: EnrolReply) -> EnrolReply:
    statement = decode_enrolment(reply.statement).statement.model_copy(update={"client": key_of(7)})
    return replace(reply, statement=SignedEnrolment.sign(statement, signing_key(member.secret)).encode())


@pytest.mark.parametrize("change", [by_another, in_anothers_name])
def test_signature_of_somebody_else(folder: Path, change: Change) -> None:
    kept_out(folder, enrolling(1, change), "the signature is not by client")


@pytest.mark.parametrize("part", ["rows", "proof"])
def test_part_that_was_not_signed(folder: Path, part: str) -> None:
    def change(member: LocalMember, reply: EnrolReply) -> EnrolReply:
        return replace(reply, **{part: altered(getattr(reply, part), 47)})

    kept_out(folder, enrolling(1, change), f"the {part} {'are' if part == 'rows' else 'is'} not what was signed: its digest is another")


def field(name: str, value: str | int | None) -> Callable[[Content], Content]:
    def edit(content: Content) -> Content:
        record = content.config_records[RECORD]
        if value is None:
            del record[name]
        else:
            record[name] = value
        return content

    return edit


def test_reply_that_is_no_enrolment(folder: Path) -> None:
    edits: dict[str, Callable[[Content], Content]] = {
        "nothing": lambda _: RecordDict(),
        "empty record": lambda _: RecordDict({RECORD: ConfigRecord()}),
        "no statement in the statement": lambda content: RecordDict(
            {RECORD: ConfigRecord({**content.config_records[RECORD], "statement": b"{}"})}
        ),
        **{f"{name} is {value}": field(name, value) for name in ("statement", "rows", "proof") for value in (None, "x", 1)},
    }

    def edited(edit: Callable[[Content], Content]) -> Callable[[int], ClientApp]:
        return lambda number: Tampered(client(number), edit, "query.enrol", rounds=[0])

    all_kept_out(folder, {name: edited(edit) for name, edit in edits.items()}, "node 1")


@pytest.mark.parametrize(
    "raised",
    [
        "out of memory",
        "first line\nsecond line \x1b[31m",
        "x" * 100_000,
    ],
    ids=["a line", "several lines", "a book"],
)
def test_error_instead_of_an_enrolment_is_one_line(folder: Path, raised: str) -> None:
    class Raiser(LocalMember):
        def enrol(self, view: LedgerView) -> EnrolReply:
            raise RuntimeError(raised)

    kept_out(folder, client(1, Raiser), "node 101: ")
    agreement = terms(3, federation={"minimum-clients": 3})
    with pytest.raises(StrategyError) as error:
        Federation(folder / "more", [client(0), client(1, Raiser), client(2)], agreement).run()
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_two_nodes_with_the_same_key(folder: Path, tmp_path: Path) -> None:
    """One of them is a member; which one does not depend on who came first."""
    told = Told()
    run = Federation(folder, [client(0), client(1, identity=0), client(2)], observer=told).run()
    assert run.state.keys == sorted([key_of(0), key_of(2)])
    assert ["has enrolled already" in line for line in told.refused] == [True]
    assert run.outcome == "completed"
    backwards = Federation(tmp_path / "other", [client(0), client(1, identity=0), client(2)], order=lambda replies: replies[::-1]).run()
    assert backwards.leaves == run.leaves


def test_ten_equal_enrolments_of_one_node(folder: Path) -> None:
    def order(replies: list[Message]) -> list[Message]:
        return replies * 10 if replies and replies[0].metadata.message_type == "query.enrol" else replies

    run = Federation(folder, [client(i) for i in range(3)], order=order).run()
    run.check()
    assert len(run.state.members) == 3
    assert run.verdicts(1) == [OK] * 3


def test_key_under_which_anything_is_signed(folder: Path) -> None:
    """The key of order one: ``R = identity, S = 0`` is a signature on every message, so its owner can deny each one."""
    weak = (b"\1" + bytes(31)).hex()

    def change(member: LocalMember, reply: EnrolReply) -> EnrolReply:
        said = decode_enrolment(reply.statement).statement
        rule = member.rule()
        rows = sample_rows(Shape(rule), *samples_of(1, rule))  # type: ignore[arg-type]
        blinds, key = data_blinds(bytes(32), len(rows)), client_key(64)
        points = commit_data(key, rows, blinds)
        proof = prove_enrolment(key, enrolment_claims(said.run, weak, points, rule), rows, blinds, BlindingSource(bytes(32)))
        statement = EnrolmentStatement.model_validate(
            {
                **dict(said),
                "client": weak,
                "rows": Reference.of(points, POINTS),
                "proof": Reference.of(proof, ENROLMENT_PROOF),
            }
        )
        forged = SignedEnrolment(statement=statement, signature=base64.b64encode(b"\1" + bytes(63)).decode())
        return EnrolReply(forged.encode(), points, proof)

    kept_out(folder, enrolling(1, change), "node 101")


def test_more_nodes_than_the_agreement_takes(folder: Path) -> None:
    """The first ones in the order of their keys are members; the others are told no, and are not asked again."""
    told = Told()
    clients = [client(i) for i in range(5)]
    run = Federation(folder, clients, terms(3), observer=told).run()
    run.check()
    assert run.state.keys == sorted(key_of(i) for i in range(5))[:3]
    assert [line.split(": ")[1] for line in told.refused] == ["the agreement takes 3 clients"] * 2
    assert sum(verdict is OK for verdict in run.verdicts(1)) == 3


def test_fewer_nodes_than_the_agreement_needs(folder: Path) -> None:
    with pytest.raises(StrategyError) as error:
        Federation(folder, [client(0)], terms(3, federation={"minimum-clients": 2}), timeout=0.1).run()
    assert str(error.value) == "1 clients enrolled, the agreement needs 2"


def test_fewer_good_enrolments_than_the_agreement_needs(folder: Path) -> None:
    cheater = enrolling(1, with_rows(lambda rows: rows[:-48]))
    with pytest.raises(StrategyError) as error:
        Federation(folder, [client(0), cheater], terms(2, federation={"minimum-clients": 2})).run()
    assert str(error.value).startswith("1 clients enrolled, the agreement needs 2: node 101: client ")
    assert str(error.value).isprintable()
