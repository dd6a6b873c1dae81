"""The published ledger of a run folder, as the chain's client needs it; the server may be writing to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger import merkle
from ledger.canonical import digest
from ledger.checkpoint import Checkpoint
from ledger.entries import AgreementEntry, ClosingEntry, EnrolmentEntry, SettlementEntry, decode_entry
from ledger.log import published_checkpoint
from ledger.quorum import Policy
from ledger.settlement import Claim, claims_root
from ledger.storage import ledger_of
from ledger.store import Store
from server.errors import ServerError


@dataclass(frozen=True)
class PublishedLedger:
    """Entries under the published checkpoint.

    Attributes
    ----------
    opening : AgreementEntry
    run : str
        Digest of entry 0.
    note : bytes
        The signed checkpoint.
    checkpoint : Checkpoint
    """

    store: Store
    opening: AgreementEntry
    run: str
    note: bytes
    checkpoint: Checkpoint

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that an entry is in the tree of ``size`` entries."""
        return merkle.inclusion_proof(index, size, self.store.node)

    def root(self, size: int) -> bytes:
        """Return the root over the first ``size`` entries."""
        return merkle.root(size, self.store.node)

    def path(self, old: int, new: int) -> list[bytes]:
        """Return the consistency proof as the contract takes it: the first node is there also where ``old`` is a power of two."""
        proof = merkle.consistency_proof(old, new, self.store.node)
        return [self.root(old), *proof] if old & (old - 1) == 0 else proof

    def consistency(self, old: int) -> list[bytes]:
        """Return the RFC 6962 proof from ``old`` entries to the published checkpoint."""
        return merkle.consistency_proof(old, self.checkpoint.size, self.store.node) if old else []

    def closed(self) -> bool:
        """Whether nothing will follow."""
        return isinstance(decode_entry(self.store.entry(self.checkpoint.size - 1)), ClosingEntry)

    def settlements(self) -> dict[int, tuple[int, SettlementEntry]]:
        """Return place and entry of each settlement, by epoch."""
        found = {}
        for index, data in enumerate(self.store.entries(0, self.checkpoint.size)):
            entry = decode_entry(data) if b'"kind":"settlement"' in data else None
            if isinstance(entry, SettlementEntry):
                found[entry.epoch] = (index, entry)
        return found

    def settlement(self, epoch: int) -> tuple[int, SettlementEntry]:
        """Return place and entry of one settlement; raises ServerError where there is none yet."""
        found = self.settlements()
        if epoch not in found:
            raise ServerError(f"the ledger has no settlement of epoch {epoch}: it has {sorted(found) or 'none yet'}")
        return found[epoch]

    def accounts(self) -> dict[str, str]:
        """Return the account that each enrolled identity named, by its key (hexadecimal)."""
        found = {}
        for data in self.store.entries(1, self.checkpoint.size):
            entry = decode_entry(data) if b'"kind":"enrolment"' in data else None
            if isinstance(entry, EnrolmentEntry) and entry.enrolment.statement.account:
                found[entry.enrolment.statement.client] = entry.enrolment.statement.account
        return found


@contextmanager
def published(run: Path) -> Iterator[PublishedLedger]:
    """Open what is published of a run.

    Raises
    ------
    ServerError
        Nothing is yet.
    """
    store, _ = ledger_of(run)
    with store:
        signed = published_checkpoint(run)
        if signed is None or not store.size():
            raise ServerError(f"the ledger in {run} has no published checkpoint yet")
        data = store.entry(0)
        opening = decode_entry(data)
        if not isinstance(opening, AgreementEntry):
            raise ServerError(f"the ledger in {run} does not begin with an agreement")
        yield PublishedLedger(store, opening, digest(data), signed, Policy.of(opening).open(signed))


def penalties(entry: SettlementEntry) -> list[Claim]:
    """Return what an epoch takes from stakes, in ascending order of the clients: the leaves of the tree of penalties."""
    due = [(line, line.account) for line in entry.clients if line.account is not None and int(line.penalty)]
    return [Claim(index, account, int(line.penalty), line.client) for index, (line, account) in enumerate(due)]


def roots_of(entry: SettlementEntry) -> tuple[bytes, bytes]:
    """Return the root of an epoch's claims, and that of its penalties: zeros where there are none."""
    fined = penalties(entry)
    root = claims_root(fined) if fined else bytes(32)
    return bytes.fromhex(entry.root), root
