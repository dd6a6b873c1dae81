"""``lunaria fsck``, ``backup``, ``restore`` and ``release``, by their exit codes and what they say."""

import json
import shutil
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.server.conftest import Cli


def test_check_copy_and_bring_back(cli: Cli, run_folder: Path) -> None:
    done = cli("fsck", run_folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("intact\n")
    assert "7 entries, 11 hashes" in done.out
    done = cli("backup", run_folder, "copy")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"copy: 7 entries; keep {run_folder / 'keys'} apart and secret, it is not in the backup\n"
    done = cli("restore", "copy", "new")
    assert done.out == "new: 7 entries, on hold: 'lunaria release new --newest FILE' opens it for appending\n"
    assert "note     on hold: it was restored" in cli("fsck", "new").out
    assert cli("release", "new", "--newest", run_folder / "checkpoint").out == "new: 7 entries, released\n"
    assert cli("restore", "copy", "newer", "--newest", run_folder / "checkpoint").out == "newer: 7 entries, released\n"
    assert "on hold" not in cli("fsck", "newer").out


def test_a_damaged_ledger_is_exit_code_1(cli: Cli, run_folder: Path) -> None:
    shutil.copytree(run_folder, "run")
    shutil.rmtree("run/evidence")
    done = cli("fsck", "run")
    assert (done.code, done.err) == (1, "")
    assert "damaged  entry 0: evidence " in done.out
    found = json.loads(cli("fsck", "run", "--json").out)
    assert found["damaged"] == len(found["damage"]) > 3
    assert set(found["damage"][0]) == {"where", "what", "remedy"}


def test_a_ledger_is_restored_into_postgresql(cli: Cli, run_folder: Path, postgres: Server) -> None:
    url = postgres.database()
    assert cli("restore", run_folder, "new", "--database", url, "--newest", run_folder / "checkpoint").code == 0
    assert not Path("new/ledger.db").exists()
    assert cli("log", "list", "new").out == cli("log", "list", run_folder).out
    assert cli("export", "new", "-o", "new.tar").code == 0
    assert "holds a ledger already" in cli("restore", run_folder, "newer", "--database", url).refused()


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["fsck", "nowhere"], "it holds no ledger.db"),
        (["fsck", "RUN", "--key", "none"], ""),
        (["backup", "nowhere", "copy"], "it holds no ledger.db"),
        (["backup", "RUN", "."], "exists already"),
        (["backup", "RUN", "file/copy"], "cannot write"),
        (["restore", "nowhere", "new"], "it holds no ledger.db"),
        (["restore", "RUN", "."], "is not empty"),
        (["restore", "RUN", "file/new"], "cannot write"),
        (["restore", "RUN", "new", "--database", "mysql://x"], "database"),
        (["simulate", "--database", "postgresql://127.0.0.1:1/x", "--out", "new"], "cannot use postgresql://127.0.0.1/x"),
        (["simulate", "--evidence", "nobody://x", "--out", "new"], "cannot use nobody://x"),
        (["simulate", "--evidence", "x", "--out", "new"], "evidence"),
        (["release", "RUN", "--newest", "nowhere"], "there is no checkpoint at nowhere"),
        (["release", "RUN", "--newest", "file"], ""),
    ],
)
def test_what_cannot_be_is_one_line(cli: Cli, run_folder: Path, command: list[str], text: str) -> None:
    Path("file").touch()
    assert text in cli(*(run_folder if word == "RUN" else word for word in command)).refused()
