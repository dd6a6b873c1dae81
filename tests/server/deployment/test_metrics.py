"""Metrics, health and readiness of a server: of a real SuperLink, a real gate and a real ledger."""

import json
import re
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from flwr.app import Message
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from clients import supervise
from clients.address import free_port
from clients.errors import MemberError
from clients.event_log import Event
from clients.metrics import ClientMetrics
from clients.monitoring import Monitored, monitoring
from clients.node_keys import make_node_key
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.note import signature_by
from ledger.quorum import Policy
from server.deployment import health as health_module
from server.deployment.gate import CALLS, gate_app, serving
from server.deployment.health import Health
from server.deployment.home import Deployment, ServerHome
from server.deployment.ledger_figures import LedgerReader
from server.deployment.metrics import RunMetrics, monitored
from server.deployment.node_keys import read_members
from server.deployment.run_log import RunLog, WatchedGrid
from server.deployment.superlink import SuperLink, superlink
from server.metering import HttpMetrics, Metered
from tests.federation import Federation, Run, client, opening_of, terms
from tests.local_grid import LocalGrid
from tests.server.deployment.test_certificates import pki

WITNESS = CosignatureSigner("w.example", ED25519_COSIGNATURE, bytes(31) + b"\x01", lambda: 1_700_000_000)
SILENT = CosignatureSigner("silent.example", ED25519_COSIGNATURE, bytes(31) + b"\x02")
DOCS, MONITORING = (Path(__file__).parents[3] / name for name in ("docs", "deploy/monitoring"))


