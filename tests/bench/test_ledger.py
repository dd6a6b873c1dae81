"""The benchmark of the ledger runs to its end, and what it writes audits."""

from pathlib import Path

from bench.ledger import measure
from bench.ledger_run import CLIENTS, write_run
from ledger.fsck import fsck
from ledger.store import Store


def test_the_run_that_is_measured_is_a_good_one(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 300)
    with Store.open(tmp_path / "run" / "ledger.db", create=False) as store:
        assert store.size() == 300
    found = fsck(tmp_path / "run")
    assert (found.entries, found.damaged) == (300, 0)
    assert found.evidence == 1 + 2 * CLIENTS + 300 - 1 - CLIENTS


def test_everything_is_measured(tmp_path: Path) -> None:
    report = measure(tmp_path, None, 500)
    assert report.single["SQLite"] > 0 < report.batched["SQLite"]
    assert [step.entries for step in report.audits] == [20, 200]
    assert all(step.seconds > 0 < step.peak_mb for step in (*report.exports, *report.audits))
    assert report.proofs["SQLite"].inclusion_us > 0
