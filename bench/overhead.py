"""What verification costs: one federation with plain Flower and with Lunaria (without proof of training), measured in one run.

``python -m bench.overhead --json FILE`` runs both, each in a process of its own and in turn, from the same first model on the same
partition and batches, and reports wall time from launch to exit, its phases, accuracy, memory and sizes. Aims, for the default
federation: at most twice the wall time of plain Flower, and a test accuracy within one point of float32 at the end. Figures are medians
where ``--repeat`` says more than once.

Plain Flower is measured twice: with a client that keeps its compiled Keras model, which the aim is judged by, and (not with ``--quick``)
with one that builds it for every message, as Flower's quickstart does.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.batches import batches_of
from bench.federation import SEED, BenchError, Federation, Measurement, Value, measure, warm_up
from bench.machine import Machine, describe
from ledger.audit import audit
from ledger.export import write_export
from server.errors import ServerError
from server.planning import Options, Plan, prepare
from zk.rule import Loss
from zk.sgd import unflatten

PLAIN, VERIFIED = "bench.plain_federation", "bench.verified_federation"
WALL_AIM, ACCURACY_AIM = 2.0, 0.01
MIN_WIDTH = 128  # in a log file, where rich would take 80
COLUMNS = ("plain s", "Lunaria s", "reveal s", "train s", "verify s", "append s", "plain acc.", "Lunaria acc.", "entry B", "evidence KiB")


class Aftermath(Value):
    """What comes after a Lunaria run and is not part of its wall time: the export and its audit."""

    export_bytes: int
    ledger_db_bytes: int
    export_s: float
    audit_s: float
    audit_verified: bool


class Report(Value):
    """Everything measured, and what it comes to."""

    machine: Machine
    federation: Federation
    plain: tuple[Measurement, ...]
    quickstart: tuple[Measurement, ...]
    lunaria: tuple[Measurement, ...]
    aftermath: Aftermath
    load_at_the_end: float
    wall_ratio: float
    wall_ratio_quickstart: float | None
    cpu_ratio: float
    accuracy_difference: float
    wall_aim_met: bool
    accuracy_aim_met: bool


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Where to write the report.")],
    quick: Annotated[bool, typer.Option("--quick", help="Digits and three rounds: within a minute.")] = False,
    data: Annotated[
        str, typer.Option(help="A data set with classes, as 'lunaria simulate' takes it. [default: auto, digits with --quick]")
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each side; the report has their medians.")] = 1,
    proof: Annotated[str, typer.Option(help="none, or training: what an update must prove; the aims are for none.")] = "none",
    verify_backend: Annotated[str, typer.Option(help="py_ecc or arkworks.")] = "py_ecc",
) -> None:
    """Measure plain Flower and Lunaria side by side."""
    console = Console()
    console.width = max(console.width, MIN_WIDTH)
    try:
        plan = prepare(Options(data=data or ("digits" if quick else "auto"), rounds=3 if quick else 5, seed=SEED, proof=proof))
        federation = federation_of(plan, verify_backend)
        with tempfile.TemporaryDirectory(prefix="lunaria-bench-") as folder:
            report = compare(federation, plan, Path(folder), Repeats(repeat, 0 if quick else repeat), console.print)
    except (BenchError, ServerError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(1) from error
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    show(report, console)


def federation_of(plan: Plan, verify_backend: str) -> Federation:
    """Return what to measure, as the plan has resolved it.

    Raises
    ------
    BenchError
        The plain side is written for classes only.
    """
    agreement = plan.agreement
    rule = agreement.rule
    if rule.loss != Loss.SOFTMAX:
        raise BenchError(f"{plan.data.name} is trained with {rule.loss}: give --data with three classes or more")
    return Federation(
        data=plan.data.source,
        clients=agreement.federation.clients,
        participants=agreement.rounds.participants,
        samples=plan.samples,
        rounds=agreement.rounds.count,
        layers=rule.layers,
        batch=rule.batch,
        local_steps=rule.steps,
        learning_rate=agreement.training.learning_rate,
        feature_bits=rule.plan.feature_bits,
        proof=agreement.proof.kind,
        verify_backend=verify_backend,
    )


@dataclass(frozen=True)
class Repeats:
    """How often plain Flower and Lunaria run, and how often the quickstart's client."""

    both: int
    quickstart: int


