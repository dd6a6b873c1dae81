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
from functools import partial
from pathlib import Path
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
ENTRY_BYTES, BATCH = 256, 1000
# Its own process: what it takes at most is its own. The last line it writes is seconds, and resident kibibytes at most.
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
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Proofs(Value):
    """Microseconds of a proof at one size: to make it, and to verify it."""

    inclusion_us: float
    inclusion_verify_us: float
    consistency_us: float


class Step(Value):
    """One export, or one audit."""

    entries: int
    seconds: float
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
    single: dict[str, float] = {}
    batched: dict[str, float] = {}
    proofs: dict[str, Proofs] = {}
    count, batches = max(2, 2000 // scale), max(1, 100 // scale)
    places: dict[str, Path | str] = {"SQLite": folder / "ledger.db"} | ({"PostgreSQL": postgres} if postgres else {})
    if (tree := _pymerkle(folder / "pymerkle.db")) is not None:
        single["pymerkle"], batched["pymerkle"] = rates(tree.append_entry, tree.append_entries, count, batches)
        proofs["pymerkle"] = pymerkle_proofs(tree)
    for name, place in places.items():
        with Store.open(place, create=True) as store:
            extend = partial(_extend, store)
            single[name], batched[name] = rates(lambda entry, extend=extend: extend([entry]), extend, count, batches)  # type: ignore[misc]
            proofs[name] = own_proofs(store)
    with Log.open(folder / "log", SIGNER, create=True) as log:
        single["signed and published"] = rate(log.append, count)
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


def _extend(store: Store, entries: list[bytes]) -> None:
    store.append(entries, store.size())


def _entry(number: int) -> bytes:
    return number.to_bytes(8, "big") * (ENTRY_BYTES // 8)


def rate(append: Callable[[bytes], object], count: int) -> float:
    """Return appends a second, one by one."""
    entries = [_entry(number) for number in range(count)]
    began = time.perf_counter()
    for entry in entries:
        append(entry)
    return count / (time.perf_counter() - began)


def rates(append: Callable[[bytes], object], extend: Callable[[list[bytes]], object], count: int, batches: int) -> tuple[float, float]:
    """Return entries a second, one by one and in batches of a thousand; each call returns when its entries are durable."""
    alone = rate(append, count)
    many = [[_entry(BATCH * batch + number) for number in range(BATCH)] for batch in range(batches)]
    began = time.perf_counter()
    for entries in many:
        extend(entries)
    return alone, batches * BATCH / (time.perf_counter() - began)


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
    seconds, peak = done.stdout.split()
    return Step(entries=entries, seconds=float(seconds), peak_mb=int(peak) / 1024)


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
            console.print(f"{what} of {done.entries:,} entries: {done.seconds:.1f} s, {done.peak_mb:.0f} MB at most", highlight=False)
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
