"""What a deployed server works out before a client connects, and what its processes tell each other."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from ledger.errors import LedgerError
from ledger.storage import Storage
from server.deployment.app import plan_of
from server.deployment.demo import agreement
from server.deployment.home import Deployment, ServerHome
from server.deployment.superlink import bundle
from server.errors import ExitCode, ServerError
from tests.postgres import Server


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    (tmp_path / "agreement.toml").write_text(agreement(1), encoding="utf-8")
    return Deployment(str(tmp_path / "agreement.toml"), "", "", ("http://w.example",), "py_ecc")


def test_a_server_needs_no_data(deployment: Deployment) -> None:
    plan = plan_of(deployment)
    assert (plan.data.x_test.shape, plan.data.y_test.shape) == ((0, 64), (0, 10))
    assert plan.seed == 0  # every secret is fresh
    assert len(plan.model) == plan.agreement.rule.size


def test_a_server_may_bring_test_data_that_fits(deployment: Deployment) -> None:
    assert len(plan_of(replace(deployment, test_data="digits")).data.x_test)
    with pytest.raises(ServerError, match="--test-data has 30 features"):
        plan_of(replace(deployment, test_data="breast-cancer"))


def test_a_model_that_is_named_by_digest_must_be_given(deployment: Deployment) -> None:
    path = Path(deployment.agreement)
    path.write_text(path.read_text(encoding="utf-8").replace('seed = "' + "11" * 32, 'initial = "' + "22" * 32), encoding="utf-8")
    with pytest.raises(ServerError, match=r"--model FILE\.keras"):
        plan_of(deployment)


def test_an_agreement_that_is_none_is_refused(deployment: Deployment) -> None:
    Path(deployment.agreement).write_text("[federation]", encoding="utf-8")
    with pytest.raises(LedgerError):
        plan_of(deployment)


def test_the_processes_of_a_server_tell_each_other(deployment: Deployment, tmp_path: Path) -> None:
    home = ServerHome(tmp_path / "run")
    home.prepare(deployment)
    assert home.deployment() == deployment
    assert home.outcome() is None
    assert not home.asked_to_stop()
    home.ask_to_stop()
    home.end(ExitCode.FAILED, "too few")
    assert home.asked_to_stop()
    assert home.outcome() == (ExitCode.FAILED, "too few")
    home.prepare(deployment)
    assert (home.outcome(), home.asked_to_stop()) == (None, False)


def test_the_bundle_holds_no_code() -> None:
    names = ZipFile(BytesIO(bundle())).namelist()
    assert "pyproject.toml" in names
    assert not [name for name in names if name.endswith(".py")]


def test_a_ledger_may_be_in_postgresql(deployment: Deployment, tmp_path: Path, postgres: Server) -> None:
    home, there = ServerHome(tmp_path / "run"), Storage.parse(database=postgres.database())
    home.prepare(deployment, there)
    assert Storage.of(home.folder) == there
    for again in (there, Storage()):  # with the same command, or without the option
        home.prepare(deployment, again)
        assert Storage.of(home.folder) == there
    with pytest.raises(ServerError, match="keeps its ledger elsewhere"):
        home.prepare(deployment, Storage.parse(database=postgres.database()))


def test_a_database_that_holds_a_ledger_is_refused(deployment: Deployment, tmp_path: Path, postgres: Server) -> None:
    taken = Storage.parse(database=postgres.database())
    with taken.open_store(tmp_path, create=True) as store:
        store.append([b"x"], expected_size=0)
    with pytest.raises(LedgerError, match="holds a ledger already"):
        ServerHome(tmp_path / "run").prepare(deployment, taken)
    assert not (tmp_path / "run" / "storage.toml").exists()
