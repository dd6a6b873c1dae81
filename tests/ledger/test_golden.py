"""Ledgers of earlier versions keep auditing, and what is changed in them keeps being found."""

from pathlib import Path

import pytest

from ledger.audit import audit
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
