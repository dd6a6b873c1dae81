"""An audit that was interrupted goes on: it checks no proof twice, forgets no finding, and believes no file about another export."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.errors import FormatError
from tests.ledger.golden import FOLDER
from zk import batch
from zk.batch import Check
from zk.pedersen import CommitmentKey

EXPORT, OTHER = sorted(FOLDER.glob("1-*.tar"))[:2]


class Killed(Exception):  # noqa: N818 - not an error of ours
    """In place of a signal."""


def interrupted(monkeypatch: pytest.MonkeyPatch, resume: Path, after: int, false: Sequence[int] = ()) -> None:
    """Audit in small parts and stop after some; what stands at ``false`` in the first part is said to be false."""
    parts = 0
    real = batch.false_ones

    def stopping(key: CommitmentKey, checks: Sequence[Check], workers: int | None = None) -> list[int]:
        nonlocal parts
        parts += len(checks) > 1
        if parts > after:
            raise Killed
        return [place for place in false if place < len(checks)] if parts == 1 and false else real(key, checks, workers)

    with monkeypatch.context() as patch:
        patch.setattr("ledger.collected.BATCH_POINTS", 1)
        patch.setattr("zk.batch.false_ones", stopping)
        with pytest.raises(Killed):
            audit(EXPORT, backend="arkworks", resume=resume)


def checked(monkeypatch: pytest.MonkeyPatch, resume: Path | None) -> tuple[int, dict[str, object]]:
    """Return how many equations and proofs an audit checks, and its report."""
    count = 0
    real = batch.false_ones

    def counting(key: CommitmentKey, checks: Sequence[Check], workers: int | None = None) -> list[int]:
        nonlocal count
        count += len(checks)
        return real(key, checks, workers)

    with monkeypatch.context() as patch:
        patch.setattr("zk.batch.false_ones", counting)
        return count, audit(EXPORT, backend="arkworks", resume=resume).to_json() | {"count": count}


def test_what_was_settled_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume = tmp_path / "progress.json"
    whole = checked(monkeypatch, None)[1]
    interrupted(monkeypatch, resume, 1)
    assert resume.is_file()
    rest = checked(monkeypatch, resume)[1]
    assert 0 < int(str(rest.pop("count"))) < int(str(whole.pop("count")))
    assert rest == whole
    assert not resume.exists()


def test_a_finding_from_before_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume = tmp_path / "progress.json"
    interrupted(monkeypatch, resume, 1, false=[0])
    report = audit(EXPORT, backend="arkworks", resume=resume)
    assert [finding.entry for finding in report.findings] == [finding.entry for finding in report.findings if finding.entry is not None]
    assert len(report.findings) == 1


def test_progress_of_another_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume = tmp_path / "progress.json"
    interrupted(monkeypatch, resume, 1)
    with pytest.raises(FormatError, match="about another export"):
        audit(OTHER, backend="arkworks", resume=resume)
    assert resume.is_file()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"done":-1}', b"x" * 100])
def test_a_file_that_is_no_progress(tmp_path: Path, data: bytes) -> None:
    resume = tmp_path / "progress.json"
    resume.write_bytes(data)
    with pytest.raises(FormatError):
        audit(EXPORT, backend="arkworks", resume=resume)
    assert resume.read_bytes() == data
