"""systemd is told what is so: through a real datagram socket, in systemd's place."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.event_log import Event
from clients.notify import Notifier

Receive = Callable[[], str]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[str, Receive]]:
    """Listen where systemd would; return the address, and what takes the next datagram (nothing where there is none)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)

        def receive() -> str:
            try:
                return listener.recv(4096).decode()
            except BlockingIOError:
                return ""

        yield str(tmp_path / "notify"), receive


def test_each_state_is_a_datagram(systemd: tuple[str, Receive]) -> None:
    address, receive = systemd
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.show(Event("info", "round-done", "round 1:\n3 accepted"))
    notifier.show(Event("debug", "reply", "not shown"))
    notifier.show(Event("info", "stopping", "bye"))
    assert [receive() for _ in range(5)] == ["READY=1", "STATUS=round 1: 3 accepted", "STOPPING=1", "STATUS=bye", ""]


def test_the_watchdog_is_fed_while_everything_lives_and_not_too_often(systemd: tuple[str, Receive]) -> None:
    address, receive = systemd
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environment)
    assert environment == {}  # no child speaks for us
    notifier.alive(lives=False)
    assert receive() == ""
    for _ in range(3):
        notifier.alive(lives=True)
    assert (receive(), receive()) == ("WATCHDOG=1", "")
    eager = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
    eager.alive(lives=True)
    eager.alive(lives=True)
    assert (receive(), receive()) == ("WATCHDOG=1", "WATCHDOG=1")


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}])
def test_no_watchdog_is_fed_that_is_not_ours(systemd: tuple[str, Receive], more: dict[str, str]) -> None:
    address, receive = systemd
    Notifier({"NOTIFY_SOCKET": address, **more}).alive(lives=True)
    assert receive() == ""


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


def test_an_abstract_socket_is_reached() -> None:
    name = f"lunaria-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listener.recv(100) == b"READY=1"


def test_a_client_tells_systemd_from_start_to_stop(systemd: tuple[str, Receive], tmp_path: Path) -> None:
    """A real ``flower-client`` that waits for its server."""
    address, receive = systemd
    code = "from clients.entry import main; main()"
    options = ["--server", "127.0.0.1:9", "--insecure", "--data", "digits", "--state", str(tmp_path / "state")]
    environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}
    with subprocess.Popen([sys.executable, "-c", code, *options], env=environment, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "nobody answers" in line:
                    break
            process.terminate()
            process.stderr.read()
            assert process.wait(30) == 0
        finally:
            process.kill()
    said = []
    while text := receive():
        said.append(text)
    states = [text for text in said if not text.startswith("STATUS=")]
    assert states[0] == "READY=1"
    assert "WATCHDOG=1" in states
    assert states[-1] == "STOPPING=1"
    assert any(text.startswith("STATUS=nobody answers at 127.0.0.1:9") for text in said)
