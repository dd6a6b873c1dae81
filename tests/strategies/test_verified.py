"""``Verified`` around strategies that follow the agreement, and around some that do not."""

import bisect
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from clients.member import IntArray, Trainer
from ledger.agreement import Agreement
from ledger.canonical import dump_vector
from ledger.entries import STATEMENT, Aggregate, Reference, Reveal, RoundEntry, TestResult, Verdict, encode_entry
from ledger.errors import FormatError
from ledger.judge import IntVector
from ledger.log import Log
from ledger.messages import LedgerView, TrainRequest
from ledger.state import RunState
from ledger.verdicts import Reason
from strategies.errors import StrategyError
from strategies.exact_fedavg import ExactFedAvg, to_arrays
from strategies.observer import Observer, RoundReport
from strategies.verified import Verified
from tests.federation import (
    OK,
    SIGNER,
    Contribution,
    Federation,
    LocalMember,
    client,
    federate,
    key_of,
    opening_of,
    recommit,
    samples_of,
    terms,
)
from tests.local_grid import LocalGrid
from zk.field import decode_scalars
from zk.group import Arkworks
from zk.pedersen import commitment_key
from zk.rule import Loss
from zk.sgd import accuracy_counts, flatten, forward, initial_weights, unflatten


@pytest.mark.parametrize("optimizer", ["average", "momentum", "adam", "yogi"])
def test_every_server_optimizer(folder: Path, tmp_path: Path, optimizer: str) -> None:
    """The ledger's models are those of a replay, whoever checked the commitments."""
    agreement = terms(3, 3, aggregation={"optimizer": optimizer, "learning-rate": 0.5 if optimizer != "average" else 1.0})
    run = federate(folder, [client(i) for i in range(3)], agreement=agreement)
    assert len({run.rounds[0].model_before, *run.models()}) == 4
    other = federate(tmp_path / "reference", [client(i) for i in range(3)], agreement=agreement, backend="py_ecc")
    assert other.leaves == run.leaves


def test_server_optimizers_differ(folder: Path) -> None:
    models = {
        name: federate(
            folder / name, [client(i) for i in range(2)], agreement=terms(2, aggregation={"optimizer": name, "learning-rate": 0.5})
        ).models()[-1]
        for name in ("average", "momentum", "adam", "yogi")
    }
    assert len(set(models.values())) == 4


@pytest.mark.parametrize(
    ("loss", "layers"),
    [
        (Loss.SOFTMAX, (3, 2)),
        (Loss.SOFTMAX, (5, 4, 4, 3)),
        (Loss.BINARY, (5, 1)),
        (Loss.BINARY, (5, 4, 2)),
        (Loss.SQUARED, (5, 1)),
        (Loss.SQUARED, (5, 4, 2)),
    ],
)
def test_every_loss(folder: Path, loss: Loss, layers: tuple[int, ...]) -> None:
    run = federate(folder, [client(i) for i in range(3)], agreement=terms(3, 2, layers=layers, training={"loss": loss.value}))
    assert [run.verdicts(1), run.verdicts(2)] == [[OK] * 3] * 2
    assert len(set(run.models())) == 2


def test_clients_of_different_size_weigh_as_they_enrolled(folder: Path) -> None:
    run = federate(folder, [client(0, samples=1), client(1, samples=9), client(2, samples=5)])
    assert [entry.aggregate.samples for entry in run.rounds if entry.aggregate] == [15, 15]


def test_some_of_many_take_part(folder: Path) -> None:
    """Exactly so many in each round, and not always the same."""
    run = federate(folder, [client(i) for i in range(6)], agreement=terms(6, 4, rounds={"participants": 2}))
    chosen = [tuple(verdict is not None for verdict in run.verdicts(number)) for number in (1, 2, 3, 4)]
    assert [sum(who) for who in chosen] == [2, 2, 2, 2]
    assert len(set(chosen)) > 1


def test_only_participants_are_asked_to_train(folder: Path) -> None:
    clients = [client(i) for i in range(4)]
    grid = LocalGrid(clients)
    run = federate(folder, clients, grid=grid, agreement=terms(4, 2, rounds={"participants": 2}))
    asked = [message.metadata.dst_node_id - 100 for message in grid.sent if message.metadata.message_type == MessageType.TRAIN]
    chosen = [position for number in (1, 2) for position, verdict in enumerate(run.verdicts(number)) if verdict]
    assert asked == chosen


