"""Where the members are: node ids come and go with Flower's processes, keys stay.

A node is known by its enrolment, or says which member it is: it signs the run, its node id and a challenge that was never used before
with its ledger identity. Of two nodes that show one key, the one that showed it last is the member's. A member that bound a node key is
at no node that connects with another.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from logging import WARNING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from ledger.errors import FormatError
from ledger.messages import RECORD, IdentifyReply, IdentifyRequest, identity_claim
from strategies.desk import Desk
from strategies.exchange import UNANSWERED, Exchange, Place, connected
from strategies.recorder import Recorder

CHALLENGE_BYTES = 32


@dataclass
class Roster:
    """The members of a run and the nodes at which they are.

    Parameters
    ----------
    recorder : Recorder
    grid : Grid
    timeout : float
        Seconds that a reply is waited for.
    stop : threading.Event
        Ends all waiting.
    desk : Desk
        Where a member may have asked for another node key, or to leave.
    """

    recorder: Recorder
    grid: Grid
    timeout: float
    stop: threading.Event
    desk: Desk = field(default_factory=Desk)
    _node_of: dict[int, int] = field(default_factory=dict)
    _client_at: dict[int, int] = field(default_factory=dict)
    _questions: dict[str, tuple[int, IdentifyRequest]] = field(default_factory=dict)  # by message id
    _known: dict[int, Place] = field(default_factory=dict)  # nodes that need not be asked who they are
    _refused: set[int] = field(default_factory=set)  # nodes that did not say who they are
    _away: set[int] = field(default_factory=set)  # clients that were not there when they were asked last

    def enter(self, client: int, node: int) -> None:
        """Note where a client is."""
        self._node_of[client] = node
        self._client_at[node] = client

    def node(self, client: int) -> int:
        """Return the node of a client; one that is no node's, below 0, as long as it was not seen since the server started."""
        return self._node_of.get(client, -1 - client)

    def client(self, node: int) -> int | None:
        """Return the client that is, or was, at a node."""
        return self._client_at.get(node, -1 - node if node < 0 else None)

    def places(self) -> Mapping[int, Place]:
        """Return where the members are that are connected now, as far as they are known."""
        here, active = connected(self.grid), set(self.recorder.state.membership.active) - self._leaving()
        if any(self.node(client) not in here for client in active):
            self._ask_who(here)
        return {client: here[node] for client, node in self._node_of.items() if node in here and client in active}

    def find(self, count: Callable[[], int], seconds: float) -> int:
        """Wait until ``count()`` members are there, ``seconds`` are over or the run is to stop; returns how many are."""
        while self._refused:
            self._known.pop(self._refused.pop(), None)
        pause, waited = 0.1, 0.0
        while True:
            here = len(self.places())
            if here >= count() or waited >= seconds or self.stop.is_set():
                return here
            self.stop.wait(pause)
            waited += pause

    def settle(self, seconds: float) -> dict[int, Place]:
        """Ask the connected nodes who they are; returns those that are no member's."""
        pause, waited = 0.1, 0.0
        while True:
            here = connected(self.grid)
            self._ask_who(here)
            if not self._questions or waited >= seconds or self.stop.is_set():
                return {node: place for node, place in here.items() if node not in self._client_at}
            self.stop.wait(pause)
            waited += pause

    def ask(self, messages: Iterable[Message]) -> list[Message]:
        """Send each member its message, and return the replies.

        A member that is away may come until the time is over. One that did not come at all is not waited for again until it has come.
        """
        addressed = {message.metadata.dst_node_id: message for message in messages}
        by_client = {client: message for node, message in addressed.items() if (client := self.client(node)) is not None}
        going = Exchange(self.grid, by_client, self.places, self.again, lambda: self._away | self._leaving())
        replies = going.run(self.timeout, self.stop)
        missing = going.missing()
        self._away = (self._away | missing) - (by_client.keys() - missing)
        return replies

    def again(self, message: Message, node: int) -> Message:
        """Return a message for another node, or once more for the same one, with the ledger as that node is to see it."""
        record = message.content.config_records.get(RECORD)
        content = message.content
        if record is not None and isinstance(index := record["entry_index"], int):
            content = RecordDict({**content, RECORD: ConfigRecord({**record, **self.recorder.view(node, index).to_fields()})})
        return Message(content, dst_node_id=node, message_type=message.metadata.message_type)

    def _ask_who(self, here: Mapping[int, Place]) -> None:
        """Ask nodes that are not known who they are, and take in what was answered; waits for nothing."""
        strangers = [place for node, place in here.items() if node not in self._client_at and self._known.get(node) != place]
        messages = []
        for place in strangers:
            self._known[place.node] = place
            request = IdentifyRequest(self.recorder.state.run, os.urandom(CHALLENGE_BYTES))
            content = RecordDict({RECORD: ConfigRecord(request.to_fields())})
            messages.append((request, Message(content, dst_node_id=place.node, message_type=f"{MessageType.QUERY}.identify")))
        if messages:
            identifiers = self.grid.push_messages([message for _, message in messages])
            for (request, _), place, identifier in zip(messages, strangers, identifiers, strict=True):
                if identifier:
                    self._questions[identifier] = place.node, request
        if self._questions:
            for reply in self.grid.pull_messages(list(self._questions)):
                asked = self._questions.pop(reply.metadata.reply_to_message_id, None)
                if asked is not None:
                    self._answer(*asked, reply)

    def _answer(self, node: int, request: IdentifyRequest, reply: Message) -> None:
        if reply.has_error():
            if reply.error.code in UNANSWERED:
                self._known.pop(node, None)
            else:  # it has not enrolled, or not in this run, or something failed: it is asked again in the next round
                self._refused.add(node)
            return
        try:
            said = IdentifyReply.from_fields(reply.content.config_records.get(RECORD) or {})
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said.client))
            key.verify(said.signature, identity_claim(request, node, said.client, said.size))
        except (FormatError, InvalidSignature, ValueError):
            log(WARNING, "node %d does not show that it is who it says", node)
            return
        if 0 < said.size <= self.recorder.log.size:
            self.recorder.seen(node, said.size)
        elif said.size > self.recorder.log.size:
            log(WARNING, "client %s has seen a ledger of %d entries, this one has %d: is it an old copy?", said.client[:16], said.size,
                self.recorder.log.size)  # fmt: skip
        state = self.recorder.state
        client, place = state.membership.number(said.client), self._known.get(node)
        if client is None:
            return
        if place is None or not self.desk.reaches(state, client, place.key):
            log(WARNING, "client %s is not taken in at node %d: it bound another node key than the one there", said.client[:16], node)
            return
        self.enter(client, node)

    def _leaving(self) -> set[int]:
        return self.desk.leaving(self.recorder.state)
