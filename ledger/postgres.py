"""A ledger in a PostgreSQL database, for operators who run one; needs psycopg 3 (``pip install 'lunaria[postgres]'``).

A database, or a schema that comes first in the search path (``postgresql://host/db?options=-csearch_path%3Drun1``), holds one ledger. A
writer locks the table of entries against other writers, so that what it finds is what it appends to; readers are never held off.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger import database
from ledger.database import FORMAT, Database, Row, Value, later
from ledger.errors import StorageError

if TYPE_CHECKING:
    import psycopg

_SCHEMA = (
    "CREATE TABLE lunaria_ledger (format integer NOT NULL)",
    "CREATE TABLE entries (idx bigint PRIMARY KEY CHECK (idx >= 0), data bytea NOT NULL)",
    """CREATE TABLE nodes (
        level integer NOT NULL, idx bigint NOT NULL, hash bytea NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (level, idx)
    )""",
    "CREATE TABLE checkpoints (size bigint PRIMARY KEY, note bytea NOT NULL)",
    "CREATE TABLE holds (reason text NOT NULL)",
)
_FEW = 4
_CREATION_LOCK = int.from_bytes(b"Luna", "big")


class Postgres(Database):
    """The database at a libpq URL; a connection that was lost is made again by the next statement outside of a transaction.

    Parameters
    ----------
    url
        ``postgresql://user@host/database``. Leave the password to ``PGPASSFILE`` or ``PGPASSWORD``.
    create
        Whether to make an empty ledger where there is none.

    Raises
    ------
    StorageError
        There is none, it cannot be reached, it loses what it acknowledged (``fsync`` is off), a later version of Lunaria wrote it, or
        psycopg is not installed.
    """

    def __init__(self, url: str, *, create: bool) -> None:
        try:
            self._driver = importlib.import_module("psycopg")
        except ModuleNotFoundError as error:
            raise StorageError("psycopg is not installed: pip install 'lunaria[postgres]'") from error
        try:
            parts = self._driver.conninfo.conninfo_to_dict(url)
        except self._driver.Error as error:
            raise StorageError(f"this is not the URL of a PostgreSQL database: {_line(error)}") from error
        super().__init__(f"postgresql://{parts.get('host', 'localhost')}/{parts.get('dbname', '')}")
        self._url = url
        self._closed = False
        self._connection: psycopg.Connection | None = None
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def query(self, statement: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""
        with self._access() as connection:
            cursor = connection.execute(_portable(statement), values)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Put ``rows`` into a table: a few in one statement, many with COPY."""
        if not rows:
            return
        with self._access() as connection, connection.cursor() as cursor:
            if len(rows) <= _FEW:
                values = ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))
                cursor.execute(f"INSERT INTO {table} VALUES {values}", [value for row in rows for value in row])  # noqa: S608 - our own name
            else:
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for one in rows:
                        copy.write_row(one)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold off all other writers until the end of the block."""
        with self._access() as connection, connection.transaction():
            connection.execute("LOCK TABLE entries IN EXCLUSIVE MODE")
            yield

    def faults(self) -> list[str]:
        """Return nothing: PostgreSQL reports a damaged page when it is read."""
        return []

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    def _prepare(self, create: bool) -> None:
        with self._access() as connection, connection.transaction():
            connection.execute(_portable("SELECT pg_advisory_xact_lock(?)"), (_CREATION_LOCK,))
            known = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")}
            if "lunaria_ledger" in known:
                ((version,),) = connection.execute("SELECT format FROM lunaria_ledger")
                if version > FORMAT:
                    raise StorageError(later(self.name, version))
            elif not create:
                raise StorageError(f"there is no ledger at {self.name}")
            elif known:
                raise StorageError(f"{self.name} is not a ledger and not empty: give the ledger a database or a schema of its own")
            else:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(_portable("INSERT INTO lunaria_ledger VALUES (?)"), (FORMAT,))

    @contextmanager
    def _access(self) -> "Iterator[psycopg.Connection]":
        with self._lock:
            try:
                if self._connection is None or (self._connection.closed and not self._closed):
                    self._connection = self._connect()
                yield self._connection
            except self._driver.errors.LockNotAvailable as error:
                raise StorageError(f"{self.name} is locked by another process: stop it, or wait until it has finished") from error
            except self._driver.Error as error:
                raise StorageError(f"cannot use {self.name}: {_line(error)}") from error

    def _connect(self) -> "psycopg.Connection":
        connection: psycopg.Connection = self._driver.connect(self._url, autocommit=True, connect_timeout=10)
        try:
            connection.execute("SET synchronous_commit = on")
            connection.execute(f"SET lock_timeout = {round(1000 * database.BUSY_SECONDS)}")
            ((fsync,),) = connection.execute("SHOW fsync")
            if fsync != "on":
                raise StorageError(f"{self.name} runs with fsync = {fsync} and can lose what it acknowledged: set it to on")
        except BaseException:
            connection.close()
            raise
        return connection


def _portable(statement: str) -> str:
    return statement.replace("?", "%s")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
