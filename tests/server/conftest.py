"""The command line inside this process, with everything it says; and the federation of :mod:`tests.ledger.conftest`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.cli import main
from tests.ledger.conftest import agreement, copy, export, run_folder

__all__ = ["agreement", "copy", "export", "run_folder"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def refused(self, code: int = 2) -> str:
        """Return the one line of an error; nothing else was said."""
        assert self.code == code, self
        assert self.err.startswith("error: "), self
        assert self.err.count("\n") == 1, self
        assert self.err.endswith("\n"), self
        assert not self.out.strip(), self
        return self.err[7:-1]


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs ``lunaria`` in an empty folder, with its exit code as :func:`server.cli.main` gives it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["lunaria", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capfd.readouterr()
        return Outcome(int(exit_.value.code or 0), said.out, said.err)

    return run
