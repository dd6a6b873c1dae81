"""Exact fixed-point SGD in plain NumPy: the specification that every faster trainer must equal to the bit.

Source: ``docs/training-proof.md``, exact fixed-point SGD. Integer arithmetic only; the products of a valid
``Rule`` stay below 2^62, so int64 never wraps. A value that leaves its agreed range stops the computation
with a ``RangeError``: the proof could not show it, and nobody would know what it means.

Weights are a list of int64 matrices, one for each layer, the bias in the last row (see ``zk.rule.Rule``).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zk.errors import RangeError, RuleError
from zk.hashing import expand
from zk.rule import Bound, Loss, Rule
from zk.tables import loss_table

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """All values of one step of training, for a proof to commit to; lists run over layers, first to last.

    Parameters
    ----------
    weights
        ``W[k]``, before the step, on the grid of weights inside a round.
    inputs
        What enters each layer, (batch, width + 1): ``X`` or ``H``, zero where dropped, with the constant one in the last column.
    Z, A
        Products of inputs and weights, and the same rounded, (batch, width out); scaled in between where units are dropped.
    E
        Errors propagated to each hidden layer, before ReLU's derivative, dropout and rounding, (batch, width).
    errors
        Errors at each layer's output: ``D`` of the hidden layers, then ``G`` of the loss.
    updated
        ``W[k+1]``, after the step.
    """

    weights: list[Array]
    inputs: list[Array]
    Z: list[Array]
    A: list[Array]
    E: list[Array]
    errors: list[Array]
    updated: list[Array]


def round_half_up(z: Array, shift: int) -> Array:
    """Return ``floor((z + 2^(shift-1)) / 2^shift)``, elementwise, for ``shift >= 1``."""
    return (z + (1 << (shift - 1))) >> shift


def with_one(rows: Array, fractional_bits: int) -> Array:
    """Append the bias input, a column of ones on the grid of ``rows``."""
    one = np.full((len(rows), 1), 1 << fractional_bits, dtype=np.int64)
    return np.concatenate([rows, one], axis=1)


def trace(rule: Rule, weights: Sequence[Array], x: Array, y: Array, dropped: Sequence[Array] = ()) -> Iterator[Step]:
    """Train, and show every value on the way.

    Parameters
    ----------
    rule
        What to compute.
    weights
        Where to start, shapes ``rule.shapes``, fractional bits ``rule.weight_bits``.
    x
        Features, (rule.samples, layers[0]), in ``[0, 2^feature_bits)``, in the order of training.
    y
        Labels as the loss wants them, (rule.samples, layers[-1]).
    dropped
        What :func:`zk.dropout.dropped_units` returns; nothing without dropout.

    Yields
    ------
    Step
        ``rule.steps`` of them.

    Raises
    ------
    RuleError
        If an array does not fit the rule.
    RangeError
        If a value leaves its range; the message names step, layer, quantity and range.
    """
    check_training(rule, weights, x, y, dropped)
    current = [W << rule.plan.coefficient_bits for W in weights]
    gradients: list[list[Array]] = []
    for k in range(rule.steps):
        rows, where = slice(k * rule.batch, (k + 1) * rule.batch), f"step {k + 1}"
        inputs, Z, A, E, errors = _step(rule, current, x[rows], y[rows], [part[rows] for part in dropped], where)
        gradient = [before.T @ error for before, error in zip(inputs, errors, strict=True)]
        gradients = [*gradients, gradient] if rule.history else [gradient]
        updated = descend(rule, weights, current, gradients)
        for layer, W in enumerate(updated):
            _check_range(rule.local_bound(layer), W, where)
        yield Step(current, inputs, Z, A, E, errors, updated)
        current = updated


def descend(rule: Rule, start: Sequence[Array], current: Sequence[Array], gradients: Sequence[Sequence[Array]]) -> list[Array]:
    """Return the weights after a step: ``W[k] - m·G[k]``, or with momentum or decay ``a_k·W₀ - Σ_{j<k} c(k-j)·G[j]``.

    Parameters
    ----------
    rule
        Whose coefficients :attr:`zk.rule.Rule.keeps` and :attr:`zk.rule.Rule.rates` are.
    start
        ``W₀``, on the grid of the global model.
    current
        The weights before the step.
    gradients
        Products of inputs and errors: of this step, or with momentum or decay of all steps so far.
    """
    if not rule.history:
        return [W - rule.plan.rate_numerator * G for W, G in zip(current, gradients[-1], strict=True)]
    k = len(gradients)
    updated = [rule.keeps[k] * W for W in start]
    for j, gradient in enumerate(gradients):
        for W, G in zip(updated, gradient, strict=True):
            W -= rule.rates[k - j] * G
    return updated


def train(rule: Rule, weights: Sequence[Array], x: Array, y: Array, dropped: Sequence[Array] = ()) -> list[Array]:
    """Return the weights after ``rule.steps`` steps, ``rule.local_bits`` fractional bits; parameters and errors are those of ``trace``."""
    updated = list(weights)
    for step in trace(rule, weights, x, y, dropped):
        updated = step.updated
    return updated


def update_of(rule: Rule, start: Sequence[Array], trained: Sequence[Array]) -> list[Array]:
    """Return ``Δ = W[K] - W₀``, ``rule.local_bits`` fractional bits."""
    return [W - (before << rule.plan.coefficient_bits) for W, before in zip(trained, start, strict=True)]


def check_norm(rule: Rule, update: Array) -> None:
    """Refuse an update, (rule.size,), that is longer than the rule accepts.

    Raises
    ------
    RangeError
        With its norm and the longest that is accepted.
    """
    if not within_norm(rule, update):
        raise RangeError(
            f"the norm of the update is {math.sqrt(_squares(update)) / 2**rule.local_bits:.6g}, above the agreed maximum of "
            f"{float(rule.norm or 0):.6g}: use a smaller learning rate, or agree a larger maximum-update-norm"
        )


def within_norm(rule: Rule, update: Array) -> bool:
    """Whether ``Σ Δ²`` is at most the square of ``rule.norm``, in exact integers."""
    return rule.norm is None or _squares(update) <= (rule.norm * 2**rule.local_bits) ** 2


def forward(rule: Rule, weights: Sequence[Array], x: Array) -> Array:
    """Return the logits ``A`` of any number of samples, (N, layers[-1]), ``logit_bits`` fractional bits.

    Hidden layers keep their ranges as in training; logits, which no loss looks up here, may be of any size.
    """
    check_weights(rule, weights)
    check_features(rule, x)
    shifts = [rule.inference_shift(layer) for layer in range(rule.depth + 1)]
    return _propagate(rule, weights, x, shifts, 1, (), "inference")[2][-1]


def predict(rule: Rule, logits: Array) -> Array:
    """Predict from exact logits, (N, outputs), of :func:`forward` or its TensorFlow equal.

    Returns
    -------
    Array
        The class of each sample, (N,), the first of equals (softmax); 1 where the probability exceeds one
        half, (N, outputs) (binary); the outputs themselves on the logit grid, (N, outputs) (squared error).
    """
    match rule.loss:
        case Loss.SOFTMAX:
            classes: Array = np.argmax(logits, axis=1).astype(np.int64)
            return classes
        case Loss.BINARY:
            return (logits > 0).astype(np.int64)
        case Loss.SQUARED:
            return logits


def accuracy_counts(rule: Rule, logits: Array, y: Array) -> tuple[int, int]:
    """Count right predictions: ``(correct, total)`` samples (softmax) or single outputs (binary).

    Raises
    ------
    RuleError
        For mean squared error, which has no right and wrong.
    """
    if rule.loss == Loss.SQUARED:
        raise RuleError("accuracy needs classes: use squared_error for mean-squared-error")
    check_labels(rule, logits, y)
    expected = np.argmax(y, axis=1) if rule.loss == Loss.SOFTMAX else y
    return int(np.count_nonzero(predict(rule, logits) == expected)), expected.size


def squared_error(rule: Rule, logits: Array, y: Array) -> int:
    """Sum ``(A - Y)^2`` over all samples and outputs, in units of ``2^(-2 logit_bits)``, exactly."""
    if rule.loss != Loss.SQUARED:
        raise RuleError(f"squared_error needs a rule with mean-squared-error: use accuracy_counts for {rule.loss}")
    check_labels(rule, logits, y)
    # Python integers: logits outside training have no range that would keep an int64 sum from wrapping.
    return sum(difference**2 for difference in (logits - y).ravel().tolist())


def initial_weights(rule: Rule, seed: bytes) -> list[Array]:
    """Draw Glorot-uniform weights and zero biases from a public seed, the same on every platform.

    A weight is uniform in ``[-limit, limit]`` with ``limit = floor(sqrt(6 / (inputs + outputs)) * 2^F)``
    (Glorot and Bengio, AISTATS 2010), from 32 bits of SHAKE256 each.
    """
    drawn = []
    for layer, (rows, columns) in enumerate(rule.shapes):
        limit = math.isqrt(6 * 4**rule.weight_bits // (rows - 1 + columns))
        rule.weight_bound(layer).check(-limit, limit, "initial weights")
        stream = expand("lunaria initial weights", seed, layer.to_bytes(4, "big"), length=4 * (rows - 1) * columns)
        uniform = np.frombuffer(stream, dtype="<u4").astype(np.uint64).reshape(rows - 1, columns)
        # limit < 2^31, so the product stays below 2^64.
        values = (uniform * np.uint64(2 * limit + 1) >> np.uint64(32)).astype(np.int64) - limit
        drawn.append(np.concatenate([values, np.zeros((1, columns), dtype=np.int64)]))
    return drawn


def flatten(weights: Sequence[Array]) -> Array:
    """Return all weights as one vector: layer by layer, row by row."""
    return np.concatenate([W.ravel() for W in weights])


def unflatten(rule: Rule, vector: Array) -> list[Array]:
    """Undo ``flatten``: matrices of the shapes ``rule.shapes``, copied from ``vector``, (rule.size,)."""
    _check_array("the weight vector", vector, (rule.size,))
    ends = np.cumsum([rows * columns for rows, columns in rule.shapes])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(shape).copy() for part, shape in zip(parts, rule.shapes, strict=True)]


def check_training(rule: Rule, weights: Sequence[Array], x: Array, y: Array, dropped: Sequence[Array] = ()) -> None:
    """Refuse arrays that the rule cannot be trained on, with the errors of ``trace``."""
    check_weights(rule, weights)
    check_features(rule, x)
    if len(x) != rule.samples:
        raise RuleError(f"{len(x)} samples: the rule trains on {rule.steps} batches of {rule.batch}")
    check_labels(rule, x, y)
    wanted = [(rule.samples, width) for width in rule.layers[1:-1]] if rule.dropout else []
    if [part.shape for part in dropped] != wanted:
        raise RuleError(f"dropped units of shapes {[part.shape for part in dropped]}: the rule drops units of shapes {wanted}")


def check_weights(rule: Rule, weights: Sequence[Array]) -> None:
    """Refuse weights of another type or shape (RuleError) or outside their range (RangeError)."""
    if len(weights) != len(rule.shapes):
        raise RuleError(f"{len(weights)} weight matrices: the rule has {len(rule.shapes)} layers")
    for layer, (W, shape) in enumerate(zip(weights, rule.shapes, strict=True)):
        _check_array(f"the weights of layer {layer + 1}", W, shape)
        _check_range(rule.weight_bound(layer), W, "the weights given")


def check_features(rule: Rule, x: Array) -> None:
    """Refuse features of another type or shape (RuleError) or outside their range (RangeError)."""
    _check_array("the features", x, (max(1, len(x)), rule.layers[0]))
    _check_range(rule.feature_bound, x, "the samples given")


def check_labels(rule: Rule, x: Array, y: Array) -> None:
    """Refuse labels of another type or shape (RuleError) or other than the loss wants (RangeError)."""
    _check_array("the labels", y, (max(1, len(x)), rule.layers[-1]))
    _check_range(rule.label_bound, y, "the samples given")
    if rule.loss == Loss.SOFTMAX and not (y.sum(axis=1) == 1).all():
        raise RangeError("the samples given: a label is not one-hot: set exactly one class of each sample to 1")


def _step(
    rule: Rule, weights: list[Array], x: Array, y: Array, dropped: Sequence[Array], where: str
) -> tuple[list[Array], list[Array], list[Array], list[Array], list[Array]]:
    """Return what one step computes before it descends: inputs, Z, A, E and errors of a :class:`Step`."""
    shifts = [rule.forward_shift(layer) for layer in range(rule.depth + 1)]
    inputs, Z, A = _propagate(rule, weights, x, shifts, rule.scale, dropped, where)
    errors = [_output_error(rule, A[-1], y, where)]
    E: list[Array] = []
    for layer in reversed(range(rule.depth)):
        E.insert(0, errors[0] @ weights[layer + 1][:-1].T)
        passed = _drop(np.where(A[layer] >= 0, E[0], 0), dropped, layer)
        D = round_half_up(rule.scale * passed, rule.backward_shift(layer))
        _check_range(rule.error_bound(layer), D, where)
        errors.insert(0, D)
    return inputs, Z, A, E, errors


def _propagate(
    rule: Rule, weights: Sequence[Array], x: Array, shifts: Sequence[int], scale: int, dropped: Sequence[Array], where: str
) -> tuple[list[Array], list[Array], list[Array]]:
    """Return inputs (with the constant), products and rounded pre-activations of each layer."""
    inputs: list[Array] = []
    Z: list[Array] = []
    A: list[Array] = []
    for layer, W in enumerate(weights):
        rows = x if layer == 0 else _drop(np.maximum(A[-1], 0), dropped, layer - 1)
        inputs.append(with_one(rows, rule.input_bits(layer)))
        Z.append(inputs[-1] @ W)
        A.append(round_half_up(scale * Z[-1] if layer < rule.depth else Z[-1], shifts[layer]))
        if layer < rule.depth:
            _check_range(rule.activation_bound(layer), A[-1], where)
    return inputs, Z, A


def _drop(values: Array, dropped: Sequence[Array], layer: int) -> Array:
    """Return the values of a hidden layer's units, zero where they are dropped."""
    return np.where(dropped[layer], 0, values) if dropped else values


