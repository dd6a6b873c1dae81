"""A server that says it crashed: clients answer the same question in the same way, and nothing else a second time."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clients.errors import MemberError
from ledger.audit import audit
from ledger.entries import EnrolmentEntry, decode_enrolment, encode_entry
from ledger.errors import VerificationError
from ledger.export import write_export
from ledger.messages import RevealRequest, TrainRequest
from ledger.verdicts import Reason
from strategies.journal import Drawn, Journal
from tests.clients.test_member import Host
from tests.federation import OK, Federation, Lasting, Run, client, terms
from tests.strategies.test_resume import lasting, nothing_is_lost, run

AFTER_TRAINING = 18
"""The point of a first round with three clients at which they have trained, and the server has not taken in what they sent."""


@pytest.fixture
def host(folder: Path) -> Host:
    return Host(folder)


def refuses(call: Callable[[], object], line: str) -> None:
    with pytest.raises((MemberError, VerificationError), match=line):
        call()


def test_the_same_question_has_the_same_answer(host: Host) -> None:
    """To the bit, with secrets that are fresh each time: so a lost reply loses nothing, and nothing is signed twice."""
    host.enrolled()
    member = host.members[0]
    member.deterministic = False
    host.revealed()
    request = host.request()
    update, reply = host.train(0, request)
    again, same = host.train(0, request)
    assert same == reply
    assert all((one == other).all() for one, other in zip(update, again, strict=True))


def test_a_second_beacon_for_a_round_that_was_contributed_to(host: Host) -> None:
    """With a nonce left out, invented, or under another number: one round, one contribution."""
    host.enrolled().revealed()
    own, other = host.nonces()
    host.train(0)
    for request in (
        TrainRequest(1, [0], [own]),
        TrainRequest(1, [0, 1], [own, bytes(32)]),
        TrainRequest(1, [1, 0], [own, other]),
    ):
        refuses(lambda request=request: host.train(0, request), "has contributed up to round 1")  # type: ignore[misc]


def test_another_model_for_a_round_that_was_contributed_to(host: Host) -> None:
    host.enrolled().revealed()
    request = host.request()
    host.train(0, request)
    refuses(lambda: host.train(0, request, weights=[layer + 1 for layer in host.weights()]), "is not the one that the ledger has")


def test_a_nonce_is_not_revealed_again_once_it_was_used(host: Host) -> None:
    host.enrolled().revealed()
    host.train(0)
    refuses(lambda: host.reveal(0), "does not hold this client's last statement")


def test_what_was_answered_is_forgotten_when_it_stands_in_the_ledger(host: Host) -> None:
    host.enrolled().round()
    member = host.members[0]
    assert member.state is not None
    assert member.state.kept
    host.revealed()
    assert (member.state.asked, member.state.kept) == (b"", b"")
    stale = TrainRequest(1, [0, 1], host.nonces())
    refuses(lambda: host.train(0, stale), "round 1")


def test_enrolment_is_signed_once(host: Host) -> None:
    member = host.members[0]
    member.deterministic = False
    first = member.enrol(host.view(0, 0))
    assert member.enrol(replace(host.view(0, 0), old_size=1)) == first


def test_a_member_more_after_the_nonces_are_out(host: Host) -> None:
    """A server that waits for the nonces, and then enrols an accomplice to have another checkpoint under the beacon."""
    reply = host.enrol(0)
    refuses(lambda: host.reveal(0), "others may still enrol")
    log, own = host.recorder.log, encode_entry(EnrolmentEntry(enrolment=decode_enrolment(reply.statement)))
    refuses(lambda: host.members[0].reveal(RevealRequest(1, own, log.inclusion(1)), host.view(0, 1)), "others may still enrol")
    last = encode_entry(EnrolmentEntry(enrolment=decode_enrolment(reply.statement), last=True))  # which does not stand in the ledger
    refuses(lambda: host.members[0].reveal(RevealRequest(1, last, log.inclusion(1)), host.view(0, 1)), "another root")
    host.enrol(1)
    host.reveal(0)


def test_who_enrols_behind_the_last_one(tmp_path: Path, folder: Path) -> None:
    """Two of three enrol, the second as the last: they reveal their nonces, and a third has no place any more."""
    host = Host(folder, terms(3, rounds={"participants": 1}))
    host.enrol(0)
    signed = decode_enrolment(host.members[1].enrol(host.view(1, 0)).statement)
    host.recorder.append(EnrolmentEntry(enrolment=signed, last=True))
    log = host.recorder.log
    assert host.members[0].reveal(RevealRequest(1, log.entry(2), log.inclusion(2)), host.view(0, 1))
    refuses(lambda: host.recorder.append(EnrolmentEntry(enrolment=signed)), "follows the one that says that it is the last")


def test_a_federation_with_a_place_left(tmp_path: Path, folder: Path) -> None:
    """The server says that nobody else enrols, and the run goes on with those that came."""
    done = Federation(folder, [client(0), client(1)], terms(3, rounds={"participants": 2}, federation={"minimum-clients": 2})).run()
    said = [entry.last for entry in done.entries if isinstance(entry, EnrolmentEntry)]
    assert said == [False, True]
    assert done.rounds[0].withheld == ()
    assert verdicts(done, 2) == [OK] * 2
    write_export(folder, tmp_path / "export.tar")
    assert audit(tmp_path / "export.tar", backend="arkworks").verified


def test_a_journal_that_was_removed_gives_no_second_draw(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have trained by the first beacon. By no other one will they train in this round; the ledger says so, and the run goes on."""
    clients, agreement = lasting(), terms(3, 2, rounds={"minimum-accepted": 0})
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, agreement, monkeypatch, AFTER_TRAINING, last=False)
    assert [one.state.contributed for one in clients if one.state] == [1, 1, 1]
    shutil.rmtree(folder / "journal")
    done, _ = run(folder, clients, agreement, monkeypatch)
    assert done.rounds[0].withheld == (0, 1, 2)
    assert verdicts(done, 1) == [Reason.CLIENT_ERROR] * 3
    assert verdicts(done, 2) == [OK] * 3
    assert {len(signed) for one in clients for signed in one.signed.values()} == {1}
    write_export(folder, tmp_path / "export.tar")
    assert audit(tmp_path / "export.tar", backend="arkworks").verified


