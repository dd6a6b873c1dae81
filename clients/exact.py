"""Exact training in TensorFlow: the integers of ``zk.sgd``, as float64 matrix products, on CPU or GPU.

A valid ``Rule`` bounds every partial sum by 2^53, where float64 still holds each integer, so a product is
exact whatever the order of its additions, and scaling by a power of two always is. What remains, tables and
the division of the softmax, is done in int64. The result equals ``zk.sgd.train`` to the bit, and so do the
errors. TensorFlow is imported at first use: each Flower message may start a process that needs none of it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zk.rule import Bound, Loss, Rule, loss_table
from zk.sgd import Array, check_features, check_training, check_weights, with_one

if TYPE_CHECKING:
    import tensorflow as tf


class ExactTrainer:
    """Trains by one rule; the graph is compiled once per rule and process.

    Parameters
    ----------
    rule
        What to compute.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def train(self, weights: Sequence[Array], x: Array, y: Array) -> list[Array]:
        """Return the weights after ``rule.steps`` steps: ``zk.sgd.train``, same parameters and errors."""
        rule = self.rule
        check_training(rule, weights, x, y)
        graph = _graph(rule)
        batches = _floats(with_one(x, rule.input_bits(0)).reshape(rule.steps, rule.batch, -1))
        labels = _floats(y.reshape(rule.steps, rule.batch, -1))
        current = [_floats(W) for W in weights]
        for k in range(rule.steps):
            # Checking after each step keeps every number finite, and names the step that went wrong.
            current, extremes = graph.step(current, batches[k], labels[k])
            _check(rule.step_bounds, extremes, f"step {k + 1}")
        return [W.numpy().astype(np.int64) for W in current]

    def forward(self, weights: Sequence[Array], x: Array) -> Array:
        """Return the logits of any number of samples: ``zk.sgd.forward``, same parameters and errors."""
        rule = self.rule
        check_weights(rule, weights)
        check_features(rule, x)
        rows = _floats(with_one(x, rule.input_bits(0)))
        logits, extremes = _graph(rule).forward([_floats(W) for W in weights], rows)
        _check(rule.step_bounds[: rule.depth], extremes, "inference")
        result: Array = logits.numpy().astype(np.int64)
        return result


class _Graph:
    """The compiled step and forward pass of one rule, on float64 tensors that hold integers."""

    def __init__(self, rule: Rule) -> None:
        import tensorflow as tf

        self.rule = rule
        self.table = tf.constant(loss_table(rule), tf.int64)
        weights = [tf.TensorSpec(shape, tf.float64) for shape in rule.shapes]
        batch = [tf.TensorSpec((rule.batch, width), tf.float64) for width in (rule.layers[0] + 1, rule.layers[-1])]
        rows = tf.TensorSpec((None, rule.layers[0] + 1), tf.float64)
        self.step = tf.function(self._step, input_signature=[weights, *batch], autograph=False)
        self.forward = tf.function(self._forward, input_signature=[weights, rows], autograph=False)

    def _step(self, weights: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return one step: new weights, and the extremes of each of ``rule.step_bounds``, (bounds, 2)."""
        import tensorflow as tf

        rule = self.rule
        inputs, A = self._propagate(weights, x)
        error, looked_up = self._output_error(A[-1], y)
        ranged, errors = [*A[:-1], looked_up], [error]
        for layer in reversed(range(rule.depth)):
            E = tf.matmul(errors[0], weights[layer + 1][:-1], transpose_b=True)
            D = _round_half_up(tf.where(A[layer] >= 0, E, 0.0), rule.backward_shift(layer))
            ranged.append(D)
            errors.insert(0, D)
        updated = [
            W - rule.plan.rate_numerator * tf.matmul(rows, error, transpose_a=True)
            for W, rows, error in zip(weights, inputs, errors, strict=True)
        ]
        return updated, _extremes([*ranged, *updated])

    def _forward(self, weights: list[tf.Tensor], x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return logits, and the extremes of each hidden layer's pre-activations, (depth, 2)."""
        _, A = self._propagate(weights, x)
        return A[-1], _extremes(A[:-1])

    def _propagate(self, weights: list[tf.Tensor], x: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Return inputs (with the constant) and rounded pre-activations of each layer."""
        import tensorflow as tf

        rule, inputs, A = self.rule, [x], []
        for layer, W in enumerate(weights):
            A.append(_round_half_up(tf.matmul(inputs[layer], W), rule.forward_shift(layer)))
            if layer < rule.depth:
                one = float(1 << rule.input_bits(layer + 1))
                inputs.append(tf.pad(tf.nn.relu(A[layer]), [[0, 0], [0, 1]], constant_values=one))
        return inputs, A

    def _output_error(self, A: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss's gradient at the logits, and the values that ``rule.logit_bound`` ranges over."""
        import tensorflow as tf

        plan, one = self.rule.plan, float(1 << self.rule.plan.output_error_bits)
        match self.rule.loss:
            case Loss.SOFTMAX:
                u = tf.reduce_max(A, axis=1, keepdims=True) - A
                e = self._look_up(u)
                S = tf.reduce_sum(e, axis=1, keepdims=True)
                P = (e * (1 << (plan.output_error_bits + 1)) + S) // (2 * S)
                return tf.cast(P, tf.float64) - y * one, u
            case Loss.BINARY:
                return tf.cast(self._look_up(A + float(1 << (plan.limb_bits - 1))), tf.float64) - y * one, A
            case Loss.SQUARED:
                return (A - y) * float(1 << (plan.output_error_bits - plan.logit_bits)), A

    def _look_up(self, index: tf.Tensor) -> tf.Tensor:
        """Return table entries; an index out of range takes an end of the table and is refused after the step."""
        import tensorflow as tf

        last = len(loss_table(self.rule)) - 1
        return tf.gather(self.table, tf.cast(tf.clip_by_value(index, 0.0, float(last)), tf.int64))


@functools.lru_cache(maxsize=8)
def _graph(rule: Rule) -> _Graph:
    return _Graph(rule)


def _round_half_up(z: tf.Tensor, shift: int) -> tf.Tensor:
    """Round as ``zk.sgd.round_half_up`` does: the sum stays below 2^53 and the scaling is exact."""
    import tensorflow as tf

    return tf.floor((z + float(1 << (shift - 1))) * 2.0**-shift)


def _extremes(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Return the least and greatest value of each tensor, (tensors, 2)."""
    import tensorflow as tf

    pairs = [tf.stack([tf.reduce_min(values), tf.reduce_max(values)]) for values in tensors]
    return tf.reshape(tf.convert_to_tensor(pairs, tf.float64), (len(tensors), 2))


def _check(bounds: Sequence[Bound], extremes: tf.Tensor, where: str) -> None:
    for bound, (lowest, highest) in zip(bounds, extremes.numpy(), strict=True):
        bound.check(int(lowest), int(highest), where)


def _floats(values: Array) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(values, tf.float64)
