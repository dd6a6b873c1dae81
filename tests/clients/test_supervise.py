"""Children of a deployment: they end with their parent, however that ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clients.supervise import child, flower_environment

SLEEP = shutil.which("sleep") or "/bin/sleep"
PARENT = """
import os, sys, time
from pathlib import Path
from clients.supervise import child
with child([sys.argv[1], "300"], os.environ, Path(sys.argv[2])) as process:
    print(process.pid, flush=True)
    time.sleep(300)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    options = [sys.executable, "-c", PARENT, SLEEP, str(tmp_path / "log")]
    with subprocess.Popen(options, stdout=subprocess.PIPE, text=True) as parent:  # noqa: S603
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        while Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() != "sleep":
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    assert ends(pid)


def test_a_child_ends_with_the_context_and_its_own_children_too(tmp_path: Path) -> None:
    shell = ["/bin/sh", "-c", f"{SLEEP} 300 & echo $!; wait"]
    with child(shell, os.environ, tmp_path / "log") as process:
        while not (tmp_path / "log").read_text(encoding="ascii").strip():
            time.sleep(0.05)
        grandchild = int((tmp_path / "log").read_text(encoding="ascii"))
        assert alive(process.pid)
        assert alive(grandchild)
    assert ends(process.pid)
    assert ends(grandchild)


def test_flower_neither_phones_home_nor_installs(tmp_path: Path) -> None:
    environment = flower_environment(tmp_path, {"OWN": "1"}, tmp_path / "bin")
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert environment["FLWR_HOME"] == str(tmp_path)
    assert environment["PATH"].split(os.pathsep)[0] == str(tmp_path / "bin")
    assert environment["OWN"] == "1"
