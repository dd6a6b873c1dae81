"""Child processes of ``flower-server`` and ``flower-client``: Flower's own, started, watched, and never left behind.

A child gets a session of its own, so that Ctrl-C reaches the parent alone, which then ends it in order; and the kernel ends it
when the parent dies in any other way (``PR_SET_PDEATHSIG``, prctl(2), Linux), so that nothing goes on writing unwatched.
"""

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

GRACE_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
_FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",  # a call on loopback; Flower would look for work once a second
}


def flower_environment(home: Path, extra: Mapping[str, str], first_on_path: Path | None = None) -> dict[str, str]:
    """Return the environment of a Flower process: no telemetry, no downloads, its files in ``home``, our own programs found first."""
    places = [str(first_on_path)] if first_on_path else []
    places += [sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {**os.environ, **_FLOWER, "FLWR_HOME": str(home), "PATH": os.pathsep.join(places), "PYTHONUNBUFFERED": "1", **extra}


@contextmanager
def child(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, what it prints being appended to ``log``; at the end ask it to stop, and after a while end it.

    To be called from the main thread: the kernel takes the end of the thread that starts a child for the parent's.
    """
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own program and options
            [sys.executable, "-m", "clients.supervise", str(os.getpid()), *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        _end_group(process.pid)
        process.wait()


def _end_group(group: int) -> None:
    """End what a child has left behind in its session."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when the one that started it ends, however it ends; nothing where there is no Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def main() -> None:
    """Tie this process to its parent's life, then become the command: ``python -m clients.supervise PARENT COMMAND...``."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    end_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it ended before it could be watched
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