def test_a_journal_with_a_nonce_less(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server writes another draw into its journal, after all have trained by the first one."""
    clients, agreement = lasting(), terms(3, 1, rounds={"minimum-accepted": 0})
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, agreement, monkeypatch, AFTER_TRAINING, last=False)
    journal = Journal(folder)
    state = clients[0].state
    assert state is not None
    page = journal.read(state.run, 4)
    assert page is not None
    assert page.drawn is not None
    drawn = page.drawn
    less = Drawn(reveals=drawn.reveals[1:], withheld=(0,), beacon="00" * 32)
    journal.write(page.model_copy(update={"drawn": less}))
    done, _ = run(folder, clients, agreement, monkeypatch)
    assert verdicts(done, 1) == [Reason.CLIENT_ERROR] * 3


def test_a_ledger_from_before_the_crash_is_an_old_one(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole folder, its journal too, put back to where round 1 was not appended: clients have seen that it was."""
    clients, agreement = lasting(), terms(3, 2, rounds={"minimum-accepted": 0})
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, agreement, monkeypatch, AFTER_TRAINING, last=False)
    shutil.copytree(folder, tmp_path / "old")
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, agreement, monkeypatch, 8, last=False)
    assert [one.state.last().size for one in clients if one.state] == [5, 5, 5]
    done, _ = run(tmp_path / "old", clients, agreement, monkeypatch)
    assert verdicts(done, 1) == [Reason.CLIENT_ERROR] * 3


def test_one_client_that_forgot_is_refused_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of an old state folder put back: what it would say a second time is not what it said, and nobody else is touched."""
    clients = lasting()
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, terms(3, 2), monkeypatch, AFTER_TRAINING, last=False)
    clients[1] = Lasting(1)
    done, _ = run(folder, clients, terms(3, 2), monkeypatch)
    assert done.outcome == "completed"
    assert verdicts(done, 1).count(OK) == 2


def test_nothing_is_lost_when_nobody_cheats(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = lasting()
    done, _ = run(folder, clients, terms(3, 2), monkeypatch, AFTER_TRAINING)
    nothing_is_lost(done, clients)


def verdicts(done: Run, number: int) -> list[Reason]:
    return [verdict.reason for verdict in done.rounds[number - 1].verdicts]
