"""The metrics of ``flower-server``, in Prometheus' terms (``docs/operations.md`` lists them).

Three sources: the ledger, counted anew at each start, so that its counters are right after a restart; the events of the run, which
begin at zero with the process, as Prometheus expects of a counter; and what the server knows of its processes and its disk.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clients.event_log import Event
from clients.monitoring import Monitored, ready
from ledger.errors import LedgerError
from ledger.verdicts import Reason
from server.deployment.health import Health
from server.deployment.ledger_figures import LedgerFigures

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600)
"""Seconds; a round takes from some of them to an hour."""

PHASES = ("beacon", "waiting", "proofs", "verifying", "aggregating", "appending")


def monitored(health: Health, registry: CollectorRegistry) -> Monitored:
    """Return what is told about a server; its metrics go into ``registry``."""
    ProcessCollector(registry=registry)
    registry.register(ServerCollector(health))
    return Monitored(registry, health.alive, health.checks)


class RunMetrics:
    """What the events of a run say: pass it each of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._phases = Histogram(
            "lunaria_round_phase_duration_seconds", "Time of a round, by phase", ["phase"], registry=registry, buckets=BUCKETS
        )
        for phase in PHASES:
            self._phases.labels(phase)
        self._round = Histogram("lunaria_round_duration_seconds", "Time of a whole round", registry=registry, buckets=BUCKETS)
        self._proving = Histogram(
            "lunaria_round_proving_duration_seconds",
            "The longest that a client of a round says it took to prove",
            registry=registry,
            buckets=BUCKETS,
        )
        self._replies = Histogram(
            "lunaria_reply_duration_seconds",
            "Time from a message to its reply, by kind of message",
            ["type"],
            registry=registry,
            buckets=BUCKETS,
        )
        self._failed = Counter("lunaria_replies_failed", "Replies that are an error of the client's program", ["type"], registry=registry)
        self._awaited = Gauge("lunaria_replies_awaited", "Messages of this round whose reply has not come", registry=registry)
        self._queue = Gauge("lunaria_replies_unverified", "Contributions and proofs that came and have no verdict yet", registry=registry)
        self._started = Gauge(
            "lunaria_round_start_timestamp_seconds", "When clients were asked to train; 0 between rounds", registry=registry
        )
        self._delays = Counter("lunaria_checkpoint_delays", "Checkpoints that had to wait for witnesses", registry=registry)
        self._refused = Counter("lunaria_enrolments_refused", "Enrolments that did not stand", registry=registry)

    def __call__(self, event: Event) -> None:
        """Take an event into account; one that has not the fields that it should have counts for nothing."""
        try:
            self._take(event.event, dict(event.fields))
        except (KeyError, TypeError, ValueError, AttributeError):
            return

    def _take(self, name: str, fields: Mapping[str, Any]) -> None:
        if name == "asked":
            self._awaited.inc(fields["messages"])
        elif name == "reply":
            self._awaited.dec()
            if fields["error"]:
                self._failed.labels(fields["type"]).inc()
            else:
                self._replies.labels(fields["type"]).observe(fields["seconds"])
                self._queue.inc(fields["type"] in ("train", "query.prove"))
        elif name == "round-began":
            self._started.set_to_current_time()
        elif name == "round-done":
            for phase, seconds in fields["seconds"].items():
                self._phases.labels(phase).observe(seconds)
            self._round.observe(sum(fields["seconds"].values()))
            if fields["proving_seconds"]:
                self._proving.observe(fields["proving_seconds"])
            for gauge in (self._started, self._awaited, self._queue):
                gauge.set(0)
        elif name == "delayed":
            self._delays.inc()
        elif name == "enrolment-refused":
            self._refused.inc()


class ServerCollector(Collector):
    """What ledger, processes and disk say when they are asked."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are known when they are collected."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now; those of a ledger that cannot be read are left out."""
        yield _labelled("lunaria_build_info", "The version that runs", ["version", "flower"], {(version("lunaria"), version("flwr")): 1})
        checks = self._health.checks()
        yield _gauge("lunaria_ready", "Whether the server can do its work", ready(checks))
        yield _labelled("lunaria_check_ok", "Whether a check of /ready holds", ["check"], {(check.name,): check.ok for check in checks})
        clients = dict(self._health.clients)
        yield _gauge("lunaria_clients_connected", "Clients that are connected", sum(clients.values()))
        named = {(name,): online for name, online in clients.items()}
        yield _labelled("lunaria_client_connected", "Whether a client is connected, by the name of its node key", ["client"], named)
        if self._health.expires is not None:
            expires = self._health.expires.timestamp()
            yield _gauge("lunaria_certificate_expiry_timestamp_seconds", "When the server's certificate expires", expires)
        try:
            size, free = self._health.disk()
        except OSError:
            pass
        else:
            yield _gauge("lunaria_disk_size_bytes", "Size of the disk of the state folder", size)
            yield _gauge("lunaria_disk_free_bytes", "Free bytes on the disk of the state folder", free)
        try:
            figures = self._health.figures()
        except LedgerError:
            return
        yield from _of_ledger(figures)


def _of_ledger(figures: LedgerFigures) -> Iterable[Metric]:
    yield CounterMetricFamily("lunaria_rounds", "Rounds that stand in the ledger", value=figures.rounds)
    verdicts = CounterMetricFamily("lunaria_verdicts", "Verdicts in the ledger, by reason", labels=["reason"])
    for reason in Reason:
        verdicts.add_metric([reason.value], figures.verdicts[reason.value])
    yield verdicts
    yield _gauge("lunaria_members", "Clients that enrolled", figures.members)
    yield _gauge("lunaria_ledger_entries", "Entries of the ledger", figures.entries)
    yield _gauge("lunaria_ledger_entry_bytes", "Bytes of these entries, without the tree and the evidence", figures.entry_bytes)
    yield _gauge("lunaria_checkpoint_entries", "Entries under the published checkpoint", figures.published)
    yield _gauge("lunaria_checkpoint_timestamp_seconds", "When the checkpoint was published; 0 before the first", figures.published_at)
    yield _gauge("lunaria_run_closed", "Whether the closing entry stands", figures.closed)
    cosigned = {(name,): seconds for name, seconds in figures.cosigned_at.items()}
    text = "When a witness of the agreement cosigned last, by its clock; 0 where it is not known to have"
    yield _labelled("lunaria_witness_cosignature_timestamp_seconds", text, ["witness"], cosigned)
    if figures.agreement is not None:
        rounds = figures.agreement.rounds
        yield _gauge("lunaria_agreed_rounds", "Rounds that the agreement wants", rounds.count)
        yield _gauge("lunaria_agreed_clients", "Clients that the agreement waits for", figures.agreement.federation.clients)
        yield _gauge("lunaria_agreed_reply_timeout_seconds", "Time limit for each reply", rounds.reply_timeout)
        yield _gauge("lunaria_agreed_witness_quorum", "Cosignatures that a checkpoint needs", figures.agreement.witnesses.quorum)
    test = figures.test
    if test is not None and test.correct is not None:
        yield _gauge(
            "lunaria_test_accuracy_ratio", "Accuracy of the last model on the server's test data", test.correct / max(1, test.total)
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, labels: list[str], values: Mapping[tuple[str], float] | Mapping[tuple[str, str], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(list(label), float(value))
    return family
