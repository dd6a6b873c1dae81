"""Which Keras models a rule can train, and that their weights come and go without loss."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from clients.keras_models import layers_of, save, to_fixed, to_keras
from zk import sgd
from zk.errors import RangeError, RuleError
from zk.rule import Loss, Plan, Rule

Dense = keras.layers.Dense
LAYERS = (6, 5, 3)
RULE = Rule(LAYERS, Loss.SOFTMAX, 4, 1, Plan.derive(0.125, 4, LAYERS))


def sequential(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), *layers])


def functional(last: str = "softmax") -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, Dense(3, activation=last, name="last")(Dense(5, activation="relu")(inputs)))


@pytest.mark.parametrize("last", [None, "linear", "softmax", "sigmoid"])
def test_dense_chains_have_layers(last: str | None) -> None:
    assert layers_of(sequential(Dense(5, activation="relu"), Dense(3, activation=last))) == LAYERS
    assert layers_of(functional(last or "linear")) == LAYERS
    assert layers_of(sequential(Dense(1, activation=last))) == (6, 1)


def test_a_sequential_model_may_be_built_by_its_first_call() -> None:
    model = keras.Sequential([Dense(3)])
    with pytest.raises(RuleError, match="pass a built Sequential or functional model"):
        layers_of(model)
    model(np.zeros((1, 6)))
    assert layers_of(model) == (6, 3)


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.dense = Dense(3)
        self.dense.build((None, 6))
        self.built = True


class Twice(keras.layers.Dense):  # type: ignore[misc]
    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * super().call(inputs)


def branched() -> keras.Model:
    inputs = keras.Input((6,))
    left, right = (Dense(6, activation="relu", name=name)(inputs) for name in ("left", "right"))
    return keras.Model(inputs, [left, Dense(3, name="end")(right)])


def reused() -> keras.Model:
    inputs, layer = keras.Input((6,)), Dense(6, activation="relu", name="again")
    return keras.Model(inputs, Dense(3, name="end")(layer(layer(inputs))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sequential(keras.layers.Dropout(0.5, name="drop"), Dense(3)), "layer drop is a Dropout: only Dense"),
        (lambda: sequential(Dense(5, name="a"), Dense(3)), "layer a has the activation linear: supported here are relu"),
        (lambda: sequential(Dense(3, activation="tanh", name="a")), "layer a has the activation tanh: .* linear, softmax"),
        (lambda: sequential(Dense(3, activation=keras.layers.LeakyReLU(), name="a")), "the activation LeakyReLU"),
        (lambda: sequential(Dense(3, use_bias=False, name="a")), "layer a has no bias: set use_bias=True"),
        (lambda: sequential(Dense(3, kernel_regularizer="l2", name="a")), "layer a has a kernel_regularizer"),
        (lambda: sequential(Dense(3, bias_constraint="non_neg", name="a")), "layer a has a bias_constraint"),
        (lambda: sequential(Twice(3, name="a")), "layer a is a Twice: only Dense"),
        (lambda: sequential(), "pass a built Sequential or functional model"),
        (lambda: keras.Sequential([keras.Input((6, 2)), Dense(3)]), "rows of features"),
        (branched, "the model must be one chain of layers"),
        (reused, "layer end does not follow the one before it"),
        (Subclassed, "pass a built Sequential or functional model"),
    ],
)
def test_other_models_are_refused_by_the_layer_s_name(make: Callable[[], keras.Model], message: str) -> None:
    with pytest.raises(RuleError, match=message) as refusal:
        layers_of(make())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("loss", Loss)
def test_weights_survive_the_way_to_keras_and_back(loss: Loss, tmp_path: Path) -> None:
    rule = replace(RULE, loss=loss)
    weights = [np.random.default_rng(1).integers(1 - 2**31, 2**31, shape) for shape in rule.shapes]
    path = tmp_path / "model.keras"
    save(to_keras(weights, rule), path)
    again = to_fixed(keras.models.load_model(path), rule)
    assert all((a == b).all() for a, b in zip(weights, again, strict=True))


@pytest.mark.parametrize(("loss", "last"), [(Loss.SOFTMAX, "softmax"), (Loss.BINARY, "sigmoid"), (Loss.SQUARED, "linear")])
def test_the_loss_decides_the_last_activation(loss: Loss, last: str) -> None:
    rule = replace(RULE, loss=loss)
    model = to_keras(sgd.initial_weights(rule, b"seed"), rule)
    assert [layer.activation.__name__ for layer in model.layers] == ["relu", last]


def test_a_keras_model_predicts_the_exact_logits_within_rounding() -> None:
    rule = replace(RULE, loss=Loss.SQUARED)
    weights = sgd.initial_weights(rule, b"seed")
    x = np.random.default_rng(1).integers(0, 256, (9, 6))
    outputs = to_keras(weights, rule).predict(x / 256.0, verbose=0)
    np.testing.assert_allclose(sgd.forward(rule, weights, x) / 256.0, outputs, atol=0.02)


def test_weights_are_rounded_to_the_nearest_and_ties_to_even() -> None:
    model = keras.Sequential([keras.Input((4,)), Dense(1, dtype="float64")])
    grid = 2.0**-28
    kernel = np.array([[0.5], [1.5], [-2.5], [-0.51]]) * grid
    model.layers[0].set_weights([kernel, np.array([3.49]) * grid])
    rule = Rule((4, 1), Loss.BINARY, 1, 1, Plan.derive(0.5, 1, (4, 1)))
    assert to_fixed(model, rule)[0].ravel().tolist() == [0, 2, -2, -1, 3]


@pytest.mark.parametrize("weight", [8.0, -8.0, float("nan"), float("inf")])
def test_weights_beyond_the_plan_are_refused(weight: float) -> None:
    model = functional()
    kernel, bias = model.layers[2].get_weights()
    kernel[1, 1] = weight
    model.layers[2].set_weights([kernel, bias])
    with pytest.raises(RangeError, match=r"^layer last: the weight W of layer 2 spans"):
        to_fixed(model, RULE)


def test_a_model_of_another_rule_is_refused() -> None:
    with pytest.raises(RuleError, match=r"the model's layers are \(6, 5, 3\), the rule's \(6, 3\)"):
        to_fixed(functional(), replace(RULE, layers=(6, 3)))
    with pytest.raises(RuleError, match="layer last ends in sigmoid, but softmax-cross-entropy goes with linear or soft"):
        to_fixed(functional("sigmoid"), RULE)
    with pytest.raises(RuleError, match=r"layer last ends in softmax, but mean-squared-error goes with linear$"):
        to_fixed(functional(), replace(RULE, loss=Loss.SQUARED))
    to_fixed(functional("linear"), RULE)


def test_weights_of_another_rule_make_no_model() -> None:
    with pytest.raises(RuleError, match="1 weight matrices"):
        to_keras(sgd.initial_weights(RULE, b"seed")[:1], RULE)


def test_a_model_file_ends_in_keras(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"model\.h5: a model file ends in \.keras"):
        save(functional(), tmp_path / "model.h5")
