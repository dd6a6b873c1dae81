"""The main job, whole: ``lunaria simulate`` in a process of its own, on Ray."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.audit import Trust, audit
from ledger.cosignature import CosignatureSigner
from ledger.entries import ClosingEntry, decode_entry
from ledger.export import write_export
from ledger.note import VerifierKey
from ledger.quorum import Policy
from ledger.store import Store
from ledger.witness import Witness
from server.witness_app import witness_app
from tests.server.live import served

COMMAND = [sys.executable, "-c", "from server.cli import main; main()", "simulate", "--data", "digits", "--model", "64-8-10"]
COMMAND += ["--clients", "3", "--samples", "64", "--seed", "5", "--verify-backend", "arkworks"]
NOISE = re.compile(
    r"tensorflow|onednn|cuda|\bray\b(?!$)|grpc|raylet|flwr|warning|deprecat|traceback|\bINFO\b|\bDEBUG\b|\d{4}-\d\d-\d\d \d\d:",
    re.IGNORECASE,
)


def simulate(folder: Path, *options: str, rounds: int = 2) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"COLUMNS": "160"}
    command = [*COMMAND, "--rounds", str(rounds), "--out", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=environment)  # noqa: S603 - our own


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", Path]:
    folder = tmp_path_factory.mktemp("simulate") / "run"
    return simulate(folder, "--pot", "1000", "--account", "0x" + 40 * "1"), folder


def test_it_runs_to_the_end_and_leaves_what_it_says(done: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    process, folder = done
    assert process.returncode == 0, process
    assert process.stderr == ""
    for name in (
        "agreement.toml",
        "ledger.db",
        "checkpoint",
        "model.keras",
        "model.provenance.json",
        "learning-curve.png",
        "export.tar",
        "evaluation.npy",
    ):
        assert (folder / name).is_file(), name
    assert (folder / "learning-curve.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (folder / "lunaria.log").is_file()
    assert (folder / "keys").stat().st_mode & 0o777 == 0o700
    assert (folder / "keys" / "log.key").stat().st_mode & 0o777 == 0o600


def test_the_screen_shows_only_what_we_mean_to_say(done: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    process, _ = done
    said = [line for line in process.stdout.splitlines() if "starting Ray" not in line]
    assert not [line for line in said if NOISE.search(line)]
    text = "\n".join(said)
    for expected in ("3 clients × 64 samples, 64-8-10, 2 rounds", "3 clients enrolled 192 samples", "accuracy", "3 accepted", "verified"):
        assert expected in text


def test_its_export_audits(done: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    _, folder = done
    report = audit(folder / "export.tar", backend="arkworks")
    assert report.verified
    assert (report.summary["clients"], report.summary["rounds"], report.summary["outcome"]) == (3, 2, "completed")
    key = (folder / "keys" / "log.key").read_text().strip()
    data = (folder / "export.tar").read_bytes()
    assert bytes.fromhex(key) not in data
    assert key.encode() not in data


def test_its_model_is_a_keras_model_that_says_where_it_comes_from(done: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    import keras

    _, folder = done
    model = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    assert (model.input_shape, model.output_shape) == ((None, 64), (None, 10))
    provenance = json.loads((folder / "model.provenance.json").read_text())
    assert provenance["model"] == audit(folder / "export.tar", backend="arkworks").summary["model"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_wherever_evidence_is_kept(
    done: tuple["subprocess.CompletedProcess[str]", Path], tmp_path: Path
) -> None:
    _, folder = done
    assert simulate(tmp_path / "again", "--evidence", (tmp_path / "elsewhere").as_uri()).returncode == 0
    assert not (tmp_path / "again" / "evidence").exists()
    first, second = (audit(run / "export.tar", backend="arkworks").summary for run in (folder, tmp_path / "again"))
    assert first["model"] == second["model"]


@pytest.mark.slow
def test_ctrl_c_leaves_a_ledger_that_audits(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*COMMAND, "--rounds", "1000", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        deadline = time.monotonic() + 150
        while entries_of(folder) < 6 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "")
    with Store.open(folder / "ledger.db", create=False) as store:
        closing = decode_entry(store.entry(store.size() - 1))
    assert isinstance(closing, ClosingEntry)
    assert closing.outcome == "interrupted"
    write_export(folder, tmp_path / "export.tar")
    assert (tmp_path / "export.tar").read_bytes() == (folder / "export.tar").read_bytes()
    assert audit(tmp_path / "export.tar", backend="arkworks").verified


def entries_of(folder: Path) -> int:
    if not (folder / "checkpoint").is_file():
        return 0
    with Store.open(folder / "ledger.db", create=False) as store:
        return store.size()


@pytest.mark.slow
def test_it_waits_for_its_witnesses_and_says_for_which_log(tmp_path: Path) -> None:
    """One of two witnesses comes late and knows the log only from what the run says; a monitor follows what is published."""
    signers = [CosignatureSigner(f"w{kind}.example", kind, bytes([kind] * 32)) for kind in (4, 6)]
    keys = ", ".join(f'"{signer.verifier.key}"' for signer in signers)
    agreement = tmp_path / "agreement.toml"
    agreement.write_text(
        '[federation]\nname = "witnessed"\nclients = 3\n[model]\nlayers = [64, 8, 10]\nseed = "' + "00" * 32 + '"\n'
        f'[rounds]\ncount = 1\nparticipants = 3\n[proof]\nkind = "none"\n[witnesses]\nkeys = [{keys}]\nquorum = 2\n',
        encoding="utf-8",
    )
    command = [*COMMAND[:3], "simulate", "--data", "digits", "--samples", "64", "--verify-backend", "arkworks"]
    command += ["--agreement", str(agreement), "--out", str(tmp_path / "run")]
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in (first, second)]
    command += [word for port in ports for word in ("--witness", f"http://127.0.0.1:{port}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400"}) as process, ExitStack() as stack:  # noqa: S603
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            found = re.search(r"waiting for witnesses of the log (\S+): ", line)
            if found:
                log = VerifierKey.parse(found[1])
                for number, port in enumerate(ports):
                    witness = Witness(tmp_path / f"{number}.db", [signers[number]], [log])
                    stack.enter_context(served(witness_app(witness), port))
        assert process.wait(120) == 0, said
    policy = Policy.parse(str(log), [str(signer.verifier.key) for signer in signers], 2)
    assert policy.open((tmp_path / "run" / "checkpoint").read_bytes()).size == 6
    assert audit(tmp_path / "run" / "export.tar", Trust(str(log)), backend="arkworks").verified
