"""The Flower side of a client: what it answers, what it remembers, and that an error leaves its memory alone."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

from clients.app import client_app
from clients.errors import MemberError
from clients.member import Member
from clients.state import recall, remember
from ledger.beacon import batch_indices
from ledger.canonical import dump_vector
from ledger.entries import TENSOR, Reference, decode_contribution
from ledger.errors import FormatError
from ledger.log import Log
from ledger.messages import RECORD, EnrolReply, LedgerView, RevealRequest, TrainReply
from strategies.recorder import Recorder
from tests.federation import OK, SIGNER, Federation, client, data_of, federate, key_of, opening_of, samples_of, secret, terms
from tests.local_grid import LocalGrid
from zk.rule import Loss
from zk.sgd import flatten, initial_weights, train, unflatten


def member_of(context: Context, number: int = 0) -> Member:
    """Return a client as deployed: it trains with the TensorFlow path."""
    _, state = recall(context)
    return Member(secret(number), partial(data_of, number), state, deterministic=True)


def context() -> Context:
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})


def ask(kind: str, content: RecordDict, where: Context) -> Message:
    LocalGrid([])  # gives messages their task
    return client_app(member_of)(Message(content, dst_node_id=1, message_type=kind), where)


@pytest.fixture
def recorder(folder: Path) -> Recorder:
    agreement = terms(1)
    model = flatten(initial_weights(agreement.rule, bytes(32)))
    return Recorder(Log.open(folder, SIGNER, create=True), opening_of(agreement), model)


def shown(recorder: Recorder) -> RecordDict:
    return RecordDict({RECORD: ConfigRecord(recorder.view(1, 0).to_fields())})


def test_federation_with_the_tensorflow_path_equals_the_specification(folder: Path, tmp_path: Path) -> None:
    """Real clients: the ledger is the same, to the byte, as that of clients that train in NumPy."""
    clients = [client_app(partial(member_of, number=number)) for number in range(2)]
    run = federate(folder, clients)
    assert [run.verdicts(1), run.verdicts(2)] == [[OK, OK]] * 2
    assert run.leaves == Federation(tmp_path / "numpy", [client(0), client(1)]).run().leaves


def test_enrolment_is_remembered(recorder: Recorder) -> None:
    where = context()
    reply = ask("query.enrol", shown(recorder), where)
    EnrolReply.from_fields(reply.content.config_records[RECORD])
    kept, state = recall(where)
    assert kept == secret(0)
    assert state is not None
    assert state.last() == recorder.checkpoint()


def test_memory_survives_the_context(recorder: Recorder) -> None:
    where = context()
    ask("query.enrol", shown(recorder), where)
    member = member_of(where)
    other = context()
    remember(member, other)
    assert recall(other) == recall(where)


def test_nothing_is_remembered_before_enrolment() -> None:
    where = context()
    assert recall(where) == (None, None)
    remember(member_of(where), where)
    assert recall(where) == (None, None)


def test_damaged_memory_is_said_so() -> None:
    where = context()
    where.state["lunaria-member"] = ConfigRecord({"secret": "not bytes"})
    with pytest.raises(MemberError, match="the client's memory is damaged"):
        recall(where)


def test_refusal_leaves_the_memory_as_it_was(recorder: Recorder) -> None:
    where = context()
    ask("query.enrol", shown(recorder), where)
    before = recall(where)
    record = ConfigRecord({**RevealRequest(1).to_fields(), **recorder.view(1, 0).to_fields(), "old_size": 1})
    with pytest.raises(MemberError):
        ask("query.reveal", RecordDict({RECORD: record}), where)
    assert recall(where) == before


@pytest.mark.parametrize("kind", ["query.enrol", "query.reveal", MessageType.TRAIN])
def test_message_without_its_fields_is_refused_in_one_line(recorder: Recorder, kind: str) -> None:
    where = context()
    ask("query.enrol", shown(recorder), where)
    with pytest.raises(FormatError, match="the message lacks"):
        ask(kind, RecordDict({RECORD: ConfigRecord({"round": 1, "clients": [0], "nonces": [b""]})}), where)


@pytest.mark.parametrize("kind", ["query.enrol", "query.reveal", MessageType.TRAIN])
def test_message_without_its_record_is_refused_in_one_line(recorder: Recorder, kind: str) -> None:
    where = context()
    ask("query.enrol", shown(recorder), where)
    with pytest.raises((FormatError, MemberError)):
        ask(kind, RecordDict(), where)


@pytest.mark.parametrize("loss", list(Loss))
def test_evaluation_on_the_clients_own_data(folder: Path, loss: Loss) -> None:
    agreement = terms(1, training={"loss": loss.value})
    model = initial_weights(agreement.rule, bytes(32))
    recorder = Recorder(Log.open(folder, SIGNER, create=True), opening_of(agreement), flatten(model))
    where = context()
    ask("query.enrol", shown(recorder), where)
    arrays = ArrayRecord({f"layer-{i}": Array(layer) for i, layer in enumerate(model)})
    metrics = dict(ask(MessageType.EVALUATE, RecordDict({"arrays": arrays}), where).content.metric_records["metrics"])
    assert metrics["num-examples"] == 6
    score = metrics["squared-error" if loss == Loss.SQUARED else "accuracy"]
    assert isinstance(score, float)
    assert score >= 0
    assert loss == Loss.SQUARED or score <= 1


def test_update_is_the_difference_that_was_signed(folder: Path) -> None:
    """Weights are not what is sent: the update is, layer by layer, as int64."""
    sent: list[Message] = []

    def order(replies: list[Message]) -> list[Message]:
        sent.extend(deepcopy(replies))  # the server keeps of a message what the wrapped strategy is to see
        return replies

    agreement = terms(1, 1)
    run = Federation(folder, [client_app(member_of)], agreement, order=order).run()
    (reply,) = [message for message in sent if message.metadata.message_type == MessageType.TRAIN]
    update = reply.content.array_records["arrays"].to_numpy_ndarrays()
    assert [(str(layer.dtype), layer.shape) for layer in update] == [("int64", (6, 8)), ("int64", (9, 3))]
    statement = decode_contribution(TrainReply.from_fields(reply.content.config_records[RECORD]).statement).statement
    assert statement.update == Reference.of(dump_vector(flatten(update)), TENSOR)
    first = flatten(initial_weights(agreement.rule, bytes(32)))
    assert run.rounds[0].model_after == Reference.of(dump_vector(first + flatten(update)), TENSOR)
    x, y = samples_of(0, agreement.rule)
    indices = batch_indices(run.rounds[0].beacon, key_of(0), 6, agreement.rule.samples)
    trained = train(agreement.rule, unflatten(agreement.rule, first), np.asarray(x[indices]), np.asarray(y[indices]))
    assert (flatten(trained) - first == flatten(update)).all()


def test_view_has_room_for_every_field(recorder: Recorder) -> None:
    view = recorder.view(1, 0)
    assert LedgerView.from_fields(ConfigRecord(view.to_fields())) == view
