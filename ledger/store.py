"""The store: entries, complete subtrees and signed checkpoints in a database (:mod:`ledger.database`).

It is trusted for nothing but being there: whoever can change it can make the log unusable, or make it serve entries and proofs that fail
against the checkpoints that others hold.

What it promises, on SQLite and on PostgreSQL: a call that returned is on disk; entries are numbered from 0 without gaps and never
change; an append that expects another size than it finds is refused, so two servers on one ledger cannot fork it; a checkpoint that is
not the tree's is refused; while there is a *hold*, nothing is appended and no checkpoint is kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.database import Database
from ledger.errors import FormatError, StorageError
from ledger.postgres import Postgres
from ledger.sqlite import Sqlite
from ledger.tiles import MAX_ENTRY_SIZE

_PAGE = 256


class Store:
    """A ledger in a database; :meth:`open` finds the database by its location.

    Any thread may use it. Other processes may read the ledger meanwhile, and append to it if they know its size.

    Every method raises StorageError where the database is damaged, unreachable, locked for more than five seconds, or the disk is full.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: Path | str, *, create: bool) -> Self:
        """Open the ledger at ``location``, and bring it up to this version's format.

        Parameters
        ----------
        location
            An SQLite file, or the URL of a PostgreSQL database (``postgresql://...``).
        create
            Whether to make an empty ledger where there is none.

        Raises
        ------
        StorageError
            There is none, what is there is not a ledger, or a later version of Lunaria wrote it.
        """
        if isinstance(location, str):
            return cls(Postgres(location, create=create))
        return cls(Sqlite(location, create=create))

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._database.name

    def size(self) -> int:
        """Return the number of entries."""
        ((size,),) = self._database.query("SELECT coalesce(max(idx) + 1, 0) FROM entries")
        return int(size)

    def append(self, entries: Sequence[bytes], expected_size: int) -> int:
        """Append ``entries`` and the subtrees that they complete, all or nothing.

        Parameters
        ----------
        entries
            At most 65,535 bytes each.
        expected_size
            Number of entries that the caller knows of.

        Returns
        -------
        int
            Number of entries now; on return they are durable.

        Raises
        ------
        FormatError
            An entry is too long.
        StorageError
            The ledger has another size than expected, or is on hold.
        """
        return self.replicate(entries, (), expected_size)

    def replicate(self, entries: Sequence[bytes], notes: Iterable[bytes], expected_size: int, *, held: bool = False) -> int:
        """Append ``entries`` and keep the checkpoints ``notes`` of sizes up to the new one, all or nothing; see the two methods of each.

        ``held`` says that the ledger is on hold until the copy is complete.
        """
        for entry in entries:
            if len(entry) > MAX_ENTRY_SIZE:
                raise FormatError(f"an entry of {len(entry)} bytes is over the limit of {MAX_ENTRY_SIZE}")
        checkpoints = [(_checkpoint_of(signed), signed) for signed in notes]
        with self._database.exclusive():
            if not held:
                self._refuse_hold()
            size = self.size()
            if size != expected_size:
                raise StorageError(
                    f"{self.name} has {size} entries where {expected_size} were expected: another process "
                    "appended, or an append was cut short; reopen the ledger"
                )
            nodes = merkle.new_nodes(size, [merkle.leaf_hash(entry) for entry in entries], self.node)
            self._database.insert("entries", list(enumerate(entries, start=size)))
            self._database.insert("nodes", nodes)
            for checkpoint, signed in checkpoints:
                self._keep(checkpoint, signed)
        return size + len(entries)

    def entry(self, index: int) -> bytes:
        """Return entry ``index``.

        Raises
        ------
        StorageError
            There is no such entry.
        """
        return next(self.entries(index, index + 1))

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the entries from ``start`` up to, but without, ``stop``.

        Raises
        ------
        StorageError
            There is no such entry.
        """
        size = self.size()
        if not 0 <= start <= stop <= size:
            raise StorageError(f"{self.name} has {size} entries: there are none from {start} up to {stop}")
        for first in range(start, stop, _PAGE):
            last = min(first + _PAGE, stop)
            rows = self._database.query("SELECT data FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx", first, last)
            if len(rows) != last - first:
                raise StorageError(f"{self.name} is damaged: entries from {first} up to {last} are missing")
            for (data,) in rows:
                yield self._bytes(data)

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree ``(level, index)``: a ``merkle.NodeReader``.

        Raises
        ------
        StorageError
            There is no such subtree.
        """
        nodes = self.nodes(level, index, index + 1)
        if index not in nodes:
            raise StorageError(f"{self.name} has no subtree ({level}, {index})")
        return nodes[index]

    def nodes(self, level: int, start: int, stop: int) -> dict[int, bytes]:
        """Return the hashes there are of the complete subtrees ``(level, start)`` up to, but without, ``(level, stop)``, by their index."""
        rows = self._database.query("SELECT idx, hash FROM nodes WHERE level = ? AND idx >= ? AND idx < ?", level, start, stop)
        return {index: self._bytes(value) for index, value in rows}

    def widths(self) -> dict[int, int]:
        """Return for each level up to which index, exclusive, subtrees are kept."""
        return {level: last + 1 for level, last in self._database.query("SELECT level, max(idx) FROM nodes GROUP BY level")}

    def save_checkpoint(self, size: int, signed: bytes) -> None:
        """Keep the note of a signed checkpoint; on return it is durable.

        The note of a size may be replaced by one with the same root, which carries more signatures.

        Parameters
        ----------
        size
            Number of entries that it covers.
        signed
            The note; its signatures are not checked here.

        Raises
        ------
        FormatError
            It is not a checkpoint.
        StorageError
            It is of another size, smaller than the last one, beyond the tree, of another log, or its root is not
            the tree's; or the ledger is on hold.
        """
        checkpoint = _checkpoint_of(signed)
        if checkpoint.size != size:
            raise StorageError(f"{self.name} refuses a checkpoint for size {size}: it is of size {checkpoint.size}")
        with self._database.exclusive():
            self._refuse_hold()
            self._keep(checkpoint, signed)

    def latest_checkpoint(self) -> bytes | None:
        """Return the note of the checkpoint that covers most entries, or None before the first."""
        rows = self._database.query("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return self._bytes(rows[0][0]) if rows else None

    def checkpoints(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        """Return size and note of the checkpoints of sizes from ``start`` up to, but without, ``stop``, in ascending order."""
        rows = self._database.query("SELECT size, note FROM checkpoints WHERE size >= ? AND size < ? ORDER BY size", start, stop)
        return [(size, self._bytes(signed)) for size, signed in rows]

    def holds(self) -> list[str]:
        """Return why nothing may be appended; nothing when it may."""
        return [reason for (reason,) in self._database.query("SELECT reason FROM holds")]

    def hold(self, reason: str) -> None:
        """Let nothing be appended, for one reason instead of any before it, until :meth:`release`."""
        with self._database.exclusive():
            self._database.query("DELETE FROM holds")
            self._database.insert("holds", [(reason,)])

    def release(self) -> None:
        """Let appends happen again."""
        with self._database.exclusive():
            self._database.query("DELETE FROM holds")

    def faults(self) -> list[str]:
        """Return what the database itself finds damaged."""
        return self._database.faults()

    def close(self) -> None:
        """Close the database; closing twice is harmless."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, and let an error through."""
        self.close()

    def _bytes(self, value: object) -> bytes:
        if not isinstance(value, bytes):  # SQLite keeps any type in any column
            raise StorageError(f"{self.name} is damaged: it holds a {type(value).__name__} instead of bytes")
        return value

    def _refuse_hold(self) -> None:
        for reason in self.holds():
            raise StorageError(f"{self.name} is on hold: {reason}")

    def _keep(self, checkpoint: Checkpoint, signed: bytes) -> None:
        kept = self.latest_checkpoint()
        last = None if kept is None else _checkpoint_of(kept)
        reason = ""
        if checkpoint.size > self.size():
            reason = f"there are only {self.size()} entries"
        elif checkpoint.root != merkle.root(checkpoint.size, self.node):
            reason = "its root is not the tree's"
        elif last is not None and checkpoint.size < last.size:
            reason = f"there is one for size {last.size}"
        elif last is not None and checkpoint.origin != last.origin:
            reason = f"the ledger is {last.origin}, not {checkpoint.origin}"
        if reason:
            raise StorageError(f"{self.name} refuses a checkpoint for size {checkpoint.size}: {reason}")
        statement = "INSERT INTO checkpoints VALUES (?, ?) ON CONFLICT (size) DO UPDATE SET note = excluded.note"
        self._database.query(statement, checkpoint.size, signed)


def _checkpoint_of(signed: bytes) -> Checkpoint:
    return parse_checkpoint(note.parse(signed).text)
