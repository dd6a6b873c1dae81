"""What a person sees of a run: progress while it goes on, a table of rounds and the learning curve at its end."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ledger.entries import TestResult
from ledger.state import RunState
from server.verdict_text import verdict_text
from strategies.observer import Observer, RoundReport


class Display(Observer):
    """Shows a run on a console; also keeps the rounds for the table."""

    def __init__(self, console: Console, rounds: int, logit_bits: int) -> None:
        self.reports: list[RoundReport] = []
        self._console = console
        self._scale = 4**logit_bits
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task = self.progress.add_task("starting Ray", total=rounds, note="")

    def waiting(self, connected: int, wanted: int) -> None:
        """Show how many clients are there."""
        self.progress.update(self._task, description=f"waiting for clients ({connected} of {wanted})")

    def enrolling(self, clients: int) -> None:
        """Show that enrolment goes on."""
        self.progress.update(self._task, description=f"{clients} clients commit to their data")

    def enrolled(self, state: RunState, refused: Sequence[str]) -> None:
        """Show who is in, and why others are not."""
        samples = sum(member.samples for member in state.members)
        self._console.print(f"{len(state.members)} clients enrolled {samples:,} samples; every enrolment proof verified")
        for line in refused:
            self._console.print(f"[yellow]not enrolled[/] {line}", soft_wrap=True)

    def round_begins(self, number: int, participants: int) -> None:
        """Show that clients train."""
        self.progress.update(self._task, description=f"round {number}: {participants} clients train")

    def delayed(self, reason: str) -> None:
        """Say what the run waits for."""
        self._console.print(f"[yellow]note[/]  {escape(reason)}", soft_wrap=True, highlight=False)

    def round_done(self, report: RoundReport) -> None:
        """Show the round's outcome."""
        self.reports.append(report)
        entry = report.entry
        text = f"{score_text(entry.test, self._scale)}  {verdict_text(entry)}"
        self.progress.update(self._task, completed=entry.round, description=f"round {entry.round} done", note=text)


def score(test: TestResult | None, scale: int) -> float | None:
    """Return accuracy in [0, 1], or the mean squared error; None where the server has no test data."""
    if test is None or not test.total:
        return None
    return test.correct / test.total if test.correct is not None else (test.squared_error or 0) / scale / test.total


def score_text(test: TestResult | None, scale: int) -> str:
    """Return the score as text with its name."""
    value = score(test, scale)
    if test is None or value is None:
        return ""
    return f"accuracy {value:.2%}" if test.correct is not None else f"mean squared error {value:.5f}"


def rounds_table(reports: Sequence[RoundReport], scale: int) -> Table:
    """Return the rounds as a table."""
    table = Table(title="rounds", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("round", justify="right")
    table.add_column("score", no_wrap=True)
    table.add_column("verdicts")
    table.add_column("train s", justify="right")
    table.add_column("prove s", justify="right")
    table.add_column("verify s", justify="right")
    table.add_column("model")
    for report in reports:
        entry = report.entry
        table.add_row(
            str(entry.round),
            score_text(entry.test, scale),
            verdict_text(entry),
            f"{report.waiting_s:.1f}",
            f"{report.proving_s:.1f}",
            f"{report.verifying_s:.1f}",
            entry.model_after.digest[:12],
        )
    return table


def draw_curve(reports: Sequence[RoundReport], scale: int, path: Path) -> bool:
    """Draw the learning curve as a PNG; returns whether there was anything to draw."""
    points = [(report.entry.round, value) for report in reports if (value := score(report.entry.test, scale)) is not None]
    if not points:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    test = reports[0].entry.test
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(*zip(*points, strict=True), marker="o")
    axes.set_xlabel("round")
    axes.set_ylabel("test accuracy" if test is not None and test.correct is not None else "mean squared error")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True
