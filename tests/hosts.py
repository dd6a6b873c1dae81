"""Hosts of the tests' own: network namespaces (ip-netns(8)) on one switch, each with an address, a name, and processes of its own.

Nothing of it touches the machine's own network: the switch is a namespace too, and there is no way out of it.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

NETWORK = "10.77.0"


class Hosts:
    """Some hosts that reach each other by name, NAME and NAME.example.

    Parameters
    ----------
    names : sequence of str
        Their names; the first has address 10.77.0.1.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._prefix = f"lunaria-{os.getpid()}-"
        self.addresses = {name: f"{NETWORK}.{i}" for i, name in enumerate(names, start=1)}
        self._made: list[str] = []

    def __enter__(self) -> Self:
        """Make them."""
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them; what runs in them is for those to stop who started it."""
        for name in reversed(self._made):
            _ip("netns", "delete", self._prefix + name)
            shutil.rmtree(Path("/etc/netns") / (self._prefix + name), ignore_errors=True)
        self._made.clear()

    def inside(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the command line that runs ``command`` on a host."""
        return ["ip", "netns", "exec", self._prefix + name, *command]

    def run(self, name: str, command: Sequence[str], seconds: float = 60, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host to its end."""
        line = self.inside(name, command)
        return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)  # noqa: S603 - the tests' own

    def cut(self, name: str) -> None:
        """Pull a host's cable."""
        _ip("-n", self._prefix + "switch", "link", "set", "dev", name, "down")

    def heal(self, name: str) -> None:
        """Put it back."""
        _ip("-n", self._prefix + "switch", "link", "set", "dev", name, "up")

    def _make(self) -> None:
        switch = self._add("switch", {})
        _ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            host = self._add(name, self.addresses)
            _ip("-n", switch, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", host)
            _ip("-n", switch, "link", "set", "dev", name, "master", "bridge", "up")
            _ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", host, "link", "set", "eth0", "up")
            _ip("-n", host, "link", "set", "lo", "up")

    def _add(self, name: str, known: Mapping[str, str]) -> str:
        full = self._prefix + name
        _ip("netns", "add", full)
        self._made.append(name)
        folder = Path("/etc/netns") / full  # ip-netns(8) puts what lies there over /etc
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{address} {host} {host}.example\n" for host, address in known.items()]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines), encoding="ascii")
        return full


def hosts_or_skip(names: Sequence[str]) -> Hosts:
    """Return hosts to enter; skips the test where none can be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and Debian's iproute2")
    made = Hosts(())
    try:
        with made:
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    return Hosts(names)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607 - our own arguments
