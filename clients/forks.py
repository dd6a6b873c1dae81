"""A client that catches its ledger forking keeps the proof: ``$LUNARIA_HOME/forks/`` (or ``~/.lunaria/forks/``), for whoever asks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import StorageError
from ledger.evidence import write_durably
from ledger.fork import ForkError


@contextmanager
def keep_forks() -> Iterator[None]:
    """Write the proof of a fork to a file, and say where.

    Raises
    ------
    ForkError
        The one that came through, which now names the file.
    """
    try:
        yield
    except ForkError as error:
        if error.proof is None:
            raise
        folder = Path(os.environ.get("LUNARIA_HOME") or Path.home() / ".lunaria") / "forks"
        try:
            write_durably(folder / error.proof.name, error.proof.encode())
        except StorageError as reason:
            raise ForkError(f"{error}, but {reason}", error.proof) from error
        raise ForkError(f"{error}, see {folder / error.proof.name}", error.proof) from error