def _output_error(rule: Rule, A: Array, y: Array, where: str) -> Array:
    """Return the loss's gradient ``G`` at the logits ``A``, (batch, outputs), ``f_p`` fractional bits."""
    plan, table = rule.plan, _table(rule)
    if rule.loss == Loss.SOFTMAX:
        u = A.max(axis=1, keepdims=True) - A
        _check_range(rule.logit_bound, u, where)
        e = table[u]
        S = e.sum(axis=1, keepdims=True)
        P: Array = ((e << (plan.output_error_bits + 1)) + S) // (2 * S)
        return P - (y << plan.output_error_bits)
    _check_range(rule.logit_bound, A, where)
    if rule.loss == Loss.BINARY:
        return table[A + (1 << (plan.limb_bits - 1))] - (y << plan.output_error_bits)
    return (A - y) << (plan.output_error_bits - plan.logit_bits)


@functools.lru_cache(maxsize=8)
def _table(rule: Rule) -> Array:
    return np.array(loss_table(rule), dtype=np.int64)


def _check_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.dtype != np.int64 or array.shape != shape:
        raise RuleError(f"{name} are {array.dtype} of shape {array.shape}: the rule takes int64 of shape {shape}")


def _check_range(bound: Bound, values: Array, where: str) -> None:
    bound.check(int(values.min()), int(values.max()), where)


def _squares(update: Array) -> int:
    """Return ``Σ Δ²``; Python integers, since a square takes up to 92 bits."""
    return sum(value * value for value in update.tolist())
