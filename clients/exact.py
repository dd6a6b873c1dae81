"""Exact training in TensorFlow: the integers of ``zk.sgd``, as float64 matrix products, on CPU or GPU.

A valid ``Rule`` bounds every partial sum by 2^53, where float64 still holds each integer, so a product is
exact whatever the order of its additions, and scaling by a power of two always is. Weights with more bits than that go in two
parts, those above and below the grid of the global model. What remains, tables, the division of the softmax and the sum over earlier
gradients, is done in int64. The result equals ``zk.sgd.train`` to the bit, and so do the
errors. TensorFlow is imported at first use: each Flower message may start a process that needs none of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zk.rule import Bound, Loss, Rule
from zk.sgd import Array, check_features, check_training, check_weights, descend, with_one
from zk.tables import loss_table

if TYPE_CHECKING:
    import tensorflow as tf

    _Parts = list[tf.Tensor]


class ExactTrainer:
    """Trains by one rule; the graph is compiled once per rule and process.

    Parameters
    ----------
    rule
        What to compute.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def train(self, weights: Sequence[Array], x: Array, y: Array, dropped: Sequence[Array] = ()) -> list[Array]:
        """Return the weights after ``rule.steps`` steps: ``zk.sgd.train``, same parameters and errors."""
        rule = self.rule
        check_training(rule, weights, x, y, dropped)
        graph = _graph(rule)
        shape = (rule.steps, rule.batch, -1)
        batches, labels = _floats(with_one(x, rule.input_bits(0)).reshape(shape)), _floats(y.reshape(shape))
        kept = [_floats((1 - part).reshape(shape)) for part in dropped]
        bounds, last = rule.step_bounds[: -len(weights)], rule.step_bounds[-len(weights) :]
        current = [W << rule.plan.coefficient_bits for W in weights]
        gradients: list[list[Array]] = []
        for k in range(rule.steps):
            # Checking in each step keeps every number finite, and names the step that went wrong.
            found, extremes = graph.step(self._parts(current), batches[k], labels[k], [part[k] for part in kept])
            _check(bounds, extremes.numpy(), f"step {k + 1}")
            gradient = [G.numpy().astype(np.int64) for G in found]
            gradients = [*gradients, gradient] if rule.history else [gradient]
            current = descend(rule, weights, current, gradients)
            _check(last, [(W.min(), W.max()) for W in current], f"step {k + 1}")
        return current

    def forward(self, weights: Sequence[Array], x: Array) -> Array:
        """Return the logits of any number of samples: ``zk.sgd.forward``, same parameters and errors."""
        rule = self.rule
        check_weights(rule, weights)
        check_features(rule, x)
        rows = _floats(with_one(x, rule.input_bits(0)))
        logits, extremes = _graph(rule).forward([[_floats(W)] for W in weights], rows)
        _check(rule.step_bounds[: rule.depth], extremes.numpy(), "inference")
        result: Array = logits.numpy().astype(np.int64)
        return result

    def _parts(self, weights: Sequence[Array]) -> list[list[tf.Tensor]]:
        """Return each matrix of weights inside a round as one float64 matrix, or as its bits above and below the global grid."""
        low = self.rule.plan.coefficient_bits
        return [[_floats(W >> low), _floats(W & ((1 << low) - 1))] if low else [_floats(W)] for W in weights]


