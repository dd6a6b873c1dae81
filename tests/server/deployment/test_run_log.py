"""What a run tells, round by round, while it goes on."""

import json
import re
from pathlib import Path

import pytest
from flwr.app import Message, MessageType

from clients.event_log import EventFile
from ledger.entries import TestResult as Result
from server.deployment.run_log import RunLog, WatchedGrid
from strategies.exchange import connected
from tests.attacks.test_memberships import DIGESTS, KeyedGrid
from tests.federation import Federation, client, terms
from tests.local_grid import LocalGrid

LINE = re.compile(
    r"round 1: 2 accepted, 1 no-reply of 3 asked; accuracy 76\.25% on 80 test samples; "
    r"\d+\.\d s: \d+\.\d beacon, \d+\.\d waiting, \d+\.\d verifying, \d+\.\d aggregating, \d+\.\d appending; model [0-9a-f]{12}; 5 entries"
)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Run a federation of three, one of which never answers in round 1."""
    folder = tmp_path_factory.mktemp("run")

    def lose_one(replies: list[Message]) -> list[Message]:
        return replies[1:] if replies and replies[0].metadata.message_type == MessageType.TRAIN else replies

    log = EventFile(folder / "log")
    clients = [client(i) for i in range(3)]
    Federation(
        folder / "ledger",
        clients,
        terms(3, 1),
        timeout=1,
        grid=WatchedGrid(LocalGrid(clients, lose_one), log),
        observer=RunLog(log, 8),
        evaluate=lambda model: Result(data="00" * 32, total=80, correct=61),
    ).run()
    return [json.loads(line) for line in (folder / "log").read_text(encoding="utf-8").splitlines()]


def of(events: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    return [event for event in events if event["event"] == name]


def test_a_round_is_one_line_that_a_person_reads(events: list[dict[str, object]]) -> None:
    (done,) = of(events, "round-done")
    assert LINE.fullmatch(str(done["message"]))


def test_a_program_reads_the_same_from_fields(events: list[dict[str, object]]) -> None:
    (done,) = of(events, "round-done")
    assert (done["round"], done["asked"], done["accepted"], done["entries"]) == (1, 3, 2, 5)
    assert done["verdicts"] == {"accepted": 2, "no-reply": 1}
    assert done["test"] == {"total": 80, "correct": 61}
    seconds = done["seconds"]
    assert isinstance(seconds, dict)
    assert seconds["waiting"] >= 0.9  # the time limit of the round, for the reply that never came
    assert set(seconds) == {"beacon", "waiting", "proofs", "verifying", "aggregating", "appending"}


def test_every_message_and_reply_is_noted(events: list[dict[str, object]]) -> None:
    assert [(event["type"], event["messages"]) for event in of(events, "asked")] == [("query.enrol", 3), ("query.reveal", 3), ("train", 3)]
    replies = of(events, "reply")
    assert [event["type"] for event in replies] == ["query.enrol"] * 3 + ["query.reveal"] * 3 + ["train"] * 2
    assert not any(event["error"] for event in replies)
    assert {event["level"] for event in replies} == {"debug"}


def test_the_beginning_is_told(events: list[dict[str, object]]) -> None:
    assert [event["event"] for event in events if event["level"] == "info"] == [
        "enrolment-began",
        "enrolment-done",
        "round-began",
        "round-done",
    ]


def test_the_watched_grid_says_of_a_node_what_the_grid_does(tmp_path: Path) -> None:
    """Since when it is connected, and with which node key: a base class of Flower's would leave both out."""
    grid = KeyedGrid([client(0)], (3,))
    (node,) = connected(WatchedGrid(grid, EventFile(tmp_path / "log"))).values()
    assert (node.node, node.key) == (100, DIGESTS[3])