class Returns(ExactFedAvg):
    """Aggregates as agreed, and returns something else."""

    def __init__(self, agreement: Agreement, change: Callable[[list[IntArray]], list[IntArray] | None]) -> None:
        super().__init__(agreement)
        self.change = change

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        arrays, metrics = super().aggregate_train(server_round, replies)
        assert arrays is not None
        changed = self.change(arrays.to_numpy_ndarrays())
        return (None if changed is None else ArrayRecord({f"layer-{i}": Array(layer) for i, layer in enumerate(changed)})), metrics


def wrapped(folder: Path, strategy: Callable[[Agreement], Strategy]) -> str:
    """Return the line with which a run around this strategy ends."""
    with pytest.raises(StrategyError) as error:
        Federation(folder, [client(i) for i in range(3)], strategy=strategy).run()
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda layers: [layers[0] + 1, layers[1]], id="one more"),
        pytest.param(lambda layers: [layers[0] * 0, layers[1]], id="zeros"),
        pytest.param(lambda layers: None, id="nothing"),
    ],
)
def test_strategy_that_does_not_aggregate_as_agreed(folder: Path, change: Callable[[list[IntArray]], list[IntArray] | None]) -> None:
    assert "does not aggregate as the agreement says" in wrapped(folder, lambda agreement: Returns(agreement, change))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda layers: layers[:1], id="a layer short"),
        pytest.param(lambda layers: [*layers, layers[0]], id="a layer too many"),
        pytest.param(lambda layers: [layer + 0.25 * np.sign(layer) for layer in layers], id="fractions"),
        pytest.param(lambda layers: [layers[0].reshape(8, 6), layers[1]], id="another shape"),
    ],
)
def test_strategy_that_returns_no_such_model(folder: Path, change: Callable[[list[IntArray]], list[IntArray] | None]) -> None:
    assert "does not aggregate as the agreement says" in wrapped(folder, lambda agreement: Returns(agreement, change))


def test_fedavg_of_flower_is_not_exact(folder: Path) -> None:
    assert "does not aggregate as the agreement says" in wrapped(folder, lambda _: FedAvg(fraction_evaluate=0.0))


class Addresses(ExactFedAvg):
    """Sends its messages to other nodes than it was shown, or to these more than once."""

    def __init__(self, agreement: Agreement, choose: Callable[[list[int]], list[int]]) -> None:
        super().__init__(agreement)
        self.choose = choose

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        content = next(iter(super().configure_train(server_round, arrays, config, grid))).content
        nodes = self.choose(list(grid.get_node_ids()))
        return [Message(content, dst_node_id=node, message_type=MessageType.TRAIN) for node in nodes]


@pytest.mark.parametrize("node", [999, 0])
def test_strategy_that_addresses_a_node_that_was_not_chosen(folder: Path, node: int) -> None:
    line = wrapped(folder, lambda agreement: Addresses(agreement, lambda nodes: [*nodes, node]))
    assert line == f"the wrapped strategy addresses node {node}, which the beacon did not choose"


@pytest.mark.parametrize(
    "choose",
    [
        pytest.param(lambda nodes: nodes[:-1], id="one less"),
        pytest.param(lambda nodes: [], id="nobody"),
        pytest.param(lambda nodes: [*nodes, nodes[0]], id="one twice"),
    ],
)
def test_strategy_that_does_not_ask_each_participant_once(folder: Path, choose: Callable[[list[int]], list[int]]) -> None:
    assert "the wrapped strategy" in wrapped(folder, lambda agreement: Addresses(agreement, choose))


def test_strategy_that_sends_another_model_gets_no_update(folder: Path) -> None:
    """Clients compare the model with the ledger."""

    class Other(ExactFedAvg):
        def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
            layers = arrays.to_numpy_ndarrays()
            other = ArrayRecord({f"layer-{i}": Array(layer + 1) for i, layer in enumerate(layers)})
            return super().configure_train(server_round, other, config, grid)

    run = Federation(folder, [client(i) for i in range(3)], strategy=Other).run()
    assert run.verdicts(1) == [Reason.CLIENT_ERROR] * 3
    assert run.outcome == "too-few-accepted"


class Evaluates(ExactFedAvg):
    """Asks clients to evaluate, and averages what they say as Flower does."""

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        content = RecordDict({"arrays": arrays})
        return [Message(content, dst_node_id=node, message_type=MessageType.EVALUATE) for node in grid.get_node_ids()]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return FedAvg().aggregate_evaluate(server_round, replies)


