"""What a store asks of a database: three ways to run a statement, and one writer at a time.

``ledger/sqlite.py`` and ``ledger/postgres.py`` are the two there are. Both speak SQL through their own driver (PEP 249), statements being
written with ``?``: an append is half a dozen of them, and a layer in between would take as long as the disk does.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import RLock
from types import TracebackType
from typing import Any, Self

FORMAT = 2
"""The format that this version writes; older ones are brought up to it when they are opened."""

BUSY_SECONDS = 5.0
"""How long a writer waits for another."""

Row = tuple[Any, ...]
Value = bytes | int | str


class Database(ABC):
    """One connection behind a lock: any thread may use it.

    Every method raises StorageError where the database is damaged, unreachable, or locked for longer than five seconds.

    Attributes
    ----------
    name
        What it is called in messages; never holds a password.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = RLock()

    @abstractmethod
    def query(self, statement: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows; outside of :meth:`exclusive` it is a transaction of its own."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Put ``rows`` into a table, all of its columns in order, within :meth:`exclusive`."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Hold off all other writers, of any process; what happens within is on disk at the end, or has not happened."""

    @abstractmethod
    def faults(self) -> list[str]:
        """Return what the database itself finds damaged."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; closing twice is harmless."""

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, and let an error through."""
        self.close()


def later(name: str, version: int) -> str:
    """Return why a ledger of a later format is refused."""
    return f"{name} is a ledger of format {version}, this version of Lunaria reads {FORMAT}: install a later one"
