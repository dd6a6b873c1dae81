"""Who is at which node: what a member shows, and what somebody else cannot."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.errors import MemberError
from clients.member import Member
from ledger.entries import EnrolmentEntry, decode_enrolment
from ledger.identity import public_key, signing_key
from ledger.log import Log
from ledger.messages import RECORD, IdentifyReply, IdentifyRequest, identity_claim
from strategies.recorder import Recorder
from strategies.roster import Roster
from tests.federation import SIGNER, Lasting, key_of, opening_of, samples_of, secret, terms
from tests.local_grid import LocalGrid
from zk.sgd import flatten, initial_weights

Answer = Callable[[IdentifyRequest, int], IdentifyReply]


@pytest.fixture
def recorder(folder: Path) -> Iterator[Recorder]:
    agreement = terms(2, 2)
    with Log.open(folder, SIGNER, create=True) as log:
        yield Recorder(log, opening_of(agreement), flatten(initial_weights(agreement.rule, bytes(32))))


@pytest.fixture
def members(recorder: Recorder) -> list[Lasting]:
    """Enrol two members, in the order of their keys."""
    members = [Lasting(number) for number in sorted((0, 1), key=key_of)]
    for place, one in enumerate(members):
        view = recorder.view(place, 0)
        member = member_of(one)
        recorder.append(EnrolmentEntry(enrolment=decode_enrolment(member.enrol(view).statement)))
        recorder.seen(place, place + 1)
        one.state = member.state
    return members


def member_of(one: Lasting) -> Member:
    return Member(secret(one.number), lambda agreement: samples_of(one.number, agreement.rule), one.state)


def roster_of(recorder: Recorder, apps: list[ClientApp]) -> Roster:
    return Roster(recorder, LocalGrid(apps), 5.0, threading.Event())


class Says(ClientApp):
    """Answers who it is in its own way."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer
        self.asked: list[IdentifyRequest] = []

    def __call__(self, message: Message, context: Context) -> Message:
        request = IdentifyRequest.from_fields(message.content.config_records[RECORD])
        self.asked.append(request)
        reply = self._answer(request, context.node_id)
        return Message(RecordDict({RECORD: ConfigRecord(reply.to_fields())}), reply_to=message)


def signing(number: int, **changes: object) -> Answer:
    """Return who signs with a client's key, with changes to what is signed."""

    def answer(request: IdentifyRequest, node: int) -> IdentifyReply:
        key = signing_key(secret(number))
        signed = replace(request, **{name: value for name, value in changes.items() if name in ("run", "challenge")})  # type: ignore[arg-type]
        where = changes.get("node", node)
        assert isinstance(where, int)
        claim = identity_claim(signed, where, public_key(key), 3)
        return IdentifyReply(str(changes.get("client", public_key(key))), 3, key.sign(claim))

    return answer


def test_members_are_found_wherever_they_are(recorder: Recorder, members: list[Lasting]) -> None:
    roster = roster_of(recorder, [members[1].app(), Lasting(7).app(), members[0].app()])
    assert roster.find(lambda: 2, 5) == 2
    assert [roster.node(client) for client in (0, 1)] == [102, 100]
    assert [roster.client(node) for node in (100, 101, 102)] == [1, None, 0]


def test_a_member_that_was_not_seen_yet_has_no_node(recorder: Recorder, members: list[Lasting]) -> None:
    roster = roster_of(recorder, [members[1].app()])
    assert roster.find(lambda: 2, 0.3) == 1
    assert roster.node(0) < 0
    assert roster.client(roster.node(0)) == 0


def test_a_member_says_how_much_it_has_seen(recorder: Recorder, members: list[Lasting]) -> None:
    """So the next view proves consistency from there, whatever was lost in between."""
    roster = roster_of(recorder, [one.app() for one in members])
    roster.find(lambda: 2, 5)
    assert [recorder.view(100 + place).old_size for place in (0, 1)] == [1, 2]


FORGED: dict[str, Answer] = {
    "signed for another node": signing(0, node=7),
    "signed for another run": signing(0, run="00" * 32),
    "an old signature": signing(0, challenge=bytes(32)),
    "signed with another key": signing(5, client=key_of(0)),
    "no key": signing(0, client="zz"),
    "no signature": lambda request, node: IdentifyReply(key_of(0), 1, b""),
}


@pytest.mark.parametrize("case", FORGED)
def test_nobody_is_taken_for_another(case: str, recorder: Recorder, members: list[Lasting]) -> None:
    roster = roster_of(recorder, [Says(FORGED[case])])
    assert roster.find(lambda: 1, 0.3) == 0
    assert roster.client(100) is None


def test_whoever_holds_the_key_is_the_member_and_the_last_one_counts(recorder: Recorder, members: list[Lasting]) -> None:
    roster = roster_of(recorder, [Says(signing(0)), Says(signing(0))])
    roster.settle(5)
    position = recorder.state.keys.index(key_of(0))
    assert roster.node(position) == 101
    assert roster.client(100) == position


def test_a_member_that_failed_to_say_who_it_is_is_asked_again_in_the_next_round(recorder: Recorder, members: list[Lasting]) -> None:
    failed: list[IdentifyRequest] = []

    def first_fails(request: IdentifyRequest, node: int) -> IdentifyReply:
        if not failed:
            failed.append(request)
            raise RuntimeError("something failed")
        return signing(0)(request, node)

    roster = roster_of(recorder, [Says(first_fails)])
    assert roster.find(lambda: 1, 0.5) == 0
    assert roster.find(lambda: 1, 5) == 1


def test_each_challenge_is_new(recorder: Recorder, members: list[Lasting]) -> None:
    apps = [Says(signing(5)) for _ in range(3)]
    roster_of(recorder, list(apps)).settle(5)
    challenges = [request.challenge for app in apps for request in app.asked]
    assert len(set(challenges)) == 3
    assert {len(challenge) for challenge in challenges} == {32}


def test_a_client_shows_itself_in_its_own_run_only(recorder: Recorder, members: list[Lasting]) -> None:
    request = IdentifyRequest(recorder.state.run, bytes(32))
    assert member_of(members[0]).identify(request, 7).client == recorder.state.keys[0]
    with pytest.raises(MemberError, match="another run"):
        member_of(members[0]).identify(replace(request, run="00" * 32), 7)
    with pytest.raises(MemberError, match="has not enrolled"):
        member_of(Lasting(7)).identify(request, 7)
