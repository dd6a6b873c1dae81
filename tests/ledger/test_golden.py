"""Ledgers of earlier versions keep auditing, and what is changed in them keeps being found."""

from pathlib import Path

import pytest

from ledger.audit import Trust, audit
from ledger.export import write_export
from ledger.report import Check
from tests.federation import Federation, client, terms
from tests.ledger.golden import FOLDER, RATES

FILES = sorted(FOLDER.glob("*.tar"))


def test_there_is_one_of_each_kind() -> None:
    assert len(FILES) >= len(RATES)


@pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_audits(path: Path, backend: str) -> None:
    report = audit(path, backend=backend)
    assert report.verified, report.findings
    assert report.summary["rounds"] == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_changed_byte_is_found(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.tar"
    changed.write_bytes(data)
    assert not audit(changed, backend="arkworks").verified


def test_an_export_without_updates_is_not_enough_where_proofs_are_required(folder: Path, tmp_path: Path) -> None:
    Federation(folder, [client(0), client(1)], terms(2, 1, proof={"kind": "training"})).run()
    write_export(folder, tmp_path / "whole.tar")
    write_export(folder, tmp_path / "sums.tar", updates=False)
    required = Trust(proofs=True)
    assert audit(tmp_path / "whole.tar", required, backend="arkworks").verified
    assert audit(tmp_path / "sums.tar", backend="arkworks").verified
    report = audit(tmp_path / "sums.tar", required, backend="arkworks")
    assert [finding.check for finding in report.findings] == [Check.PROOFS]
