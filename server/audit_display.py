"""An audit's report on a console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ledger.report import MEANING, Check, Report

_STYLE = {"passed": "green", "failed": "bold red", "not reached": "dim"}


@contextmanager
def audit_progress(console: Console, doing: str = "auditing") -> Iterator[Callable[[int, int], None]]:
    """Show how many entries an audit, or another pass over a ledger, has gone through."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_report(console: Console, report: Report) -> None:
    """Print every check with its outcome, what was found, and what was taken on trust."""
    table = Table(title="audit", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("check")
    table.add_column("outcome")
    table.add_column("made", justify="right")
    table.add_column("what it means")
    for check in Check:
        outcome = report.outcome(check)
        table.add_row(check.value, f"[{_STYLE[outcome]}]{outcome}[/]", str(report.counts.get(check, 0)), MEANING[check])
    console.print(table)
    for finding in report.findings:
        console.print(f"[bold red]false[/] {escape(str(finding))}", soft_wrap=True, highlight=False)
    for note in report.notes:
        console.print(f"[dim]note[/]  {escape(note)}", soft_wrap=True, highlight=False)
    facts = ", ".join(f"{name} {report.summary[name]}" for name in ("federation", "clients", "rounds", "outcome") if name in report.summary)
    verdict = "[bold green]verified[/]" if report.verified else f"[bold red]not verified[/]: {len(report.findings)} findings"
    console.print(f"{verdict}  {escape(facts)}", soft_wrap=True, highlight=False)
