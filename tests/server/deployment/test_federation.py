"""A server and its clients as processes of their own: TLS, node keys, a client that starts again, strangers, and an audit."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from server.deployment.demo import CLIENT, CLIENTS, LUNARIA, Demo, command
from server.errors import ExitCode


@pytest.mark.slow
def test_a_federation_of_processes_from_invitation_to_audit(tmp_path: Path) -> None:
    with Demo(tmp_path, rounds=3) as demo:
        demo.invite()
        demo.start_server()
        for name in CLIENTS:
            demo.start_client(name)
        demo.wait_for("server", "3 clients are asked to enrol")
        stranger_is_refused(demo)
        only_the_fleet_interface_is_reachable(demo)
        demo.wait_for("server", "round 1: 3 accepted")
        assert demo.stop(CLIENTS[0]) == ExitCode.OK
        demo.start_client(CLIENTS[0])
        assert demo.wait_for_end() == ExitCode.OK
        assert "round 3: 3 accepted" in (tmp_path / "server.out").read_text(encoding="utf-8")
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")


@pytest.mark.slow
def test_a_server_that_is_stopped_closes_its_ledger(tmp_path: Path) -> None:
    with Demo(tmp_path, rounds=2) as demo:
        demo.invite()
        demo.start_server()
        demo.wait_for("server", "0 of 3 are connected")
        assert demo.stop("server") == ExitCode.INTERRUPTED
        assert "the ledger is closed" in (tmp_path / "server.out").read_text(encoding="utf-8")
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")


def stranger_is_refused(demo: Demo) -> None:
    """Come with a node key that nobody registered."""
    demo.run(LUNARIA, "keygen", "stranger.key")
    where = ("--server", f"127.0.0.1:{demo.port}", "--ca", "certs/ca.crt", "--key", "stranger.key")
    options = command(CLIENT, *where, "--data", "digits", "--state", "state-stranger")
    done = subprocess.run(options, cwd=demo.folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert done.returncode == ExitCode.UNUSABLE
    assert "did not let this client in" in done.stderr.splitlines()[-1]


def only_the_fleet_interface_is_reachable(demo: Demo) -> None:
    context = ssl.create_default_context(cafile=str(demo.folder / "certs" / "ca.crt"))
    with httpx.Client(base_url=f"https://127.0.0.1:{demo.port}", verify=context) as client:
        for path in ("/v1/control/list-runs", "/v1/runtime/pull-task-input", "/v1/fleet/register-node"):
            assert client.post(path, content=b"").status_code == 404
        unsigned = client.post("/v1/fleet/pull-messages", content=b"", headers={"content-type": "application/protobuf"})
        assert unsigned.status_code == 401