def compare(federation: Federation, plan: Plan, folder: Path, repeats: Repeats, say: Callable[[str], None]) -> Report:
    """Run all sides in turn in ``folder``, and audit the last Lunaria run."""
    write_first_model(plan, folder / "first.npz")
    machine = describe()
    say("reading the libraries from disk")
    warm_up()
    plain, quickstart, lunaria = [], [], []
    rebuilt = federation.model_copy(update={"rebuild_model": True})
    for number in range(repeats.both):
        say(f"run {number + 1} of {repeats.both}: Lunaria")
        lunaria.append(measure(VERIFIED, federation, folder / f"lunaria-{number}"))
        np.save(folder / "batches.npy", batches_of(folder / f"lunaria-{number}" / "run", federation))
        say(f"run {number + 1} of {repeats.both}: plain Flower")
        plain.append(measure(PLAIN, federation, folder / f"plain-{number}"))
        if number < repeats.quickstart:
            say(f"run {number + 1} of {repeats.both}: plain Flower, model built for every message")
            quickstart.append(measure(PLAIN, rebuilt, folder / f"quickstart-{number}"))
    say("export and audit")
    run = folder / f"lunaria-{repeats.both - 1}" / "run"
    load = os.getloadavg()[0]
    wall = median(item.wall_s for item in lunaria)
    ratio = wall / median(item.wall_s for item in plain)
    difference = lunaria[-1].accuracy - median(item.accuracy for item in plain)
    return Report(
        machine=machine,
        federation=federation,
        plain=tuple(plain),
        quickstart=tuple(quickstart),
        lunaria=tuple(lunaria),
        aftermath=finish(run, federation.verify_backend),
        load_at_the_end=load,
        wall_ratio=ratio,
        wall_ratio_quickstart=wall / median(item.wall_s for item in quickstart) if quickstart else None,
        cpu_ratio=median(item.cpu_s for item in lunaria) / median(item.cpu_s for item in plain),
        accuracy_difference=difference,
        wall_aim_met=ratio <= WALL_AIM,
        accuracy_aim_met=abs(difference) <= ACCURACY_AIM,
    )


def write_first_model(plan: Plan, path: Path) -> None:
    """Write the fixed-point first model as the float32 weights that Keras takes: kernel and bias of each layer."""
    rule = plan.agreement.rule
    arrays = []
    for W in unflatten(rule, plan.model):
        real = (W * 2.0**-rule.weight_bits).astype(np.float32)
        arrays += [real[:-1], real[-1]]
    with path.open("wb") as file:
        np.savez(file, *arrays)


def finish(run: Path, backend: str) -> Aftermath:
    """Export and audit a run."""
    export, began = run / "export.tar", time.monotonic()
    write_export(run, export)
    exported = time.monotonic()
    verified = audit(export, backend=backend).verified
    return Aftermath(
        export_bytes=export.stat().st_size,
        ledger_db_bytes=(run / "ledger.db").stat().st_size,
        export_s=exported - began,
        audit_s=time.monotonic() - exported,
        audit_verified=verified,
    )


