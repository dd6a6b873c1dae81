"""The embedded store: entries, complete subtrees and signed checkpoints in one SQLite file.

It is trusted for nothing but being there: whoever can change the file can make the log unusable, or make it
serve entries and proofs that fail against the checkpoints that others hold.

What it promises: a transaction that returned is on disk (write-ahead log, ``synchronous=FULL``); entries are
numbered from 0 without gaps and never change; an append that expects another size than it finds is refused, so
two servers on one file cannot fork it; a checkpoint that is not the tree's is refused.

The file must be on a local disk: write-ahead logging does not work over a network.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import FormatError, StorageError
from ledger.tiles import MAX_ENTRY_SIZE

_APPLICATION_ID = int.from_bytes(b"Luna", "big")
_VERSION = 1
_BUSY_SECONDS = 5.0
_PAGE = 256
_SCHEMA = (
    "CREATE TABLE entries (idx INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE nodes (
        level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (level, idx)
    ) WITHOUT ROWID""",
    "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


class Store:
    """A ledger's SQLite file, opened by :meth:`open`.

    Any thread may use it: it holds one connection (``check_same_thread=False``) behind a lock. Other processes
    may read the file meanwhile, and append to it if they know its size.

    Every method raises StorageError where the file is damaged, locked for more than five seconds, or the disk
    is full.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = RLock()

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the ledger at ``path``.

        Parameters
        ----------
        path
            The SQLite file.
        create
            Whether to make an empty ledger where there is none.

        Raises
        ------
        StorageError
            There is none, the file is not a ledger, or another version of Lunaria wrote it.
        """
        if not create and not path.is_file():
            raise StorageError(f"there is no ledger at {path}")
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StorageError(f"cannot open {path}: {error}") from error
        store = cls(path, connection)
        try:
            store._prepare(create)
        except BaseException:
            store.close()
            raise
        return store

    def size(self) -> int:
        """Return the number of entries."""
        with self._access() as connection:
            return _size(connection)

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
            The ledger has another size than expected.
        """
        for entry in entries:
            if len(entry) > MAX_ENTRY_SIZE:
                raise FormatError(f"an entry of {len(entry)} bytes is over the limit of {MAX_ENTRY_SIZE}")
        with self._transaction() as connection:
            size = _size(connection)
            if size != expected_size:
                raise StorageError(
                    f"{self._path} has {size} entries where {expected_size} were expected: another process "
                    "appended, or an append was cut short; reopen the ledger"
                )
            fresh: dict[tuple[int, int], bytes] = {}

            def read(level: int, index: int) -> bytes:
                return fresh.get((level, index)) or self.node(level, index)

            for index, entry in enumerate(entries, start=size):
                for level, place, value in merkle.new_nodes(index, merkle.leaf_hash(entry), read):
                    fresh[level, place] = value
            connection.executemany("INSERT INTO entries VALUES (?, ?)", enumerate(entries, start=size))
            connection.executemany(
                "INSERT INTO nodes VALUES (?, ?, ?)",
                ((level, place, value) for (level, place), value in fresh.items()),
            )
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
            raise StorageError(f"{self._path} has {size} entries: there are none from {start} up to {stop}")
        for first in range(start, stop, _PAGE):
            last = min(first + _PAGE, stop)
            with self._access() as connection:
                rows: list[tuple[bytes]] = connection.execute(
                    "SELECT data FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx", (first, last)
                ).fetchall()
            if len(rows) != last - first:
                raise StorageError(f"{self._path} is damaged: entries from {first} up to {last} are missing")
            for (data,) in rows:
                yield data

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree ``(level, index)``: a ``merkle.NodeReader``.

        Raises
        ------
        StorageError
            There is no such subtree.
        """
        with self._access() as connection:
            row: tuple[bytes] | None = connection.execute("SELECT hash FROM nodes WHERE level = ? AND idx = ?", (level, index)).fetchone()
        if row is None:
            raise StorageError(f"{self._path} has no subtree ({level}, {index})")
        return row[0]

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
            the tree's.
        """
        checkpoint = _checkpoint_of(signed)
        with self._transaction() as connection:
            last = _latest(connection)
            reason = ""
            if checkpoint.size != size:
                reason = f"it is of size {checkpoint.size}"
            elif size > _size(connection):
                reason = f"there are only {_size(connection)} entries"
            elif checkpoint.root != merkle.root(size, self.node):
                reason = "its root is not the tree's"
            elif last is not None and size < _checkpoint_of(last).size:
                reason = f"there is one for size {_checkpoint_of(last).size}"
            elif last is not None and checkpoint.origin != _checkpoint_of(last).origin:
                reason = f"the ledger is {_checkpoint_of(last).origin}, not {checkpoint.origin}"
            if reason:
                raise StorageError(f"{self._path} refuses a checkpoint for size {size}: {reason}")
            connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, signed))

    def latest_checkpoint(self) -> bytes | None:
        """Return the note of the checkpoint that covers most entries, or None before the first."""
        with self._access() as connection:
            return _latest(connection)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, and let an error through."""
        self.close()

    def _prepare(self, create: bool) -> None:
        with self._transaction() as connection:
            tables, application, version = (
                _number(connection, query)
                for query in (
                    "SELECT count(*) FROM sqlite_master",
                    "PRAGMA application_id",
                    "PRAGMA user_version",
                )
            )
            if create and tables == 0 and application == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
            elif application != _APPLICATION_ID:
                raise StorageError(f"{self._path} is not a ledger")
            elif version != _VERSION:
                raise StorageError(f"{self._path} is a ledger of format {version}, this version of Lunaria reads {_VERSION}")
        # Only now: the journal mode is written into the file, and no foreign file is touched.
        with self._access() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StorageError(_explain(self._path, error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._access() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def _number(connection: sqlite3.Connection, query: str) -> int:
    row: tuple[int] = connection.execute(query).fetchone()
    return row[0]


def _size(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT coalesce(max(idx) + 1, 0) FROM entries")


def _latest(connection: sqlite3.Connection) -> bytes | None:
    row: tuple[bytes] | None = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    return row[0] if row else None


def _checkpoint_of(signed: bytes) -> Checkpoint:
    return parse_checkpoint(note.parse(signed).text)


def _explain(path: Path, error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return f"{path} is locked by another process: stop it, or wait until it has finished"
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return f"{path} is not a ledger"
    return f"cannot use {path}: {error}"
