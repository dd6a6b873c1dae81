"""What a replay checks with: evidence read from the export, and equations and proofs that wait to be checked together."""

from dataclasses import dataclass, field

from ledger.archive import ArchiveReader
from ledger.canonical import digest
from ledger.entries import Reference
from ledger.errors import VerificationError
from ledger.export import evidence_name
from ledger.report import Check, Report
from ledger.resume import Resume
from zk import batch
from zk.pedersen import CommitmentKey

MAX_EVIDENCE_BYTES = 2**30
BATCH_POINTS = 1 << 16  # so many points are checked together: some forty proofs


@dataclass
class Evidence:
    """The evidence of an export.

    Attributes
    ----------
    archive : ArchiveReader
    report : Report
        Takes counts and findings.
    seen : set of str
        The names of what was referred to.
    """

    archive: ArchiveReader
    report: Report
    seen: set[str] = field(default_factory=set)

    def fetch(self, position: int, reference: Reference, what: str, limit: int, media_type: str | None = None) -> bytes | None:
        """Return a piece of evidence of at most ``limit`` bytes; None, with a finding, when it is not there as it was."""
        name = evidence_name(reference.digest)
        self.seen.add(name)
        self.report.count(Check.EVIDENCE)
        if media_type not in (None, reference.media_type):
            self.report.find(Check.EVIDENCE, position, f"{what}: {name} is said to be {reference.media_type} instead of {media_type}")
            return None
        try:
            data = self.archive.read(name, min(reference.size, limit, MAX_EVIDENCE_BYTES))
        except VerificationError as error:
            self.report.find(Check.EVIDENCE, position, f"{what}: {error}")
            return None
        if len(data) != reference.size or digest(data) != reference.digest:
            self.report.find(Check.EVIDENCE, position, f"{what}: {name} was changed, it does not have its digest")
            return None
        return data


@dataclass(frozen=True)
class _Pending:
    """An equation or a proof, and what it means when it is false."""

    item: batch.Check
    check: Check
    entry: int
    reason: str


@dataclass
class Collected:
    """Equations and proofs of many entries; the false ones are found and named."""

    key: CommitmentKey
    report: Report
    resume: Resume | None = None
    pending: list[_Pending] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Say again what was found before an interruption."""
        for one in self.resume.findings if self.resume else ():
            self.report.find(one.check, one.entry, one.reason)

    def add(self, item: batch.Check, check: Check, entry: int, reason: str) -> None:
        """Collect one; ``reason`` is the finding when it is false."""
        if self.resume and entry < self.resume.done:
            self.report.count(check)
        else:
            self.pending.append(_Pending(item, check, entry, reason))

    def settle_when_many(self, done: int) -> None:
        """Check them when they are many enough; they are all there are of the first ``done`` entries."""
        if sum(pending.item.size for pending in self.pending) < BATCH_POINTS:
            return
        before = len(self.report.findings)
        self.settle()
        if self.resume:
            self.resume.settled(done, self.report.findings[before:])

    def settle(self) -> None:
        """Check them together."""
        pending, self.pending = self.pending, []
        for one in pending:
            self.report.count(one.check)
        for place in batch.false_ones(self.key, [one.item for one in pending]):
            self.report.find(pending[place].check, pending[place].entry, pending[place].reason)
