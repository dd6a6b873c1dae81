"""An audit's report as a page to read, print and sign: one HTML file without scripts, on paper A4 or Letter."""

import base64
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Self

from ledger.audit import Trust
from ledger.errors import FormatError
from ledger.evidence import write_durably
from ledger.note import VerifierKey
from ledger.report import MEANING, Check, Report
from server.files import file_digest
from zk.hashing import sha256

_MARK = {"passed": "✓", "failed": "✗", "not reached": "–", "nothing to check": "–"}
_STYLE = """
:root { color-scheme: light; --ink: #211f28; --quiet: #625e6d; --line: #d9d5cd; --good: #1d6b43; --bad: #a4262c; }
* { box-sizing: border-box; }
body { max-width: 50rem; margin: 3rem auto; padding: 0 1.5rem; color: var(--ink); background: #fff; overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1, h2, .verdict { font-family: ui-serif, "Iowan Old Style", Palatino, Georgia, serif; font-weight: 500; line-height: 1.2; }
h1 { font-size: 2.4rem; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.4rem 0 .8rem; break-after: avoid; }
.quiet { color: var(--quiet); }
.verdict { margin: 1.6rem 0; padding: 1.1rem 1.4rem; border-left: 5px solid; font-size: 1.5rem; print-color-adjust: exact; }
.verdict p { margin: .3rem 0 0; color: var(--ink); font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif; }
.passed { color: var(--good); } .failed { color: var(--bad); }
.verdict.passed { background: #e8f3ec; } .verdict.failed { background: #fbeae9; }
dl { margin: 0; } dl div { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 1rem; padding: .25rem 0; }
dt { color: var(--quiet); } dd { margin: 0; }
code { font: .875em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; font-weight: 400;
  overflow-wrap: normal; }
thead th { color: var(--quiet); font-size: .8125rem; } tr { break-inside: avoid; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } td.outcome { white-space: nowrap; }
li { margin: .3rem 0; }
.sign { display: grid; grid-template-columns: 1fr 1fr; gap: 3.5rem 2.5rem; margin-top: 4.5rem; break-inside: avoid; }
.sign p { margin: 0; padding-top: .4rem; border-top: 1px solid var(--ink); color: var(--quiet); font-size: .875rem; }
@page { margin: 18mm; }
@media print { body { max-width: none; margin: 0; padding: 0; font-size: 10.5pt; } }
@media (max-width: 40rem) { dl div { display: block; } table { font-size: .8125rem; } td, th { padding-right: .4rem; } td.outcome { white-space: normal; } }
"""


@dataclass(frozen=True)
class Subject:
    """What was audited, and by whom.

    Attributes
    ----------
    name, digest, size
        The export: name of the file, its SHA-256 in hexadecimal, its bytes.
    trust
        What the auditor knew from elsewhere.
    backend
        What the group equations were checked with.
    auditor, date
        As the auditor states them; ``None`` leaves the place empty. Nothing is taken from a clock or an account.
    """

    name: str
    digest: str
    size: int
    trust: Trust
    backend: str
    auditor: str | None = None
    date: str | None = None

    @classmethod
    def of(cls, export: Path, trust: Trust, backend: str, auditor: str | None, date: str | None) -> Self:
        """Return the subject of an audit of the file ``export``.

        Raises
        ------
        ServerError
            It cannot be read.
        """
        digest, size = file_digest(export)
        return cls(export.name, digest, size, trust, backend, auditor, date)

    def write(self, path: Path, report: Report) -> None:
        """Write the page.

        Raises
        ------
        StorageError
            It cannot be written.
        """
        write_durably(path, audit_page(self, report).encode(errors="replace"))


