"""Clients that answer nothing, too often, with an error, or in another's place."""

import random
import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.member import IntArray, Trainer
from ledger.messages import LedgerView, RevealReply, RevealRequest, TrainRequest
from ledger.verdicts import Reason
from strategies.exchange import exchange
from tests.federation import OK, Content, Contribution, Federation, LocalMember, Run, Tampered, client, federate, refused, terms
from tests.local_grid import LocalGrid

NODE = 101  # of the client at position 1


def trained(replies: list[Message]) -> bool:
    """Whether these are the replies to a request to train."""
    return all(reply.metadata.message_type == "train" for reply in replies)


def once(edit: Callable[[list[Message]], list[Message]]) -> Callable[[list[Message]], list[Message]]:
    """Edit the replies of the first training round only."""
    done: list[bool] = []

    def order(replies: list[Message]) -> list[Message]:
        if not replies or not trained(replies) or done:
            return replies
        done.append(True)
        return edit(replies)

    return order


def copied(reply: Message, change: Callable[[Content], None] = lambda content: None) -> Message:
    """Return another message with an equal content, changed or not."""
    copy = deepcopy(reply)
    change(copy.content)
    return copy


def from_node(node: int, message: Message) -> Message:
    message.metadata.__dict__["_src_node_id"] = node
    return message


def test_ten_equal_replies_count_once(folder: Path, tmp_path: Path) -> None:
    def edit(replies: list[Message]) -> list[Message]:
        return [*replies, *(copied(reply) for reply in replies if reply.metadata.src_node_id == NODE for _ in range(9))]

    run = federate(folder, [client(i) for i in range(3)], order=once(edit))
    assert run.verdicts(1) == [OK, OK, OK]
    assert run.models() == federate(tmp_path / "plain", [client(i) for i in range(3)]).models()


def other_update(content: Content) -> None:
    layers = content.array_records["arrays"].to_numpy_ndarrays()
    layers[0][0, 0] += 1
    content["arrays"] = ArrayRecord({f"layer-{i}": Array(layer) for i, layer in enumerate(layers)})


def other_weight(content: Content) -> None:
    content["metrics"] = MetricRecord({"num-examples": 60})


def other_type(content: Content) -> None:
    content["arrays"] = ArrayRecord([layer.astype(float) for layer in content.array_records["arrays"].to_numpy_ndarrays()])


def no_statement(content: Content) -> None:
    del content["metrics"]


@pytest.mark.parametrize("change", [other_update, other_weight, other_type, no_statement])
@pytest.mark.parametrize("first", [True, False], ids=["before the good one", "after the good one"])
def test_different_replies_of_one_client_are_none(folder: Path, change: Callable[[Content], None], first: bool) -> None:
    def edit(replies: list[Message]) -> list[Message]:
        more = [copied(reply, change) for reply in replies if reply.metadata.src_node_id == NODE]
        return [*more, *replies] if first else [*replies, *more]

    refused(federate(folder, [client(i) for i in range(3)], order=once(edit)), Reason.DUPLICATE)


def test_ten_different_replies_of_one_client(folder: Path) -> None:
    def edit(replies: list[Message]) -> list[Message]:
        mine = next(reply for reply in replies if reply.metadata.src_node_id == NODE)
        for number in range(9):
            more = copied(mine)
            layers = more.content.array_records["arrays"].to_numpy_ndarrays()
            layers[1][0, 0] += number
            more.content["arrays"] = ArrayRecord({f"layer-{i}": Array(layer) for i, layer in enumerate(layers)})
            replies = [*replies, more]
        return replies

    refused(federate(folder, [client(i) for i in range(3)], order=once(edit)), Reason.DUPLICATE)


def test_reply_and_error_of_one_client(folder: Path) -> None:
    def edit(replies: list[Message]) -> list[Message]:
        mine = next(reply for reply in replies if reply.metadata.src_node_id == NODE)
        error = deepcopy(mine)
        error.__dict__.update(_content=None, _error=Error(code=1, reason="second thoughts"))
        return [error, *replies]

    refused(federate(folder, [client(i) for i in range(3)], order=once(edit)), Reason.DUPLICATE)


