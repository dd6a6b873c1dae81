"""The process that forks for each message: a fork is what its launcher was started as, and neither outlives the other."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clients import launch
from clients.launch import SOCKET

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds and PR_SET_PDEATHSIG are Linux")

FORK = """
import json, os, sys, time
from pathlib import Path
from clients.prepared import fork_for_each, listen
from clients.supervise import PR_SET_PDEATHSIG
listener = listen(Path(sys.argv[1]))
fork_for_each(listener).become()
what, *rest = sys.argv[1:]
if what == "show":
    print(json.dumps([rest, os.getcwd(), os.environ.get("COLOUR"), os.environ.get("SERVER_ONLY"), os.getppid()]), flush=True)
    print("trouble", file=sys.stderr, flush=True)
    sys.exit(7)
if what == "sleep":
    print(os.getpid(), flush=True)
    time.sleep(300)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    deep = tmp_path / ("a" * 60) / ("b" * 60)  # longer than the path of a socket may be
    deep.mkdir(parents=True)
    return deep


@contextmanager
def prepared(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "SERVER_ONLY": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", FORK, str(folder)], env=environment) as process:  # noqa: S603
        while not (folder / SOCKET).exists():
            time.sleep(0.02)
        try:
            yield process
        finally:
            process.kill()


def launcher(folder: Path, *arguments: str, cwd: Path | None = None, colour: str = "green") -> subprocess.Popen[str]:
    options = [sys.executable, "-I", "-S", launch.__file__, str(folder), "platform", *arguments]
    environment = {**{key: value for key, value in os.environ.items() if key != "SERVER_ONLY"}, "COLOUR": colour}
    pipe = subprocess.PIPE
    return subprocess.Popen(options, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)  # noqa: S603


def ends(pid: int) -> bool:
    """Whether a process is gone, or waits to be noticed, within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_fork_takes_over_what_its_launcher_was_started_with(folder: Path, tmp_path: Path) -> None:
    with prepared(folder) as process:
        for colour in ("green", "red"):
            with launcher(folder, "show", "--token", "x y", cwd=tmp_path, colour=colour) as launched:
                output, errors = launched.communicate(timeout=30)
            assert output == f'[["--token", "x y"], "{tmp_path}", "{colour}", null, {process.pid}]\n'
            assert errors == "trouble\n"
            assert launched.returncode == 7


def test_forks_run_beside_each_other_and_end_with_their_launchers(folder: Path) -> None:
    with prepared(folder), launcher(folder, "sleep") as first, launcher(folder, "sleep") as second:
        assert first.stdout is not None
        assert second.stdout is not None
        one, two = int(first.stdout.readline()), int(second.stdout.readline())
        first.send_signal(signal.SIGKILL)
        assert ends(one)
        assert second.poll() is None
        second.kill()
        assert ends(two)


def test_forks_end_with_the_prepared_process_and_are_not_begun_again(folder: Path) -> None:
    with prepared(folder) as process, launcher(folder, "sleep") as launched:
        assert launched.stdout is not None
        pid = int(launched.stdout.readline())
        process.kill()
        assert ends(pid)
        rest, _ = launched.communicate(timeout=30)
        assert launched.returncode == 1
        assert rest == ""  # not answered a second time by a process of its own


def test_without_a_prepared_process_the_module_runs_by_itself(folder: Path) -> None:
    with prepared(folder) as process:
        process.kill()
        process.wait()
        with launcher(folder, "--terse") as launched:
            output, _ = launched.communicate(timeout=30)
        assert launched.returncode == 0
        assert output.startswith("Linux")


def test_what_is_no_request_is_passed_over(folder: Path) -> None:
    with prepared(folder):
        here = Path.cwd()
        for data in (b"", b"\0\0\0\2{}", b"\0\0\0\4null", b"\xff\xff\xff\xff"):
            with socket.socket(socket.AF_UNIX) as connection:
                os.chdir(folder)
                try:
                    connection.connect(SOCKET)
                finally:
                    os.chdir(here)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""
        with launcher(folder, "show") as launched:
            launched.communicate(timeout=30)
        assert launched.returncode == 7
