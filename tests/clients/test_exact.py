"""TensorFlow trains to the bit what the specification says, and close to what floating point would."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from clients.exact import ExactTrainer, _graph
from clients.keras_models import to_keras
from zk import sgd
from zk.dropout import dropped_units
from zk.errors import RangeError, RuleError
from zk.rule import Loss, Plan, Rule
from zk.sgd import Array

SHORT = Plan(feature_bits=4, activation_bits=4, logit_bits=4, output_error_bits=6, error_bits=6, rate_numerator=3, rate_shift=4)


@dataclass(frozen=True)
class Run:
    rule: Rule
    weights: list[Array]
    x: Array
    y: Array

    @property
    def dropped(self) -> tuple[Array, ...]:
        return dropped_units(self.rule, b"beacon", b"client")


def labels(rule: Rule, rng: np.random.Generator, samples: int) -> Array:
    if rule.loss == Loss.SOFTMAX:
        return np.eye(rule.layers[-1], dtype=np.int64)[rng.integers(0, rule.layers[-1], samples)]
    return rng.integers(0, rule.label_bound.allowed.stop, (samples, rule.layers[-1]))


def run_of(rule: Rule, seed: int, weight_limit: int | None = None) -> Run:
    """Random samples; weights by Glorot, or uniform up to a limit."""
    rng = np.random.default_rng(seed)
    weights = sgd.initial_weights(rule, seed.to_bytes(8, "big"))
    if weight_limit is not None:
        weights = [rng.integers(-weight_limit, weight_limit, shape, endpoint=True) for shape in rule.shapes]
    x = rng.integers(0, rule.feature_bound.allowed.stop, (rule.samples, rule.layers[0]))
    return Run(rule, weights, x, labels(rule, rng, rule.samples))


@st.composite
def runs(draw: st.DrawFn) -> Run:
    loss = draw(st.sampled_from(Loss))
    hidden = draw(st.lists(st.integers(1, 9), max_size=3))
    layers = (draw(st.integers(1, 13)), *hidden, draw(st.integers(2 if loss == Loss.SOFTMAX else 1, 5)))
    batch, steps = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rate = Fraction(batch, draw(st.sampled_from([16, 64, 256, 1024])))
    momentum = draw(st.sampled_from([Fraction(0), Fraction(0), Fraction(9, 10), Fraction(1, 2)]))
    decay = draw(st.sampled_from([Fraction(0), Fraction(0), Fraction(1, 50), Fraction(1, 7)]))
    dropout = draw(st.sampled_from([0, 2, 5])) if hidden else 0
    derived = Plan.derive(rate, batch, layers, history=bool(momentum or decay), dropout=dropout)
    plan = derived if momentum or decay else draw(st.sampled_from([derived, SHORT]))
    rule = Rule(layers, loss, batch, steps, plan, momentum, decay, dropout)
    limits = st.sampled_from([None, 2**20, 2**24, 2**rule.plan.weight_range_bits - 1])
    return run_of(rule, draw(st.integers(0, 2**32)), draw(limits))


def outcome(compute: Callable[[], list[Array]]) -> str | list[list[list[int]]]:
    """Integers, or the text of the error."""
    try:
        return [result.tolist() for result in compute()]
    except RangeError as error:
        return str(error)


@settings(max_examples=40, deadline=None)
@given(run=runs())
def test_tensorflow_trains_the_same_integers_or_stops_with_the_same_error(run: Run) -> None:
    trainer = ExactTrainer(run.rule)
    exact = outcome(lambda: sgd.train(run.rule, run.weights, run.x, run.y, run.dropped))
    assert outcome(lambda: trainer.train(run.weights, run.x, run.y, run.dropped)) == exact
    assert outcome(lambda: [trainer.forward(run.weights, run.x)]) == outcome(lambda: [sgd.forward(run.rule, run.weights, run.x)])


@pytest.mark.parametrize("loss", Loss)
def test_a_model_of_ordinary_size_trains_the_same(loss: Loss) -> None:
    layers = (300, 65, 33, 10)
    run = run_of(Rule(layers, loss, 32, 4, Plan.derive(0.0625, 32, layers)), 5)
    exact = ExactTrainer(run.rule).train(run.weights, run.x, run.y)
    for ours, theirs, before in zip(exact, sgd.train(run.rule, run.weights, run.x, run.y), run.weights, strict=True):
        assert ours.dtype == np.int64
        assert (ours == theirs).all()
        assert (ours != before).any()


def test_sums_close_to_the_limit_of_float64_stay_exact() -> None:
    # A rule with one more hidden unit would be refused; here products reach 2^52.99 and end in odd digits.
    layers = (8, 255, 3)
    rule = Rule(layers, Loss.SOFTMAX, 1, 1, Plan.derive(0.5, 1, layers))
    big = 2**rule.plan.weight_range_bits - 1
    weights = [np.full(shape, big, dtype=np.int64) for shape in rule.shapes]
    weights[0][-1] = 0
    weights[1] -= 2 * np.random.default_rng(1).integers(0, 1000, weights[1].shape)
    weights[1][:, 1] *= -1
    weights[1][::2, 2] *= -1
    x = np.full((2, 8), 255)
    logits = ExactTrainer(rule).forward(weights, x)
    assert (logits == sgd.forward(rule, weights, x)).all()
    assert np.abs(logits).max() * 2.0**28 > 2**52.9


def test_a_graph_is_traced_once_for_equal_rules() -> None:
    plan = Plan.derive(0.5, 2, (3, 2))
    for _ in range(2):
        run = run_of(Rule((3, 2), Loss.SOFTMAX, 2, 3, plan), 1)
        ExactTrainer(run.rule).train(run.weights, run.x, run.y)
        for samples in (1, 5):
            ExactTrainer(run.rule).forward(run.weights, run.x[:samples])
    graph = _graph(Rule((3, 2), Loss.SOFTMAX, 2, 3, plan))
    assert graph.step.experimental_get_tracing_count() == 1
    assert graph.forward.experimental_get_tracing_count() == 1


def test_arrays_that_do_not_fit_the_rule_are_refused_as_by_the_specification() -> None:
    run = run_of(Rule((3, 2), Loss.SOFTMAX, 2, 3, Plan.derive(0.5, 2, (3, 2))), 1)
    trainer = ExactTrainer(run.rule)
    with pytest.raises(RuleError, match="5 samples: the rule trains on 3 batches of 2"):
        trainer.train(run.weights, run.x[1:], run.y[1:])
    with pytest.raises(RangeError, match="the samples given: a feature spans"):
        trainer.forward(run.weights, run.x + 256)
    with pytest.raises(RuleError, match="0 weight matrices"):
        trainer.forward([], run.x)


def test_importing_the_clients_does_not_import_tensorflow() -> None:
    imports = "import sys, clients.exact, clients.keras_models"
    code = f"{imports}; sys.exit(not {{'tensorflow', 'keras'}}.isdisjoint(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)  # noqa: S603 - our own literal


def batch_loss(loss: Loss, outputs: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Average over the batch the loss that a rule's name means, on the model's outputs."""
    match loss:
        case Loss.SOFTMAX:
            each = -tf.reduce_sum(y * tf.math.log(outputs), axis=1)
        case Loss.BINARY:
            each = -tf.reduce_sum(y * tf.math.log(outputs) + (1 - y) * tf.math.log(1 - outputs), axis=1)
        case Loss.SQUARED:
            each = tf.reduce_sum((outputs - y) ** 2, axis=1) / 2
    return tf.reduce_mean(each)