def audit_page(subject: Subject, report: Report) -> str:
    """Return the report as HTML; the same report gives the same bytes."""
    policy = f"default-src 'none'; style-src 'sha256-{base64.b64encode(sha256(_STYLE.encode())).decode()}'"
    name = escape(str(report.summary.get("federation", subject.name)))
    sections = [
        _verdict(report),
        _facts("Subject", _subject(subject)),
        _facts("The run", _run(subject, report)),
        _checks(report),
        _list("Findings", [str(finding) for finding in report.findings], "Nothing false was found."),
        _list("Taken on trust, or not seen", report.notes, "Nothing."),
        _signature(subject),
    ]
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Audit report: {name}</title>\n<style>{_STYLE}</style>\n</head>",
        f'<body>\n<p class="quiet">Audit report</p>\n<h1>{name}</h1>\n',
    ]
    return "\n".join(head) + "".join(sections) + "</body>\n</html>\n"


def _verdict(report: Report) -> str:
    passed = sum(report.outcome(check) == "passed" for check in Check)
    made = f"{passed} of {len(Check)} kinds of checks passed, {sum(report.counts.values()):,} single ones were made."
    if report.verified:
        rest = "" if passed == len(Check) else " The others had nothing to check."
        return f'<div class="verdict passed">Verified<p>{made}{rest}</p></div>\n'
    count = len(report.findings)
    return f'<div class="verdict failed">Not verified<p>{count} finding{"" if count == 1 else "s"}. {made}</p></div>\n'


def _subject(subject: Subject) -> list[tuple[str, str]]:
    return [
        ("file", escape(subject.name)),
        ("SHA-256", _code(subject.digest)),
        ("size", f"{subject.size:,} bytes"),
        ("auditor", escape(subject.auditor) if subject.auditor else "not stated"),
        ("date", escape(subject.date) if subject.date else "not stated"),
        ("audited with", f"lunaria {escape(version('lunaria'))}, group equations by {escape(subject.backend)}"),
        ("log key", "given by the auditor" if subject.trust.log_key else "taken from the export"),
        ("agreement", "given by the auditor" if subject.trust.agreement else "taken from the ledger"),
    ]


def _run(subject: Subject, report: Report) -> list[tuple[str, str]]:
    summary = report.summary
    names = {"run": "run", "origin": "log", "entries": "entries", "clients": "clients", "rounds": "rounds", "outcome": "outcome"}
    facts = [
        (title, _code(summary[name]) if name == "run" else escape(str(summary[name]))) for name, title in names.items() if name in summary
    ]
    if "model" in summary:
        facts.append(("last model", _code(summary["model"])))
    if "log-key" in summary:
        key = str(summary["log-key"])
        facts += [("log key", _code(key)), ("its fingerprint", _code(fingerprint(key)))]
    return facts


def fingerprint(log_key: str) -> str:
    """Return the SHA-256 of a verifier key's public key, in groups of four digits to read out; empty where it is malformed."""
    try:
        digits = sha256(VerifierKey.parse(log_key).public).hex()
    except FormatError:
        return ""
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _checks(report: Report) -> str:
    rows = []
    for check in Check:
        outcome = report.outcome(check)
        if report.verified and outcome == "not reached":
            outcome = "nothing to check"
        style = f"outcome {outcome.replace(' ', '-')}"
        rows.append(
            f'<tr><th scope="row">{check.value}</th><td class="{style}">{_MARK[outcome]} {outcome}</td>'
            f'<td class="number">{report.counts.get(check, 0):,}</td><td>{escape(MEANING[check])}</td></tr>\n'
        )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("check", "outcome", "made", "what it means"))
    return f"<h2>Checks</h2>\n<table><thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody></table>\n"


def _facts(title: str, facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in facts)
    return f"<h2>{title}</h2>\n<dl>\n{rows}</dl>\n" if facts else ""


def _list(title: str, lines: list[str], otherwise: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f"<h2>{title}</h2>\n" + (f"<ul>\n{items}</ul>\n" if lines else f"<p>{otherwise}</p>\n")


def _signature(subject: Subject) -> str:
    by = escape(subject.auditor) if subject.auditor else "name"
    return f'<div class="sign"><p>place and date</p><p>signature, {by}</p></div>\n'


def _code(text: object) -> str:
    return f"<code>{escape(str(text))}</code>"
