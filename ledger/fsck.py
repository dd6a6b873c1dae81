"""Checking a ledger where it is kept: every tile and root is computed again from the entries, every signature and every file is checked.

Nothing is changed. Each damage says where it is, what it is, and what to do; a note is no damage. Memory does not grow with the ledger but
for the digests of the evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.entries import AgreementEntry, Reference, decode_entry
from ledger.errors import FormatError, LedgerError, StorageError
from ledger.evidence import Evidence, read_capped
from ledger.export import parts, references, statements
from ledger.storage import ledger_of
from ledger.store import Store
from ledger.tiles import WIDTH

MAX_LISTED = 100
RESTORE = "restore a backup"
MAKE_AGAIN = "if all else is well, 'lunaria backup' and 'lunaria restore' make it again from the entries"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it should be: the place, what is wrong with it, and what to do, for people."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """Return it as one line."""
        return " ".join(f"{self.where}: {self.what}; {self.remedy}".split())


@dataclass
class Diagnosis:
    """What a check found.

    Attributes
    ----------
    entries, nodes, checkpoints, evidence
        How many of each were checked.
    damaged, damage
        How many damages there are, and the first hundred.
    notes
        What is worth knowing and no damage.
    """

    entries: int = 0
    nodes: int = 0
    checkpoints: int = 0
    evidence: int = 0
    damaged: int = 0
    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, where: str, what: object, remedy: str) -> None:
        """Take note of a damage."""
        self.damaged += 1
        if len(self.damage) < MAX_LISTED:
            self.damage.append(Damage(where, str(what), remedy))


def fsck(run: Path, log_key: str | None = None, progress: Progress = lambda done, total: None) -> Diagnosis:
    """Check the ledger of a run folder, or of a backup; a server may be writing to it.

    Parameters
    ----------
    run
        The folder.
    log_key
        The log's public key; ``None`` takes the one that the agreement's entry names.
    progress
        Is told how many of how many entries are done.

    Raises
    ------
    FormatError, StorageError
        There is no ledger, no database that can be opened, or the key is malformed: there is nothing to check.
    """
    verifier = None if log_key is None else note.Ed25519Verifier(note.VerifierKey.parse(log_key))
    # The published file first: what a server publishes is in the store already.
    published = read_capped(run / "checkpoint", note.MAX_NOTE_SIZE)
    store, evidence = ledger_of(run)
    found = Diagnosis()
    with store:
        try:
            for fault in store.faults():
                found.find(store.name, fault, RESTORE)
            check = _Check(store, evidence, verifier or _named_key(store), found)
            check.walk(progress)
            check.published(published, str(run / "checkpoint"))
        except StorageError as error:
            found.find(store.name, error, RESTORE)
    return found


class _Check:
    """One pass over the entries; everything else is checked against them on the way."""

    def __init__(self, store: Store, evidence: Evidence, verifier: note.Ed25519Verifier | None, found: Diagnosis) -> None:
        self._store, self._evidence, self._verifier, self._found = store, evidence, verifier, found
        self._size = store.size()
        self._nodes: dict[tuple[int, int], bytes] = {}  # the last page's, and the last complete subtree of each level before it
        self._referenced: set[str] = set()

    def walk(self, progress: Progress) -> None:
        """Check entries, tiles, kept checkpoints and evidence."""
        found = self._found
        for start in range(0, self._size, WIDTH):
            progress(start, self._size)
            stop = min(start + WIDTH, self._size)
            entries = list(self._store.entries(start, stop))
            self._tiles(start, entries)
            for index, data in enumerate(entries, start=start):
                self._references(index, data)
            for size, signed in self._store.checkpoints(start + (start > 0), stop + 1):
                self._checkpoint(signed, f"the checkpoint of size {size}", size)
            found.entries = stop
        for level, width in self._store.widths().items():
            if width > self._store.size() >> level:  # read afterwards: a server may be appending
                found.find(f"level {level} of the tree", "it has hashes beyond the entries", MAKE_AGAIN)
        self._last_checkpoint()
        self._leftovers()
        found.notes += [f"on hold: {reason}" for reason in self._store.holds()]
        progress(self._size, self._size)

    def published(self, signed: bytes | None, name: str) -> None:
        """Check the file ``checkpoint``."""
        if signed is None:
            self._found.notes.append(f"{name} is missing: the server publishes it when it starts")
        else:
            self._checkpoint(signed, name)

    def _tiles(self, start: int, entries: list[bytes]) -> None:
        """Compute the hashes that ``entries`` complete, and compare what is kept."""
        made = merkle.new_nodes(start, [merkle.leaf_hash(entry) for entry in entries], lambda level, index: self._nodes[level, index])
        last = {level: (index, value) for (level, index), value in self._nodes.items()}  # ascending: the last one stays
        self._nodes = {(level, index): value for level, (index, value) in last.items()} | {(level, i): value for level, i, value in made}
        rows: dict[int, dict[int, bytes]] = {}
        for level, index, value in made:
            rows.setdefault(level, {})[index] = value
        for level, row in rows.items():
            kept = self._store.nodes(level, min(row), max(row) + 1)
            for index, value in row.items():
                if kept.get(index) != value:
                    what = "missing" if index not in kept else f"not the hash of entries {index << level} up to {(index + 1) << level}"
                    self._found.find(f"hash {index} of level {level}", what, MAKE_AGAIN)
        self._found.nodes += len(made)

    def _checkpoint(self, signed: bytes, name: str, size: int | None = None) -> None:
        """Check a checkpoint of a size within the last page, or of the last."""
        self._found.checkpoints += 1
        try:
            checkpoint = self._open(signed)
        except LedgerError as error:
            self._found.find(name, error, "compare it with one that a client or a witness holds")
            return
        if size is not None and checkpoint.size != size:
            self._found.find(name, f"what is kept there is of size {checkpoint.size}", RESTORE)
        elif checkpoint.size > self._size:
            lost = f"it covers {checkpoint.size} entries, there are {self._size}: the ledger is older than what was signed"
            self._found.find(name, lost, "bring back the newest copy of the ledger; going on from this one would fork it")
        elif checkpoint.root != merkle.root(checkpoint.size, self._node):
            self._found.find(name, "its root is not that of the entries: one of them was changed", RESTORE)

    def _node(self, level: int, index: int) -> bytes:
        # Older ones were compared when they were computed.
        return self._nodes.get((level, index)) or self._store.node(level, index)

    def _open(self, signed: bytes) -> Checkpoint:
        if self._verifier is None:
            return parse_checkpoint(note.parse(signed).text)
        return open_checkpoint(signed, self._verifier, self._verifier.key.name)

    def _last_checkpoint(self) -> None:
        last = self._store.latest_checkpoint()
        covered = 0
        if last is None:
            self._found.notes.append("nothing is signed yet")
        else:
            covered = parse_checkpoint(note.parse(last).text).size
            if covered > self._store.size():
                self._checkpoint(last, f"the checkpoint of size {covered}")
        if covered < self._size:
            self._found.notes.append(
                f"{self._size - covered} entries are not under a signed checkpoint: the server signs it when it starts"
            )
        if self._verifier is None:
            self._found.notes.append("signatures were not checked: entry 0 names no key, give it with --key")

    def _references(self, index: int, data: bytes) -> None:
        """Check the evidence that an entry refers to, and what that refers to."""
        try:
            entry = decode_entry(data)
        except FormatError as error:
            self._found.find(f"entry {index}", error, "another version of Lunaria wrote it: check it with that one")
            return
        for reference in references(entry):
            self._piece(index, reference)
        for statement in statements(entry):
            signed = self._piece(index, statement)
            if signed is not None:
                for reference in parts(signed):
                    self._piece(index, reference)

    def _piece(self, index: int, reference: Reference) -> bytes | None:
        self._referenced.add(reference.digest)
        self._found.evidence += 1
        remedy = f"put {reference.size} bytes with this SHA-256 there, from a backup or from whom it came"
        try:
            data = self._evidence.get(reference.digest, reference.size)
        except LedgerError as error:
            self._found.find(f"entry {index}", error, f"{remedy}: {self._evidence.path(reference.digest)}")
            return None
        if len(data) != reference.size:
            self._found.find(f"entry {index}", f"evidence {reference.digest} has {len(data)} bytes, not {reference.size}", RESTORE)
        return data

    def _leftovers(self) -> None:
        loose = sum(digest not in self._referenced for digest in self._evidence.digests())
        if loose:
            self._found.notes.append(
                f"{loose} pieces of evidence belong to no entry: of replies that were not kept, or of an append cut short"
            )


def _named_key(store: Store) -> note.Ed25519Verifier | None:
    if not store.size():
        return None
    try:
        entry = decode_entry(store.entry(0))
        return note.Ed25519Verifier(note.VerifierKey.parse(entry.log_key)) if isinstance(entry, AgreementEntry) else None
    except FormatError:
        return None