class _Graph:
    """The compiled step and forward pass of one rule, on float64 tensors that hold integers."""

    def __init__(self, rule: Rule) -> None:
        import tensorflow as tf

        self.rule = rule
        self.table = tf.constant(loss_table(rule), tf.int64)
        specs = [tf.TensorSpec(shape, tf.float64) for shape in rule.shapes]
        batch = [tf.TensorSpec((rule.batch, width), tf.float64) for width in (rule.layers[0] + 1, rule.layers[-1])]
        kept = [tf.TensorSpec((rule.batch, width), tf.float64) for width in rule.layers[1:-1]] if rule.dropout else []
        rows = tf.TensorSpec((None, rule.layers[0] + 1), tf.float64)
        local = [[spec, spec] if rule.plan.coefficient_bits else [spec] for spec in specs]
        self.step = tf.function(self._step, input_signature=[local, *batch, kept], autograph=False)
        self.forward = tf.function(self._forward, input_signature=[[[spec] for spec in specs], rows], autograph=False)

    def _step(self, weights: list[_Parts], x: tf.Tensor, y: tf.Tensor, kept: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return one step: the gradients, and the extremes of each of ``rule.step_bounds`` but the weights, (bounds, 2)."""
        import tensorflow as tf

        rule = self.rule
        shifts = [rule.forward_shift(layer) for layer in range(rule.depth + 1)]
        inputs, A = self._propagate(weights, x, shifts, rule.scale, kept)
        error, looked_up = self._output_error(A[-1], y)
        ranged, errors = [*A[:-1], looked_up], [error]
        for layer in reversed(range(rule.depth)):
            E = [tf.matmul(errors[0], part[:-1], transpose_b=True) for part in weights[layer + 1]]
            passed = tf.cast(A[layer] >= 0, tf.float64) * (kept[layer] if kept else 1.0)
            D = self._round([part * passed for part in E], rule.backward_shift(layer), rule.scale)
            ranged.append(D)
            errors.insert(0, D)
        gradients = [tf.matmul(rows, error, transpose_a=True) for rows, error in zip(inputs, errors, strict=True)]
        return gradients, _extremes(ranged)

    def _forward(self, weights: list[_Parts], x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return logits, and the extremes of each hidden layer's pre-activations, (depth, 2)."""
        shifts = [self.rule.inference_shift(layer) for layer in range(self.rule.depth + 1)]
        _, A = self._propagate(weights, x, shifts, 1, [])
        return A[-1], _extremes(A[:-1])

    def _propagate(
        self, weights: list[_Parts], x: tf.Tensor, shifts: list[int], scale: int, kept: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Return inputs (with the constant) and rounded pre-activations of each layer."""
        import tensorflow as tf

        rule, inputs, A = self.rule, [x], []
        for layer, parts in enumerate(weights):
            Z = [tf.matmul(inputs[layer], part) for part in parts]
            A.append(self._round(Z, shifts[layer], scale if layer < rule.depth else 1))
            if layer < rule.depth:
                one = float(1 << rule.input_bits(layer + 1))
                H = tf.nn.relu(A[layer]) * (kept[layer] if kept else 1.0)
                inputs.append(tf.pad(H, [[0, 0], [0, 1]], constant_values=one))
        return inputs, A

    def _round(self, parts: _Parts, shift: int, scale: int) -> tf.Tensor:
        """Round ``scale·Z`` as ``zk.sgd.round_half_up`` does, where ``Z`` is one product, or ``2^h`` times the first plus the second.

        What lies above ``2^shift`` needs no rounding and is scaled by itself: every number stays below 2^53.
        """
        import tensorflow as tf

        h = self.rule.plan.coefficient_bits if len(parts) == 2 else 0
        above = tf.floor(parts[0] * 2.0 ** (h - shift))
        rest = (parts[0] - above * 2.0 ** (shift - h)) * 2.0**h
        if h:
            rest += parts[1]
        return above * scale + tf.floor((rest * scale + float(1 << (shift - 1))) * 2.0**-shift)

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


def _extremes(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Return the least and greatest value of each tensor, (tensors, 2)."""
    import tensorflow as tf

    pairs = [tf.stack([tf.reduce_min(values), tf.reduce_max(values)]) for values in tensors]
    return tf.reshape(tf.convert_to_tensor(pairs, tf.float64), (len(tensors), 2))


def _check(bounds: Sequence[Bound], extremes: Iterable[Sequence[float]], where: str) -> None:
    for bound, (lowest, highest) in zip(bounds, extremes, strict=True):
        bound.check(int(lowest), int(highest), where)


def _floats(values: Array) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(values, tf.float64)
