"""A process that has imported what a message needs, and forks for each one: ``python -m clients.prepared FOLDER``.

Flower starts a process for every message. TensorFlow and the rest take it seconds to import, longer than most messages take to answer;
a fork has them at once, and still keeps nothing from one message to the next. What is here before the fork has only been imported: no
TensorFlow operation has run, no kernel was called and no key read, so no thread pool and no secret is inherited. Forks end with this
process.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from clients.launch import BEGUN, SOCKET
from clients.supervise import PR_SET_PDEATHSIG

MODULES = ("clients.node_process", "clients.exact", "flwr.supernode.cli.flwr_clientapp", "tensorflow")
_MAX_REQUEST = 1 << 22


@dataclass(frozen=True)
class Request:
    """What a launcher was started with."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    output: tuple[int, int]

    def become(self) -> None:
        """Take over its arguments, folder, environment and where its output goes."""
        for source, target in zip(self.output, (1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv[1:] = self.arguments


def listen(folder: Path) -> socket.socket:
    """Listen on the socket in ``folder``, which only its owner can reach."""
    here = Path.cwd()
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    try:
        Path(SOCKET).unlink(missing_ok=True)
        listener.bind(SOCKET)
        Path(SOCKET).chmod(0o600)
    finally:
        os.chdir(here)
    listener.listen()
    return listener


def fork_for_each(listener: socket.socket) -> Request:
    """Answer launchers until this process is ended; returns in its forks only, with what the fork is to do."""
    parent, poll = os.getpid(), select.poll()
    poll.register(listener, select.POLLIN)
    of_process: dict[int, tuple[socket.socket, int]] = {}  # by pidfd: its launcher, and its process id
    of_launcher: dict[int, int] = {}  # by the launcher's descriptor: the pidfd
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                request = _receive(connection)
                if request is None:
                    connection.close()
                    continue
                pid = os.fork()
                if pid == 0:
                    _end_with(parent)
                    for other in (listener, connection, *(one for one, _ in of_process.values())):
                        other.close()
                    for pidfd in of_process:
                        os.close(pidfd)
                    return request
                for output in request.output:
                    os.close(output)
                pidfd = os.pidfd_open(pid)
                of_process[pidfd], of_launcher[connection.fileno()] = (connection, pid), pidfd
                poll.register(pidfd, select.POLLIN)
                poll.register(connection, select.POLLIN)
                _tell(connection, BEGUN)
            elif descriptor in of_process:
                connection, pid = of_process.pop(descriptor)
                _, status = os.waitpid(pid, 0)
                poll.unregister(descriptor)
                os.close(descriptor)
                if of_launcher.pop(connection.fileno(), None) is not None:
                    poll.unregister(connection)
                _tell(connection, bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
                connection.close()
            else:  # the launcher has ended, which would have ended the process in its place
                signal.pidfd_send_signal(of_launcher.pop(descriptor), signal.SIGTERM)
                poll.unregister(descriptor)


def _receive(connection: socket.socket) -> Request | None:
    """Read what a launcher asks for; None if it does not say."""
    connection.settimeout(5.0)
    output: list[int] = []
    try:
        size, output, _, _ = socket.recv_fds(connection, 4, 2)
        data = bytearray()
        while len(data) < min(int.from_bytes(size, "big"), _MAX_REQUEST):
            part = connection.recv(1 << 16)
            if not part:
                break
            data += part
        fields = json.loads(data)
        connection.settimeout(None)
        return Request(fields["arguments"], fields["folder"], fields["environment"], (output[0], output[1]))
    except (OSError, ValueError, LookupError, TypeError):
        for descriptor in output:
            os.close(descriptor)
        return None


def _end_with(parent: int) -> None:
    """Have the kernel end this fork when the prepared process ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def _tell(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:  # the launcher was ended meanwhile
        return


def main() -> None:
    """Prepare, then fork for each message: launchers that come earlier wait."""
    listener = listen(Path(sys.argv[1]))
    for name in MODULES:
        import_module(name)
    gc.freeze()  # a collection in a fork would copy every page that it looks at
    fork_for_each(listener).become()
    import_module("clients.node_process").main()


if __name__ == "__main__":
    main()