@pytest.mark.parametrize("content", ["a client's", "none"])
def test_reply_of_an_unknown_node_is_ignored(folder: Path, tmp_path: Path, content: str) -> None:
    def order(replies: list[Message]) -> list[Message]:
        if not replies:
            return replies
        stranger = from_node(999, copied(replies[0]))
        if content == "none":
            stranger.__dict__.update(_content=RecordDict())
        return [stranger, *replies] if trained(replies) else [*replies, stranger]

    run = federate(folder, [client(i) for i in range(3)], order=order)
    assert [run.verdicts(1), run.verdicts(2)] == [[OK] * 3] * 2
    assert run.models() == federate(tmp_path / "plain", [client(i) for i in range(3)]).models()


def test_member_that_was_not_asked_is_ignored(folder: Path) -> None:
    """The beacon chose two of three; the third sends what one of them sent."""

    def order(replies: list[Message]) -> list[Message]:
        if not replies or not trained(replies):
            return replies
        (absent,) = {100, 101, 102} - {reply.metadata.src_node_id for reply in replies}
        return [from_node(absent, copied(replies[0])), *replies]

    run = federate(folder, [client(i) for i in range(3)], agreement=terms(3, 3, rounds={"participants": 2}), order=order)
    for number in (1, 2, 3):
        assert sorted(run.verdicts(number), key=str) == [None, OK, OK]


