"""The report of an audit for people: everything that the audit says, nothing that runs, and no clock."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ledger.audit import Trust
from ledger.audit import audit as audit_export
from ledger.report import MEANING, Check, Report
from server.audit_page import Subject, audit_page, fingerprint
from tests.browser import chromium
from tests.federation import SIGNER
from tests.server.conftest import Cli
from zk.hashing import sha256

KEY = str(SIGNER.verifier.key)


class Text(HTMLParser):
    """The text of a page, a line for each element, and the elements there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tags: set[str] = set()
        self._style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._style:
            self.lines.append(data.strip())


def test_it_says_all_that_the_audit_says(cli: Cli, export: Path) -> None:
    done = cli("audit", export, "--html", "report.html", "--auditor", "R. Daneel", "--date", "2026-11-22", "--verify-backend", "arkworks")
    assert (done.code, done.err) == (0, "")
    assert "verified  federation tests" in done.out
    page = Text(Path("report.html").read_text(encoding="utf-8"))
    report = audit_export(export, backend="arkworks")
    for check in Check:
        assert {check.value, MEANING[check]} <= set(page.lines)
    assert page.lines.count("✓ passed") == sum(report.outcome(check) == "passed" for check in Check)
    assert page.lines.count("– nothing to check") == 2  # the agreement asks for neither proofs nor settlements
    assert set(report.notes) <= set(page.lines)
    for fact in ("Verified", "tests", "R. Daneel", "2026-11-22", "7", "completed", KEY, fingerprint(KEY), "taken from the export"):
        assert fact in page.lines
    assert {sha256(export.read_bytes()).hex(), f"{export.stat().st_size:,} bytes", str(report.summary["run"])} <= set(page.lines)


def test_what_nobody_states_is_not_stated(cli: Cli, export: Path) -> None:
    arguments = ("audit", export, "--html", "report.html", "--json", "--key", KEY, "--verify-backend", "arkworks")
    done = cli(*arguments)
    assert json.loads(done.out) == audit_export(export, Trust(KEY), backend="arkworks").to_json()
    first = Path("report.html").read_bytes()
    assert Text(first.decode()).lines.count("not stated") == 2
    assert "given by the auditor" in Text(first.decode()).lines
    assert cli(*arguments).code == 0
    assert Path("report.html").read_bytes() == first


def test_what_is_false_is_at_the_top(cli: Cli, copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[-1100] ^= 1
    copy.write_bytes(data)
    assert cli("audit", copy, "--html", "report.html", "--verify-backend", "arkworks").code == 1
    page = Text(Path("report.html").read_text(encoding="utf-8"))
    report = audit_export(copy, backend="arkworks")
    assert "Not verified" in page.lines[:8]
    assert {str(finding) for finding in report.findings} <= set(page.lines)


def test_it_is_refused_early(cli: Cli, export: Path) -> None:
    assert "for the page that --html FILE writes" in cli("audit", export, "--auditor", "x").refused()
    assert "cannot read nowhere" in cli("audit", "nowhere", "--html", "report.html").refused()
    assert not Path("report.html").exists()


def hostile() -> str:
    evil = "<script>window.owned=1</script>'\"&\ud800"
    report = Report(
        summary={"federation": evil, "origin": evil, "log-key": evil, "outcome": evil, "model": evil, "run": evil}, notes=[evil]
    )
    report.find(Check.TREE, 3, evil)
    subject = Subject(evil, "00" * 32, 1, Trust(), "py_ecc", evil, evil)
    return audit_page(subject, report).encode(errors="replace").decode()


def test_hostile_text_stays_text() -> None:
    page = Text(hostile())
    assert "script" not in page.tags
    assert sum("<script>window.owned=1</script>'\"&?" in line for line in page.lines) >= 9


def test_it_prints(tmp_path: Path, export: Path) -> None:
    """A browser makes a PDF of it, and finds nothing to complain about."""
    path = tmp_path / "report.html"
    Subject.of(export, Trust(), "arkworks", None, None).write(path, audit_export(export, backend="arkworks"))
    with chromium(tmp_path / "profile") as tab:
        for page in (path, tmp_path / "hostile.html"):
            if page != path:
                page.write_text(hostile(), encoding="utf-8")
            tab.call("Page.navigate", url=page.as_uri())
            tab.wait(f"document.readyState === 'complete' && location.href === '{page.as_uri()}'")
            assert not tab.complaints()
            assert tab.run("window.owned") is None
            tab.size(390)
            assert tab.run("document.documentElement.scrollWidth") <= 390
            assert tab.call("Page.printToPDF")["data"].startswith("JVBERi0")  # %PDF-


@pytest.mark.parametrize("key", ["", "nonsense", KEY[:-1]])
def test_there_is_no_fingerprint_of_what_is_no_key(key: str) -> None:
    assert fingerprint(key) == ""
