"""Where a run keeps its ledger: in its folder, or where ``storage.toml`` in that folder says.

::

    database = "postgresql://lunaria@db.example/run1"     otherwise ledger.db in the folder
    evidence = "s3://bucket/run1"                         otherwise evidence/ in the folder

Passwords do not belong into it: libpq finds them in ``PGPASSFILE`` or ``PGPASSWORD``, and the backends of object stores have places of
their own.
"""

import json
import tomllib
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError

from ledger.errors import FormatError, StorageError
from ledger.evidence import Evidence, EvidenceStore, write_durably
from ledger.remote_evidence import RemoteEvidence
from ledger.schema import Section, explain
from ledger.store import Store

FILE = "storage.toml"


class Storage(Section):
    """Where a ledger is.

    Attributes
    ----------
    database
        URL of a PostgreSQL database; ``None`` for ``ledger.db`` in the run's folder.
    evidence
        URL of a folder or of an object store (:mod:`ledger.remote_evidence`); ``None`` for ``evidence/`` in the run's folder.
    """

    database: str | None = Field(default=None, pattern="^postgresql://")
    evidence: str | None = Field(default=None, pattern="^[a-z][a-z0-9+.-]*://")

    @classmethod
    def of(cls, run: Path) -> Self:
        """Return where the ledger of a run folder is.

        Raises
        ------
        FormatError
            ``storage.toml`` is malformed.
        StorageError
            It cannot be read.
        """
        try:
            fields = tomllib.loads((run / FILE).read_text(encoding="utf-8"))
            return cls.model_validate(fields)
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            raise FormatError(f"{run / FILE}: {explain(error)}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{run / FILE}: {error}") from error
        except OSError as error:
            raise StorageError(f"cannot read {run / FILE}: {error.strerror}") from error

    @classmethod
    def parse(cls, **fields: str | None) -> Self:
        """Return what a user says.

        Raises
        ------
        FormatError
            It cannot be.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise FormatError(explain(error)) from error

    def save(self, run: Path) -> None:
        """Write ``storage.toml``, unless everything is where it is without one."""
        # A string of JSON is one of TOML.
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in self.model_dump(exclude_none=True).items()]
        if lines:
            write_durably(run / FILE, "".join(lines).encode())

    def check(self) -> None:
        """Find out early whether a database and an object store that are named can be used, as far as it shows without writing a thing.

        Raises
        ------
        StorageError
            They cannot, or the database holds a ledger with entries.
        """
        if self.evidence is not None:
            self.open_evidence(Path())
        if self.database is not None:
            with Store.open(self.database, create=True) as store:
                if store.size():
                    raise StorageError(f"{store.name} holds a ledger already: give each run a database of its own")

    def open_store(self, run: Path, *, create: bool) -> Store:
        """Open the store; see :meth:`ledger.store.Store.open`."""
        return Store.open(self.database or run / "ledger.db", create=create)

    def open_evidence(self, run: Path) -> Evidence:
        """Return the evidence.

        Raises
        ------
        StorageError
            Nothing is installed that serves its URL.
        """
        if self.evidence is None:
            return EvidenceStore(run / "evidence")
        parts = urlsplit(self.evidence)
        if parts.scheme == "file":  # durable, where fsspec's local files are not
            return EvidenceStore(Path(unquote(parts.path)))
        return RemoteEvidence(self.evidence)


def ledger_of(run: Path) -> tuple[Store, Evidence]:
    """Open the store and the evidence of a run folder.

    Raises
    ------
    FormatError, StorageError
        It is not the folder of a run, or its store cannot be opened.
    """
    if not (run / "ledger.db").is_file() and not (run / FILE).is_file():
        raise StorageError(f"{run} is not the folder of a run: it holds no ledger.db")
    storage = Storage.of(run)
    return storage.open_store(run, create=False), storage.open_evidence(run)