@dataclass
class Server:
    """The monitored parts of a server."""

    home: ServerHome
    link: SuperLink
    health: Health
    url: str
    gate: str
    ca: Path
    run: Run

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}")

    def samples(self) -> dict[str, float]:
        """Return every sample of a scrape by name and labels, as Prometheus writes them."""
        answer = self.get("/metrics")
        assert answer.status_code == 200
        families = list(text_string_to_metric_families(answer.text))
        samples = [sample for family in families for sample in family.samples]
        return {f"{one.name}{{{','.join(f'{k}={v}' for k, v in sorted(one.labels.items()))}}}": one.value for one in samples}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a federation into a state folder, and what ``flower-server`` puts around it."""
    folder = tmp_path_factory.mktemp("server")
    home, registry, ports = ServerHome(folder / "run"), CollectorRegistry(), (free_port(), free_port())
    home.prepare(Deployment("agreement.toml", "", "", (), "py_ecc"))
    ca, certificate, key = pki(folder / "certs", "127.0.0.1")
    for name in ("hospital-a", "hospital-b"):
        (folder / f"{name}.pub").write_text(make_node_key(name)[1], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, superlink(home, node_keys=True) as link:
        patch.setattr(supervise, "GRACE_SECONDS", 2.0)
        patch.setattr(health_module, "EVERY_SECONDS", 0.2)
        for name, public in read_members(folder).items():
            link.admit(name, public)
        gate = gate_app(link.address, link.ca)
        gate.add_middleware(Metered, metrics=HttpMetrics(registry, ["health", *(f"v1/fleet/{call}" for call in CALLS)]))
        run_metrics, urls = RunMetrics(registry), (f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}")
        with (
            Health(home, link, certificate) as health,
            serving(gate, "127.0.0.1", ports[1], certificate, key),
            monitoring(f"127.0.0.1:{ports[0]}", monitored(health, registry)),
        ):
            yield Server(home, link, health, urls[0], urls[1], ca, federate(home, run_metrics))


def federate(home: ServerHome, run_metrics: RunMetrics) -> Run:
    """Run two rounds of three clients, one of which answers none of the second; one of two witnesses cosigns."""
    keys = [str(witness.verifier.key) for witness in (WITNESS, SILENT)]
    agreement = terms(3, 2, witnesses={"keys": keys, "quorum": 1})
    policy = Policy.of(opening_of(agreement))

    def cosign(signed: bytes, consistency: object) -> bytes:
        text = signed.split(b"\n\n")[0] + b"\n"
        return policy.cosigned(signed, [signature_by(WITNESS, text).encode().encode()])

    trains = [0]

    def lose(replies: list[Message]) -> list[Message]:
        if replies and replies[0].metadata.message_type == "train":
            trains[0] += 1
            return replies[1:] if trains[0] > 1 else replies
        return replies

    clients, log = [client(i) for i in range(3)], home.log()
    federation = Federation(home.folder, clients, agreement, timeout=1, cosign=cosign, observer=RunLog(log, 8))
    federation.grid = WatchedGrid(LocalGrid(clients, lose), log)
    run = federation.run()
    home.beat()
    for line in (home.folder / "server.log").read_text(encoding="utf-8").splitlines():
        run_metrics(Event.decode(line))
    return run


def test_the_ledger_is_counted_from_its_entries(server: Server) -> None:
    samples = server.samples()
    assert samples["lunaria_rounds_total{}"] == 2
    assert samples["lunaria_verdicts_total{reason=accepted}"] == 5
    assert samples["lunaria_verdicts_total{reason=no-reply}"] == 1
    assert samples["lunaria_verdicts_total{reason=bad-proof}"] == 0  # there from the beginning, so that an increase is seen
    assert samples["lunaria_members{}"] == 3
    assert samples["lunaria_ledger_entries{}"] == len(server.run.leaves) == samples["lunaria_checkpoint_entries{}"]
    assert samples["lunaria_ledger_entry_bytes{}"] == sum(len(leaf) for leaf in server.run.leaves)
    assert samples["lunaria_run_closed{}"] == 1
    assert samples["lunaria_agreed_rounds{}"] == 2
    assert samples["lunaria_witness_cosignature_timestamp_seconds{witness=w.example}"] == 1_700_000_000
    assert samples["lunaria_witness_cosignature_timestamp_seconds{witness=silent.example}"] == 0
    assert abs(samples["lunaria_checkpoint_timestamp_seconds{}"] - time.time()) < 600


def test_after_a_restart_the_ledger_says_the_same(server: Server) -> None:
    before, reader = server.health.figures(), LedgerReader(server.home.folder)
    assert reader.read() == before
    reader.close()


def test_a_run_that_has_not_begun_counts_nothing(tmp_path: Path) -> None:
    assert LedgerReader(tmp_path).read().entries == 0


def test_the_time_of_rounds_goes_by_phase(server: Server) -> None:
    samples = server.samples()
    assert samples["lunaria_round_duration_seconds_count{}"] == 2
    assert samples["lunaria_round_phase_duration_seconds_count{phase=waiting}"] == 2
    assert samples["lunaria_round_phase_duration_seconds_sum{phase=waiting}"] >= 0.9  # the time limit, once
    phases = sum(value for name, value in samples.items() if name.startswith("lunaria_round_phase_duration_seconds_sum"))
    assert abs(phases - samples["lunaria_round_duration_seconds_sum{}"]) < 1e-6
    assert samples["lunaria_reply_duration_seconds_count{type=train}"] == 5
    assert samples["lunaria_replies_awaited{}"] == samples["lunaria_replies_unverified{}"] == 0


def test_a_queue_is_what_came_and_has_no_verdict() -> None:
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    metrics(Event("debug", "asked", "", {"type": "train", "messages": 3}))
    metrics(Event("info", "round-began", "", {"round": 1, "asked": 3}))
    for failed in (False, False, True):
        metrics(Event("debug", "reply", "", {"type": "train", "node": "1", "seconds": 1.0, "error": failed}))
    assert registry.get_sample_value("lunaria_replies_unverified") == 2
    assert registry.get_sample_value("lunaria_replies_failed_total", {"type": "train"}) == 1
    assert registry.get_sample_value("lunaria_round_start_timestamp_seconds")
    for fields in ("{}", '{"seconds": 1}', '{"seconds": {"x": "y"}}'):
        metrics(Event("info", "round-done", "of another version", json.loads(fields)))
    assert registry.get_sample_value("lunaria_replies_unverified") == 2


def stranger_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.gate, verify=ssl.create_default_context(cafile=str(server.ca)))


def test_the_gate_counts_calls_and_bytes_and_keeps_strangers_in_one_series(server: Server) -> None:
    with stranger_of(server) as stranger:
        answer = stranger.post("/v1/fleet/pull-messages", content=b"x" * 1000, headers={"content-type": "application/protobuf"})
        assert answer.status_code in (400, 401)
        for i in range(3):
            stranger.get(f"/{i}/nothing")
    samples = server.samples()
    assert samples[f"lunaria_http_requests_total{{code={answer.status_code},route=v1/fleet/pull-messages}}"] == 1
    assert samples["lunaria_http_received_bytes_total{route=v1/fleet/pull-messages}"] == 1000
    assert samples["lunaria_http_requests_total{code=404,route=other}"] == 3
    assert not [name for name in samples if "nothing" in name]


def test_neither_metrics_nor_readiness_can_be_reached_from_outside(server: Server) -> None:
    with stranger_of(server) as stranger:
        assert stranger.get("/metrics").status_code == stranger.get("/ready").status_code == 404


def test_who_is_connected_decides_nothing(server: Server) -> None:
    samples = server.samples()
    assert samples["lunaria_client_connected{client=hospital-a}"] == samples["lunaria_clients_connected{}"] == 0
    answer = server.get("/ready")
    assert answer.status_code == 200
    assert "note clients: 0 of 2" in answer.text
    assert samples["lunaria_ready{}"] == samples["lunaria_check_ok{check=superlink}"] == 1
    assert 396 * 86400 < samples["lunaria_certificate_expiry_timestamp_seconds{}"] - time.time() < 398 * 86400
    assert server.get("/health").status_code == 200
    assert server.get("/other").status_code == 404


def test_a_server_app_that_stands_still_is_neither_alive_nor_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "SILENT_SECONDS", 0.5)
    time.sleep(0.6)
    assert server.get("/health").status_code == server.get("/ready").status_code == 503
    assert "FAILED server-app" in server.get("/ready").text
    monkeypatch.undo()
    server.home.beat()
    assert server.get("/health").status_code == 200


def test_a_disk_that_is_full_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "MINIMUM_FREE", 2**60)
    assert "FAILED ledger" in server.get("/ready").text
    assert server.get("/health").status_code == 200  # a restart would not help


def test_prometheus_finds_nothing_wrong(server: Server) -> None:
    assert promtool("check", "metrics", text=server.get("/metrics").text) == ""


def metrics_of(server: Server) -> set[str]:
    """Return the names of all metrics of a server and a client, as they are scraped."""
    client_registry = ClientMetrics().registry
    families = [*text_string_to_metric_families(server.get("/metrics").text), *client_registry.collect()]
    assert len(families) > 50
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}


def test_every_metric_is_documented_and_every_documented_one_is_there(server: Server) -> None:
    rows = set(re.findall(r"^\| `(lunaria_\w+)", (DOCS / "operations.md").read_text(encoding="utf-8"), re.MULTILINE))
    found = {re.sub("_(bucket|sum|count)$", "", name) for name in metrics_of(server) if name.startswith("lunaria_")}
    assert rows == found | {"lunaria_test_accuracy_ratio"}  # this server has no test data


def expressions() -> list[str]:
    """Return every expression of the dashboard, for any server and over five minutes."""
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(found) > 25
    return [text.replace("$instance", ".+").replace("$__rate_interval", "5m") for text in found]


def test_dashboard_and_alerts_ask_for_metrics_that_are_scraped(server: Server) -> None:
    known = metrics_of(server) | {"lunaria_test_accuracy_ratio"}
    used = set(
        re.findall(r"\b(?:lunaria|process)_\w+", "\n".join([*expressions(), (MONITORING / "alerts.yml").read_text(encoding="utf-8")]))
    )
    assert len(used) > 30
    assert used <= known


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    places: set[tuple[int, int]] = set()
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for place in (panel["gridPos"] for panel in panels):
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & places
        places |= cells


def promtool(*options: str, text: str | None = None) -> str:
    """Run promtool; return what it finds wrong."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    done = subprocess.run([program, *options], input=text, cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return done.stdout + done.stderr if done.returncode else ""


