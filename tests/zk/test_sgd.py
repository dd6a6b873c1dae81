"""The specification of exact training, against an independent calculation and against its own promises."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk import sgd
from zk.dropout import dropped_units
from zk.errors import RangeError, RuleError
from zk.hashing import sha256
from zk.rule import Loss, Plan, Rule
from zk.sgd import Array
from zk.tables import exp_table

RULE = Rule((13, 6, 3), Loss.SOFTMAX, 8, 3, Plan.derive(0.125, 8, (13, 6, 3)))


def labels(rule: Rule, rng: np.random.Generator, samples: int) -> Array:
    if rule.loss == Loss.SOFTMAX:
        return np.eye(rule.layers[-1], dtype=np.int64)[rng.integers(0, rule.layers[-1], samples)]
    return rng.integers(0, rule.label_bound.allowed.stop, (samples, rule.layers[-1]))


def run_of(rule: Rule) -> tuple[list[Array], Array, Array]:
    """Weights, features and labels that train without leaving any range."""
    rng = np.random.default_rng(7)
    x = rng.integers(0, 256, (rule.samples, rule.layers[0]))
    return sgd.initial_weights(rule, b"seed"), x, labels(rule, rng, rule.samples)


@given(z=st.integers(-(2**53), 2**53), shift=st.integers(1, 32))
def test_rounding_is_half_up(z: int, shift: int) -> None:
    rounded = sgd.round_half_up(np.array([z], dtype=np.int64), shift)[0]
    assert rounded == (Fraction(z, 2**shift) + Fraction(1, 2)).__floor__()


def test_training_equals_a_plain_calculation_with_python_integers() -> None:
    weights, x, y = run_of(RULE)
    W1, W2 = (W.astype(object) for W in weights)
    table = exp_table(RULE.plan)
    for k in range(RULE.steps):
        rows = slice(8 * k, 8 * k + 8)
        X = np.hstack([x[rows].astype(object), np.full((8, 1), 256, dtype=object)])
        A1 = (X.dot(W1) + 2**27) // 2**28
        H = np.hstack([np.where(A1 >= 0, A1, 0), np.full((8, 1), 256, dtype=object)])
        A2 = (H.dot(W2) + 2**27) // 2**28
        G = np.zeros((8, 3), dtype=object)
        for n in range(8):
            powers = [table[max(A2[n]) - logit] for logit in A2[n]]
            for j in range(3):
                P = (2**13 * powers[j] + sum(powers)) // (2 * sum(powers))
                G[n, j] = P - 4096 * int(y[rows][n, j])
        D = (np.where(A1 >= 0, G.dot(W2[:-1].T), 0) + 2**27) // 2**28
        W1, W2 = W1 - RULE.plan.rate_numerator * X.T.dot(D), W2 - RULE.plan.rate_numerator * H.T.dot(G)
    trained = sgd.train(RULE, weights, x, y)
    assert (trained[0] == W1).all()
    assert (trained[1] == W2).all()


@pytest.mark.parametrize(
    ("loss", "digest"),
    [
        (Loss.SOFTMAX, "dcb58d89b0e23659b6f46595fa5b3a7a64b604435fc09c1a8b08bfec6b559bad"),
        (Loss.BINARY, "1bebc0704166a7891f3f5a6d25ecd7acc2ac47a32fb8bd373ecc438f46b7cc11"),
        (Loss.SQUARED, "3c627f3001e6487c29fb8908b3b77a5c484aede637a5df6be67c680baf2ac406"),
    ],
)
def test_a_small_run_has_a_known_result(loss: Loss, digest: str) -> None:
    rule = replace(RULE, loss=loss)
    trained = sgd.flatten(sgd.train(rule, *run_of(rule)))
    assert sha256(trained.astype("<i8").tobytes()).hex() == digest


@pytest.mark.parametrize("layers", [(13, 3), (13, 6, 3), (13, 6, 5, 3)])
def test_a_trace_shows_how_each_step_came_about(layers: tuple[int, ...]) -> None:
    rule = replace(RULE, layers=layers)
    weights, x, y = run_of(rule)
    steps = list(sgd.trace(rule, weights, x, y))
    assert len(steps) == rule.steps
    for before, after in pairwise(steps):
        assert after.weights is before.updated
    for k, step in enumerate(steps):
        assert (step.inputs[0][:, :-1] == x[8 * k : 8 * k + 8]).all()
        assert all((rows[:, -1] == 256).all() for rows in step.inputs)
        for layer, W in enumerate(step.weights):
            assert (step.Z[layer] == step.inputs[layer] @ W).all()
            remainder = step.Z[layer] + 2**27 - (step.A[layer] << 28)
            assert ((remainder >= 0) & (remainder < 2**28)).all()
            assert (step.updated[layer] == W - rule.plan.rate_numerator * step.inputs[layer].T @ step.errors[layer]).all()
        for layer in range(rule.depth):
            assert (step.inputs[layer + 1][:, :-1] == np.maximum(step.A[layer], 0)).all()
            assert (step.E[layer] == step.errors[layer + 1] @ step.weights[layer + 1][:-1].T).all()
            assert (step.errors[layer][step.A[layer] < 0] == 0).all()
    assert all((a == b).all() for a, b in zip(steps[-1].updated, sgd.train(rule, weights, x, y), strict=True))


def test_an_error_passes_a_unit_whose_pre_activation_is_zero() -> None:
    weights, x, y = run_of(RULE)
    weights[0][:] = 0
    step = next(sgd.trace(RULE, weights, x, y))
    assert (step.A[0] == 0).all()
    assert (step.errors[0] == sgd.round_half_up(step.E[0], 28)).all()
    assert step.errors[0].any()


def test_training_leaves_its_arguments_alone() -> None:
    weights, x, y = run_of(RULE)
    copies = [W.copy() for W in weights]
    sgd.train(RULE, weights, x, y)
    assert all((a == b).all() for a, b in zip(weights, copies, strict=True))


def test_a_probability_of_one_and_a_right_label_leave_the_weights_alone() -> None:
    rule = Rule((1, 2), Loss.SOFTMAX, 1, 1, Plan.derive(0.5, 1, (1, 2)))
    weights = [np.array([[0, 0], [2**31 - 1, -(2**31) + 1]], dtype=np.int64)]
    trained = sgd.train(rule, weights, np.array([[5]]), np.array([[1, 0]]))
    assert (trained[0] == weights[0]).all()


def _weights(layer: int, value: int) -> Callable[[list[Array], Array, Array], None]:
    def change(weights: list[Array], x: Array, y: Array) -> None:
        weights[layer][:] = value

    return change


def _features(value: int) -> Callable[[list[Array], Array, Array], None]:
    def change(weights: list[Array], x: Array, y: Array) -> None:
        x[3, 2] = value

    return change


def _labels(value: int) -> Callable[[list[Array], Array, Array], None]:
    def change(weights: list[Array], x: Array, y: Array) -> None:
        y[3] = value

    return change


@pytest.mark.parametrize(
    ("loss", "change", "message"),
    [
        (Loss.SOFTMAX, _weights(1, 2**31), r"^the weights given: the weight W of layer 2 spans .*\[-2147483647, 2147483648\)"),
        (Loss.SOFTMAX, _weights(0, -(2**31)), r"^the weights given: the weight W of layer 1"),
        (Loss.SOFTMAX, _features(256), r"^the samples given: a feature spans .* \[0, 256\): scale features into \[0, 1\)"),
        (Loss.SOFTMAX, _features(-1), r"^the samples given: a feature spans \[-1, 255\]"),
        (Loss.SOFTMAX, _labels(2), r"a label spans \[0, 2\].*labels are 0 or 1"),
        (Loss.SOFTMAX, _labels(1), "a label is not one-hot"),
        (Loss.SOFTMAX, _labels(0), "a label is not one-hot"),
        (Loss.BINARY, _labels(-1), r"a label spans \[-1, 1\]"),
        (Loss.SQUARED, _labels(256), r"a target spans .* \[0, 256\): scale targets into \[0, 1\)"),
    ],
)
def test_what_is_given_must_be_in_range(loss: Loss, change: Callable[[list[Array], Array, Array], None], message: str) -> None:
    rule = replace(RULE, loss=loss)
    weights, x, y = run_of(rule)
    change(weights, x, y)
    with pytest.raises(RangeError, match=message):
        sgd.train(rule, weights, x, y)


def test_the_ends_of_every_given_range_are_allowed() -> None:
    rule = replace(RULE, loss=Loss.SQUARED)
    weights, x, y = run_of(rule)
    x[0], x[1], y[0], y[1] = 0, 255, 0, 255
    sgd.train(rule, weights, x, y)


def _one(loss: Loss, *layers: int) -> Rule:
    """One step on one sample; weights of one are 2^28."""
    return Rule(layers, loss, 1, 1, Plan.derive(0.5, 1, layers))


BIG = 2**31 - 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        # Ten features of almost 1 with weights of almost 8 add up to 80, beyond 2^14 / 2^8 = 64.
        (_one(Loss.SQUARED, 10, 1, 1), r"the pre-activation A of layer 1 spans \[20400, 20400\].*\[-16384, 16384\)"),
        (_one(Loss.SQUARED, 10, 1), r"the logit A of layer 1 spans \[20400, 20400\].*\[-16384, 16384\)"),
        (_one(Loss.BINARY, 5, 1), r"the logit A of layer 1 spans \[10200, 10200\].*\[-8192, 8192\)"),
    ],
)
def test_activations_and_logits_stop_training_at_their_range(rule: Rule, message: str) -> None:
    weights = [np.full(shape, BIG, dtype=np.int64) for shape in rule.shapes]
    weights[0][-1] = 0
    x, y = np.full((1, rule.layers[0]), 255), np.zeros((1, 1), dtype=np.int64)
    with pytest.raises(RangeError, match=f"^step 1: {message}: use a smaller learning rate"):
        sgd.train(rule, weights, x, y)


def test_logits_too_far_apart_stop_a_softmax() -> None:
    rule = _one(Loss.SOFTMAX, 5, 2)
    weights = [np.hstack([np.full((6, 1), BIG), np.full((6, 1), -BIG)])]
    with pytest.raises(RangeError, match=r"^step 1: the logit distance max - A of layer 1 spans \[0, 24\d+\]"):
        sgd.train(rule, weights, np.full((1, 5), 255), np.array([[1, 0]]))


def test_large_errors_stop_back_propagation() -> None:
    rule = _one(Loss.SQUARED, 1, 1, 1)
    weights = [np.array([[0], [2**28]]), np.array([[BIG], [0]])]
    # One hidden unit of 1 gives the logit 8; the error 8 comes back eight times larger, beyond 2.
    with pytest.raises(RangeError, match=r"^step 1: the back-propagated error D of layer 1 spans .*\[-8192, 8192\)"):
        sgd.train(rule, weights, np.array([[0]]), np.array([[0]]))


def test_weights_that_grow_too_large_stop_training_at_their_step() -> None:
    # A rate of 4 turns a bias of 1 into -3, then 9; weights are below 8.
    rule = Rule((1, 1), Loss.SQUARED, 1, 4, Plan.derive(4.0, 1, (1, 1)))
    nothing = np.zeros((4, 1), dtype=np.int64)
    with pytest.raises(RangeError, match=r"^step 2: the weight W of layer 1 spans \[0, 2415919104\]"):
        sgd.train(rule, [np.array([[0], [2**28]])], nothing, nothing)


def test_arrays_that_do_not_fit_the_rule_are_refused() -> None:
    weights, x, y = run_of(RULE)
    misfits: list[tuple[tuple[list[Array], Array, Array], str]] = [
        ((weights[:1], x, y), "1 weight matrices: the rule has 2 layers"),
        (([weights[0], weights[1].T], x, y), "the weights of layer 2 are int64 of shape"),
        ((weights, x.astype("float64"), y), "the features are float64 .* the rule takes int64"),
        ((weights, x[:, 1:], y), "the features are int64 of shape"),
        ((weights, x[:0], y[:0]), "the features are int64 of shape"),
        ((weights, x[1:], y[1:]), "23 samples: the rule trains on 3 batches of 8"),
        ((weights, x, y[1:]), "the labels are int64 of shape"),
        ((weights, x, y.astype("uint8")), "the labels are uint8"),
    ]
    for arguments, message in misfits:
        with pytest.raises(RuleError, match=message):
            sgd.train(RULE, *arguments)


def test_inference_counts_right_classes_exactly() -> None:
    weights, x, y = run_of(RULE)
    logits = sgd.forward(RULE, weights, x)
    assert logits.shape == (24, 3)
    assert (sgd.predict(RULE, sgd.forward(RULE, weights, x)) == logits.argmax(axis=1)).all()
    assert sgd.accuracy_counts(RULE, sgd.forward(RULE, weights, x), y) == (int((logits.argmax(axis=1) == y.argmax(axis=1)).sum()), 24)


def test_inference_takes_the_first_of_equal_classes() -> None:
    weights, x, _ = run_of(RULE)
    weights[1][:] = 0
    assert (sgd.predict(RULE, sgd.forward(RULE, weights, x)) == 0).all()


def test_binary_outputs_count_one_by_one() -> None:
    rule = replace(RULE, loss=Loss.BINARY)
    weights, x, y = run_of(rule)
    expected = (sgd.forward(rule, weights, x) > 0) == y
    assert sgd.accuracy_counts(rule, sgd.forward(rule, weights, x), y) == (int(expected.sum()), 72)


def test_regression_sums_squared_errors_without_wrapping() -> None:
    rule = Rule((200, 3), Loss.SQUARED, 1, 1, Plan.derive(0.5, 1, (200, 3)))
    weights = [np.full((201, 3), BIG, dtype=np.int64)]
    x, y = np.full((4, 200), 255), np.zeros((4, 3), dtype=np.int64)
    logit = int(sgd.forward(rule, weights, x)[0, 0])
    assert sgd.squared_error(rule, sgd.forward(rule, weights, x), y) == 12 * logit**2
    assert (sgd.predict(rule, sgd.forward(rule, weights, x)) == logit).all()


def test_a_measure_of_another_loss_is_refused() -> None:
    weights, x, y = run_of(RULE)
    with pytest.raises(RuleError, match="use accuracy_counts"):
        sgd.squared_error(RULE, sgd.forward(RULE, weights, x), y)
    with pytest.raises(RuleError, match="use squared_error"):
        sgd.accuracy_counts(replace(RULE, loss=Loss.SQUARED), sgd.forward(RULE, weights, x), y)


def test_inference_keeps_the_ranges_of_hidden_layers() -> None:
    rule = _one(Loss.SOFTMAX, 10, 2, 2)
    weights = [np.full(shape, BIG, dtype=np.int64) for shape in rule.shapes]
    with pytest.raises(RangeError, match=r"^inference: the pre-activation A of layer 1"):
        sgd.forward(rule, weights, np.full((3, 10), 255))


def test_initial_weights_are_public_randomness_within_the_limit_of_glorot() -> None:
    weights = sgd.initial_weights(RULE, b"seed")
    for W, fans in zip(weights, (19, 9), strict=True):
        limit = np.sqrt(6 / fans) * 2**28
        assert (np.abs(W) <= limit).all()
        assert np.abs(W).max() > 0.9 * limit
        assert (W[-1] == 0).all()
    assert sha256(sgd.flatten(weights).astype("<i8").tobytes()).hex() == "4632dc4f468e3db81ea95152cb7576ff46defa124fd569e84d713d5f18f207f5"
    assert (sgd.flatten(sgd.initial_weights(RULE, b"other")) != sgd.flatten(weights))[:78].all()


def test_initial_weights_need_a_range_that_holds_them() -> None:
    narrow = replace(RULE, plan=replace(RULE.plan, weight_range_bits=20))
    with pytest.raises(RangeError, match=r"^initial weights: the weight W of layer 1"):
        sgd.initial_weights(narrow, b"seed")


def test_weights_become_a_vector_and_back() -> None:
    weights = sgd.initial_weights(RULE, b"seed")
    vector = sgd.flatten(weights)
    assert vector.shape == (RULE.size,)
    assert vector[6] == weights[0][1, 0]
    again = sgd.unflatten(RULE, vector)
    assert all((a == b).all() for a, b in zip(weights, again, strict=True))
    again[0][0, 0] += 1
    assert vector[0] == weights[0][0, 0]
    with pytest.raises(RuleError, match="the weight vector are int64 of shape"):
        sgd.unflatten(RULE, vector[1:])


NINE_TENTHS = Fraction(9, 10)
HISTORY = replace(RULE, plan=Plan.derive(0.125, 8, RULE.layers, history=True), momentum=NINE_TENTHS, decay=Fraction(1, 80))


def test_momentum_and_decay_are_a_sum_over_all_gradients_so_far() -> None:
    weights, x, y = run_of(HISTORY)
    steps = list(sgd.trace(HISTORY, weights, x, y))
    gradients: list[list[Array]] = []
    for k, step in enumerate(steps):
        gradients.append([rows.T @ error for rows, error in zip(step.inputs, step.errors, strict=True)])
        for layer, W in enumerate(weights):
            assert (step.weights[layer] == steps[k - 1].updated[layer]).all() if k else (step.weights[layer] == W << 12).all()
            expected = HISTORY.keeps[k + 1] * W - sum(HISTORY.rates[k + 1 - j] * gradients[j][layer] for j in range(k + 1))
            assert (step.updated[layer] == expected).all()


@pytest.mark.parametrize("momentum", [Fraction(0), NINE_TENTHS])
@pytest.mark.parametrize("decay", [Fraction(0), Fraction(1, 80)])
def test_training_is_the_recurrence_up_to_the_rounding_of_its_coefficients(momentum: Fraction, decay: Fraction) -> None:
    rule = replace(HISTORY, momentum=momentum, decay=decay)
    weights, x, y = run_of(rule)
    steps = list(sgd.trace(rule, weights, x, y))
    rate = rule.plan.rate_numerator
    for layer, W in enumerate(weights):
        exact, velocity = W.astype(float) * 2**12, np.zeros(W.shape)
        most = np.zeros(W.shape)
        for step in steps:
            gradient = (step.inputs[layer].T @ step.errors[layer]).astype(float)
            velocity = float(momentum) * velocity + gradient
            exact = float(1 - decay) * exact - rate * velocity
            most += np.abs(gradient)
        assert (np.abs(steps[-1].updated[layer] - exact) <= (np.abs(W) + most) / 2 + 1).all()


def test_inference_is_that_of_the_first_step_on_the_grid_of_the_model() -> None:
    weights, x, y = run_of(HISTORY)
    step = next(sgd.trace(HISTORY, weights, x, y))
    assert (sgd.forward(HISTORY, weights, x[:8]) == step.A[-1]).all()


DROPOUT = replace(RULE, plan=Plan.derive(0.25, 8, RULE.layers, dropout=5), dropout=5)


@pytest.mark.parametrize("rule", [DROPOUT, replace(DROPOUT, dropout=2), replace(HISTORY, dropout=5)])
def test_dropped_units_are_zero_and_pass_no_error_and_the_others_are_scaled(rule: Rule) -> None:
    weights, x, y = run_of(rule)
    (dropped,) = dropped_units(rule, b"beacon", b"client")
    numerator, bits = (5, 2) if rule.dropout == 5 else (2, 0)
    for k, step in enumerate(sgd.trace(rule, weights, x, y, [dropped])):
        gone = dropped[8 * k : 8 * k + 8] == 1
        assert gone.any()
        assert (step.inputs[1][:, :-1][gone] == 0).all()
        assert (step.errors[0][gone] == 0).all()
        plain = rule.forward_shift(0) - bits
        assert (step.A[0] == (numerator * step.Z[0] + 2 ** (plain + bits - 1)) >> (plain + bits)).all()
        assert (step.inputs[1][:, :-1][~gone] == np.maximum(step.A[0], 0)[~gone]).all()
        real = step.Z[0] / 2**plain * numerator / 2**bits
        assert np.abs(step.A[0] - real).max() <= 0.5


def test_units_that_the_rule_does_not_drop_are_refused() -> None:
    weights, x, y = run_of(DROPOUT)
    with pytest.raises(RuleError, match=r"dropped units of shapes \[\]: the rule drops units of shapes \[\(24, 6\)\]"):
        sgd.train(DROPOUT, weights, x, y)
    with pytest.raises(RuleError, match="dropped units"):
        sgd.train(RULE, weights, x, y, dropped_units(DROPOUT, b"", b""))


def test_the_norm_of_an_update_is_compared_exactly() -> None:
    rule = replace(RULE, norm=Fraction(5, 2**28))
    update = np.zeros(rule.size, dtype=np.int64)
    update[:2] = 3, -4
    sgd.check_norm(rule, update)
    update[-1] = 1
    with pytest.raises(RangeError, match=r"the norm of the update is 1\.89953e-08, above the agreed maximum of 1\.86265e-08"):
        sgd.check_norm(rule, update)
    assert sgd.within_norm(replace(rule, norm=None), update)
    update[:] = 2**45  # squares beyond 64 bits
    assert not sgd.within_norm(replace(rule, norm=Fraction(2**17)), update)
