"""The figures of :mod:`bench.training_proof` for people: tables, fitted exponents, a plot."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from bench.machine import Machine

if TYPE_CHECKING:
    from bench.training_proof import Figures

Cases = Mapping[str, Sequence["Figures"]]
AXES = {"samples": "samples", "hidden": "units of the hidden layer"}


def varied(name: str, one: "Figures") -> int:
    """Return the size that a series varies."""
    return one.samples if name == "samples" else one.size.hidden


def exponents(figures: Cases) -> dict[str, dict[str, float]]:
    """Fit ``cost = c·size^k`` to each series by least squares over the logarithms, and return ``k``: 1 is linear."""
    found = {}
    for name in figures.keys() & AXES.keys():
        ones = figures[name]
        costs: dict[str, list[float]] = {
            "prove": [one.prove["total"] for one in ones],
            "verify, py_ecc": [one.verify[0].each for one in ones],
            "bytes": [one.bytes for one in ones],
        }
        sizes = np.log(np.array([varied(name, one) for one in ones], dtype=float))
        found[name] = {cost: round(float(np.polyfit(sizes, np.log(values), 1)[0]), 2) for cost, values in costs.items()}
    return found


def tables(figures: Cases, fitted: Mapping[str, Mapping[str, float]], ezkl: Mapping[str, Any] | str, aims: object) -> Iterator[Table | str]:
    """Yield everything in an order for reading."""
    for name, ones in figures.items():
        out = Table(title=f"proving: {name}", box=box.SIMPLE)
        phases = list(ones[0].prove)
        for column in ("rule", "samples", "hidden", "train s", *(f"{phase} s" for phase in phases), "KB", "MB"):
            out.add_column(column, justify="right")
        for one in ones:
            cells = [f"{one.train:.2f}", *(f"{one.prove[phase]:.2f}" for phase in phases), f"{one.bytes / 1e3:.0f}", f"{one.prove_mb:.0f}"]
            out.add_row(one.size.extras or "SGD", str(one.samples), str(one.size.hidden), *cells)
        yield out
    for name, ones in figures.items():
        out = Table(title=f"verifying, for each proof: {name}", box=box.SIMPLE)
        for column in (
            "rule",
            "samples",
            "hidden",
            "group",
            "proofs",
            "rows s",
            "reading s",
            "algebra s",
            "product s",
            "sum s",
            "all cores s",
        ):
            out.add_column(column, justify="right")
        for one in ones:
            for v in one.verify:
                spent = [f"{seconds:.3f}" for seconds in (v.rows, v.reading, v.algebra, v.product, v.each, v.clock)]
                out.add_row(one.size.extras or "SGD", str(one.samples), str(one.size.hidden), v.group, str(v.count), *spent)
        yield out
    yield "rows: the enrolled samples, read in a first round only; sum: processor time of one core; all cores: the clock, in a later round"
    for name, costs in fitted.items():
        yield f"growth with {AXES[name]}, exponents: " + ", ".join(f"{cost} {value}" for cost, value in costs.items())
    yield f"aims: {aims}"
    if isinstance(ezkl, str):
        yield ezkl
    else:
        steps = ", ".join(f"{name} {ezkl['seconds'][name]:.1f} s" for name in ("setup", "prove", "verify"))
        sizes = f"proof {ezkl['bytes']['proof.json'] / 1e3:.0f} KB as JSON, key {ezkl['bytes']['pk'] / 1e6:.0f} MB"
        yield f"ezkl {ezkl['version']}, one forward pass of one sample: {steps}; {sizes}, {ezkl['peak_mb']:.0f} MB of memory"


def draw(figures: Cases, fitted: Mapping[str, Mapping[str, float]], machine: Machine, path: Path) -> None:
    """Draw the growth with samples, with width, and with the number of clients in a batch."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "lunaria", "font.size": 9}
    names = [name for name in AXES if name in figures]
    _, panels = plt.subplots(1, len(names) + 1, figsize=(4 * len(names) + 4, 3.6), layout="constrained")
    for panel, name in zip(np.atleast_1d(panels), names, strict=False):
        ones = figures[name]
        sizes = [varied(name, one) for one in ones]
        panel.loglog(sizes, [one.prove["total"] for one in ones], "o-", label=f"prove, exponent {fitted[name]['prove']}")
        for position, group in enumerate(v.group for v in ones[0].verify):
            panel.loglog(sizes, [one.verify[position].each for one in ones], "s--", label=f"verify one, {group}")
        panel.set(xlabel=AXES[name], ylabel="seconds")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.legend()
    panel = np.atleast_1d(panels)[-1]
    found = figures["reference"][0].verify
    for group in dict.fromkeys(v.group for v in found):
        ones_of = [v for v in found if v.group == group]
        panel.loglog([v.count for v in ones_of], [v.each for v in ones_of], "o-", label=f"{group}, one core")
        panel.loglog([v.count for v in ones_of], [v.clock for v in ones_of], "s--", label=f"{group}, all cores, later rounds")
    counts = [v.count for v in found if v.group == found[0].group]
    panel.set(xlabel="clients in a batch", ylabel="seconds to verify, for each")
    panel.set_xticks(counts, [str(count) for count in counts])
    panel.minorticks_off()
    panel.legend()
    plt.suptitle(f"Proof of training, 784-128-10, 512 samples unless varied — {machine.cpu}, {machine.cores} cores", fontsize=9)
    plt.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close()
