"""Events: in a file, on a terminal, in JSON, in systemd's journal."""

import io
import json
import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from clients.console import Console, LogFormat
from clients.event_log import Event, EventFile, Events

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_an_event_is_a_line_of_json_with_stable_names(tmp_path: Path) -> None:
    EventFile(tmp_path / "log").warning("round-done", "round 3\nis done", round=3, verdicts={"accepted": 2})
    (line,) = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert list(found) == ["time", "level", "event", "message", "round", "verdicts"]
    assert RFC3339.fullmatch(found["time"])
    assert (found["level"], found["event"], found["round"], found["verdicts"]) == ("warning", "round-done", 3, {"accepted": 2})
    assert Event.decode(line).encode() == line


@pytest.mark.parametrize(
    "line", ["2026-11-22 10:00:00 of an older version", "{}", "[1]", '{"time": 1, "level": 2, "event": 3, "message": 4}', ""]
)
def test_a_line_that_holds_no_event_is_shown_as_it_is(line: str) -> None:
    event = Event.decode(line)
    assert (event.event, event.message) == ("text", line)


def test_no_field_hides_a_common_one() -> None:
    assert json.loads(Event("info", "x", "y", {"message": "z", "time": 0}).encode())["message"] == "y"


def test_events_of_two_processes_are_passed_on_once_and_in_order(tmp_path: Path) -> None:
    EventFile(tmp_path / "log").info("old", "from before")
    seen: list[str] = []
    mine = Events(tmp_path / "log", lambda event: seen.append(event.event))
    EventFile(tmp_path / "log").info("theirs", "1")
    mine.info("mine", "2")
    mine.follow()
    assert seen == ["theirs", "mine"]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    events = Events(tmp_path / "no" / "folder" / "log", lambda event: seen.append(event.message))
    events.error("failed", "the disk is full")
    assert seen == ["the disk is full"]


def test_a_log_that_was_rotated_is_followed(tmp_path: Path) -> None:
    seen: list[str] = []
    EventFile(tmp_path / "log").info("a", "a rather long line of the file before it was rotated")
    events = Events(tmp_path / "log", lambda event: seen.append(event.event))
    (tmp_path / "log").write_bytes(b"")
    events.info("b", "b")
    assert seen == ["b"]


def show(form: LogFormat, event: Event) -> str:
    stream = io.StringIO()
    Console(form, stream, {})(event)
    return stream.getvalue()


def test_text_has_the_time_and_nothing_that_steers_a_terminal() -> None:
    line = show(LogFormat.TEXT, Event("warning", "x", "a \x1b[31mstranger's\nline"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d warning: a  \[31mstranger's line\n", line)
    assert datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")


def test_debug_events_stay_in_the_file() -> None:
    assert show(LogFormat.JSON, Event("debug", "reply", "x")) == ""


def test_json_is_the_line_of_the_file() -> None:
    event = Event("info", "x", "ü\n", {"round": 1})
    assert show(LogFormat.JSON, event) == event.encode() + "\n"


@pytest.mark.parametrize(("form", "expected"), [(LogFormat.TEXT, "<4>warning: y\n"), (LogFormat.JSON, "<4>{")])
def test_the_journal_gets_the_level_and_no_second_time(tmp_path: Path, form: LogFormat, expected: str) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        Console(form, stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})(Event("warning", "x", "y"))
        stream.seek(0)
        assert stream.read().startswith(expected)


def test_a_stream_that_was_redirected_is_not_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+", encoding="utf-8") as stream:
        Console(LogFormat.TEXT, stream, {"JOURNAL_STREAM": "1:2"})(Event("info", "x", "y"))
        stream.seek(0)
        assert re.match(r"\d{4}-", stream.read())
