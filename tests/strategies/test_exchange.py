"""Asking parties whose connections come and go: who is asked again, where, and when it is enough."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.common.constant import ErrorCode

from strategies.exchange import MAX_CRASHES, Exchange, Place
from tests.local_grid import LocalGrid

Answer = Callable[[Message], Message | None]


def answer(message: Message) -> Message:
    return Message(RecordDict({"said": ConfigRecord({"node": message.metadata.dst_node_id})}), reply_to=message)


def fails(code: int) -> Answer:
    return lambda message: Message(Error(code=code, reason=""), reply_to=message)


def silent(message: Message) -> None:
    """Answer nothing."""


@dataclass
class Party:
    """One party: where it is turn by turn (None for away; the last place stays), and what it answers, question by question."""

    where: list[Place | None]
    answers: list[Answer] = field(default_factory=lambda: [answer])


class Turns(LocalGrid):
    """A grid on which every look at who is there is a turn."""

    def __init__(self, parties: Mapping[int, Party]) -> None:
        super().__init__([])
        self.parties, self.turn, self.asked = parties, 0, list[tuple[int, int]]()
        self._waiting: dict[str, Message] = {}

    def places(self) -> dict[int, Place]:
        self.turn += 1
        now = {party: one.where[min(self.turn, len(one.where)) - 1] for party, one in self.parties.items()}
        return {party: place for party, place in now.items() if place is not None}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            party = int(str(message.content.config_records["question"]["party"]))
            count = sum(one == party for one, _ in self.asked)
            answers = self.parties[party].answers
            identifier = f"{party}/{count}"
            message.metadata.__dict__["_message_id"] = identifier
            self.asked.append((party, message.metadata.dst_node_id))
            reply = answers[min(count, len(answers) - 1)](message)
            if reply is not None:
                self._waiting[identifier] = reply
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._waiting.pop(identifier) for identifier in message_ids if identifier in self._waiting]


def again(message: Message, node: int) -> Message:
    return Message(message.content, dst_node_id=node, message_type=message.metadata.message_type)


def question(party: int) -> Message:
    content = RecordDict({"question": ConfigRecord({"party": party})})
    return Message(content, dst_node_id=-1 - party, message_type=MessageType.TRAIN)


def ask(parties: Mapping[int, Party], seconds: float = 20.0, excused: Iterable[int] = ()) -> tuple[Exchange, Turns]:
    """Ask everybody; returns the exchange when it is over, with the grid."""
    grid = Turns(parties)
    going = Exchange(grid, {party: question(party) for party in parties}, grid.places, again, lambda: set(excused))
    going.run(seconds, threading.Event())
    return going, grid


def nodes(going: Exchange) -> list[int]:
    """Return where the answers came from."""
    return sorted(int(str(reply.content.config_records["said"]["node"])) for reply in going.replies)


HERE, LATER, ELSEWHERE = Place(7, "noon"), Place(7, "one"), Place(8, "one")


def test_who_is_there_is_asked_once() -> None:
    going, grid = ask({0: Party([HERE]), 1: Party([ELSEWHERE])})
    assert nodes(going) == [7, 8]
    assert len(grid.asked) == 2


def test_who_comes_later_is_asked_then() -> None:
    going, grid = ask({0: Party([None, None, HERE])})
    assert (nodes(going), grid.asked) == ([7], [(0, 7)])


@pytest.mark.parametrize("back", [LATER, ELSEWHERE], ids=["at the same node", "at another node"])
def test_who_went_away_with_a_message_in_hand_is_asked_again(back: Place) -> None:
    going, grid = ask({0: Party([HERE, None, back], [silent, answer])})
    assert nodes(going) == [back.node]
    assert grid.asked == [(0, 7), (0, back.node)]


@pytest.mark.parametrize("code", [ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE])
def test_an_error_of_flower_is_no_answer(code: int) -> None:
    going, grid = ask({0: Party([HERE], [fails(code), fails(code), answer])})
    assert nodes(going) == [7]
    assert len(grid.asked) == 3


def test_a_process_that_ends_again_and_again_has_answered() -> None:
    going, grid = ask({0: Party([HERE], [fails(ErrorCode.CLIENT_APP_CRASHED)])})
    assert [reply.error.code for reply in going.replies] == [ErrorCode.CLIENT_APP_CRASHED]
    assert len(grid.asked) == MAX_CRASHES


def test_an_error_of_the_client_is_its_answer() -> None:
    going, grid = ask({0: Party([HERE], [fails(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)])})
    assert [reply.error.code for reply in going.replies] == [ErrorCode.CLIENT_APP_RAISED_EXCEPTION]
    assert len(grid.asked) == 1


def test_two_answers_of_one_party_are_one() -> None:
    """The first question is answered after all, when the second was asked: what came first counts."""
    held: list[Message] = []

    def late(message: Message) -> None:
        held.append(answer(message))

    def both(message: Message) -> Message:
        grid._waiting["0/0"] = held[0]
        return answer(message)

    grid = Turns({0: Party([HERE, ELSEWHERE], [late, both])})
    going = Exchange(grid, {0: question(0)}, grid.places, again)
    going.run(20, threading.Event())
    assert len(going.replies) == 1


def test_who_does_not_come_is_waited_for_until_the_time_is_over() -> None:
    began = time.monotonic()
    going, _ = ask({0: Party([HERE]), 1: Party([None])}, seconds=0.5)
    assert time.monotonic() - began >= 0.5
    assert (nodes(going), going.missing()) == ([7], {1})


def test_who_is_excused_is_not_waited_for() -> None:
    going, _ = ask({0: Party([HERE]), 1: Party([None])}, excused=[1])
    assert (nodes(going), going.missing()) == ([7], {1})


def test_who_is_excused_and_comes_is_asked() -> None:
    going, _ = ask({0: Party([HERE], [silent, silent]), 1: Party([None, ELSEWHERE])}, seconds=0.5, excused=[1])
    assert nodes(going) == [8]
