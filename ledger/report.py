"""The report of an audit: every check that was made, how often, and what it found."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Halt(Exception):  # noqa: N818 - not an error: the finding is in the report, and there is nothing more to look at
    """A finding that leaves nothing to go on with."""


class Check(StrEnum):
    """The checks of an audit, in the order in which a report lists them."""

    ARCHIVE = "archive"
    CHECKPOINT = "checkpoint"
    TREE = "tree"
    ENTRIES = "entries"
    AGREEMENT = "agreement"
    SEQUENCE = "sequence"
    EVIDENCE = "evidence"
    ENROLMENTS = "enrolments"
    BEACON = "beacon"
    VERDICTS = "verdicts"
    OPENINGS = "openings"
    PROOFS = "proofs"
    SUMS = "sums"
    AGGREGATES = "aggregates"
    MODELS = "models"
    SCORES = "scores"


MEANING: dict[Check, str] = {
    Check.ARCHIVE: "the file is one canonical archive, every byte of it",
    Check.CHECKPOINT: "the checkpoint is signed by the log's key, and by a quorum of the agreed witnesses",
    Check.TREE: "all entries hash to the root in the checkpoint (RFC 6962), and the tiles are that tree",
    Check.ENTRIES: "every entry is canonical and of a known kind",
    Check.AGREEMENT: "the agreement does not contradict itself, and the first model and the tables are the agreed ones",
    Check.SEQUENCE: "the entries follow each other as a run can go, and the participants are those that the beacon chose",
    Check.EVIDENCE: "every file that is referred to is there with its digest, and no other",
    Check.ENROLMENTS: "every client signed its enrolment, and proved that it committed to samples as agreed and can open them",
    Check.BEACON: "the nonces are those committed to, and the beacon is made of them and of the checkpoint before",
    Check.VERDICTS: "signature, run, round, model and batch of every contribution give the verdict in the ledger",
    Check.OPENINGS: "every accepted commitment opens to its update, and every one that was rejected for it does not",
    Check.PROOFS: "every proof that the agreement asks for shows that the update is exactly the agreed training on the enrolled data",
    Check.SUMS: "the accepted commitments, weighted and added, open to the aggregate",
    Check.AGGREGATES: "the aggregate is the exact weighted sum of the accepted updates",
    Check.MODELS: "every model is what the agreed rule makes of the one before and the aggregate",
    Check.SCORES: "the scores in every settlement are what the updates were worth on the evaluation set",
}


@dataclass(frozen=True)
class Finding:
    """Something that is false: which check found it, about which entry (if one), and why."""

    check: Check
    entry: int | None
    reason: str

    def __str__(self) -> str:
        """Return one line."""
        where = "" if self.entry is None else f" entry {self.entry}:"
        return f"{self.check.value}:{where} {self.reason}"


@dataclass
class Report:
    """What an audit checked and found.

    Attributes
    ----------
    counts : dict of Check to int
        How many things each check was made on; a check that is missing was not reached or had nothing to look at.
    findings : list of Finding
        Empty when everything verified.
    notes : list of str
        What the audit had to take on trust, or could not see.
    summary : dict of str to str or int
        What the ledger says about the run, for a reader.
    """

    counts: dict[Check, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: dict[str, str | int] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """Whether nothing false was found."""
        return not self.findings

    def count(self, check: Check, number: int = 1) -> None:
        """Note that ``check`` was made."""
        self.counts[check] = self.counts.get(check, 0) + number

    def find(self, check: Check, entry: int | None, reason: str) -> None:
        """Note something false."""
        self.counts.setdefault(check, 0)
        self.findings.append(Finding(check, entry, reason))

    def outcome(self, check: Check) -> str:
        """Return ``passed``, ``failed`` or ``not reached``."""
        if any(finding.check is check for finding in self.findings):
            return "failed"
        return "passed" if self.counts.get(check) else "not reached"

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON value."""
        return {
            "format": "lunaria-audit/v1",
            "verified": self.verified,
            "summary": self.summary,
            "checks": [
                {"check": check.value, "meaning": MEANING[check], "outcome": self.outcome(check), "made": self.counts.get(check, 0)}
                for check in Check
            ],
            "findings": [{"check": f.check.value, "entry": f.entry, "reason": f.reason} for f in self.findings],
            "notes": self.notes,
        }