@pytest.mark.parametrize("message", ["no such luck", "", "two\nlines \x1b[31mred", "ü" * 5000])
def test_client_that_raises(folder: Path, message: str) -> None:
    class Raiser(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            if request.round == 1:
                raise RuntimeError(message)
            return super().contribute(request, view, weights, trainer)

    refused(federate(folder, [client(0), client(1, Raiser), client(2)]), Reason.CLIENT_ERROR)


def test_client_that_raises_when_it_is_to_reveal(folder: Path) -> None:
    class Raiser(LocalMember):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            raise RuntimeError("not today")

    run = Federation(folder, [client(0), client(1, Raiser), client(2)]).run()
    run.check()
    for entry in run.rounds:
        assert [run.state.keys[number] for number in entry.withheld] in ([run.clients[1]], [])
    assert [run.verdicts(1)[0], run.verdicts(1)[2]] == [OK, OK]
    assert run.outcome == "completed"


def silent(*kinds: str) -> Callable[[list[Message]], list[Message]]:
    """Drop what node 101 says to messages of these kinds."""
    return lambda replies: [r for r in replies if r.metadata.src_node_id != NODE or r.metadata.message_type not in kinds]


def test_client_that_answers_nothing(folder: Path) -> None:
    """Enrolled, and gone."""
    order = silent("train", "query.reveal")
    run = federate(folder, [client(i) for i in range(3)], order=order, timeout=0.2)
    assert [run.verdicts(1), run.verdicts(2)] == [[OK, Reason.NO_REPLY, OK]] * 2
    first, second = run.rounds
    assert [run.state.keys[number] for number in first.withheld] == [run.clients[1]]
    assert second.withheld == ()  # nobody can withhold a nonce that it never committed to
    assert run.outcome == "completed"


def test_client_that_is_not_there_when_enrolment_begins(folder: Path) -> None:
    run = federate(folder, [client(i) for i in range(3)], order=silent("query.enrol"), timeout=0.2)
    assert len(run.state.members) == 2
    assert [run.verdicts(1), run.verdicts(2)] == [[OK, None, OK]] * 2


@pytest.mark.parametrize(("kind", "times"), [("query.reveal", 1), ("train", 2)])
def test_client_whose_replies_were_lost_comes_back(folder: Path, kind: str, times: int) -> None:
    lost: list[bool] = []

    def order(replies: list[Message]) -> list[Message]:
        if len(lost) == times or not replies or replies[0].metadata.message_type != kind:
            return replies
        lost.append(True)
        return silent(kind)(replies)

    run = federate(folder, [client(i) for i in range(3)], agreement=terms(3, 3), order=order, timeout=0.2)
    assert run.verdicts(3) == [OK, OK, OK]


def test_client_whose_update_was_lost_once_comes_back(folder: Path) -> None:
    run = federate(folder, [client(i) for i in range(3)], order=once(silent("train")), timeout=0.2)
    refused(run, Reason.NO_REPLY)


def run_of_four(folder: Path, order: Callable[[list[Message]], list[Message]]) -> Run:
    return federate(folder, [client(i) for i in range(4)], agreement=terms(4, 2, rounds={"participants": 3}), order=order)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_order_of_replies_changes_nothing(tmp_path_factory: pytest.TempPathFactory, folder: Path, seed: int) -> None:
    """Same entries to the byte, whatever comes first."""
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret

    def shuffled(replies: list[Message]) -> list[Message]:
        return rng.sample(replies, len(replies))

    here = tmp_path_factory.mktemp("runs")
    assert run_of_four(here / "shuffled", shuffled).leaves == run_of_four(here / "plain", list).leaves


@pytest.mark.parametrize("positions", [(3, 2, 1, 0), (1, 3, 0, 2)])
def test_order_of_clients_changes_nothing(folder: Path, tmp_path: Path, positions: tuple[int, ...]) -> None:
    agreement = terms(4, 2, rounds={"participants": 3})
    run = Federation(folder, [client(position) for position in positions], agreement).run()
    assert run.leaves == Federation(tmp_path / "plain", [client(i) for i in range(4)], agreement).run().leaves


def test_replies_that_trickle_in(folder: Path, tmp_path: Path) -> None:
    """One at a time, the first ones late."""
    kept: list[Message] = []

    class Slow(LocalGrid):
        def pull_messages(self, message_ids: object) -> list[Message]:
            kept.extend(super().pull_messages(message_ids))  # type: ignore[arg-type]
            return [kept.pop()] if kept else []

    run = federate(folder, [client(i) for i in range(3)], grid=Slow([client(i) for i in range(3)]))
    assert run.leaves == federate(tmp_path / "plain", [client(i) for i in range(3)]).leaves


def test_exchange_sends_each_message_once() -> None:
    grid = LocalGrid([])
    assert exchange(grid, [], 0.1, threading.Event(), lambda message, node: message) == []
    assert grid.sent == []


def test_replies_with_every_round_bad_end_with_the_first_model(folder: Path) -> None:
    """Nothing accepted, nothing changed; the ledger says who did what."""
    clients = [Tampered(client(i), lambda _: RecordDict(), rounds=(1, 2)) for i in range(3)]
    run = federate(folder, clients, agreement=terms(3, 2, rounds={"minimum-accepted": 0}))
    assert [run.verdicts(1), run.verdicts(2)] == [[Reason.MALFORMED] * 3] * 2
    assert run.models() == [run.rounds[0].model_before] * 2
    assert run.outcome == "completed"


def test_one_empty_round_and_a_good_one(folder: Path) -> None:
    clients = [Tampered(client(i), lambda _: RecordDict()) for i in range(3)]
    run = federate(folder, clients, agreement=terms(3, 2, rounds={"minimum-accepted": 0}))
    assert [run.verdicts(1), run.verdicts(2)] == [[Reason.MALFORMED] * 3, [OK] * 3]
    first, second = run.rounds
    assert first.aggregate is None
    assert first.model_after.digest == first.model_before
    assert second.aggregate is not None


@pytest.mark.parametrize(("minimum", "good"), [(1, 0), (2, 1), (3, 2)])
def test_too_few_accepted_end_the_run(folder: Path, minimum: int, good: int) -> None:
    """What was accepted in such a round does not enter the model either."""
    clients = [client(i) if i < good else Tampered(client(i), lambda _: RecordDict()) for i in range(3)]
    run = federate(folder, clients, agreement=terms(3, 2, rounds={"minimum-accepted": minimum}))
    assert run.verdicts(1) == [OK] * good + [Reason.MALFORMED] * (3 - good)
    assert len(run.rounds) == 1
    assert run.rounds[0].model_after.digest == run.rounds[0].model_before
    assert run.outcome == "too-few-accepted"
