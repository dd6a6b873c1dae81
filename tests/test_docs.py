"""What the documents list is what the code has."""

import re
from pathlib import Path

import pytest

from ledger.agreement import Agreement, complete
from ledger.changes import RevocationReason
from ledger.entries import AgreementEntry, ClosingEntry, EnrolmentEntry, RoundEntry, SettlementEntry
from ledger.schema import Section
from ledger.verdicts import EXPLANATIONS, Reason
from server.errors import ExitCode

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS = ("bench", "clients", "deploy", "ledger", "server", "strategies", "tests", "zk")


def table_cells(name: str) -> set[str]:
    """Return the first cell of every table row of a document, without backticks."""
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    return {line.split("|")[1].strip().strip("`") for line in lines if line.startswith("|")}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_verdict_is_documented_with_its_explanation(reason: Reason) -> None:
    assert f"| `{reason}` | {EXPLANATIONS[reason]} |" in (DOCS / "ledger.md").read_text(encoding="utf-8")


def test_every_exit_code_is_documented() -> None:
    assert {str(int(code)) for code in ExitCode} <= table_cells("commands.md")


def test_every_kind_of_entry_is_documented() -> None:
    kinds = {kind.model_fields["kind"].default for kind in (AgreementEntry, EnrolmentEntry, RoundEntry, SettlementEntry, ClosingEntry)}
    assert kinds <= table_cells("ledger.md")


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_every_reason_of_a_revocation_is_documented(reason: RevocationReason) -> None:
    assert f"`{reason}`" in (DOCS / "ledger.md").read_text(encoding="utf-8")


def test_every_field_of_an_agreement_is_documented() -> None:
    text = (DOCS / "agreement.md").read_text(encoding="utf-8")
    agreement = complete(
        {
            "federation": {"name": "x", "clients": 1},
            "model": {"layers": [2, 1], "seed": "00" * 32},
            "training": {"loss": "mean-squared-error"},
            "rounds": {"participants": 1},
            "settlement": {"epoch": 1, "evaluation": "00" * 32},
        }
    )
    for section in Agreement.model_fields:
        value = getattr(agreement, section)
        if isinstance(value, Section):
            assert f"[{section.replace('_', '-')}]" in text
            for field in type(value).model_fields:
                assert field.replace("_", "-") in text, f"{section}.{field}"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_file_that_a_document_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = set(re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]*)`", text))
    files |= {name.replace(".", "/") + ".py" for name in re.findall(r"python -m ((?:bench|tests)\.\w+)", text)}
    assert [name for name in sorted(files) if not ((ROOT / name).exists() or (ROOT / name).with_suffix("").is_dir())] == []
    links = re.findall(r"\]\(([\w./-]+\.md)\)", text)
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_every_event_is_documented() -> None:
    events = set()
    for room in ("clients", "server"):
        for path in (ROOT / room).rglob("*.py"):
            calls = r"(?:events|_log|log)\.(?:debug|info|warning|error|write)\(\s*(?:level, )?\"([a-z]+(?:-[a-z]+)*)\""
            events |= set(re.findall(calls, path.read_text(encoding="utf-8")))
    assert {"round-done", "connected", "monitoring", "node-key-cut"} <= events  # it finds them
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert [event for event in sorted(events) if f"`{event}`" not in text] == []
