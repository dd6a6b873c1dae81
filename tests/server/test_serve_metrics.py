"""``lunaria serve`` as a process: its metrics and health at an address of their own, its events in JSON."""

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from clients.address import free_port
from tests.federation import Federation, client, terms


def test_a_served_ledger_counts_its_readers(folder: Path) -> None:
    Federation(folder, [client(i) for i in range(2)], terms(2, 1)).run()
    port, monitor = free_port(), f"127.0.0.1:{free_port()}"
    options = ["serve", str(folder), "--port", str(port), "--metrics", monitor, "--log-format", "json"]
    command = [sys.executable, "-c", "from server.cli import main; main()", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            wait_for(f"http://127.0.0.1:{port}/checkpoint")
            assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 404
            assert httpx.get(f"http://{monitor}/health").text == "ok\n"
            assert httpx.get(f"http://{monitor}/ready").text == "ok ledger: 5 entries\n"
            families = text_string_to_metric_families(httpx.get(f"http://{monitor}/metrics").text)
            calls = {tuple(one.labels.values()): one.value for family in families for one in family.samples if "requests" in one.name}
        finally:
            process.terminate()
        assert process.stderr is not None
        events = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert calls["200", "checkpoint"] >= 1
    assert calls["404", "other"] == 1
    assert {event["event"] for event in events} == {"log"}
    assert any(f"127.0.0.1:{port}" in event["message"] for event in events)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert httpx.get(url).status_code == 200
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(url)
