"""Clients that try to steer the beacon, or to stop it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict

from clients.member import IntArray, Trainer
from clients.memory import MemberState
from ledger.beacon import commit_nonce
from ledger.entries import EnrolmentStatement, SignedEnrolment, decode_enrolment
from ledger.identity import public_key, signing_key
from ledger.messages import RECORD, EnrolReply, LedgerView, RevealReply, RevealRequest, TrainRequest
from ledger.verdicts import Reason
from tests.federation import OK, Content, Contribution, Federation, LocalMember, Run, Tampered, client, federate, terms

OWN = bytes(range(32))


def revealing(nonce: bytes | str | int | None) -> Tampered:
    """Return a client that reveals something else in round 1."""

    def edit(content: Content) -> Content:
        return RecordDict({RECORD: ConfigRecord({} if nonce is None else {"nonce": nonce})})

    return Tampered(client(1), edit, "query.reveal")


def withheld(run: Run, number: int) -> list[str]:
    return [run.state.keys[member] for member in run.rounds[number - 1].withheld]


@pytest.mark.parametrize(
    "nonce",
    [
        pytest.param(OWN, id="another"),
        pytest.param(b"", id="empty"),
        pytest.param(bytes(31), id="short"),
        pytest.param(bytes(1_000_000), id="long"),
        pytest.param("text", id="text"),
        pytest.param(7, id="number"),
        pytest.param(None, id="none"),
    ],
)
def test_nonce_that_was_not_committed_to(folder: Path, nonce: bytes | str | int | None) -> None:
    """It does not enter the beacon; the client, which knows what it revealed, does not take part in such a round."""
    run = federate(folder, [client(0), revealing(nonce), client(2)])
    assert withheld(run, 1) == [run.clients[1]]
    assert run.verdicts(1) == [OK, Reason.CLIENT_ERROR, OK]
    assert [run.verdicts(2)[0], run.verdicts(2)[2]] == [OK, OK]
    assert run.outcome == "completed"


def test_reply_without_any_record(folder: Path) -> None:
    run = federate(folder, [client(0), Tampered(client(1), lambda _: RecordDict(), "query.reveal"), client(2)])
    assert withheld(run, 1) == [run.clients[1]]


def test_withheld_nonce(folder: Path) -> None:
    """The run goes on with the nonces of the others, and the ledger says who withheld."""

    class Withholder(LocalMember):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            raise RuntimeError("I will not")

    run = federate(folder, [client(0), client(1, Withholder), client(2)])
    assert withheld(run, 1) == [run.clients[1]]
    assert [run.state.keys[reveal.client] for reveal in run.rounds[0].reveals] == sorted([run.clients[0], run.clients[2]])
    assert [run.verdicts(1)[0], run.verdicts(1)[2]] == [OK, OK]
    assert run.outcome == "completed"


def test_everybody_withholds(folder: Path) -> None:
    class Withholder(LocalMember):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            raise RuntimeError("I will not")

    agreement = terms(3, rounds={"minimum-accepted": 0})
    run = Federation(folder, [client(i, Withholder) for i in range(3)], agreement).run()
    assert len(run.rounds[0].withheld) == 3
    assert run.rounds[0].reveals == ()
    assert run.outcome == "completed"


def test_nonce_of_another_client(folder: Path) -> None:
    """A commitment is bound to its client, so that copying one does not let the copier reveal what the other reveals."""
    seen: list[bytes] = []

    class Copied(LocalMember):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            seen.append(super().reveal(request, view).nonce)
            return RevealReply(seen[-1])

    class Copier(LocalMember):
        def enrol(self, view: LedgerView) -> EnrolReply:
            reply = super().enrol(view)
            return committing(self, reply, stolen[0])

        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            return RevealReply(seen[0])

    class Victim(Copied):
        def enrol(self, view: LedgerView) -> EnrolReply:
            reply = super().enrol(view)
            stolen.append(decode_enrolment(reply.statement).statement.nonce)
            return reply

    stolen: list[str] = []
    run = federate(folder, [client(0, Victim), client(1, Copier), client(2)])
    assert withheld(run, 1) == [run.clients[1]]


def committing(member: LocalMember, reply: EnrolReply, nonce: str) -> EnrolReply:
    """Enrol with this commitment to a nonce."""
    key = signing_key(member.secret)
    said = decode_enrolment(reply.statement).statement
    statement = EnrolmentStatement.model_validate({**dict(said), "nonce": nonce})
    return replace(reply, statement=SignedEnrolment.sign(statement, key).encode())


class Chooser(LocalMember):
    """Chooses its nonces itself, and keeps its own books right."""

    chosen = OWN

    def commitment(self) -> str:
        return commit_nonce(self.remembered().run, public_key(signing_key(self.secret)), self.chosen)

    def remembered(self) -> MemberState:
        assert self.state is not None
        return self.state

    def enrol(self, view: LedgerView) -> EnrolReply:
        reply = super().enrol(view)
        reply = committing(self, reply, self.commitment())
        self.state = replace(self.remembered(), statement=reply.statement, nonce=self.chosen)
        return reply

    def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
        super().reveal(request, view)
        return RevealReply(self.chosen)

    def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
        update, samples, reply = super().contribute(request, view, weights, trainer)
        reply = self.resign(reply, nonce=self.commitment())
        self.state = replace(self.remembered(), statement=reply.statement, nonce=self.chosen)
        return update, samples, reply


def test_same_nonce_in_every_round(folder: Path) -> None:
    """Everybody knows it after the first time: such a client adds nothing, and takes nothing from the others."""
    run = federate(folder, [client(0), client(1, Chooser), client(2)], agreement=terms(3, 3))
    nonces = [reveal.nonce for entry in run.rounds for reveal in entry.reveals if run.state.keys[reveal.client] == run.clients[1]]
    assert nonces == [OWN.hex()] * 3
    assert [run.verdicts(number) for number in (1, 2, 3)] == [[OK] * 3] * 3
    assert len({entry.beacon for entry in run.rounds}) == 3


@pytest.mark.parametrize("length", [0, 31, 33, 100_000])
def test_nonce_of_another_length(folder: Path, length: int) -> None:
    class Short(Chooser):
        chosen = bytes(length)

    run = federate(folder, [client(0), client(1, Short), client(2)])
    assert withheld(run, 1) == [run.clients[1]]
    assert run.outcome == "completed"


def test_nonces_of_the_refused_do_not_count(folder: Path) -> None:
    """Only who contributed has a say in the next beacon: a refused statement commits to nothing."""
    clients = [client(0), Tampered(client(1), lambda _: RecordDict()), client(2)]
    run = federate(folder, clients, agreement=terms(3, 3))
    reveals = [{run.state.keys[reveal.client] for reveal in entry.reveals} for entry in run.rounds]
    everybody, honest = set(run.clients), {run.clients[0], run.clients[2]}
    assert reveals == [everybody, honest, everybody]


def test_a_nonce_changes_who_trains_on_what(folder: Path, tmp_path: Path) -> None:
    """One other nonce: another beacon, other batches, another model."""
    plain = federate(tmp_path / "plain", [client(i) for i in range(3)])
    run = federate(folder, [client(0), client(1, Chooser), client(2)])
    assert run.rounds[0].beacon != plain.rounds[0].beacon
    assert run.models()[0] != plain.models()[0]
