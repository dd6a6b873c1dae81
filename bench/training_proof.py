"""What the proof of training costs: proving by phase, verifying one and many, sizes, memory, and how all of it grows.

``python -m bench.training_proof --json FILE`` writes everything; ``--quick`` measures the reference network only, within a minute. Data are
synthetic: half of all pixels are zero, as in Fashion-MNIST. Aims: section 9 of the design (2 cores, 784-128-10, 512 samples in 16 steps).
"""

import json
import resource
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import describe
from zk import sgd
from zk.blinding import BlindingSource
from zk.dropout import dropped_units
from zk.equations import Equation, hold
from zk.group import GROUPS
from zk.pedersen import CommitmentKey, commitment_key
from zk.rule import Loss, Plan, Rule
from zk.training import Samples, TrainingStatement, prove, verify
from zk.training.shape import Shape
from zk.training.witness import sample_rows

BATCH = 32
LEARNING_RATE = 0.125
AIMS = {"prove": 5.0, "verify one, py_ecc": 3.0, "bytes": 150e3}


@dataclass(frozen=True)
class Size:
    """One measured case."""

    hidden: int = 128
    steps: int = 16
    width: int = 1024
    momentum: bool = False  # 0.9, with a weight decay of 0.1
    dropout: int = 0  # one of so many units

    @property
    def extras(self) -> str:
        """What the rule has besides plain SGD."""
        return ", ".join(name for name, on in (("momentum", self.momentum), ("dropout", self.dropout)) if on)


@dataclass(frozen=True)
class Figures:
    """Seconds and bytes of one case; ``verify`` by number of proofs and group: algebra, and the one product for all."""

    size: Size
    samples: int
    train: float
    prove: dict[str, float]
    bytes: int
    verify: dict[str, dict[str, float]]
    peak_mb: float


def statement_of(size: Size, key: CommitmentKey) -> tuple[TrainingStatement, Samples, float]:
    """Train on synthetic data and return what there is to prove, and the seconds of training."""
    layers = (784, size.hidden, 10)
    rate = LEARNING_RATE / 8 if size.momentum else LEARNING_RATE
    momentum, decay = (Fraction(9, 10), Fraction(rate) / 10) if size.momentum else (Fraction(0), Fraction(0))
    plan = Plan.derive(rate, BATCH, layers, history=size.momentum, dropout=size.dropout)
    rule = Rule(layers, Loss.SOFTMAX, BATCH, size.steps, plan, momentum, decay, size.dropout)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 128, (rule.samples, 784)) * (rng.random((rule.samples, 784)) < 0.5)
    y = np.eye(10, dtype=np.int64)[rng.integers(0, 10, rule.samples)]
    start = tuple(sgd.initial_weights(rule, b"bench"))
    began = time.perf_counter()
    trained = sgd.train(rule, start, x, y, dropped_units(rule, b"beacon", b"client"))
    seconds = time.perf_counter() - began
    blinds = [secrets.randbits(254) for _ in range(rule.samples)]
    rows = key.encode([key.commit(row, blind) for row, blind in zip(sample_rows(Shape(rule), x, y).tolist(), blinds, strict=True)])
    update = tuple(sgd.update_of(rule, start, trained))
    names = (b"bench", b"run", 1, b"beacon", b"client", b"key", b"root")
    return TrainingStatement(*names, tuple(range(rule.samples)), rows, rule, start, update), Samples(x, y, blinds), seconds


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(size: Size, counts: dict[str, list[int]]) -> Figures:
    """Measure one case; ``counts`` says how many proofs each group verifies together."""
    key = commitment_key(GROUPS["arkworks"], size.width)
    statement, samples, train = statement_of(size, key)
    source = BlindingSource(secrets.token_bytes(32))
    prove(key, statement, samples, source)  # compile, and count the pads of this rule
    phases: dict[str, float] = {}
    proofs: list[bytes] = []
    total = timed(lambda: proofs.append(prove(key, statement, samples, source, phases)))
    found: dict[str, dict[str, float]] = {}
    for group, sizes in counts.items():
        verifier = commitment_key(GROUPS[group], size.width)
        verify(verifier, statement, proofs[0])
        for count in sizes:
            equations: list[Equation] = []
            algebra = timed(lambda: equations.extend(verify(verifier, statement, proofs[0]) for _ in range(count)))  # noqa: B023
            verdicts: list[bool] = []
            product = timed(lambda: verdicts.append(hold(verifier, equations)))  # noqa: B023
            if verdicts != [True]:
                raise RuntimeError("an honest proof was refused")
            found[f"{count} × {group}"] = {"algebra": algebra, "product": product, "each": (algebra + product) / count}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(size, statement.rule.samples, train, {"total": total, **phases}, len(proofs[0]), found, peak)


def table(figures: list[Figures]) -> Table:
    """Lay the figures out for people."""
    out = Table(box=box.SIMPLE)
    out.add_column("rule")
    for name in ("samples", "hidden", "row", "train s", "prove s", "commit", "protocol", "closing", "KB", "MB", "verify, each s"):
        out.add_column(name, justify="right")
    for one in figures:
        cells = [f"{one.prove[name]:.2f}" for name in ("total", "commit", "protocol", "closing")]
        each = ", ".join(f"{name}: {value['each']:.3f}" for name, value in one.verify.items())
        head = (str(one.samples), str(one.size.hidden), str(one.size.width), f"{one.train:.2f}")
        out.add_row(one.size.extras or "SGD", *head, *cells, f"{one.bytes / 1e3:.0f}", f"{one.peak_mb:.0f}", each)
    return out


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The reference network only.")] = False,
) -> None:
    """Measure the proof of training."""
    machine = describe()
    counts = {"py_ecc": [1, 4] if quick else [1, 32], "arkworks": [1, 4] if quick else [1, 32]}
    figures = [measure(Size(), counts)]
    if not quick:
        one = {"arkworks": [1]}
        figures += [measure(Size(width=width), counts) for width in (2048, 4096)]
        figures += [measure(Size(steps=steps), one) for steps in (2, 4, 8, 32)]
        figures += [measure(Size(hidden=hidden), one) for hidden in (32, 64, 256, 512)]
        extras = (Size(momentum=True), Size(dropout=5), Size(momentum=True, dropout=5))
        figures += [measure(size, {"py_ecc": [1], "arkworks": [1]}) for size in extras]
    console = Console()
    console.print("\n".join(machine.lines()))
    console.print(table(figures))
    console.print(f"aims: {AIMS}")
    if json_file:
        json_file.write_text(
            json.dumps({"machine": machine.model_dump(), "aims": AIMS, "figures": [asdict(one) for one in figures]}, indent=1)
        )


if __name__ == "__main__":
    typer.run(main)
