"""A ledger in one SQLite file, the default: write-ahead log, ``synchronous=FULL``.

The file must be on a local disk: write-ahead logging does not work over a network.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger import database
from ledger.database import FORMAT, Database, Row, Value, later
from ledger.errors import StorageError

_APPLICATION_ID = int.from_bytes(b"Luna", "big")
_HOLDS = "CREATE TABLE holds (reason TEXT NOT NULL)"
_SCHEMA = (
    "CREATE TABLE entries (idx INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE nodes (
        level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (level, idx)
    ) WITHOUT ROWID""",
    "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL)",
    _HOLDS,
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)
_UPGRADES = {1: (_HOLDS, "PRAGMA user_version = 2")}


class Sqlite(Database):
    """The SQLite file at ``path``.

    Parameters
    ----------
    path
        The file.
    create
        Whether to make an empty ledger where there is none.

    Raises
    ------
    StorageError
        There is none, the file is not a ledger, or a later version of Lunaria wrote it.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        super().__init__(str(path))
        if not create and not path.is_file():
            raise StorageError(f"there is no ledger at {path}")
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, timeout=database.BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StorageError(f"cannot open {path}: {error}") from error
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def query(self, statement: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""
        with self._access() as connection:
            return connection.execute(statement, values).fetchall()

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Put ``rows`` into a table."""
        if rows:
            with self._access() as connection:
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608 - our own name

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold off all other writers until the end of the block."""
        with self._access() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def faults(self) -> list[str]:
        """Return what ``PRAGMA quick_check`` finds damaged: pages, order of rows, constraints."""
        return [text for (text,) in self.query("PRAGMA quick_check(20)") if text != "ok"]

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def _prepare(self, create: bool) -> None:
        with self.exclusive():
            tables, application, version = (
                self.query(query)[0][0] for query in ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id", "PRAGMA user_version")
            )
            if create and tables == 0 and application == 0:
                statements: tuple[str, ...] = _SCHEMA
            elif application != _APPLICATION_ID:
                raise StorageError(f"{self.name} is not a ledger")
            elif version > FORMAT:
                raise StorageError(later(self.name, version))
            else:
                statements = tuple(step for before in range(version, FORMAT) for step in _UPGRADES[before])
            for statement in statements:
                self.query(statement)
        # Only now: the journal mode is written into the file, and no foreign file is touched.
        self.query("PRAGMA journal_mode = WAL")
        self.query("PRAGMA synchronous = FULL")

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StorageError(_explain(self.name, error)) from error


def _explain(name: str, error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return f"{name} is locked by another process: stop it, or wait until it has finished"
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return f"{name} is not a ledger"
    return f"cannot use {name}: {error}"
