"""A good export verifies, on either implementation of the group, and the report says what was checked and what was not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import audit as audit_module
from ledger.audit import Trust, audit
from ledger.errors import StorageError
from ledger.report import Check
from tests.federation import SIGNER
from tests.ledger.conftest import FIRST, Forgery, agreed, small_update, write_files


@pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
def test_every_check_is_made(export: Path, backend: str) -> None:
    report = audit(export, backend=backend)
    assert report.verified
    assert report.counts == {
        Check.ARCHIVE: 33,
        Check.CHECKPOINT: 1,
        Check.TREE: 7,
        Check.ENTRIES: 7,
        Check.AGREEMENT: 1,
        Check.SEQUENCE: 7,
        Check.EVIDENCE: 29,
        Check.ENROLMENTS: 3,
        Check.BEACON: 2,
        Check.VERDICTS: 4,
        Check.OPENINGS: 4,
        Check.SUMS: 2,
        Check.AGGREGATES: 2,
        Check.MODELS: 2,
    }
    assert {check for check in Check if report.outcome(check) != "passed"} == {Check.PROOFS, Check.SCORES}  # not agreed


def test_the_summary_says_what_the_ledger_says(export: Path, forgery: Forgery) -> None:
    assert audit(export, backend="arkworks").summary == {
        "origin": "lunaria.local/attacks",
        "log-key": str(SIGNER.verifier.key),
        "entries": 7,
        "federation": "tests",
        "run": forgery.run,
        "clients": 3,
        "rounds": 2,
        "outcome": "completed",
        "model": forgery[6]["model"],
    }


def test_what_is_taken_on_trust_is_noted(export: Path) -> None:
    notes = audit(export, backend="arkworks").notes
    assert len(notes) == 2
    assert str(SIGNER.verifier.key) in notes[0]
    assert notes[1].startswith("test results are the server's word")


def test_with_what_the_auditor_knows_less_is_taken_on_trust(export: Path) -> None:
    report = audit(export, Trust(str(SIGNER.verifier.key), agreed()), backend="arkworks")
    assert report.verified
    assert len(report.notes) == 1


def test_progress_is_told(export: Path) -> None:
    told: list[tuple[int, int]] = []
    audit(export, backend="arkworks", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 7) for done in range(8)]


def test_an_audit_twice_says_the_same(export: Path) -> None:
    first, second = (audit(export, backend="arkworks").to_json() for _ in range(2))
    assert first == second


def test_it_needs_neither_flower_nor_tensorflow_nor_the_network(export: Path) -> None:
    """What is unpickled is numba's own cache of compiled kernels."""
    code = """
import sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"flwr", "tensorflow", "keras", "ray", "sklearn", "matplotlib", "grpc"}:
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
def refuse(event, arguments):
    compiled = event == "pickle.find_class" and arguments[0].split(".")[0] in {"numba", "builtins", "collections", "numpy", "copyreg"}
    if event.startswith("socket.") or event in {"os.system", "subprocess.Popen", "pickle.find_class"} and not compiled:
        raise RuntimeError(event)
sys.addaudithook(refuse)
from ledger.audit import audit
sys.exit(not audit(Path(sys.argv[1]), backend="arkworks").verified)
"""
    subprocess.run([sys.executable, "-c", code, export], check=True, timeout=60)  # noqa: S603 - our own


def test_a_file_that_changes_while_it_is_read_is_not_verified(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = audit_module._entries
    times: list[int] = []

    def another(*arguments: Any) -> Iterator[bytes]:  # noqa: ANN401
        times.append(1)
        entries = list(read(*arguments))
        return iter(entries[:-1] if len(times) == 3 else entries)

    monkeypatch.setattr(audit_module, "_entries", another)
    with pytest.raises(StorageError, match="was changed while it was read"):
        audit(export, backend="arkworks")
    assert len(times) == 3


def test_it_writes_nothing(export: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in export.parent.rglob("*")}
    audit(export, backend="arkworks")
    assert {path: path.stat().st_mtime_ns for path in export.parent.rglob("*")} == before


def test_many_equations_are_checked_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings are the same whether equations are settled one entry at a time or all at the end."""
    forgery = Forgery.begin(agreed())
    entry = forgery.open_round(FIRST)
    from tests.ledger.conftest import commitments

    other = commitments().encode(commitments().commit_rows(small_update(3), [5, 6]))
    forgery.judge(FIRST, 0, "accepted", forgery.contribution(FIRST, entry["verdicts"][0]["client"], parts={"commitment": other}))
    forgery.judge(FIRST, 1)
    forgery.settle(FIRST)
    path = write_files(tmp_path / "forged.tar", forgery.files())
    late = audit(path, backend="arkworks").to_json()
    monkeypatch.setattr("ledger.collected.BATCH_POINTS", 1)
    assert audit(path, backend="arkworks").to_json() == late
    assert not late["verified"]
