"""The prover's values: one run of exact SGD, cut into the tensors that a proof commits to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zk import sgd
from zk.errors import CommitmentError
from zk.lookup import count_uses
from zk.rule import LABEL_SLOTS
from zk.training.context import Values
from zk.training.relations import Relations
from zk.training.shape import DATA, Shape
from zk.training.statement import TrainingStatement
from zk.vectors import IntArray


@dataclass(frozen=True)
class Witness:
    """Everything that the prover's side of the protocol reads.

    Attributes
    ----------
    tensors : dict
        The committed values, flat and padded, by name.
    values : Values
        The rest.
    rows : dict
        The committed samples, by block.
    """

    tensors: dict[str, IntArray]
    values: Values
    rows: dict[str, IntArray]


def sample_rows(shape: Shape, x: IntArray, y: IntArray) -> IntArray:
    """Return samples as they are committed: features, the constant one, zeros, labels in the last slots."""
    rows = np.zeros((len(x), shape.data_width), dtype=np.int64)
    rows[:, : x.shape[1]] = x
    rows[:, x.shape[1]] = 1 << shape.rule.plan.feature_bits
    first = shape.data_width - LABEL_SLOTS
    rows[:, first : first + y.shape[1]] = y
    return rows


def build(statement: TrainingStatement, relations: Relations, x: IntArray, y: IntArray) -> Witness:
    """Train, and keep what the proof needs.

    Raises
    ------
    RangeError
        A value leaves its range: the message names step, layer and range.
    CommitmentError
        Training gives another update than the statement says.
    """
    rule = statement.rule
    steps = list(sgd.trace(rule, statement.start, x, y, statement.dropped))
    trained = sgd.update_of(rule, statement.start, steps[-1].updated)
    if any((a != b).any() for a, b in zip(trained, statement.update, strict=True)):
        raise CommitmentError("training on these samples gives another update than the one to be proved")
    return from_steps(relations, steps, x, y, statement.dropped)


def from_steps(relations: Relations, steps: Sequence[sgd.Step], x: IntArray, y: IntArray, dropped: Sequence[IntArray] = ()) -> Witness:
    """Cut the values of ``steps`` into tensors."""
    shape, rule = relations.shape, relations.shape.rule
    sides = (1 << shape.step_variables, 1 << shape.batch_variables)
    layers = range(rule.depth + 1)

    def flat(parts: Sequence[IntArray]) -> IntArray:
        return np.concatenate(list(parts))

    def cube(parts: Sequence[IntArray]) -> IntArray:
        return shape.spread(flat(parts), parts[0].shape[1]).reshape(*sides, -1)

    values = Values(
        [cube([step.inputs[layer] for step in steps]) for layer in layers],
        [cube([step.errors[layer] for step in steps]) for layer in layers],
        [cube([step.E[layer] for step in steps]) for layer in range(rule.depth)],
        [_weights(steps, layer, sides[0]) for layer in layers],
    )
    found: dict[str, IntArray] = {}
    for relu in relations.hidden:
        layer = relu.layer
        Z, A, E, D = (flat([part[layer] for part in parts]) for parts in zip(*((s.Z, s.A, s.E, s.errors) for s in steps), strict=True))
        found |= relu.witness(Z, A, E, D, dropped[layer] if dropped else np.zeros_like(D))
    P = flat([step.errors[-1] for step in steps]) + (y << rule.plan.output_error_bits)
    found |= relations.loss.witness(flat([step.Z[-1] for step in steps]), flat([step.A[-1] for step in steps]), P)
    tensors = {tensor.name: shape.spread(found[tensor.name], tensor.last) for tensor in relations.values}
    return Witness(tensors | multiplicities(relations, tensors), values, {DATA: sample_rows(shape, x, y)})


def multiplicities(relations: Relations, tensors: dict[str, IntArray]) -> dict[str, IntArray]:
    """Count the uses of every table."""
    return {table.multiplicities: count_uses(table, relations.lookups, tensors) for table in relations.tables}


def _weights(steps: Sequence[sgd.Step], layer: int, padded_steps: int) -> IntArray:
    """Return ``W[k]`` for every step, and the trained weights in the padded ones."""
    first = [step.weights[layer] for step in steps]
    return np.stack(first + [steps[-1].updated[layer]] * (padded_steps - len(steps)))