class Answers(ClientApp):
    """Answers evaluation itself, as a client without TensorFlow would."""

    def __init__(self, inner: ClientApp, metrics: RecordDict) -> None:
        super().__init__()
        self._inner, self._metrics = inner, metrics

    def __call__(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type == MessageType.EVALUATE:
            return Message(self._metrics, reply_to=message)
        return self._inner(message, context)


def accuracy(value: float) -> RecordDict:
    return RecordDict({"metrics": MetricRecord({"accuracy": value, "num-examples": 6})})


def test_clients_evaluate_where_the_strategy_asks_them(folder: Path) -> None:
    clients = [Answers(client(i), accuracy(i / 4)) for i in range(3)]
    run = federate(folder, clients, strategy=Evaluates)
    assert {number: dict(record) for number, record in run.result.evaluate_metrics_clientapp.items()} == {
        1: {"accuracy": 0.25},
        2: {"accuracy": 0.25},
    }


EVALUATIONS: dict[str, dict[str, float | list[float]] | None] = {
    "nothing": None,
    "no weight": {"accuracy": 1.0},
    "a weight that cancels the others": {"accuracy": 1.0, "num-examples": -12},
    "a list": {"accuracy": [1.0], "num-examples": 6},
}


@pytest.mark.parametrize("case", EVALUATIONS)
def test_malformed_evaluation_does_not_end_the_run(folder: Path, case: str) -> None:
    said = EVALUATIONS[case]
    answer = RecordDict() if said is None else RecordDict({"metrics": MetricRecord(said)})  # type: ignore[arg-type]
    clients = [Answers(client(i), accuracy(0.5) if i != 1 else answer) for i in range(3)]
    assert federate(folder, clients, strategy=Evaluates).outcome == "completed"


class Stopping(Observer):
    """Sets the stop event at some point of a run."""

    def __init__(self, at: str) -> None:
        self.at, self.event = at, threading.Event()

    def _at(self, point: str) -> None:
        if point == self.at:
            self.event.set()

    def enrolling(self, clients: int) -> None:
        self._at("enrolling")

    def enrolled(self, state: RunState, refused: list[str]) -> None:
        self._at("enrolled")

    def round_begins(self, number: int, participants: int) -> None:
        self._at(f"begin {number}")

    def round_done(self, report: RoundReport) -> None:
        self._at(f"end {report.entry.round}")


@pytest.mark.parametrize(
    ("at", "rounds", "outcome"),
    [
        ("enrolling", 0, "interrupted"),
        ("enrolled", 0, "interrupted"),
        ("begin 1", 0, "interrupted"),
        ("end 1", 1, "interrupted"),
        ("begin 2", 1, "interrupted"),
        ("end 2", 2, "completed"),
    ],
)
def test_stop_closes_the_ledger(folder: Path, at: str, rounds: int, outcome: str) -> None:
    """Whenever it comes, what is in the ledger stands, and it is closed."""
    observer = Stopping(at)
    run = federate(folder, [client(i) for i in range(3)], observer=observer, stop=observer.event)
    assert (len(run.rounds), run.outcome) == (rounds, outcome)


def test_stop_does_not_wait_for_clients_that_are_silent(folder: Path) -> None:
    stop = threading.Event()

    def order(replies: list[Message]) -> list[Message]:
        if replies and replies[0].metadata.message_type == MessageType.TRAIN:
            threading.Timer(0.05, stop.set).start()
            return replies[1:]
        return replies

    run = federate(folder, [client(i) for i in range(3)], order=order, stop=stop, timeout=60)
    assert (len(run.rounds), run.outcome) == (0, "interrupted")


def test_server_test_result_stands_in_the_ledger(folder: Path) -> None:
    def evaluate(model: IntVector) -> TestResult:
        return TestResult(data="00" * 32, total=10, correct=int(model[0]) % 10)

    run = federate(folder, [client(i) for i in range(2)], evaluate=evaluate)
    assert [entry.test is not None and entry.test.total for entry in run.rounds] == [10, 10]


def test_weights_that_the_server_cannot_evaluate(folder: Path) -> None:
    """Every weight is in its range, and the activations are not: one client must not end the run with that."""
    agreement = terms(3, 1, layers=(60, 4, 3))
    rule, limit = agreement.rule, 1 << agreement.rule.plan.weight_range_bits

    class Inflater(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            _, samples, reply = super().contribute(request, view, weights, trainer)
            update = [limit - 1 - layer for layer in weights]
            blinds = decode_scalars(reply.blinds, len(reply.blinds) // 32)
            return update, samples, recommit(self, update, blinds, reply)

    def evaluate(model: IntVector) -> TestResult:
        x, y = samples_of(9, rule)
        correct, total = accuracy_counts(rule, forward(rule, unflatten(rule, model), np.asarray(x, np.int64)), np.asarray(y, np.int64))
        return TestResult(data="00" * 32, total=total, correct=correct)

    run = Federation(folder, [client(0), client(1, Inflater), client(2)], agreement, evaluate=evaluate).run()
    assert run.verdicts(1) == [OK] * 3
    assert run.rounds[0].test is None


@pytest.mark.parametrize("participants", [1, 20, 100, 200])
def test_largest_round_that_an_agreement_allows_fits_an_entry(participants: int) -> None:
    """Every enrolled client reveals a nonce for round 1, and every participant is refused for the longest reason."""

    def allowed(clients: int) -> bool:
        try:
            terms(clients, 1, rounds={"participants": participants})
        except FormatError:
            return False
        return True

    clients = bisect.bisect_left(range(participants, 10_000), True, key=lambda count: not allowed(count)) + participants - 1
    assert not allowed(clients + 1)
    reference = Reference(digest="00" * 32, size=9999, media_type=STATEMENT)
    longest = max(Reason, key=len)
    entry = RoundEntry(
        round=100_000,
        reveals=tuple(Reveal(client=number, nonce="00" * 32) for number in range(clients)),
        withheld=(),
        beacon="00" * 32,
        model_before="00" * 32,
        model_after=reference,
        verdicts=tuple(Verdict(client=clients - 1 - number, reason=longest, contribution=reference) for number in range(participants)),
        aggregate=Aggregate(samples=2**53 - 1, sum=reference, blinds=reference),
        test=TestResult(data="00" * 32, total=2**53 - 1, squared_error=2**53 - 1),
    )
    assert len(encode_entry(entry)) <= 65_535


def verified(folder: Path, agreement: Agreement, model: IntVector | None = None) -> Verified:
    log = Log.open(folder, SIGNER, create=True)
    first = flatten(initial_weights(agreement.rule, bytes(32))) if model is None else model
    return Verified(ExactFedAvg(agreement), log, opening_of(agreement), first, commitment_key(Arkworks, agreement.row_width))


def test_log_of_another_run_is_not_used(folder: Path) -> None:
    verified(folder, terms()).recorder.log.close()
    with pytest.raises(StrategyError, match="the ledger already has 1 entries of another run"):
        verified(folder, terms(4))


def test_first_model_must_be_the_one_of_entry_0(folder: Path) -> None:
    with pytest.raises(StrategyError, match="the first model is not the one that the agreement's entry names"):
        verified(folder, terms(), np.zeros(75, np.int64))


def test_number_of_rounds_is_the_agreements(folder: Path) -> None:
    strategy = verified(folder, terms(2, 2))
    with pytest.raises(StrategyError, match="num_rounds is 3, but the agreement says 2 rounds"):
        strategy.start(LocalGrid([]), num_rounds=3)


def test_rounds_are_run_by_start_alone(folder: Path) -> None:
    strategy = verified(folder, terms())
    with pytest.raises(StrategyError, match="no round is in progress"):
        strategy.configure_train(1, ArrayRecord(), ConfigRecord(), LocalGrid([]))
    with pytest.raises(StrategyError, match="no round is in progress"):
        strategy.aggregate_train(1, [])


def test_flower_sees_the_last_model_as_the_result(folder: Path) -> None:
    run = federate(folder, [client(i) for i in range(3)])
    assert run.result.arrays is not None
    vector = flatten([np.asarray(layer) for layer in run.result.arrays.to_numpy_ndarrays()])
    assert Reference.of(to_bytes(run.agreement, vector), "application/x-npy") == run.rounds[-1].model_after
    assert dict(run.result.train_metrics_clientapp[1]) == {"num-examples": 18}


def to_bytes(agreement: Agreement, vector: IntVector) -> bytes:
    assert list(to_arrays(agreement.rule, vector)) == ["layer-0", "layer-1"]
    return dump_vector(vector)


def test_client_numbers_follow_the_keys(folder: Path) -> None:
    run = federate(folder, [client(i) for i in range(4)])
    assert run.state.keys == sorted(key_of(i) for i in range(4))


def test_flower_evaluation_function_is_called(folder: Path) -> None:
    agreement = terms(2, 2)
    strategy = verified(folder, agreement)
    result = strategy.start(
        LocalGrid([client(i) for i in range(2)]), evaluate_fn=lambda number, arrays: MetricRecord({"layers": len(list(arrays))})
    )
    assert {number: dict(record) for number, record in result.evaluate_metrics_serverapp.items()} == {1: {"layers": 2}, 2: {"layers": 2}}
