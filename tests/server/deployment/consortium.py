"""The demo's server and clients, each on a host of its own (:mod:`tests.hosts`): what a consortium has, with a network between."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import tomli_w

from server.deployment.demo import LUNARIA, SERVER, Demo, command
from tests.hosts import Hosts
from tests.server.deployment import stranger

PORT, PAGES_PORT = 9443, 8443
"""Of the server and of the proxy before it, and of the pages of the ledger there."""


class Consortium(Demo):
    """A server on the host ``server``, clients on hosts of their names.

    Parameters
    ----------
    folder : Path
        New or empty.
    hosts : Hosts
    agreement : dict
        In place of the demo's.
    """

    def __init__(self, folder: Path, hosts: Hosts, agreement: dict[str, object]) -> None:
        super().__init__(folder, rounds=1)
        self.hosts, self.port = hosts, PORT
        (folder / "agreement.toml").write_text(tomli_w.dumps(agreement), encoding="utf-8")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever still runs: a client whose server is gone would wait for two minutes to give its answer."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def start(self, name: str, entry: str, *options: str) -> None:
        """Start a process that stays on the host of its name."""
        self.start_line(name, name, command(entry, *options))

    def start_line(self, name: str, host: str, line: list[str]) -> None:
        """Start any program that stays, on a host."""
        with (self.folder / f"{name}.out").open("ab") as file:
            self._processes[name] = subprocess.Popen(self.hosts.inside(host, line), cwd=self.folder, stdout=file, stderr=file)  # noqa: S603

    def certify(self) -> None:
        """Make the CA, and a certificate for the server and for the proxy before it."""
        self.run(LUNARIA, "certs", "--host", "server.example", "--host", "proxy.example")

    def invite_one(self, name: str, address: str = f"server.example:{PORT}") -> None:
        """Invite a member."""
        self.run(LUNARIA, "invite", name, "--server", address, "--ca", "certs/ca.crt", "--agreement", "agreement.toml")

    def serve(self) -> None:
        """Start the server and wait until it listens."""
        tls = ("--certs", "certs/server.crt", "--key", "certs/server.key")
        self.start("server", SERVER, "--agreement", "agreement.toml", "--state", "run", *tls, "--host", "0.0.0.0", "--port", str(PORT))  # noqa: S104
        self.wait_for("server", "listening at")

    def said(self, name: str) -> str:
        """Return what a process has said."""
        return (self.folder / f"{name}.out").read_text(encoding="utf-8")

    def alive(self, name: str) -> bool:
        """Whether a process runs."""
        return name in self._processes and self._processes[name].poll() is None

    def ends(self, name: str) -> int:
        """Wait for a process to end by itself; returns its exit code."""
        return self._processes.pop(name).wait(120)

    def pid(self, name: str) -> int:
        """Return a process's number."""
        return self._processes[name].pid

    def on(self, host: str, *line: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run a program on a host to its end."""
        return self.hosts.run(host, line, seconds, self.folder)

    def stranger(self, what: str, host: str = "server.example", port: int = PORT) -> str:
        """Let a stranger do something (:mod:`tests.server.deployment.stranger`); returns what it saw."""
        done = self.on("stranger", *stranger_line(what, host, port))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def proxy(self, config: Path) -> None:
        """Start nginx on the host ``proxy`` and wait until it listens."""
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.start_line("proxy", "proxy", [nginx, "-c", str(config), "-g", "daemon off; user root;"])
        deadline = time.monotonic() + 20
        while self.on("proxy", "bash", "-c", f"</dev/tcp/127.0.0.1/{PORT}").returncode:
            assert self.alive("proxy"), self.said("proxy")
            assert time.monotonic() < deadline, self.said("proxy")
            time.sleep(0.2)


def stranger_line(what: str, host: str = "server.example", port: int = PORT) -> list[str]:
    """Return the command line of what a stranger does."""
    return [sys.executable, str(Path(stranger.__file__)), what, "certs/ca.crt", host, str(port)]


def memory(pid: int) -> int:
    """Return the bytes that a process and all of its descendants hold in memory (VmRSS, proc(5))."""
    total, pids = 0, [pid]
    while pids:
        one = Path("/proc") / str(pids.pop())
        try:
            status = dict(line.split(":", 1) for line in (one / "status").read_text(encoding="utf-8").splitlines())
            total += int(status.get("VmRSS", "0 kB").split()[0]) * 1024
            for task in (one / "task").iterdir():
                pids += map(int, (task / "children").read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
