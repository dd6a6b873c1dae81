"""What a running deployment says about itself: real processes, with a socket in systemd's place and a scrape in Prometheus'."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from clients.address import free_port
from server.deployment.demo import CLIENT, CLIENTS, Demo
from server.errors import ExitCode

SECONDS = 300.0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels, in the order of their names."""
    families = text_string_to_metric_families(httpx.get(f"http://{address}/metrics").text)
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def secrets_of(folder: Path) -> set[str]:
    """Return what must be in no log: every private key, whole and line by line, and what clients remember."""
    names = ["*.invitation.toml", "certs/*.key", "run/keys/*", "run/superlink/*.key", "state-*/identity.key", "state-*/node.key"]
    texts = [path.read_text(encoding="utf-8") for name in names for path in folder.glob(name)]
    lines = {line.strip() for text in texts for line in text.splitlines() if len(line.strip()) >= 40 and "=" not in line[:20]}
    for path in folder.glob("state-*/member.json"):
        lines |= {value for value in json.loads(path.read_text(encoding="utf-8")).values() if isinstance(value, str) and len(value) >= 40}
    public = {line.strip() for path in folder.glob("certs/*.crt") for line in path.read_text(encoding="utf-8").splitlines()}
    return {line for line in lines if not line.startswith("-----")} - public


def read(listener: socket.socket, said: list[str]) -> None:
    while True:
        said.append(listener.recv(4096).decode())


@pytest.mark.slow
def test_a_deployment_tells_systemd_prometheus_and_people_how_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    said: list[str] = []
    reader = threading.Thread(target=read, args=(told, said), daemon=True)  # nobody waits for a systemd that does not read
    reader.start()
    server, client = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with told, Demo(tmp_path / "demo", rounds=2) as demo:
        demo.invite()
        with monkeypatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            patch.setenv("WATCHDOG_USEC", "8000000")
            demo.start_server("--metrics", server, "--log-format", "json")
        for name in CLIENTS[1:]:
            demo.start_client(name)
        options = ("--invitation", f"{CLIENTS[0]}.invitation.toml", "--data", f"{CLIENTS[0]}.npz", "--state", f"state-{CLIENTS[0]}")
        demo.start(CLIENTS[0], CLIENT, *options, "--metrics", client, "--log-format", "json")

        log = demo.folder / f"state-{CLIENTS[0]}" / "supernode.log"
        wait_until(lambda: log.exists() and "Receiving: train" in log.read_text(encoding="utf-8"))
        during, mine = scrape(server), scrape(client)
        ready = httpx.get(f"http://{server}/ready")
        assert demo.stop(CLIENTS[0]) == ExitCode.OK  # it answers the message in hand first
        demo.wait_for("server", "round 1: 3 accepted of 3 asked")
        after = scrape(server)
        assert demo.stop("server") == ExitCode.INTERRUPTED
        wait_until(lambda: "STATUS=the run" in "\n".join(said[-2:]))

    assert ready.status_code == 200, ready.text
    assert "ok clients: 3 of 3" in ready.text
    assert all(during["lunaria_client_connected", name] == 1 for name in CLIENTS)
    assert during["lunaria_members",] == 3
    assert during["lunaria_round_start_timestamp_seconds",] > 0
    assert during["lunaria_http_received_bytes_total", "v1/fleet/push-object"] > 1000
    assert after["lunaria_rounds_total",] == after["lunaria_round_duration_seconds_count",] == 1
    assert after["lunaria_verdicts_total", "accepted"] == 3
    assert after["lunaria_reply_duration_seconds_count", "train"] == 3
    assert mine["lunaria_client_server_connected",] == 1
    assert mine["lunaria_client_messages_total", "answered", "query.enrol"] == 1

    states = [text for text in said if not text.startswith("STATUS=")]
    assert states[0] == "READY=1"
    assert "STOPPING=1" in states[-5:]
    assert "WATCHDOG=1" in states
    assert any(text.startswith("STATUS=round 1: 3 accepted of 3 asked") for text in said)

    events = [json.loads(line) for line in (demo.folder / "server.out").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events if event["event"] in ("listening", "round-done", "ended")] == [
        "listening",
        "round-done",
        "ended",
    ]
    assert "message-answered" in (demo.folder / f"{CLIENTS[0]}.out").read_text(encoding="utf-8")
    logs = [path for kind in ("*.out", "*/*.log") for path in demo.folder.glob(kind)]
    hidden, written = secrets_of(demo.folder), "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)
    assert len(logs) >= 11
    assert len(hidden) > 12
    assert not [secret[:8] for secret in hidden if secret in written]
