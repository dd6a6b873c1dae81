"""What the ledger of a running server says in numbers: counted from its entries, so that a restart changes none of them.

Entries are read once each, as they are appended.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ledger import note
from ledger.agreement import Agreement
from ledger.checkpoint import parse_checkpoint
from ledger.cosignature import cosigned_at
from ledger.entries import AgreementEntry, ClosingEntry, EnrolmentEntry, RoundEntry, TestResult, decode_entry
from ledger.errors import LedgerError
from ledger.log import published_checkpoint
from ledger.quorum import Policy
from ledger.storage import ledger_of
from ledger.store import Store

_LOOK_BACK = 64
"""Checkpoints in which the last cosignature of each witness is looked for."""


@dataclass
class LedgerFigures:
    """Numbers of a ledger.

    Attributes
    ----------
    entries, entry_bytes : int
    rounds : int
        Rounds that stand in the ledger.
    members : int
        Clients that enrolled.
    verdicts : Counter
        By reason, of all rounds.
    agreement : Agreement or None
        None before entry 0.
    closed : bool
    test : TestResult or None
        The server's statement about the last model.
    published : int
        Entries under the published checkpoint.
    published_at : float
        When it was published; 0 before the first.
    cosigned_at : dict of str to int
        By witness, when it cosigned last: its own word, seconds since 1970; 0 where it is not known to have.
    """

    entries: int = 0
    entry_bytes: int = 0
    rounds: int = 0
    members: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    agreement: Agreement | None = None
    closed: bool = False
    test: TestResult | None = None
    published: int = 0
    published_at: float = 0.0
    cosigned_at: dict[str, int] = field(default_factory=dict)

    def count(self, data: bytes) -> None:
        """Count one more entry."""
        entry = decode_entry(data)
        self.entries += 1
        self.entry_bytes += len(data)
        if isinstance(entry, AgreementEntry):
            self.agreement = entry.agreement
            self.cosigned_at = {witness.key.name: 0 for witness in Policy.of(entry).witnesses}
        elif isinstance(entry, EnrolmentEntry):
            self.members += 1
        elif isinstance(entry, RoundEntry):
            self.rounds += 1
            self.verdicts.update(verdict.reason.value for verdict in entry.verdicts)
            self.test = entry.test
        elif isinstance(entry, ClosingEntry):
            self.closed = True

    def see(self, signed: bytes) -> None:
        """Note the cosignatures of a checkpoint that this ledger keeps; the log verified them before."""
        for signature in note.parse(signed).signatures:
            if signature.name in self.cosigned_at:
                self.cosigned_at[signature.name] = max(self.cosigned_at[signature.name], cosigned_at(signature))


class LedgerReader:
    """Reads a run's ledger while a server writes it.

    Parameters
    ----------
    run : Path
        The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._store: Store | None = None
        self._figures = LedgerFigures()

    def read(self) -> LedgerFigures:
        """Return the numbers as they are now; all zero before there is a ledger.

        Raises
        ------
        LedgerError
            The ledger cannot be read.
        """
        if not (self._run / "checkpoint").exists():
            return self._figures
        try:
            return self._read()
        except LedgerError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the ledger."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self) -> LedgerFigures:
        figures = self._figures
        fresh = self._store is None
        store = self._store = self._store or ledger_of(self._run)[0]
        size = store.size()
        for data in store.entries(figures.entries, size):
            figures.count(data)
        if fresh:
            for _, signed in store.checkpoints(max(0, size - _LOOK_BACK), size + 1):
                figures.see(signed)
        signed_now = published_checkpoint(self._run)
        if signed_now is not None:
            figures.published = parse_checkpoint(note.parse(signed_now).text).size
            figures.see(signed_now)
            with suppress(OSError):
                figures.published_at = (self._run / "checkpoint").stat().st_mtime
        return figures
