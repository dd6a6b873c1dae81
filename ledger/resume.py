"""Going on with an audit that was interrupted: which entries' equations and proofs were checked already, and what was false in them.

The file is the auditor's own and is believed. Everything that is cheap is done again from the export (hashes, signatures, the state
machine, aggregates, the chain of models); what is spared are the group equations and proofs of entries that were settled before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from ledger.canonical import dump_json, load_json
from ledger.errors import FormatError, StorageError
from ledger.evidence import read_capped, write_durably
from ledger.report import Check, Finding
from ledger.schema import Hex32, Section, explain

MAX_FILE_BYTES = 2**26


class _Found(Section):
    check: Check
    entry: int
    reason: str


class _Settled(Section):
    format: Literal["lunaria-audit-progress/v1"] = "lunaria-audit-progress/v1"
    subject: Hex32
    done: int = Field(ge=0)
    findings: tuple[_Found, ...]


_FILE = TypeAdapter(_Settled)


@dataclass
class Resume:
    """What was settled of one export.

    Attributes
    ----------
    path : Path
        Where it is kept.
    subject : str
        Digest of the export's index and checkpoint.
    done : int
        The equations and proofs of so many entries were checked.
    findings : list of Finding
        What was false among them.
    """

    path: Path
    subject: str
    done: int = 0
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, subject: str) -> Self:
        """Read the file, or begin with nothing where there is none.

        Raises
        ------
        FormatError
            It is no such file, or is about another export.
        StorageError
            It cannot be read.
        """
        data = read_capped(path, MAX_FILE_BYTES)
        if data is None:
            return cls(path, subject)
        try:
            if len(data) > MAX_FILE_BYTES:
                raise FormatError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
            load_json(data, str(path))
            stored = _FILE.validate_json(data)
        except ValidationError as error:
            raise FormatError(f"{path} is not the progress of an audit: {explain(error)}") from error
        if stored.subject != subject:
            raise FormatError(f"{path} is about another export: remove it, or name another file")
        return cls(path, subject, stored.done, [Finding(one.check, one.entry, one.reason) for one in stored.findings])

    def settled(self, done: int, findings: Sequence[Finding]) -> None:
        """Keep that everything before entry ``done`` was checked, durably."""
        self.done = done
        self.findings += findings
        found = tuple(_Found(check=one.check, entry=one.entry or 0, reason=one.reason) for one in self.findings)
        write_durably(self.path, dump_json(_Settled(subject=self.subject, done=done, findings=found).model_dump(mode="json")))

    def remove(self) -> None:
        """Remove the file: the audit has come to its end."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {self.path}: {error.strerror}") from error
