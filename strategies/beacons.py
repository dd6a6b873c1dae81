"""Drawing a beacon: the checkpoint is fixed, the nonces that were committed to before it are revealed, and both are hashed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from ledger.beacon import NONCE_BYTES, beacon, commit_nonce
from ledger.entries import Reveal
from ledger.errors import FormatError
from ledger.messages import RECORD, RevealReply, RevealRequest
from strategies.recorder import Recorder

Ask = Callable[[Iterable[Message]], list[Message]]  # send messages, return the replies that came in time


@dataclass(frozen=True)
class Drawn:
    """A beacon, the nonces behind it, and the clients that kept theirs back."""

    reveals: tuple[Reveal, ...]
    withheld: tuple[int, ...]
    beacon: str

    @property
    def clients(self) -> list[int]:
        """The clients whose nonces are in it."""
        return [reveal.client for reveal in self.reveals]

    @property
    def nonces(self) -> list[bytes]:
        """Their nonces, in the same order."""
        return [bytes.fromhex(reveal.nonce) for reveal in self.reveals]


def draw(recorder: Recorder, ask: Ask, node_of: Mapping[int, int], index_of: Callable[[int], int]) -> Drawn:
    """Ask every client that has committed to a nonce for it, and make the beacon of the round in progress.

    Parameters
    ----------
    recorder : Recorder
    ask : callable
    node_of : mapping of int to int
        Nodes by client number.
    index_of : callable from int to int
        The entry that holds a client's commitment.
    """
    state, checkpoint = recorder.state, recorder.checkpoint()
    number = state.rounds + 1
    client_of = {node_of[client]: client for client in state.pending}
    messages = []
    for node, client in client_of.items():
        view = recorder.view(node, index_of(client))
        record = ConfigRecord({**RevealRequest(number).to_fields(), **view.to_fields()})
        messages.append(Message(RecordDict({RECORD: record}), dst_node_id=node, message_type=f"{MessageType.QUERY}.reveal"))
    revealed: dict[int, str] = {}
    for reply in ask(messages):
        node = reply.metadata.src_node_id
        nonce = _nonce(reply)
        if node not in client_of or nonce is None:
            continue
        recorder.seen(node, checkpoint.size)
        client = client_of[node]
        if commit_nonce(state.run, state.keys[client], nonce) == state.pending[client]:
            revealed[client] = nonce.hex()
    return Drawn(
        reveals=tuple(Reveal(client=client, nonce=revealed[client]) for client in sorted(revealed)),
        withheld=tuple(sorted(state.pending.keys() - revealed.keys())),
        beacon=beacon(state.run, number, checkpoint, revealed),
    )


def _nonce(reply: Message) -> bytes | None:
    """Return the revealed nonce; None for a reply that holds none."""
    if reply.has_error():
        return None
    try:
        nonce = RevealReply.from_fields(reply.content.config_records.get(RECORD) or {}).nonce
    except FormatError:
        return None
    return nonce if len(nonce) == NONCE_BYTES else None