def show(report: Report, console: Console) -> None:
    """Print the report for people."""
    federation, after = report.federation, report.aftermath
    console.print(*report.machine.lines(), sep="\n", highlight=False)
    console.print(
        f"{federation.data}: {federation.clients} clients × {federation.samples} samples, {'-'.join(map(str, federation.layers))}, "
        f"{federation.rounds} rounds, proof {federation.proof}, {federation.verify_backend}, median of {len(report.plain)}",
        highlight=False,
    )
    console.print(phases_table({"plain Flower": report.plain, "quickstart": report.quickstart, "Lunaria": report.lunaria}))
    console.print(rounds_table(report.plain, report.lunaria))
    against = report.wall_ratio_quickstart
    quickstart = "" if against is None else f", wall time {against:.2f} × the quickstart's client"
    console.print(
        f"wall time {report.wall_ratio:.2f} × plain Flower (aim: at most {WALL_AIM:.0f} ×, {_met(report.wall_aim_met)}), "
        f"processor time {report.cpu_ratio:.2f} ×{quickstart}",
        f"load {report.machine.load:.1f} at the start, {report.load_at_the_end:.1f} at the end",
        f"accuracy {100 * report.accuracy_difference:+.2f} points (aim: within {100 * ACCURACY_AIM:.0f}, {_met(report.accuracy_aim_met)})",
        sep="\n",
        highlight=False,
    )
    console.print(
        f"afterwards: export {after.export_s:.1f} s, {after.export_bytes:,} bytes; audit {after.audit_s:.1f} s, "
        f"{'verified' if after.audit_verified else 'NOT VERIFIED'}; ledger.db {after.ledger_db_bytes:,} bytes",
        highlight=False,
    )


def phases_table(sides: Mapping[str, Sequence[Measurement]]) -> Table:
    """Return where the wall time of each side went, and the memory; a side that was not measured is left out."""
    measured = {name: items for name, items in sides.items() if items}
    table = Table(title="from launch to exit", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("phase")
    for name in measured:
        table.add_column(name, justify="right")
    phases: list[tuple[str, Callable[[Measurement], float]]] = [
        ("Python and imports, s", lambda item: item.outcome.imported_s),
        ("data and first model, s", lambda item: item.outcome.prepared_s - item.outcome.imported_s),
        ("start of Ray, s", lambda item: item.outcome.ray_ready_s - item.outcome.prepared_s),
        ("enrolment, with the start of Ray's workers, s", lambda item: item.outcome.first_round_s - item.outcome.ray_ready_s),
        ("rounds, s", lambda item: item.rounds_s),
        ("end, s", lambda item: item.wall_s - item.outcome.first_round_s - item.rounds_s),
        ("wall time, s", lambda item: item.wall_s),
        ("processor time of all processes, s", lambda item: item.cpu_s),
        ("peak memory (sum of resident sets), MiB", lambda item: item.peak_bytes / 2**20),
    ]
    for name, value in phases:
        table.add_row(name, *(f"{median(map(value, items)):,.1f}" for items in measured.values()))
    return table


def rounds_table(plain: Sequence[Measurement], lunaria: Sequence[Measurement]) -> Table:
    """Return each round: seconds of its phases, accuracies, and what it left in the ledger."""
    table = Table(title="rounds", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("round", justify="right")
    for name in (
        "plain s",
        "Lunaria s",
        "reveal s",
        "train s",
        "verify s",
        "append s",
        "plain acc.",
        "Lunaria acc.",
        "entry B",
        "evidence B",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for number, last in enumerate(lunaria[-1].outcome.rounds):
        mine, theirs = ([item.outcome.rounds[number] for item in items] for items in (lunaria, plain))
        table.add_row(
            str(number + 1),
            *(f"{median(item.total_s for item in items):.1f}" for items in (theirs, mine)),
            f"{median(item.reveal_s for item in mine):.1f}",
            f"{median(item.training_s for item in mine):.1f}",
            f"{median(item.verifying_s for item in mine):.1f}",
            f"{median(item.appending_s for item in mine):.1f}",
            f"{median(item.accuracy for item in theirs):.2%}",
            f"{last.accuracy:.2%}",
            f"{last.entry_bytes:,}",
            f"{last.evidence_bytes / 1024:,.0f}",
        )
    return table


def _met(aim: bool) -> str:
    return "met" if aim else "NOT MET"


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
