"""Cheating provers: they train or commit to something else, and follow the protocol everywhere else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.zk.training_cases import WIDTH, Case, accepts, key, plainly_accepts, source
from zk import argument, closing, sgd
from zk.argument import Given
from zk.group import PyEcc
from zk.hyrax import Matrix
from zk.pads import Channel
from zk.rule import Rule
from zk.sgd import Step
from zk.training import TrainingStatement
from zk.training.relations import Relations, TrainingArgument
from zk.training.shape import DATA, Shape
from zk.training.witness import Witness, from_steps, multiplicities, sample_rows
from zk.vectors import IntArray

Change = Callable[[Witness], None]


@dataclass(frozen=True)
class Crooked:
    """Exact SGD with parts exchanged, and without range checks."""

    forward: Callable[[IntArray, int], IntArray] = sgd.round_half_up
    backward: Callable[[IntArray, int], IntArray] = sgd.round_half_up
    activation: Callable[[IntArray], IntArray] = field(default=lambda A: np.maximum(A, 0))
    derivative: Callable[[IntArray], IntArray] = field(default=lambda A: (A >= 0).astype(np.int64))
    output_error: Callable[[Rule, IntArray, IntArray], IntArray] = field(default=lambda rule, A, y: sgd._output_error(rule, A, y, "test"))
    numerator: int | None = None
    product: Callable[[IntArray, int], IntArray] = field(default=lambda Z, layer: Z)
    propagated: Callable[[IntArray], IntArray] = field(default=lambda E: E)
    forgets: tuple[str, ...] = ()  # what of dropout: "forward", "backward", "scale"

    def run(self, rule: Rule, start: Sequence[IntArray], x: IntArray, y: IntArray, dropped: Sequence[IntArray] = ()) -> list[Step]:
        steps, current = [], list(start)
        for k in range(rule.steps):
            rows = slice(k * rule.batch, (k + 1) * rule.batch)
            steps.append(self._step(rule, current, x[rows], y[rows], [part[rows] for part in dropped]))
            current = steps[-1].updated
        return steps

    def _step(self, rule: Rule, weights: list[IntArray], x: IntArray, y: IntArray, dropped: Sequence[IntArray]) -> Step:
        scale = 1 if "scale" in self.forgets else rule.scale
        there, back = (() if way in self.forgets else dropped for way in ("forward", "backward"))
        inputs: list[IntArray] = []
        Z: list[IntArray] = []
        A: list[IntArray] = []
        for layer, W in enumerate(weights):
            rows = x if layer == 0 else sgd._drop(self.activation(A[-1]), there, layer - 1)
            inputs.append(sgd.with_one(rows, rule.input_bits(layer)))
            Z.append(self.product(inputs[-1] @ W, layer))
            A.append(self.forward(Z[-1] * scale if layer < rule.depth else Z[-1], rule.forward_shift(layer)))
        E: list[IntArray] = []
        errors = [self.output_error(rule, A[-1], y)]
        for layer in reversed(range(rule.depth)):
            E.insert(0, self.propagated(errors[0] @ weights[layer + 1][:-1].T))
            passed = sgd._drop(self.derivative(A[layer]) * E[0], back, layer)
            errors.insert(0, self.backward(scale * passed, rule.backward_shift(layer)))
        rate = self.numerator or rule.plan.rate_numerator
        updated = [W - rate * (rows.T @ error) for W, rows, error in zip(weights, inputs, errors, strict=True)]
        return Step(weights, inputs, Z, A, E, errors, updated)


def update_of(steps: Sequence[Step]) -> tuple[IntArray, ...]:
    return tuple(after - before for after, before in zip(steps[-1].updated, steps[0].weights, strict=True))


def claim(case: Case, steps: Sequence[Step]) -> TrainingStatement:
    """Say that these steps' update is the result."""
    return replace(case.statement, update=update_of(steps))


def relations_of(case: Case) -> Relations:
    return Relations(Shape(case.statement.rule))


def column(steps: Sequence[Step], name: str, layer: int) -> IntArray:
    """Return one quantity of all samples."""
    return np.concatenate([getattr(step, name)[layer] for step in steps])


def forge(
    monkeypatch: pytest.MonkeyPatch, case: Case, steps: Sequence[Step], statement: TrainingStatement, change: Change | None = None,
    *, y: IntArray | None = None, count: bool = True, dropped: Sequence[IntArray] = (),
) -> tuple[bytes, set[str]]:  # fmt: skip
    """Return a cheating proof, and the labels of the equations that it does not satisfy.

    ``y`` are the labels that ``steps`` were trained with, where they are not the committed ones; ``dropped`` the units that remainders
    are committed for.
    """
    relations = relations_of(case)
    witness = from_steps(relations, steps, case.samples.x, case.samples.y if y is None else y, dropped)
    witness.rows[DATA] = sample_rows(relations.shape, case.samples.x, case.samples.y)
    prover = TrainingArgument(statement, WIDTH, witness.values)
    if change:
        change(witness)
    if count:
        witness.tensors.update(multiplicities(prover.relations, witness.tensors))
    labels: set[str] = set()

    def note(channel: Channel, matrix: Matrix, difference: int) -> None:
        labels.update(closing.broken(channel, matrix))

    monkeypatch.setattr(closing, "_check_values", note)
    proof = argument.prove(prover, key(), witness.tensors, Given(witness.rows, case.samples.blinds), source())
    return proof, labels


def honest(case: Case) -> list[Step]:
    statement = case.statement
    return list(sgd.trace(statement.rule, statement.start, case.samples.x, case.samples.y))


def put(case: Case, witness: Witness, found: dict[str, IntArray]) -> None:
    """Commit to other values than those that follow from the steps."""
    shape = relations_of(case).shape
    for name, values in found.items():
        last = len(witness.tensors[name]) >> shape.sample_variables
        witness.tensors[name] = shape.spread(values, last)


def refused(statement: TrainingStatement, proof: bytes) -> bool:
    """All verifiers give the same verdict, no: the product's with either group, and the plain one."""
    verdicts = [accepts(statement, proof), accepts(statement, proof, key(PyEcc)), plainly_accepts(statement, proof)]
    return not any(verdicts)
