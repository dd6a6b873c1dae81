"""The table of soundness errors in ``docs/training-proof.md`` is what the code does: rounds, equations and sizes are counted in a run."""

from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zk.argument import layout_of
from zk.forms import Form
from zk.multilinear import variables
from zk.pads import Counter
from zk.rule import Loss, Plan, Rule
from zk.training import TrainingStatement
from zk.training.relations import TrainingArgument
from zk.transcript import Transcript

WIDTH = 1024
DOCUMENT = Path(__file__).parents[2] / "docs" / "training-proof.md"


class Rounds(Counter):
    """Counts the rounds of each sum-check: messages of three values."""

    def __init__(self) -> None:
        super().__init__(Transcript("count"))
        self.of: Tally[str] = Tally()

    def message(self, label: str, count: int, values: Sequence[int] | None) -> list[Form]:
        self.of[label] += count == 3
        return super().message(label, count, values)


def documented() -> list[str]:
    """Return the last column of the table."""
    lines = DOCUMENT.read_text(encoding="utf-8").split("| step | error")[1].splitlines()[2:]
    return [line.split("|")[3].strip().strip("`") for line in lines[: lines.index("")]]


def test_the_documented_errors() -> None:
    rule = Rule((784, 128, 10), Loss.SOFTMAX, 32, 16, Plan.derive(0.125, 32, (784, 128, 10)))
    zeros = tuple(np.zeros(shape, dtype=np.int64) for shape in rule.shapes)
    names = (b"federation", b"run", 1, b"beacon", b"client", b"key", b"root")
    argument = TrainingArgument(TrainingStatement(*names, tuple(range(512)), bytes(48 * 512), rule, zeros, zeros), WIDTH)
    run = Rounds()
    argument.run(run, WIDTH, None)
    leaves = [part.size for part in argument.relations.lookups] + [table.size for table in argument.relations.tables]
    depth = variables(sum(leaves))
    samples, inputs, hidden, hidden_inputs, outputs = (variables(size) for size in (512, 785, 128, 129, 10))
    assert run.of["lookup"] == depth * (depth - 1) // 2
    assert documented() == [
        f"2^{2 * depth}",
        str(2 * depth + 3 * run.of["lookup"]),
        str(2 * samples + hidden + outputs),
        str(1 + 3 * run.of["softmax"]),
        str(1 + 3 * run.of["derivative"]),
        str(3 * (run.of["forward"] + run.of["backward"])),
        str(inputs + hidden + hidden_inputs + outputs),
        str(4 + 3 * run.of["history"]),
        str(2 + 3 * run.of["activation"]),
        str(len(run.equations) - 1 + 2 * layout_of(argument, WIDTH).variables + 2),
    ]