@pytest.mark.parametrize("layers", [(20, 4), (20, 15, 4), (20, 15, 11, 4)])
@pytest.mark.parametrize("loss", Loss)
def test_an_exact_step_is_a_step_down_the_gradient(loss: Loss, layers: tuple[int, ...]) -> None:
    rate = 0.125
    run = run_of(Rule(layers, loss, 16, 1, Plan.derive(rate, 16, layers)), 4)
    model = to_keras(run.weights, run.rule)
    y = run.y / (2.0**run.rule.plan.logit_bits if loss == Loss.SQUARED else 1.0)
    with tf.GradientTape() as tape:
        value = batch_loss(loss, model(tf.constant(run.x / 2.0**run.rule.plan.feature_bits)), tf.constant(y))
    gradients = tape.gradient(value, model.trainable_variables)
    updates = zip(ExactTrainer(run.rule).train(run.weights, run.x, run.y), run.weights, strict=True)
    for layer, (after, before) in enumerate(updates):
        exact = (after - before) * 2.0**-run.rule.weight_bits
        expected = -rate * np.vstack([gradients[2 * layer], gradients[2 * layer + 1]])
        # Rounding moves logits by 2^-9 and errors by 2^-13, against errors of the order of one half.
        assert np.linalg.norm(exact - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize(("rate", "momentum", "weight_decay"), [(0.25, 0.0, 0.0), (0.03125, 0.9, 0.0), (0.03125, 0.9, 0.2)])
def test_an_epoch_of_digits_ends_where_keras_ends(rate: float, momentum: float, weight_decay: float) -> None:
    pixels, classes = load_digits(return_X_y=True)
    x, y = (pixels * 15).astype(np.int64), np.eye(10, dtype=np.int64)[classes]
    layers = (64, 32, 10)
    plan = Plan.derive(rate, 32, layers, history=momentum > 0)
    rule = Rule(layers, Loss.SOFTMAX, 32, 40, plan, Fraction(repr(momentum)), Fraction(rate) * Fraction(repr(weight_decay)))
    start = sgd.initial_weights(rule, b"digits")
    finer = sgd.update_of(rule, start, ExactTrainer(rule).train(start, x[: rule.samples], y[: rule.samples]))
    bits = rule.plan.coefficient_bits
    trained = [W + sgd.round_half_up(change, bits) if bits else W + change for W, change in zip(start, finer, strict=True)]

    model = to_keras(start, rule)
    model.compile(
        keras.optimizers.SGD(rate, momentum=momentum, weight_decay=weight_decay or None), "categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x[: rule.samples] / 256.0, y[: rule.samples], batch_size=32, shuffle=False, verbose=0)
    kernels = model.get_weights()
    for layer, (after, before) in enumerate(zip(trained, start, strict=True)):
        exact = (after - before) * 2.0**-rule.weight_bits
        expected = np.vstack(kernels[2 * layer : 2 * layer + 2]) - before * 2.0**-rule.weight_bits
        assert np.linalg.norm(exact - expected) < 0.05 * np.linalg.norm(expected)

    held_out = x[rule.samples :], y[rule.samples :]
    correct, total = sgd.accuracy_counts(rule, sgd.forward(rule, trained, held_out[0]), held_out[1])
    keras_accuracy = model.evaluate(held_out[0] / 256.0, held_out[1], verbose=0)[1]
    assert correct / total > 0.7
    assert abs(correct / total - keras_accuracy) < 0.01


def test_a_squared_error_is_that_of_the_keras_model() -> None:
    layers = (20, 15, 4)
    run = run_of(Rule(layers, Loss.SQUARED, 16, 1, Plan.derive(0.125, 16, layers)), 3)
    outputs = to_keras(run.weights, run.rule).predict(run.x / 256.0, verbose=0)
    exact = sgd.squared_error(run.rule, sgd.forward(run.rule, run.weights, run.x), run.y) / 2**16
    assert exact == pytest.approx(float(((outputs - run.y / 256.0) ** 2).sum()), rel=0.01)
