"""What the proof of training costs: proving and verifying by phase, sizes, memory, and how all of it grows.

``python -m bench.training_proof --json FILE --plot FILE`` measures the reference network (784-128-10, 512 samples in 16 steps), batches of
up to 64 clients, more samples and wider layers; ``--quick`` the reference network alone, within a minute. ``--ezkl PYTHON`` adds a forward
pass with ezkl from an interpreter that has it. Data are synthetic: half of all pixels are zero, as in Fashion-MNIST. Every client has data
of its own. Each case runs in a fresh process, so that its peak of memory is its own; phases are processor seconds, which other work on the
machine does not distort much.
"""

import json
import multiprocessing
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from bench.machine import describe
from bench.training_proof_report import draw, exponents, tables
from zk import batch, sgd
from zk.blinding import BlindingSource
from zk.dropout import dropped_units
from zk.equations import hold
from zk.group import GROUPS
from zk.pedersen import CommitmentKey, _remembered, commitment_key
from zk.rule import Loss, Plan, Rule
from zk.training import Samples, TrainingProof, TrainingStatement, prove, relations
from zk.training.shape import Shape
from zk.training.witness import sample_rows

BATCH = 32
LEARNING_RATE = 0.125
AIMS = {"prove": 5.0, "verify one of 32, py_ecc": 0.7, "verify one of 32, arkworks": 0.05, "bytes": 150e3}  # seconds on 2 cores


@dataclass(frozen=True)
class Size:
    """One measured case; ``counts`` says how many proofs of different clients are verified together."""

    hidden: int = 128
    steps: int = 16
    width: int = 1024
    momentum: bool = False  # 0.9, with a weight decay of 0.1
    dropout: int = 0  # one of so many units
    counts: tuple[int, ...] = (1,)

    @property
    def extras(self) -> str:
        """What the rule has besides plain SGD."""
        return ", ".join(name for name, on in (("momentum", self.momentum), ("dropout", self.dropout)) if on)


@dataclass(frozen=True)
class Verified:
    """Seconds for each of ``count`` proofs: of one core by phase, and of the clock when all cores verify.

    ``rows`` is the reading of the enrolled rows, which is not repeated in later rounds.
    """

    group: str
    count: int
    rows: float
    reading: float
    algebra: float
    product: float
    clock: float

    @property
    def each(self) -> float:
        """Seconds of one core, in a first round."""
        return self.rows + self.reading + self.algebra + self.product


@dataclass(frozen=True)
class Figures:
    """What was measured of one case; ``prove`` has processor seconds and at last those of the clock, medians over the clients."""

    size: Size
    samples: int
    train: float
    prove: dict[str, float]
    bytes: int
    prove_mb: float
    verify: list[Verified]


def statement_of(size: Size, key: CommitmentKey, client: int) -> tuple[TrainingStatement, Samples, float]:
    """Train on synthetic data and return what there is to prove, and the seconds of training."""
    layers = (784, size.hidden, 10)
    rate = LEARNING_RATE / 8 if size.momentum else LEARNING_RATE
    momentum, decay = (Fraction(9, 10), Fraction(rate) / 10) if size.momentum else (Fraction(0), Fraction(0))
    plan = Plan.derive(rate, BATCH, layers, history=size.momentum, dropout=size.dropout)
    rule = Rule(layers, Loss.SOFTMAX, BATCH, size.steps, plan, momentum, decay, size.dropout)
    name = b"client %d" % client
    rng = np.random.default_rng(client)
    x = rng.integers(0, 128, (rule.samples, 784)) * (rng.random((rule.samples, 784)) < 0.5)
    y = np.eye(10, dtype=np.int64)[rng.integers(0, 10, rule.samples)]
    start = tuple(sgd.initial_weights(rule, b"bench"))
    began = time.perf_counter()
    trained = sgd.train(rule, start, x, y, dropped_units(rule, b"beacon", name))
    seconds = time.perf_counter() - began
    blinds = [secrets.randbits(254) for _ in range(rule.samples)]
    rows = key.encode([key.commit(row, blind) for row, blind in zip(sample_rows(Shape(rule), x, y).tolist(), blinds, strict=True)])
    update = tuple(sgd.update_of(rule, start, trained))
    names = (b"bench", b"run", 1, b"beacon", name, b"key", b"root")
    return TrainingStatement(*names, tuple(range(rule.samples)), rows, rule, start, update), Samples(x, y, blinds), seconds


@contextmanager
def clocked(owner: Any, name: str, clock: Callable[[], float]) -> Iterator[list[float]]:  # noqa: ANN401
    """Measure every call of ``owner.name``."""
    original, spans = getattr(owner, name), []

    def measured(*arguments: object, **options: object) -> object:
        began = clock()
        try:
            return original(*arguments, **options)
        finally:
            spans.append(clock() - began)

    setattr(owner, name, measured)
    try:
        yield spans
    finally:
        setattr(owner, name, original)


