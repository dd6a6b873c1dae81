"""``flower-server``, ``flower-client`` and the commands around them: what is refused, in one line and before anything starts."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.entry import main as flower_client
from clients.home import ClientHome
from clients.invitation import Invitation
from clients.private import only_user
from server.cli import flower_server
from server.cli import main as lunaria
from server.deployment.demo import agreement

TLS = ("--certs", "certs/server.crt", "--key", "certs/server.key")
Main = Callable[[], None]
Refusal = Callable[..., str]


def run(folder: Path, main: Main, *options: str) -> int:
    """Run a command in a folder; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["command", *options])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def refusal(prepared: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Return what runs a command and returns the one line with which it is refused."""

    def refused(main: Main, *options: str) -> str:
        capsys.readouterr()
        assert run(prepared, main, *options) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    return refused


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with certificates, an agreement for three, and three invitations."""
    folder = tmp_path_factory.mktemp("organiser")
    (folder / "agreement.toml").write_text(agreement(1), encoding="utf-8")
    assert run(folder, lunaria, "certs", "--host", "127.0.0.1") == 0
    for name in ("a", "b", "c"):
        options = ("--server", "127.0.0.1:9443", "--ca", "certs/ca.crt", "--agreement", "agreement.toml")
        assert run(folder, lunaria, "invite", name, *options) == 0
    (folder / "one").mkdir()
    (folder / "one" / "a.pub").write_bytes((folder / "members" / "a.pub").read_bytes())
    (folder / "full").mkdir()
    (folder / "full" / "ledger.db").touch()
    return folder


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "needs --certs and --key"),
        (("--insecure", "--host", "0.0.0.0"), "for this machine only"),  # noqa: S104
        (("--insecure", *TLS), "choose one"),
        (("--certs", "certs/ca.crt", "--key", "certs/server.key"), "not a certificate and its key"),
        (("--certs", "nowhere", "--key", "certs/server.key"), "cannot read nowhere"),
        ((*TLS, "--members", "nowhere"), "holds no node key"),
        ((*TLS, "--members", "one"), "holds 1 node keys: invite the others"),
        ((*TLS, "--state", "full"), "holds a ledger, but not its key"),
        ((*TLS, "--verify-backend", "x"), "choose py_ecc or arkworks"),
        ((*TLS, "--agreement", "certs/ca.crt"), "is not TOML"),
        ((*TLS, "--nonsense"), "flower-server --help"),
    ],
)
def test_a_server_that_cannot_run_says_why(prepared: Path, refusal: Refusal, options: tuple[str, ...], why: str) -> None:
    assert why in refusal(flower_server, "--agreement", "agreement.toml", "--state", "run", *options)
    assert not (prepared / "run").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "no server is known"),
        (("--server", "nonsense"), "give HOST:PORT"),
        (("--server", "127.0.0.1:1"), "there is no node key"),
        (("--server", "127.0.0.1:1", "--key", "members/a.pub"), "nothing says whom to trust"),
        (("--server", "192.0.2.1:1", "--insecure"), "on this machine only"),
        (("--invitation", "agreement.toml"), "is no invitation"),
        (("--invitation", "nowhere"), "cannot read nowhere"),
        (("--invitation", "a.invitation.toml", "--agreement", "certs/ca.crt"), "is not TOML"),
        (("--nonsense",), "flower-client --help"),
    ],
)
def test_a_client_that_cannot_run_says_why(refusal: Refusal, tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    assert why in refusal(flower_client, "--data", "digits", "--state", str(tmp_path / "state"), *options)


@pytest.mark.parametrize("main", [flower_server, flower_client])
def test_a_refusal_is_an_event_where_events_are_json(
    prepared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, main: Main
) -> None:
    options = {flower_server: ("--agreement", "agreement.toml"), flower_client: ("--data", "digits")}[main]
    assert run(prepared, main, *options, "--state", str(tmp_path / "state"), "--log-format", "json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["level"], event["event"], event["exit_code"]) == ("error", "failed", 2)
    assert "lunaria certs" in event["message"] or "no server is known" in event["message"]


def test_a_state_folder_belongs_to_one_invitation(prepared: Path, refusal: Refusal, tmp_path: Path) -> None:
    state = ("--data", "digits", "--state", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "node.key").write_text(Invitation.read(prepared / "a.invitation.toml").node_key, encoding="utf-8")
    assert "another invitation" in refusal(flower_client, *state, "--invitation", "b.invitation.toml")
    assert not (ClientHome(tmp_path / "state").folder / "server").exists()


def test_two_clients_cannot_share_a_memory(refusal: Refusal, tmp_path: Path) -> None:
    with only_user(tmp_path / "state"):
        assert "another flower-client uses" in refusal(flower_client, "--data", "digits", "--state", str(tmp_path / "state"))


def test_an_invitation_is_for_its_owner_only(prepared: Path) -> None:
    assert (prepared / "a.invitation.toml").stat().st_mode & 0o77 == 0
    assert "PRIVATE KEY" not in (prepared / "members" / "a.pub").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("certs",), "--host"),
        (("certs", "--host", "other.example"), "server.crt exists"),
        (("invite", "a", "--server", "h:1"), "a.pub exists"),
        (("invite", "../x", "--server", "h:1"), "cannot name a file"),
        (("invite", "d", "--server", "h"), "give HOST:PORT"),
        (("keygen", "a.invitation.toml"), "exists"),
    ],
)
def test_keys_and_certificates_are_never_overwritten(refusal: Refusal, options: tuple[str, ...], why: str) -> None:
    more = ("--ca", "certs/ca.crt", "--agreement", "agreement.toml") if options[0] == "invite" else ()
    assert why in refusal(lunaria, *options, *more)