def test_prometheus_takes_the_configuration_and_the_alerts_fire_when_they_should() -> None:
    assert promtool("check", "config", "prometheus.yml") == ""
    assert promtool("test", "rules", "alerts_test.yml") == ""


def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert promtool("check", "rules", str(tmp_path / "rules.yml")) == ""


def test_every_alert_has_a_test_and_a_line_in_the_guide() -> None:
    alerts = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text(encoding="utf-8"))
    tests = (MONITORING / "alerts_test.yml").read_text(encoding="utf-8")
    assert len(alerts) == 14
    for alert in alerts:
        assert tests.count(f"alertname: {alert}\n") == 1  # fires
        assert f"alertname: {alert}}}" in tests  # and does not
        assert f"| `{alert}` |" in (DOCS / "operations.md").read_text(encoding="utf-8")


def test_an_address_in_use_is_one_line(server: Server) -> None:
    nothing = Monitored(CollectorRegistry(), lambda: True, list)
    with pytest.raises(MemberError, match="cannot listen at"), monitoring(server.url.removeprefix("http://"), nothing):
        pass


def test_a_superlink_that_stands_still_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "SILENT_SECONDS", 2.0)
    server.link._process.send_signal(signal.SIGSTOP)
    try:
        assert wait_for(server, 503)
        assert "FAILED superlink" in server.get("/ready").text
    finally:
        server.link._process.send_signal(signal.SIGCONT)
    assert wait_for(server, 200)


def wait_for(server: Server, status: int) -> bool:
    """Whether /health comes to answer so while the ServerApp lives."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        server.home.beat()
        if server.get("/health").status_code == status:
            return True
        time.sleep(0.1)
    return False


def test_metrics_are_off_unless_an_address_is_given() -> None:
    with monitoring("", Monitored(CollectorRegistry(), lambda: True, list)):
        pass
