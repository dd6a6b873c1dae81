"""The process of a message: the installed app runs, whatever the server's bundle says, and the owner can read what happened."""

import importlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict

from clients import node_process
from clients.errors import MemberError
from clients.event_log import Event
from clients.home import VARIABLE, ClientHome, Settings
from clients.node_process import LoggedApp, write_launcher
from ledger.messages import RECORD
from tests.local_grid import LocalGrid

command = importlib.import_module("flwr.supernode.cli.flwr_clientapp")  # the package has a function of this name too
runtime = importlib.import_module("flwr.supernode.runtime.run_clientapp")


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    home = ClientHome(tmp_path / "state")
    home.prepare(Settings("digits"))
    return home


def test_the_bundle_is_neither_unpacked_nor_run(home: ClientHome, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []

    def flower() -> None:
        runtime.install_from_fab(b"no bundle at all", skip_prompt=True)
        load = runtime.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
        loaded.append(load("evil/app", "1", "00"))

    for name in ("install_from_fab", "get_load_client_app_fn"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))  # put back afterwards
    monkeypatch.setattr(command, "flwr_clientapp", flower)
    monkeypatch.setenv(VARIABLE, str(home.folder))
    node_process.main()
    assert isinstance(loaded[0], LoggedApp)


def test_another_flower_is_refused(home: ClientHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "install_from_fab", runtime.install_from_fab)
    monkeypatch.delattr(runtime, "get_load_client_app_fn")
    monkeypatch.setenv(VARIABLE, str(home.folder))
    with pytest.raises(SystemExit, match="pinned version"):
        node_process.main()


def test_the_launcher_is_found_by_flowers_name(tmp_path: Path) -> None:
    write_launcher(tmp_path / "bin", tmp_path)
    path = tmp_path / "bin" / "flwr-clientapp"
    assert "clients.node_process" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o700


def message() -> Message:
    LocalGrid([])  # gives messages their task
    return Message(RecordDict({RECORD: ConfigRecord({"round": 3})}), dst_node_id=1, message_type="train")


def test_each_message_is_a_line_in_the_log(home: ClientHome) -> None:
    def answer(request: Message, context: Context) -> Message:
        return Message(content=RecordDict({"metrics": MetricRecord({"proving-s": 1.25})}), reply_to=request)

    def refuse(request: Message, context: Context) -> Message:
        raise MemberError("the ledger does not extend what this client saw")

    context = Context(1, 1, {}, RecordDict(), {})
    LoggedApp(answer, home)(message(), context)
    with pytest.raises(MemberError):
        LoggedApp(refuse, home)(message(), context)
    first, second = (Event.decode(line) for line in (home.folder / "client.log").read_text(encoding="utf-8").splitlines())
    assert (first.event, first.fields["type"], first.fields["round"]) == ("message-answered", "train", 3)
    assert first.message.startswith("train of round 3: answered in ")
    assert first.message.endswith("(proving 1.2 s)")
    assert (second.event, second.level) == ("message-refused", "warning")
    assert second.message == "train of round 3: refused: the ledger does not extend what this client saw"


def test_messages_are_answered_one_at_a_time(home: ClientHome) -> None:
    """A process that a killed SuperNode left behind, and that of the SuperNode after it: the second one sees what the first one signed."""
    inside, most = [0], [0]

    def app(question: Message, context: Context) -> Message:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        return Message(RecordDict(), reply_to=question)

    questions = [message() for _ in range(4)]
    context = Context(run_id=1, node_id=7, node_config={}, state=RecordDict(), run_config={})
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda question: LoggedApp(app, home)(question, context), questions))
    assert most == [1]
