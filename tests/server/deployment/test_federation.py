"""A server and its clients as processes of their own: TLS, node keys, a client that starts again, strangers, and an audit."""

import os
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from bench.chaos import command_line, descendants
from server.deployment.demo import CLIENT, CLIENTS, LUNARIA, SERVER, Demo, command, witnesses
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
def test_a_server_that_is_stopped_goes_on_with_the_same_command(tmp_path: Path) -> None:
    with Demo(tmp_path, rounds=2) as demo:
        demo.invite()
        demo.start_server()
        demo.wait_for("server", "0 of 3 are connected")
        assert demo.stop("server") == ExitCode.INTERRUPTED
        assert "the same command goes on with it" in (tmp_path / "server.out").read_text(encoding="utf-8")
        demo.start_server()
        demo.wait_for("server", "the run goes on after round 0: 0 clients, 1 entries")
        assert demo.stop("server") == ExitCode.INTERRUPTED
        close = ("--agreement", "agreement.toml", "--state", "run", "--close")
        demo.run(SERVER, *close)
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")
        ended = subprocess.run(command(SERVER, *close), cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
        assert (ended.returncode, "closed already: interrupted" in ended.stderr) == (ExitCode.INTERRUPTED, True)


@pytest.mark.slow
def test_processes_that_are_killed_cost_no_round(tmp_path: Path) -> None:
    """Each of ours and of Flower's once, one a round, and all at once in the end; what ended is started again with its command."""
    with Demo(tmp_path, rounds=6, proof={"kind": "none"}, witnesses=witnesses(tmp_path)) as demo:
        demo.invite()
        demo.start_server()
        demo.start_witness()
        for name in CLIENTS:
            demo.start_client(name)
        demo.wait_for("server", "round 1: 3 clients are asked")
        demo.kill("server")
        demo.start_server()
        demo.wait_for("server", "round 1: 3 accepted")
        for number, word in ((2, "flower-superlink"), (3, "flwr-serverapp")):
            demo.wait_for("server", f"round {number}: 3 clients are asked")
            kill_below(demo, "server", word)
            assert demo.wait_for_end() == ExitCode.AGAIN
            demo.start_server()
            demo.wait_for("server", f"round {number}: 3 accepted")
        demo.wait_for("server", "round 4: 3 clients are asked")
        demo.kill(CLIENTS[0])
        demo.start_client(CLIENTS[0])
        demo.wait_for("server", "round 5: 3 clients are asked")
        kill_below(demo, CLIENTS[1], "flower-supernode")
        demo.kill("witness")
        demo.start_witness()
        demo.wait_for("server", "round 6: 3 clients are asked")
        for name in ("server", "witness", *CLIENTS):
            demo.kill(name)
        for name in CLIENTS:
            demo.start_client(name)
        demo.start_witness()
        demo.start_server()
        assert demo.wait_for_end() == ExitCode.OK
        said = (tmp_path / "server.out").read_text(encoding="utf-8")
        assert [f"round {number}: 3 accepted of 3" in said for number in range(1, 7)] == [True] * 6
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")


def kill_below(demo: Demo, name: str, word: str) -> None:
    """Kill the process of Flower with ``word`` in its command line, below one of ours."""
    os.kill(next(one for one in descendants(demo.process_id(name)) if word in command_line(one)), signal.SIGKILL)


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
