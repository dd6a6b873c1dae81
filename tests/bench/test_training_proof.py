"""The benchmark of the training proof: what it fits, what it draws, and what it says when ezkl is not there. Nothing is measured here."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.machine import describe
from bench.training_proof import Figures, Size, Verified, ezkl, verified
from bench.training_proof_report import draw, exponents, tables
from tests.zk.training_cases import case_of, key, rule_of, source
from zk.training import TrainingProof, prove

PHASES = ("total", "commit", "lookups", "sum-checks", "opening")


def figures(size: Size, cost: float) -> Figures:
    found = [Verified(group, count, 0.1, 0.2, cost, 0.4, 0.5) for group in ("py_ecc", "arkworks") for count in size.counts]
    return Figures(size, 32 * size.steps, 0.1, dict.fromkeys(PHASES, cost), int(1000 * cost), 300.0, found)


@pytest.fixture
def cases() -> dict[str, list[Figures]]:
    samples = [figures(Size(steps=steps), float(steps)) for steps in (2, 4, 8)]
    hidden = [figures(Size(hidden=width), width**0.5) for width in (32, 64, 128)]
    return {"reference": [figures(Size(counts=(1, 4)), 1.0)], "samples": samples, "hidden": hidden}


def test_exponents_are_those_of_the_costs(cases: dict[str, list[Figures]]) -> None:
    fitted = exponents(cases)
    assert fitted["samples"]["prove"] == 1.0
    assert fitted["hidden"]["prove"] == 0.5
    assert fitted.keys() == {"samples", "hidden"}


@pytest.mark.parametrize("name", ["growth.svg", "growth.png"])
def test_the_plot_is_a_file_that_repeats(name: str, cases: dict[str, list[Figures]], tmp_path: Path) -> None:
    machine = describe()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        draw(cases, exponents(cases), machine, folder / name)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_figure_is_printed(cases: dict[str, list[Figures]]) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        for part in tables(cases, exponents(cases), "no ezkl here", {"prove": 5.0}):
            console.print(part)
    text = captured.get()
    assert "no ezkl here" in text
    assert "exponents: prove 1.0" in text
    for phase in PHASES:
        assert f"{phase} s" in text


def test_an_interpreter_without_ezkl_says_so() -> None:
    assert "ezkl failed: ModuleNotFoundError" in str(ezkl(sys.executable))


def test_a_false_proof_is_no_figure() -> None:
    case = case_of(rule_of((5, 3), batch=2, steps=1))
    proof = prove(key(), case.statement, case.samples, source())
    honest = TrainingProof(case.statement, proof)
    found = verified("arkworks", key().width, [honest])
    assert (found.group, found.count) == ("arkworks", 1)
    assert found.each > 0
    with pytest.raises(RuntimeError, match="refused"):
        verified("arkworks", key().width, [honest, TrainingProof(case.statement, proof[:-1] + bytes([proof[-1] ^ 1]))])
