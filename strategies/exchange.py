"""Asking parties and collecting their replies, whatever becomes of the connections in between.

A party may go away and come back, under the same node id or another, and a message that it had in hand is lost with its process. So it
is asked again as soon as it is back, until the time is over: a client gives the same answer to the same question, and whoever is not
back in time has not replied.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.primitives.asymmetric import bytes_to_public_key

from ledger.identity import node_digest

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 0.5  # quick in a simulation; the SuperLink is on this machine or in this process
MAX_CRASHES = 3
"""A client whose process ends without an answer so many times over one message has answered with an error."""

_LOST = frozenset({ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE})
UNANSWERED = _LOST | {ErrorCode.CLIENT_APP_CRASHED}
"""Errors that come from Flower and not from the client."""


@dataclass(frozen=True)
class Place:
    """Where a party is connected: the node, since when (as Flower writes it), and with which node key (its digest); empty: unknown."""

    node: int
    since: str = ""
    key: str = ""


Places = Mapping[int, Place]
Again = Callable[[Message, int], Message]  # a message, addressed to the node at which its party is now


def connected(grid: Grid) -> dict[int, Place]:
    """Return the connected nodes."""
    if hasattr(grid, "get_nodes"):  # those of a deployment say since when
        return {node.node_id: Place(node.node_id, node.last_activated_at, _digest(node.public_key)) for node in grid.get_nodes()}
    return {node: Place(node) for node in grid.get_node_ids()}


@lru_cache(maxsize=1024)
def _digest(public_key: bytes) -> str:
    """Return the digest of the node key that a SuperLink knows a node by; empty for what a simulation puts in its place."""
    try:
        return node_digest(bytes_to_public_key(public_key))
    except (ValueError, UnsupportedAlgorithm, AttributeError):
        return ""


@dataclass
class Exchange:
    """Messages to parties, and what came back.

    Parameters
    ----------
    grid : Grid
    messages : mapping of int to Message
        One for each party.
    places : callable
        Returns where the parties are that are connected now.
    again : callable
        Addresses a message to another node, or to the same one once more.
    excused : callable
        Returns the parties that are asked if they are there, and not waited for if they are not.
    """

    grid: Grid
    messages: Mapping[int, Message]
    places: Callable[[], Places]
    again: Again
    excused: Callable[[], set[int]] = set
    replies: list[Message] = field(default_factory=list)
    _answered: dict[int, str] = field(default_factory=dict)  # by party, the message id that was answered
    _asked: dict[int, Place] = field(default_factory=dict)
    _sent: dict[str, int] = field(default_factory=dict)  # message ids that may still be answered, and their parties
    _crashes: dict[int, int] = field(default_factory=dict)

    def run(self, timeout: float, stop: threading.Event) -> list[Message]:
        """Return the replies that come until all are there, ``timeout`` seconds are over, or ``stop`` is set."""
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            self._ask()
            self._collect()
            if self._done() or stop.is_set() or time.monotonic() - began > timeout:
                return self.replies
            stop.wait(min(pause, max(0.0, timeout - (time.monotonic() - began))))
            pause = min(LONGEST_PAUSE, pause * 1.1)

    def missing(self) -> set[int]:
        """Return the parties that have not answered and are not there."""
        return self._waiting() - set(self.places())

    def _waiting(self) -> set[int]:
        return set(self.messages) - set(self._answered)

    def _done(self) -> bool:
        waiting = self._waiting()
        return not waiting or (waiting <= self.excused() and not waiting & set(self.places()))

    def _ask(self) -> None:
        """Ask whoever is there and was not asked there yet."""
        waiting = self._waiting()
        places = self.places() if waiting else {}
        due = [
            (party, places[party])
            for party in self.messages
            if party in waiting & places.keys() and places[party] != self._asked.get(party)
        ]
        if not due:
            return
        batch = [self._addressed(party, place.node) for party, place in due]
        for (party, place), identifier in zip(due, self.grid.push_messages(batch), strict=True):
            if identifier:  # empty: the node has gone meanwhile
                self._asked[party] = place
                self._sent[identifier] = party

    def _addressed(self, party: int, node: int) -> Message:
        message = self.messages[party]
        first = party not in self._asked and message.metadata.dst_node_id == node
        return message if first else self.again(message, node)

    def _collect(self) -> None:
        if not self._sent:
            return
        for reply in self.grid.pull_messages(set(self._sent)):
            identifier = reply.metadata.reply_to_message_id
            party = self._sent.get(identifier)
            if party is None or self._answered.get(party, identifier) != identifier:
                continue
            if self._lost(party, reply):
                del self._sent[identifier]
                self._asked.pop(party, None)
            else:
                self.replies.append(reply)
                self._answered[party] = identifier
        self._sent = {identifier: party for identifier, party in self._sent.items() if party not in self._answered}

    def _lost(self, party: int, reply: Message) -> bool:
        """Whether this says that there will be no answer to the message; the party is then asked again when it is there."""
        code = reply.error.code if reply.has_error() else None
        if code == ErrorCode.CLIENT_APP_CRASHED:
            self._crashes[party] = self._crashes.get(party, 0) + 1
            return self._crashes[party] < MAX_CRASHES
        return code in _LOST


def exchange(grid: Grid, messages: Iterable[Message], timeout: float, stop: threading.Event, again: Again) -> list[Message]:
    """Ask nodes, each one a party by itself (see :class:`Exchange`)."""
    return Exchange(grid, {message.metadata.dst_node_id: message for message in messages}, lambda: connected(grid), again).run(
        timeout, stop
    )