def measure(size: Size) -> Figures:
    """Measure one case."""
    key = commitment_key(GROUPS["arkworks"], size.width)
    made, phases, training = [], [], []
    for client in range(max(size.counts)):
        statement, samples, seconds = statement_of(size, key, client)
        source = BlindingSource(secrets.token_bytes(32))
        if client == 0:
            prove(key, statement, samples, source)  # compile, and count the pads of this rule
        spans: dict[str, float] = {}
        with clocked(relations, "lookup", time.process_time) as lookups:
            began, clock = time.process_time(), time.perf_counter()
            made.append(TrainingProof(statement, prove(key, statement, samples, source, spans)))
            total, clock = time.process_time() - began, time.perf_counter() - clock
        named = {"commit": spans["commit"], "lookups": sum(lookups), "sum-checks": spans["protocol"] - sum(lookups)}
        phases.append({"total": total, **named, "opening": spans["closing"], "clock": clock})
        training.append(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    medians = {name: float(np.median([one[name] for one in phases])) for name in phases[0]}
    found = [verified(group, size.width, made[:count]) for group in GROUPS for count in size.counts]
    return Figures(size, made[0].statement.rule.samples, float(np.median(training)), medians, len(made[0].proof), peak, found)


def verified(group: str, width: int, proofs: list[TrainingProof]) -> Verified:
    """Verify ``proofs`` together: on one core by phase, then on all cores."""
    key, count = commitment_key(GROUPS[group], width), len(proofs)
    proofs[0].equation(key)  # compile, and fill what is kept for a rule
    _remembered.cache_clear()
    clock = time.process_time
    with clocked(CommitmentKey, "decode_enrolled", clock) as rows, clocked(CommitmentKey, "decode", clock) as reading:
        began = clock()
        equations = [proof.equation(key) for proof in proofs]
        read = clock() - began
    began = clock()
    if not hold(key, equations):
        raise RuntimeError("an honest proof was refused")
    product = clock() - began
    batch.false_ones(key, proofs)  # start the workers, and let them read the rows
    began = time.perf_counter()
    if batch.false_ones(key, proofs):
        raise RuntimeError("an honest proof was refused")
    each = time.perf_counter() - began
    spent = (sum(rows), sum(reading), read - sum(rows) - sum(reading), product, each)
    return Verified(group, count, *(seconds / count for seconds in spent))


def apart(size: Size) -> Figures:
    """Measure one case in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, size).result()


def ezkl(python: str | None) -> dict[str, Any] | str:
    """Return what a forward pass costs with ezkl; a sentence where it is not to be had."""
    interpreter = python or (sys.executable if find_spec("ezkl") else None)
    if interpreter is None:
        return "ezkl is not installed here: name an interpreter that has it with --ezkl"
    with tempfile.TemporaryDirectory() as folder:
        command = [interpreter, str(Path(__file__).with_name("ezkl_forward.py")), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return f"ezkl failed: {done.stderr.strip().splitlines()[-1]}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the growth into this file (.svg or .png).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The reference network only.")] = False,
    clients: Annotated[int, typer.Option(help="The largest batch.")] = 64,
    ezkl_python: Annotated[str | None, typer.Option("--ezkl", help="A Python interpreter with ezkl and onnx.")] = None,
) -> None:
    """Measure the proof of training."""
    console, machine = Console(), describe()
    console.width = max(console.width, 130)
    console.print("\n".join(machine.lines()))
    counts = [count for count in (1, 4, 16, 32, 64) if count <= (4 if quick else clients)]
    figures = {"reference": [apart(Size(counts=tuple(counts)))]}
    if not quick:
        reference = replace(figures["reference"][0], size=Size(), verify=[one for one in figures["reference"][0].verify if one.count == 1])
        figures["samples"] = sorted([reference, *(apart(Size(steps=steps)) for steps in (2, 4, 8, 32))], key=lambda one: one.samples)
        figures["hidden"] = sorted(
            [reference, *(apart(Size(hidden=hidden)) for hidden in (32, 64, 256, 512))], key=lambda one: one.size.hidden
        )
        figures["rules"] = [apart(size) for size in (Size(momentum=True), Size(dropout=5), Size(momentum=True, dropout=5))]
    fitted = exponents(figures)
    other = "not asked for: name an interpreter with --ezkl" if quick and not ezkl_python else ezkl(ezkl_python)
    for part in tables(figures, fitted, other, AIMS):
        console.print(part)
    if plot:
        draw(figures, fitted, machine, plot)
    if json_file:
        cases = {name: [asdict(one) for one in ones] for name, ones in figures.items()}
        found = {"machine": machine.model_dump(), "aims": AIMS, "figures": cases, "exponents": fitted, "ezkl": other}
        json_file.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
