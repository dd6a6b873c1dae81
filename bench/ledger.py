"""What the ledger costs: appends, proofs, export and audit, beside pymerkle in the same run.

``python -m bench.ledger --json FILE`` writes everything; ``--quick`` does a tenth of it. Entries are of 256 bytes, those of the runs that
are exported and audited of about a thousand. Aims: single durable appends at least twice pymerkle's
SQLite, batches at least 50,000 entries a second on SQLite, an audit of 100,000 entries without proofs in at most 30 s and in constant
memory. ``--postgres URL`` names an empty database, which is measured as well; pymerkle is measured where it is installed
(``pip install pymerkle``).

Every append waits for the disk, so figures depend on it: the folder is ``--folder``, or a temporary one.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.federation import Value
from bench.ledger_run import SIGNER, write_run
from bench.machine import Machine, describe
from ledger import merkle
from ledger.log import Log
from ledger.store import Store

SINGLE_AIM, BATCH_AIM, AUDIT_AIM = 2.0, 50_000.0, 30.0
ENTRY_BYTES, BATCH, TURNS = 256, 1000, 10
# Its own process: what it takes at most is its own. It writes seconds, seconds of the processor, and resident kibibytes at most.
STEP = """
import resource, sys, time
from pathlib import Path
from ledger.audit import audit
from ledger.export import write_export
run, file, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
began = time.perf_counter()
if what == "export":
    write_export(run, file)
else:
    assert audit(file, backend="arkworks").verified
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - began, time.process_time(), used.ru_maxrss)
"""


class Proofs(Value):
    """Microseconds of a proof at one size: to make it, and to verify it."""

    inclusion_us: float
    inclusion_verify_us: float
    consistency_us: float


class Step(Value):
    """One export, or one audit; seconds of the processor count the start of Python as well."""

    entries: int
    seconds: float
    processor_seconds: float
    peak_mb: float


class Report(Value):
    """Everything measured, and what it comes to; ``None`` where something was not there to be measured."""

    machine: Machine
    single: dict[str, float]
    batched: dict[str, float]
    proofs: dict[str, Proofs]
    exports: tuple[Step, ...]
    audits: tuple[Step, ...]
    single_ratio: float | None
    single_aim_met: bool | None
    batch_aim_met: bool
    audit_aim_met: bool


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of everything.")] = False,
    postgres: Annotated[str | None, typer.Option(help="An empty PostgreSQL database: postgresql://...")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to write; on the disk to be measured.")] = None,
) -> None:
    """Measure the ledger."""
    scale = 10 if quick else 1
    with tempfile.TemporaryDirectory(prefix="lunaria-bench-", dir=folder) as name:
        report = measure(Path(name), postgres, scale)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    show(report, Console(), scale)


def measure(folder: Path, postgres: str | None, scale: int) -> Report:
    """Measure everything in an empty ``folder``."""
    machine = describe()
    places: dict[str, Path | str] = {"SQLite": folder / "ledger.db"} | ({"PostgreSQL": postgres} if postgres else {})
    with ExitStack() as stack:
        stores = {name: stack.enter_context(Store.open(place, create=True)) for name, place in places.items()}
        log = stack.enter_context(Log.open(folder / "log", SIGNER, create=True))
        one: dict[str, Callable[[bytes], object]] = {name: partial(_append, store) for name, store in stores.items()}
        many: dict[str, Callable[[list[bytes]], object]] = {name: partial(_extend, store) for name, store in stores.items()}
        tree = _pymerkle(folder / "pymerkle.db")
        if tree is not None:
            one["pymerkle"], many["pymerkle"] = tree.append_entry, tree.append_entries
        single = rates(one | {"signed and published": log.append}, [_entry(number) for number in range(200 // scale + 1)])
        batch = [_entry(number) for number in range(BATCH)]
        batched = {name: BATCH * rate for name, rate in rates(many, [batch] * (10 // scale + 1)).items()}
        proofs = {name: own_proofs(store) for name, store in stores.items()}
        if tree is not None:
            proofs["pymerkle"] = pymerkle_proofs(tree)
    sizes = [max(20, size // scale) for size in (10_000, 100_000)]
    steps: dict[str, list[Step]] = {"export": [], "audit": []}
    for size in sizes:
        run = folder / f"run-{size}"
        write_run(run, size)
        for what, done in steps.items():
            done.append(step(run, folder / f"{size}.tar", what, size))
    ratio = single["SQLite"] / single["pymerkle"] if "pymerkle" in single else None
    flat = steps["audit"][1].peak_mb < 1.1 * steps["audit"][0].peak_mb
    return Report(
        machine=machine,
        single=single,
        batched=batched,
        proofs=proofs,
        exports=tuple(steps["export"]),
        audits=tuple(steps["audit"]),
        single_ratio=ratio,
        single_aim_met=None if ratio is None else ratio >= SINGLE_AIM,
        batch_aim_met=batched["SQLite"] >= BATCH_AIM,
        audit_aim_met=scale * steps["audit"][1].seconds <= AUDIT_AIM and flat,
    )


def _append(store: Store, entry: bytes) -> None:
    store.append([entry], store.size())


def _extend(store: Store, entries: list[bytes]) -> None:
    store.append(entries, store.size())


def _entry(number: int) -> bytes:
    return number.to_bytes(8, "big") * (ENTRY_BYTES // 8)


def rates(works: Mapping[str, Callable[[Any], object]], items: list[Any]) -> dict[str, float]:
    """Return items a second of each, by the median of ten turns, so that other work on the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            began = time.perf_counter()
            for item in items:
                work(item)
            seconds[name].append(time.perf_counter() - began)
    return {name: len(items) / median(times) for name, times in seconds.items()}


