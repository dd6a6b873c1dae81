"""Keras models in and out of the fixed-point grid: what a rule can train, and what training gave.

A rule describes dense layers with biases, ReLU between them, and a loss on the last. Only such a model has
an exact counterpart; anything else is refused with one line that names the layer. Keras is imported at first
use.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zk.errors import RuleError
from zk.rule import Loss, Rule
from zk.sgd import Array, check_weights

if TYPE_CHECKING:
    import keras

_LAST = {Loss.SOFTMAX: "softmax", Loss.BINARY: "sigmoid", Loss.SQUARED: "linear"}


def has_tensorflow() -> bool:
    """Whether Keras models can be read and written here: a server may go without."""
    return find_spec("tensorflow") is not None


def layers_of(model: keras.Model) -> tuple[int, ...]:
    """Return the widths of a model, inputs first, as ``Rule.layers`` takes them.

    Parameters
    ----------
    model
        A built Sequential or functional model: one chain of Dense layers with biases, ReLU on all but the
        last, whose activation is linear, softmax or sigmoid; no regularisers, no constraints.

    Raises
    ------
    RuleError
        Naming the first layer that is not supported, and what is.
    """
    dense = _dense_chain(model)
    return (dense[0].kernel.shape[0], *(layer.units for layer in dense))


def to_fixed(model: keras.Model, rule: Rule) -> list[Array]:
    """Return the model's weights on the rule's grid, to the nearest, ties to even.

    Raises
    ------
    RuleError
        If the model is not supported, or not the rule's: other widths, or another last activation than
        linear and the one that belongs to the loss.
    RangeError
        If a weight is too large for the plan, or not a number.
    """
    import keras

    widths = layers_of(model)
    if widths != rule.layers:
        raise RuleError(f"the model's layers are {widths}, the rule's {rule.layers}: change one of them")
    last = model.layers[-1]
    if _activation(last) not in ("linear", _LAST[rule.loss]):
        raise RuleError(
            f"layer {last.name} ends in {_activation(last)}, but {rule.loss} goes with "
            f"{' or '.join(dict.fromkeys(('linear', _LAST[rule.loss])))}"
        )
    fixed = []
    for index, layer in enumerate(_dense_chain(model)):
        kernel, bias = keras.ops.convert_to_numpy(layer.kernel), keras.ops.convert_to_numpy(layer.bias)
        scaled = np.rint(np.vstack([kernel, bias]).astype(np.float64) * 2.0**rule.weight_bits)
        rule.weight_bound(index).check(float(scaled.min()), float(scaled.max()), f"layer {layer.name}")
        fixed.append(scaled.astype(np.int64))
    return fixed


def to_keras(weights: list[Array], rule: Rule) -> keras.Model:
    """Return a Keras model with these weights, without loss.

    Parameters
    ----------
    weights
        One matrix for each layer, on the grid of ``rule``.
    rule
        Its loss decides the last activation: softmax, sigmoid or linear.

    Returns
    -------
    keras.Model
        In float64, which holds every weight exactly: ``to_fixed`` gives the same integers back. Its inputs
        are real features, integers divided by ``2^feature_bits``.
    """
    import keras

    check_weights(rule, weights)
    model = keras.Sequential([keras.Input((rule.layers[0],))])
    for layer, W in enumerate(weights):
        activation = _LAST[rule.loss] if layer == rule.depth else "relu"
        dense = keras.layers.Dense(W.shape[1], activation=activation, dtype="float64")
        model.add(dense)
        real = W * 2.0**-rule.weight_bits
        dense.set_weights([real[:-1], real[-1]])
    return model


def save(model: keras.Model, path: Path) -> None:
    """Write the model to ``path``, which ends in ``.keras``: data only, no code that a reader would run.

    Raises
    ------
    RuleError
        For any other file name.
    """
    if path.suffix != ".keras":
        raise RuleError(f"{path}: a model file ends in .keras")
    model.save(path)


def _dense_chain(model: keras.Model) -> list[keras.layers.Dense]:
    """Return the model's Dense layers in order, or refuse what has no exact counterpart."""
    import keras

    # A subclassed model has no graph of inputs and outputs to look at.
    if not model.built or not getattr(model, "inputs", None):
        raise RuleError(f"model {model.name}: pass a built Sequential or functional model")
    dense = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer in dense:
        _check_dense(layer, ("linear", "softmax", "sigmoid") if layer is dense[-1] else ("relu",))
    if not isinstance(model, keras.Sequential):
        _check_chain(model, dense)
    if not dense or len(model.input_shape) != 2:
        raise RuleError(f"model {model.name}: it takes rows of features, (samples, features), into Dense layers")
    return dense


def _check_dense(layer: keras.layers.Layer, activations: tuple[str, ...]) -> None:
    """Refuse a layer that is not a plain Dense with a bias and one of these activations."""
    import keras

    # Exactly Dense: a subclass may compute anything.
    if type(layer) is not keras.layers.Dense:
        raise RuleError(f"layer {layer.name} is a {type(layer).__name__}: only Dense layers are supported")
    if not layer.use_bias:
        raise RuleError(f"layer {layer.name} has no bias: set use_bias=True")
    if _activation(layer) not in activations:
        raise RuleError(f"layer {layer.name} has the activation {_activation(layer)}: supported here are {', '.join(activations)}")
    for name in ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint"):
        if getattr(layer, name) is not None:
            raise RuleError(f"layer {layer.name} has a {name}: exact training has none, remove it")


def _check_chain(model: keras.Model, dense: list[keras.layers.Dense]) -> None:
    """Refuse a functional graph with branches, several ends or a layer used twice."""
    ends = [model.inputs[0], *(layer.output for layer in dense)]
    starts = [*(layer.input for layer in dense), model.outputs[0]]
    single = len(model.inputs) == len(model.outputs) == 1
    for end, start, layer in zip(ends, starts, [*dense, model], strict=True):
        if end is not start or not single:
            raise RuleError(f"layer {layer.name} does not follow the one before it: the model must be one chain of layers")


def _activation(layer: keras.layers.Dense) -> str:
    """Name of a supported activation, else how Python calls it."""
    import keras

    for name in ("linear", "relu", "sigmoid", "softmax"):
        if layer.activation is getattr(keras.activations, name):
            return name
    return getattr(layer.activation, "__name__", type(layer.activation).__name__)
