"""A ledger for people: one line an entry, and proofs of inclusion."""

from ledger import merkle
from ledger.changes import describe
from ledger.checkpoint import parse_checkpoint
from ledger.entries import AgreementEntry, CommitmentsEntry, EnrolmentEntry, RoundEntry, SettlementEntry, decode_entry
from ledger.errors import StorageError
from ledger.note import parse as parse_note
from ledger.proof import TlogProof
from ledger.store import Store
from server.verdict_text import verdict_text


def entry_line(index: int, data: bytes) -> str:
    """Return one line that says what an entry is."""
    entry = decode_entry(data)
    if isinstance(entry, AgreementEntry):
        text = f"{entry.agreement.federation.name}, {entry.agreement.rounds.count} rounds, first model {entry.model.digest[:16]}"
    elif isinstance(entry, EnrolmentEntry):
        statement = entry.enrolment.statement
        text = f"client {statement.client[:16]} with {statement.samples} samples"
    elif isinstance(entry, CommitmentsEntry):
        text = f"{entry.round}: {len(entry.contributions)} contributions, before it is chosen who must prove"
    elif isinstance(entry, RoundEntry):
        text = f"{entry.round}: {verdict_text(entry)}, model {entry.model_after.digest[:16]}"
        text += "".join(f"; {describe(change)}" for change in entry.changes)
    elif isinstance(entry, SettlementEntry):
        paid, lost = sum(line.earned for line in entry.clients), sum(int(line.penalty) for line in entry.clients)
        text = f"{entry.epoch}: rounds {entry.first} to {entry.last}, {paid} earned, {lost} lost, claims {entry.root[:16]}"
    else:
        text = f"{entry.outcome} after {entry.rounds} rounds, model {entry.model[:16]}"
    return f"{index:>6}  {entry.kind:<11} {text}"


def inclusion_proof(store: Store, index: int, *, entry: bool = True) -> TlogProof:
    """Return the proof that an entry is in the ledger (C2SP tlog-proof), with the entry as its extra data if it is to carry it.

    Raises
    ------
    StorageError
        There is no such entry under the last checkpoint.
    """
    note = store.latest_checkpoint()
    size = parse_checkpoint(parse_note(note).text).size if note is not None else 0
    if note is None or index >= size:
        raise StorageError(f"there is no entry {index}: the ledger has {size}")
    hashes = merkle.inclusion_proof(index, size, store.node)
    return TlogProof(index, tuple(hashes), note, store.entry(index) if entry else None)


def round_index(store: Store, number: int) -> int:
    """Return the index of the entry of a round.

    Raises
    ------
    StorageError
        There is no such round.
    """
    for index, data in enumerate(store.entries(0, store.size())):
        entry = decode_entry(data)
        if isinstance(entry, RoundEntry) and entry.round == number:
            return index
    raise StorageError(f"the ledger has no round {number}")