def _pymerkle(path: Path) -> Any | None:  # noqa: ANN401 - it has no types
    try:
        return importlib.import_module("pymerkle").SqliteTree(str(path))
    except ModuleNotFoundError:
        return None


def _microseconds(work: Callable[[int], object], places: list[int]) -> float:
    began = time.perf_counter()
    for place in places:
        work(place)
    return 1e6 * (time.perf_counter() - began) / len(places)


def own_proofs(store: Store) -> Proofs:
    """Measure proofs about entries all over the tree."""
    size = store.size()
    places = list(range(1, size, size // 100))
    root = merkle.root(size, store.node)
    made = {index: merkle.inclusion_proof(index, size, store.node) for index in places}
    leaves = {index: merkle.leaf_hash(store.entry(index)) for index in places}
    return Proofs(
        inclusion_us=_microseconds(lambda index: merkle.inclusion_proof(index, size, store.node), places),
        inclusion_verify_us=_microseconds(lambda index: merkle.verify_inclusion(leaves[index], index, size, made[index], root), places),
        consistency_us=_microseconds(lambda old: merkle.consistency_proof(old, size, store.node), places),
    )


def pymerkle_proofs(tree: Any) -> Proofs:  # noqa: ANN401
    """Measure the same of pymerkle, whose entries count from 1."""
    verify = importlib.import_module("pymerkle").verify_inclusion
    size = tree.get_size()
    places = list(range(1, size, size // 100))
    root, made = tree.get_root(), {index: tree.prove_inclusion(index) for index in places}
    leaves = {index: tree.get_leaf(index) for index in places}
    return Proofs(
        inclusion_us=_microseconds(tree.prove_inclusion, places),
        inclusion_verify_us=_microseconds(lambda index: verify(leaves[index], root, made[index]), places),
        consistency_us=_microseconds(tree.prove_consistency, places),
    )


def step(run: Path, file: Path, what: str, entries: int) -> Step:
    """Export or audit in a process of its own."""
    command = [sys.executable, "-c", STEP, str(run), str(file), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    seconds, processor, peak = done.stdout.split()
    return Step(entries=entries, seconds=float(seconds), processor_seconds=float(processor), peak_mb=int(peak) / 1024)


def show(report: Report, console: Console, scale: int) -> None:
    """Print the report for people."""
    console.print(*report.machine.lines(), sep="\n", highlight=False)
    console.print(rates_table(report.single, report.batched))
    table = Table(title="proofs, microseconds", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("tree", "inclusion", "verify it", "consistency"):
        table.add_column(heading, justify="right")
    for name, one in report.proofs.items():
        table.add_row(name, f"{one.inclusion_us:.0f}", f"{one.inclusion_verify_us:.0f}", f"{one.consistency_us:.0f}")
    console.print(table)
    for what, steps in (("export", report.exports), ("audit", report.audits)):
        for done in steps:
            took = f"{done.seconds:.1f} s ({done.processor_seconds:.1f} s of the processor), {done.peak_mb:.0f} MB at most"
            console.print(f"{what} of {done.entries:,} entries: {took}", highlight=False)
    ratio = "pymerkle is not installed" if report.single_ratio is None else f"{report.single_ratio:.1f} × pymerkle"
    console.print(
        f"single appends {ratio} (aim {SINGLE_AIM:.0f} ×, {_met(report.single_aim_met)}), "
        f"batches {report.batched['SQLite']:,.0f}/s (aim {BATCH_AIM:,.0f}, {_met(report.batch_aim_met)}), "
        f"audit {AUDIT_AIM / scale:.0f} s in constant memory ({_met(report.audit_aim_met)})",
        highlight=False,
    )


def rates_table(single: Mapping[str, float], batched: Mapping[str, float]) -> Table:
    """Return entries a second."""
    table = Table(title="durable entries a second", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("store", "one by one", f"in batches of {BATCH:,}"):
        table.add_column(heading, justify="right")
    for name, rate_ in single.items():
        table.add_row(name, f"{rate_:,.0f}", f"{batched[name]:,.0f}" if name in batched else "")
    return table


def _met(aim: bool | None) -> str:
    return "not measured" if aim is None else "met" if aim else "NOT MET"


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
