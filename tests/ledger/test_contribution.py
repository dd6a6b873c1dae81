"""What updates are worth: the evaluation set, the game of a round, copies, and the noise of a score."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger.agreement import Agreement, complete
from ledger.canonical import digest, dump_vector
from ledger.contribution import Round, Scoring, _score, copies, game_of
from ledger.entries import SCALARS, TENSOR, Aggregate, Reference, RoundEntry, Verdict
from ledger.errors import FormatError, VerificationError
from ledger.evaluation import Evaluation, encode_evaluation
from ledger.settlement import Score
from ledger.shapley import Values
from ledger.verdicts import Reason
from strategies.exact_fedavg import server_optimizer
from zk.rule import Loss
from zk.sgd import flatten, forward, initial_weights

SAMPLES = 40
IntVector = np.ndarray[Any, np.dtype[np.int64]]
LOSSES = {"softmax-cross-entropy": (5, 8, 3), "binary-cross-entropy": (5, 8, 2), "mean-squared-error": (5, 4, 1)}


def evaluation_data(layers: tuple[int, ...], loss: str, samples: int = SAMPLES) -> bytes:
    rng = np.random.default_rng(1)
    x, outputs = rng.integers(0, 256, (samples, layers[0])), layers[-1]
    if loss == "softmax-cross-entropy":
        return encode_evaluation(x, np.eye(outputs, dtype=np.int64)[rng.integers(0, outputs, samples)])
    return encode_evaluation(x, rng.integers(0, 2 if loss == "binary-cross-entropy" else 256, (samples, outputs)))


def agreed(loss: str = "softmax-cross-entropy", data: bytes | None = None, **sections: Any) -> Agreement:  # noqa: ANN401
    layers = LOSSES[loss]
    settlement = {
        "epoch": 2,
        "evaluation": digest(evaluation_data(layers, loss) if data is None else data),
        "pot": 100,
        **sections.pop("settlement", {}),
    }
    fields = {
        "federation": {"name": "x", "clients": 4},
        "model": {"layers": list(layers), "seed": bytes(32).hex()},
        "training": {"loss": loss, "batch": 2, "local-steps": 2},
        "rounds": {"participants": 4},
        "proof": {"kind": "none"},
        "settlement": settlement,
    }
    return complete({**fields, **sections})


def evaluation(loss: str = "softmax-cross-entropy") -> Evaluation:
    return Evaluation.decode(evaluation_data(LOSSES[loss], loss), agreed(loss))


# ---- the evaluation set


@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_is_worth_what_its_predictions_are(loss: str) -> None:
    known, rule = evaluation(loss), agreed(loss).rule
    weights = initial_weights(rule, bytes(32))
    A = forward(rule, weights, known.x.astype(np.int64))
    one = float(1 << rule.plan.output_error_bits)
    z = A / 2**rule.plan.logit_bits
    match rule.loss:
        case Loss.SOFTMAX:
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        case Loss.BINARY:
            p = 1 / (1 + np.exp(-z))
        case Loss.SQUARED:
            p, one = A, 1.0
    expected = -((p * one - known.y * one) ** 2).sum(axis=1)
    tolerance = 0 if rule.loss == Loss.SQUARED else 8 * one  # one unit of each probability
    assert np.abs(known.utility(flatten(weights)) - expected).max() <= tolerance


@pytest.mark.parametrize("loss", LOSSES)
def test_every_model_has_a_worth(loss: str) -> None:
    known, rule = evaluation(loss), agreed(loss).rule
    limit = (1 << rule.plan.weight_range_bits) - 1
    for sign in (-1, 1):
        worth = known.utility(np.full(rule.size, sign * limit, dtype=np.int64))
        assert worth.shape == (SAMPLES,)
        assert (worth <= 0).all()


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    known, rule = evaluation(), agreed().rule
    model = flatten(initial_weights(rule, bytes(32)))
    whole = known.utility(model)
    monkeypatch.setattr("ledger.evaluation._ROWS", 7)
    assert (known.utility(model) == whole).all()


def test_the_file_is_one_tensor_that_numpy_reads(tmp_path: Path) -> None:
    data = evaluation_data((5, 8, 3), "softmax-cross-entropy")
    (tmp_path / "set.npy").write_bytes(data)
    table = np.load(tmp_path / "set.npy").reshape(-1, 8)
    read = Evaluation.read(tmp_path / "set.npy", agreed())
    assert (table[:, :5] == read.x).all()
    assert (table[:, 5:] == read.y).all()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.npy").write_bytes(evaluation_data((5, 8, 3), "softmax-cross-entropy", 41))
    with pytest.raises(VerificationError, match="not the evaluation set that the agreement names"):
        Evaluation.read(tmp_path / "set.npy", agreed())
    with pytest.raises(FormatError, match="cannot read the evaluation set"):
        Evaluation.read(tmp_path / "missing.npy", agreed())


def rows(values: list[list[int]]) -> bytes:
    return dump_vector(np.array(values, dtype=np.int64).ravel())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tensor",
        rows([[1] * 7] * 3),
        rows([[1, 1, 1, 1, 1, 1, 0, 0]]),
        rows([[1, 1, 1, 1, 1, 1, 1, 0]] * 2),
        rows([[256, 1, 1, 1, 1, 1, 0, 0]] * 2),
    ],
    ids=["empty", "garbage", "cut", "one row", "no one-hot label", "feature out of range"],
)
def test_what_is_no_evaluation_set_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="evaluation set"):
        Evaluation.decode(data, agreed(data=data))


def test_an_agreement_without_settlements_needs_none() -> None:
    fields = agreed().to_json()
    del fields["settlement"]
    with pytest.raises(VerificationError, match="no settlements"):
        Evaluation.decode(b"", complete(fields))


# ---- the game of a round


def direction(seed: int, size: int, scale: int = 1 << 22) -> IntVector:
    return np.random.default_rng(seed).integers(-scale, scale, size, dtype=np.int64)


def round_of(agreement: Agreement, updates: dict[int, IntVector], *, number: int = 1, aggregate: bool = True) -> Round:
    rule = agreement.rule
    model = flatten(initial_weights(rule, bytes(32)))
    nothing = Reference(digest="00" * 32, size=1, media_type=TENSOR)
    samples = {client: 10 * (client + 1) for client in updates}
    entry = RoundEntry(
        round=number,
        reveals=(),
        withheld=(),
        beacon="be" * 32,
        model_before="00" * 32,
        model_after=nothing,
        verdicts=tuple(Verdict(client=client, reason=Reason.ACCEPTED) for client in updates),
        aggregate=Aggregate(samples=sum(samples.values()), sum=nothing, blinds=Reference(digest="00" * 32, size=1, media_type=SCALARS))
        if aggregate
        else None,
        test=None,
    )
    return Round(entry, model, server_optimizer(agreement), updates, samples)


@pytest.mark.parametrize("optimizer", ["average", "momentum", "adam"])
def test_everybody_together_are_worth_the_round_itself(optimizer: str) -> None:
    agreement = agreed(aggregation={"optimizer": optimizer, "learning-rate": 0.01})
    updates = {client: direction(client, agreement.rule.size) for client in range(3)}
    done, known = round_of(agreement, updates), evaluation()
    game = game_of(done, [0, 1, 2], known)
    total = sum(10 * (client + 1) * update for client, update in updates.items())
    assert (game[0b111] == known.utility(server_optimizer(agreement).step(done.model, np.asarray(total), 60))).all()
    assert (game[0] == known.utility(server_optimizer(agreement).step(done.model, np.zeros_like(done.model), 60))).all()


def test_worths_do_not_depend_on_what_was_asked_before() -> None:
    agreement = agreed()
    done = round_of(agreement, {client: direction(client, agreement.rule.size) for client in range(4)})
    one, other = (game_of(done, [0, 1, 2, 3], evaluation()) for _ in range(2))
    asked = list(range(16))
    up = {coalition: one[coalition] for coalition in asked}
    down = {coalition: other[coalition] for coalition in reversed(asked)}
    assert all((up[coalition] == down[coalition]).all() for coalition in asked)


@pytest.mark.parametrize("method", ["shapley", "gtg-shapley", "leave-one-out"])
def test_a_free_rider_that_sends_zeros_is_worth_exactly_nothing(method: str) -> None:
    agreement = agreed(settlement={"method": method})
    updates = {client: direction(client, agreement.rule.size) for client in range(4)}
    updates[2] = np.zeros(agreement.rule.size, dtype=np.int64)
    scoring = Scoring(agreement, evaluation())
    scoring.add(round_of(agreement, updates))
    assert scoring.scores()[2] == Score(0, 0)
    assert scoring.scores()[0] != Score(0, 0)


def test_an_epoch_adds_up_its_rounds_and_the_next_begins_anew() -> None:
    agreement = agreed()
    size = agreement.rule.size
    scoring = Scoring(agreement, evaluation())
    first = scoring.add(round_of(agreement, {0: direction(0, size), 1: direction(1, size)}))
    second = scoring.add(round_of(agreement, {1: direction(2, size), 2: direction(3, size), 3: direction(4, size)}, number=2))
    scores = scoring.scores()
    assert sorted(scores) == [0, 1, 2, 3]
    whole = sum(values.totals()[0] * (12 // values.denominator) for values in (first[1], second[1]))
    assert scores[1].value == whole // 12
    scoring.settled()
    assert scoring.scores() == {}


def test_a_round_without_an_aggregate_scores_nothing() -> None:
    agreement = agreed()
    scoring = Scoring(agreement, evaluation())
    assert scoring.add(round_of(agreement, {0: direction(0, agreement.rule.size)}, aggregate=False)) == {}


def test_where_proofs_are_asked_for_later_only_the_proved_play() -> None:
    agreement = agreed(proof={"rate": 0.5})
    done = round_of(agreement, {client: direction(client, agreement.rule.size) for client in range(3)})
    proof = Reference(digest="00" * 32, size=1, media_type="application/json")
    verdicts = tuple(v.model_copy(update={"proof": proof if v.client == 1 else None}) for v in done.entry.verdicts)
    done = Round(done.entry.model_copy(update={"verdicts": verdicts}), done.model, done.optimizer, done.updates, done.samples)
    scoring = Scoring(agreement, evaluation())
    scoring.add(done)
    assert list(scoring.scores()) == [1]


# ---- copies


def test_a_copy_and_its_original_are_found_and_nobody_else() -> None:
    one, other = direction(0, 5000), direction(1, 5000)
    assert copies({0: one, 1: other, 2: one}, [], 99) == {0, 2}
    assert copies({0: one, 1: other, 2: -one}, [], 99) == set()
    assert copies({0: one, 1: other, 2: 3 * one // 2}, [], 99) == {0, 2}


def test_of_one_that_repeats_the_round_before_the_later_is_the_copy() -> None:
    one, other = direction(0, 5000), direction(1, 5000)
    assert copies({0: one, 1: other}, [one], 99) == {0}


def test_zeros_are_nobodys_copy() -> None:
    zero = np.zeros(5000, dtype=np.int64)
    assert copies({0: zero, 1: zero, 2: direction(0, 5000)}, [zero], 99) == set()


@pytest.mark.parametrize(("noise", "copied"), [(0.0, True), (0.05, True), (0.3, False)])
def test_a_disguised_copy_is_found_up_to_the_agreed_similarity(noise: float, copied: bool) -> None:
    one = direction(0, 20_000)
    disguise = (noise * direction(1, 20_000)).astype(np.int64)
    assert copies({0: one, 1: one + disguise}, [], 99) == ({0, 1} if copied else set())


def test_cosines_of_long_updates_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    one = direction(0, 1000, 1 << 44)
    assert copies({0: one, 1: one}, [], 100) == {0, 1}
    monkeypatch.setattr("ledger.contribution._BLOCK", 7)
    assert copies({0: one, 1: one}, [], 100) == {0, 1}


def test_copies_do_not_score() -> None:
    agreement = agreed()
    size = agreement.rule.size
    scoring = Scoring(agreement, evaluation())
    one = direction(0, size)
    scoring.add(round_of(agreement, {0: one, 1: direction(1, size), 2: one}))
    assert list(scoring.scores()) == [1]
    scoring.add(round_of(agreement, {2: direction(1, size), 3: direction(2, size)}, number=2))  # the one repeats the round before
    assert list(scoring.scores()) == [1, 3]


def test_what_was_proved_is_no_copy() -> None:
    agreement = agreed(proof={"kind": "training"})
    one = direction(0, agreement.rule.size)
    scoring = Scoring(agreement, evaluation())
    scoring.add(round_of(agreement, {0: one, 1: one}))
    assert list(scoring.scores()) == [0, 1]


# ---- noise


def test_the_standard_error_is_that_of_the_sum() -> None:
    drawn = np.random.default_rng(0).integers(-1000, 1000, 200)
    score = _score(Values([drawn.astype(np.int64)], 1))
    expected = np.sqrt(len(drawn)) * drawn.std(ddof=1)
    assert score.value == drawn.sum()
    assert expected <= score.error <= expected + 1


def test_scores_are_rounded_against_who_is_paid() -> None:
    assert _score(Values([np.array([5, 5])], 3)) == Score(3, 0)
    assert _score(Values([np.array([-5, -5])], 3)) == Score(-4, 0)
    assert _score(Values([np.array([0, 1])], 3)) == Score(0, 1)
