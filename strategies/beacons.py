"""Drawing a beacon: the checkpoint is fixed, the nonces that were committed to before it are revealed, and both are hashed."""

from collections.abc import Callable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from ledger.beacon import NONCE_BYTES, beacon, commit_nonce
from ledger.entries import Reveal
from ledger.errors import FormatError
from ledger.messages import RECORD, RevealReply, RevealRequest
from strategies.journal import Drawn
from strategies.recorder import Recorder
from strategies.roster import Roster


def draw(recorder: Recorder, roster: Roster, index_of: Callable[[int], int]) -> Drawn:
    """Ask every client that has committed to a nonce for it, and make the beacon of the round in progress; one that is drawn already stays.

    Parameters
    ----------
    recorder : Recorder
    roster : Roster
    index_of : callable from int to int
        The entry that holds a client's commitment.
    """
    state, page, checkpoint = recorder.state, recorder.page, recorder.checkpoint()
    if page.drawn is not None:
        return page.drawn
    if not state.rounds:
        recorder.promise(page)  # enrolment is over: a member more would be another checkpoint
    number = state.rounds + 1
    request = RevealRequest(number)
    if state.enrolled and not state.rounds:  # later the size of the ledger says that nobody enrols any more
        last = recorder.log.size - 1
        request = RevealRequest(number, recorder.log.entry(last), recorder.log.inclusion(last))
    messages = []
    for one in state.pending:
        node = roster.node(one)
        view = recorder.view(node, index_of(one))
        record = ConfigRecord({**request.to_fields(), **view.to_fields()})
        messages.append(Message(RecordDict({RECORD: record}), dst_node_id=node, message_type=f"{MessageType.QUERY}.reveal"))
    revealed: dict[int, str] = {}
    for reply in roster.ask(messages):
        node = reply.metadata.src_node_id
        client, nonce = roster.client(node), _nonce(reply)
        if client not in state.pending or nonce is None:
            continue
        recorder.seen(node, checkpoint.size)
        if commit_nonce(state.run, state.keys[client], nonce) == state.pending[client]:
            revealed[client] = nonce.hex()
    drawn = Drawn(
        reveals=tuple(Reveal(client=client, nonce=revealed[client]) for client in sorted(revealed)),
        withheld=tuple(sorted(state.pending.keys() - revealed.keys())),
        beacon=beacon(state.run, number, checkpoint, revealed),
    )
    if not roster.stop.is_set():  # who was not waited for has withheld nothing
        recorder.promise(page.model_copy(update={"drawn": drawn}))
    return drawn


def _nonce(reply: Message) -> bytes | None:
    """Return the revealed nonce; None for a reply that holds none."""
    if reply.has_error():
        return None
    try:
        nonce = RevealReply.from_fields(reply.content.config_records.get(RECORD) or {}).nonce
    except FormatError:
        return None
    return nonce if len(nonce) == NONCE_BYTES else None
