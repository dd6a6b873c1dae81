"""Many clients: 200 of 128 samples, 20 of them in each of 3 rounds, within this machine's memory.

``python -m bench.federation200`` runs it as ``lunaria simulate`` does and reports wall time and the peak memory of all its processes.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.federation import SEED, BenchError, Federation, Measurement, Value, measure
from bench.machine import Machine, describe
from bench.overhead import VERIFIED, Aftermath, federation_of, finish
from server.errors import ServerError
from server.planning import Options, prepare

CLIENTS, PARTICIPANTS, SAMPLES, ROUNDS = 200, 20, 128, 3


class Report(Value):
    """The run with its machine."""

    machine: Machine
    federation: Federation
    lunaria: Measurement
    aftermath: Aftermath
    within_memory: bool


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the report.")] = None,
    data: Annotated[str, typer.Option(help="A data set with classes; a small one gives each client what there is.")] = "auto",
    verify_backend: Annotated[str, typer.Option(help="py_ecc or arkworks.")] = "arkworks",
) -> None:
    """Run a federation of 200 clients."""
    console = Console()
    try:
        machine = describe()
        federation = plan_federation(data, verify_backend)
        with tempfile.TemporaryDirectory(prefix="lunaria-bench-") as folder:
            lunaria = measure(VERIFIED, federation, Path(folder) / "lunaria")
            aftermath = finish(Path(folder) / "lunaria" / "run", verify_backend)
    except (BenchError, ServerError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(1) from error
    report = Report(
        machine=machine,
        federation=federation,
        lunaria=lunaria,
        aftermath=aftermath,
        within_memory=lunaria.peak_bytes < machine.memory_bytes,
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    console.print(*summary(report), sep="\n", highlight=False)


def plan_federation(data: str, verify_backend: str) -> Federation:
    """Return the federation: as many samples for each client as wanted, or as the data set has."""
    options = Options(clients=CLIENTS, participants=PARTICIPANTS, rounds=ROUNDS, data=data, seed=SEED, proof="none")
    federation = federation_of(prepare(options), verify_backend)
    return federation.model_copy(update={"samples": min(SAMPLES, federation.samples)})


def summary(report: Report) -> list[str]:
    """Return the report as lines for people."""
    run, outcome, federation = report.lunaria, report.lunaria.outcome, report.federation
    rounds = ", ".join(f"{item.total_s:.1f}" for item in outcome.rounds)
    return [
        *report.machine.lines(),
        f"{federation.data}: {federation.clients} clients × {federation.samples} samples, {federation.participants} a round, "
        f"{'-'.join(map(str, federation.layers))}, {federation.verify_backend}",
        f"wall time {run.wall_s:.1f} s (processor time {run.cpu_s:.1f}): until Ray is up {outcome.ray_ready_s:.1f}, "
        f"enrolment {outcome.first_round_s - outcome.ray_ready_s:.1f}, rounds {rounds}; accuracy {run.accuracy:.2%}",
        f"peak memory {run.peak_bytes / 2**20:,.0f} MiB in {run.processes} processes (sum of resident sets), "
        f"the machine has {report.machine.memory_bytes / 2**20:,.0f}: {'within' if report.within_memory else 'NOT within'}",
        f"export {report.aftermath.export_bytes:,} bytes; audit {report.aftermath.audit_s:.1f} s, "
        f"{'verified' if report.aftermath.audit_verified else 'NOT VERIFIED'}",
    ]


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
