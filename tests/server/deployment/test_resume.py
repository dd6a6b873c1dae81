"""What a server finds in its state folder when it starts again: it goes on, or says in one line why not and changes nothing."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.entries import ClosingEntry
from ledger.errors import LedgerError
from ledger.log import Log
from server.deployment.app import plan_of
from server.deployment.demo import agreement
from server.deployment.home import Deployment, ServerHome
from server.errors import ExitCode, ServerError
from server.run import run_federation
from strategies.observer import Observer
from strategies.recorder import Recorder


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    (tmp_path / "agreement.toml").write_text(agreement(1), encoding="utf-8")
    return Deployment(str(tmp_path / "agreement.toml"), "", "", (), "arkworks")


@pytest.fixture
def home(folder: Path, deployment: Deployment) -> ServerHome:
    """Return a state folder with a run of which entry 0 stands: what a server leaves that is killed early."""
    home = ServerHome(folder)
    assert home.prepare(deployment) is None
    plan = plan_of(deployment)
    (folder / "keys").mkdir(mode=0o700)
    (folder / "keys" / "log.key").write_text("11" * 32 + "\n", encoding="ascii")
    signer = plan.signer(bytes.fromhex("11" * 32))
    with Log.open(folder, signer, create=True) as log:
        Recorder(log, plan.opening(signer), plan.model)
    return home


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def close(home: ServerHome, deployment: Deployment) -> None:
    """Close the run, as ``flower-server --close`` does."""
    run_federation(plan_of(deployment), home.folder, None, Observer(), threading.Event(), "arkworks", resumable=True)


def test_the_same_run_goes_on(home: ServerHome, deployment: Deployment) -> None:
    home.end(ExitCode.FAILED, "ended before")
    stands = home.prepare(deployment)
    assert stands is not None
    assert stands.closing is None
    assert not stands.ended(home.folder)
    assert home.outcome() is None  # of this start


def test_another_agreement_is_refused_and_nothing_is_touched(home: ServerHome, deployment: Deployment) -> None:
    Path(deployment.agreement).write_text(agreement(2), encoding="utf-8")
    before = contents(home.folder)
    with pytest.raises(ServerError, match=r"holds a run under another agreement than .*agreement\.toml: give that one"):
        home.prepare(deployment)
    assert contents(home.folder) == before


def test_the_copy_of_the_agreement_in_the_folder_goes_on_with_it(home: ServerHome, deployment: Deployment) -> None:
    """People lose files: what the run completed for itself is the same agreement."""
    close(home, deployment)
    copy = Deployment(str(home.folder / "agreement.toml"), "", "", (), "arkworks")
    assert home.prepare(copy) is not None


def test_a_closed_run_is_said_to_be_closed(home: ServerHome, deployment: Deployment) -> None:
    close(home, deployment)
    stands = home.prepare(deployment)
    assert stands is not None
    assert isinstance(stands.closing, ClosingEntry)
    assert stands.ended(home.folder)
    assert stands.outcome() == (ExitCode.INTERRUPTED, "the run is closed already: interrupted after 0 rounds")
    before = (home.folder / "checkpoint").read_bytes()
    close(home, deployment)
    assert (home.folder / "checkpoint").read_bytes() == before


def test_a_run_that_is_closed_but_has_no_model_yet_is_not_at_its_end(home: ServerHome, deployment: Deployment) -> None:
    """Killed between the two: the next start writes the model."""
    close(home, deployment)
    (home.folder / "model.provenance.json").unlink()
    stands = home.prepare(deployment)
    assert stands is not None
    assert not stands.ended(home.folder)
    close(home, deployment)
    assert stands.ended(home.folder)


def test_a_log_without_its_key_is_refused(home: ServerHome, deployment: Deployment) -> None:
    (home.folder / "keys" / "log.key").unlink()
    with pytest.raises(ServerError, match=r"not its key keys/log\.key: bring it back"):
        home.prepare(deployment)


@pytest.mark.parametrize("text", ["", "zz", "22" * 31])
def test_a_damaged_key_is_refused(home: ServerHome, deployment: Deployment, text: str) -> None:
    (home.folder / "keys" / "log.key").write_text(text, encoding="ascii")
    with pytest.raises(ServerError, match=r"log\.key"):
        close(home, deployment)


def test_another_key_does_not_fit_the_ledger(home: ServerHome, deployment: Deployment) -> None:
    (home.folder / "keys" / "log.key").write_text("22" * 32, encoding="ascii")
    with pytest.raises((ServerError, LedgerError), match="key"):
        close(home, deployment)


def test_a_key_without_a_ledger_is_a_run_that_begins(folder: Path, deployment: Deployment) -> None:
    """The server was killed between the two: the key is used, and nobody has seen anything that it signed."""
    (folder / "keys").mkdir(parents=True, mode=0o700)
    (folder / "keys" / "log.key").write_text("11" * 32 + "\n", encoding="ascii")
    home = ServerHome(folder)
    assert home.prepare(deployment) is None
    close(home, deployment)
    assert (folder / "keys" / "log.key").read_text(encoding="ascii") == "11" * 32 + "\n"


def test_one_server_at_a_time(home: ServerHome) -> None:
    with home.held(), pytest.raises(ServerError, match="another flower-server uses"), ServerHome(home.folder).held():
        pass
    with home.held():
        pass


def test_a_start_waits_for_the_processes_of_the_last_one(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Callable[[], None]] = []
    with home.app_running():
        assert home.app_runs()
        monkeypatch.setattr("server.deployment.home.time.sleep", lambda _: waited.append(lambda: None))
        monkeypatch.setattr("server.deployment.home._FREE_SECONDS", 0.05)
        home.wait_until_free()
    assert waited
    assert not home.app_runs()
    waited.clear()
    home.wait_until_free()
    assert not waited
