"""``lunaria witness``, ``publish`` and ``fork``: keys, a witness in a process of its own, and what is refused."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ledger.entries import encode_entry
from ledger.fork import path_of_tree
from ledger.log import Log
from ledger.note import VerifierKey
from ledger.quorum import Policy
from tests.federation import SIGNER, opening_of, terms
from tests.ledger.test_fork import proof_between
from tests.ledger.test_messages import FORK, LOG, TREE
from tests.ledger.test_witness import request
from tests.server.conftest import Cli

MAIN = [sys.executable, "-c", "from server.cli import main; main()"]
KEY = str(LOG.verifier.key)


@pytest.mark.parametrize(("algorithm", "kind"), [("ed25519", 4), ("ml-dsa-44", 6)])
def test_a_key_is_made_once_and_stays(cli: Cli, algorithm: str, kind: int) -> None:
    made = cli("witness", "--key", "w.key", "--name", "w.example", "--algorithm", algorithm)
    assert (made.code, made.err) == (0, "")
    key = VerifierKey.parse(made.out.strip())
    assert (key.name, key.kind) == ("w.example", kind)
    assert Path("w.key").stat().st_mode & 0o777 == 0o600
    assert cli("witness", "--key", "w.key").out == made.out == cli("witness", "--key", "w.key", "--name", "other").out
    assert cli("witness", "--key", "v.key", "--name", "w.example", "--algorithm", algorithm).out != made.out


def test_keys_that_are_none(cli: Cli) -> None:
    assert "give --name to make one" in cli("witness", "--key", "w.key").refused()
    assert "key name" in cli("witness", "--key", "w.key", "--name", "a b").refused()
    assert "cannot write" in cli("witness", "--key", "no/w.key", "--name", "w").refused()
    assert not Path("w.key").exists()
    for text in ("", "x", "lunaria-witness-key/v1\nw\nrsa\n00\n", "lunaria-witness-key/v1\nw\ned25519\n00\n", "x" * 2000):
        Path("w.key").write_text(text, encoding="utf-8")
        cli("witness", "--key", "w.key").refused()
    refused = cli("witness", "--key", "v.key", "--name", "w", "--log", "nonsense")
    assert (refused.code, refused.err) == (2, "error: a verifier key reads name+hex(key id)+base64(type and key)\n")


def test_a_witness_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It cosigns, is killed without warning, and still knows what it cosigned."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    url = f"http://127.0.0.1:{port}/add-checkpoint"
    command = [*MAIN, "witness", "--key", "w.key", "--name", "w.example", "--log", KEY, "--port", str(port)]
    for body, status in ((request(0, 5), 200), (request(5, 5, FORK), 409)):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
            try:
                for _ in range(300):
                    try:
                        answer = httpx.post(url, content=body)
                        break
                    except httpx.ConnectError:
                        time.sleep(0.1)
                assert answer.status_code == status
            finally:
                os.kill(process.pid, signal.SIGKILL)


def test_publish_needs_a_run_and_enough_witnesses(cli: Cli, tmp_path: Path) -> None:
    cli("witness", "--key", "w.key", "--name", "w.example")
    key = cli("witness", "--key", "w.key").out.strip()
    agreement = terms(3, 1, witnesses={"keys": [key], "quorum": 1})
    Log.open(tmp_path / "empty", SIGNER, create=True).close()
    assert "there is nothing to publish" in cli("publish", "empty", "--witness", "http://127.0.0.1:1").refused()
    with Log.open(tmp_path / "run", SIGNER, create=True) as log:
        log.append(encode_entry(opening_of(agreement)))
    assert "cannot read" in cli("publish", "run", "--witness", "http://127.0.0.1:1").refused()
    (tmp_path / "run" / "keys").mkdir()
    (tmp_path / "run" / "keys" / "log.key").write_text(bytes(32).hex() + "\n", encoding="ascii")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log_key = str(SIGNER.verifier.key)
    command = [*MAIN, "witness", "--key", "w.key", "--log", log_key, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
        try:  # it waits until the witness is up
            done = cli("publish", "run", "--witness", f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
    assert (done.code, re.sub(r"waiting for witnesses of .*\n", "", done.err)) == (0, "")
    assert done.out == "run/checkpoint: 1 entries, cosigned by 1 witnesses or more\n"
    assert Policy.parse(log_key, [key], 1).open((tmp_path / "run" / "checkpoint").read_bytes()).size == 1
    assert "is not the folder of a run" in cli("publish", "nowhere", "--witness", "http://127.0.0.1:1").refused()


class TestFork:
    def test_two_roots_of_one_size(self, cli: Cli) -> None:
        Path("a").write_bytes(TREE.signed(5))
        Path("b").write_bytes(FORK.signed(5))
        done = cli("fork", "prove", "a", "b", "--key", KEY, "-o", "fork.json")
        assert (done.code, done.out) == (0, "fork.json: example.com/log signed two histories\n")
        shown = cli("fork", "verify", "fork.json", "--key", KEY)
        assert shown.code == 0
        assert shown.out.count("5 entries with root") == 2
        assert "compare the key" in cli("fork", "verify", "fork.json").out

    def test_no_fork_is_1(self, cli: Cli) -> None:
        Path("a").write_bytes(TREE.signed(5))
        done = cli("fork", "prove", "a", "a", "--key", KEY, "-o", "fork.json")
        assert (done.code, done.out) == (1, "")
        assert not Path("fork.json").exists()

    def test_two_sizes_need_the_larger_ledger(self, cli: Cli, export: Path, tmp_path: Path) -> None:
        key = str(SIGNER.verifier.key)
        with Log.open(tmp_path / "run", SIGNER, create=True) as log:
            log.append(b"another history")
        shutil.copy(tmp_path / "run" / "checkpoint", "a")
        from ledger.archive import ArchiveReader

        with ArchiveReader(export) as archive:
            Path("b").write_bytes(archive.read("checkpoint", 1 << 20))
        arguments = ("fork", "prove", "a", "b", "--key", key, "-o", "fork.json")
        assert "give an export of the larger ledger" in cli(*arguments).refused()
        assert cli(*arguments, "--export", export).code == 0
        assert cli("fork", "verify", "fork.json", "--key", key).code == 0

    def test_what_proves_nothing_is_1_and_nonsense_is_2(self, cli: Cli) -> None:
        proof = proof_between(5, 8)
        Path("fork.json").write_bytes(proof.encode())
        assert cli("fork", "verify", "fork.json", "--key", KEY).code == 0
        other = str(SIGNER.verifier.key)
        assert cli("fork", "verify", "fork.json", "--key", other).code == 1
        path = path_of_tree(5, 8, TREE.read)
        Path("fork.json").write_bytes(type(proof)(proof.log, TREE.signed(5), TREE.signed(8), tuple(path)).encode())
        assert "do not contradict" in cli("fork", "verify", "fork.json").err
        for data in (b"", b"{}", b"[" * 100_000):
            Path("fork.json").write_bytes(data)
            cli("fork", "verify", "fork.json").refused()
        cli("fork", "verify", "missing").refused()
        Path("a").write_bytes(TREE.signed(5))
        assert "is not signed by" in cli("fork", "prove", "a", "a", "--key", other, "-o", "x").refused()


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("uvicorn", ["serve", "RUN"]),
        ("starlette.applications", ["serve", "RUN"]),
        ("httpx", ["monitor", "http://127.0.0.1:1", "--key", KEY, "--state", "state"]),
        ("httpx", ["publish", "RUN", "--witness", "http://127.0.0.1:1"]),
        ("starlette.applications", ["witness", "--key", "w.key", "--name", "w.example", "--log", KEY]),
    ],
)
def test_a_missing_part_of_the_installation_is_4(
    cli: Cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, command: list[str]
) -> None:
    for name in ("server.fetch", "server.cosigner", "server.read_app", "server.witness_app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    done = cli(*(str(run_folder) if word == "RUN" else word for word in command))
    assert (done.code, done.err.splitlines()[-1].split(":")[-1]) == (4, " pip install 'lunaria[http]'")
