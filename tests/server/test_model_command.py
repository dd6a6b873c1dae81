"""``lunaria model``: the model of a ledger as a Keras file, whoever made the ledger and wherever."""

import importlib.util
from pathlib import Path

import pytest

from clients.keras_models import to_fixed
from ledger.canonical import digest, dump_vector
from ledger.entries import RoundEntry, decode_entry
from ledger.storage import ledger_of
from server.planning import read_model
from tests.ledger.conftest import agreed
from tests.server.conftest import Cli
from zk.sgd import flatten


def digest_of(path: Path) -> str:
    return digest(dump_vector(flatten(to_fixed(read_model(str(path)), agreed().rule))))


def test_the_file_holds_the_model_of_the_ledger(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    with ledger_of(run_folder)[0] as store:
        rounds = [entry for entry in map(decode_entry, store.entries(0, store.size())) if isinstance(entry, RoundEntry)]
    for number, wanted in [(None, rounds[-1].model_after.digest), (1, rounds[0].model_after.digest), (0, rounds[0].model_before)]:
        options = [] if number is None else ["--round", number]
        assert wanted in cli("model", run_folder, "-o", "m.keras", *options).out
        assert digest_of(tmp_path / "m.keras") == wanted


def test_what_is_not_there_is_refused(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    assert "has no round 99" in cli("model", run_folder, "-o", "m.keras", "--round", 99).refused()
    assert "ends in .keras" in cli("model", run_folder, "-o", "m.h5").refused()
    assert "not the folder of a run" in cli("model", tmp_path, "-o", "m.keras").refused()


def test_without_keras_it_says_what_to_install(cli: Cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keras", None)
    assert importlib.util.find_spec("clients.keras_models")
    done = cli("model", run_folder, "-o", "m.keras")
    assert done.code == 4
    assert "pip install 'lunaria[federation]'" in done.err
