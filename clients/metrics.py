"""The metrics of ``flower-client``, made of its events, and whether it lives (``docs/operations.md`` lists them)."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from clients.event_log import Event
from clients.monitoring import Check, Monitored

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600)
SILENT_SECONDS = 60.0
_RESULTS = {"message-answered": "answered", "message-refused": "refused", "message-failed": "failed"}


class ClientMetrics:
    """Counts what the events say, which it is passed one by one; :meth:`beat` says that the command lives."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._messages = Counter(
            "lunaria_client_messages", "Messages of the server, by kind and result", ["type", "result"], registry=self.registry
        )
        self._seconds = Histogram(
            "lunaria_client_message_duration_seconds",
            "Time to answer a message, by kind",
            ["type"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._parts = {
            name: Histogram(f"lunaria_client_{name}_duration_seconds", f"Time of {name}", registry=self.registry, buckets=BUCKETS)
            for name in ("training", "proving")
        }
        self._connected = Gauge("lunaria_client_server_connected", "Whether the server is connected", registry=self.registry)
        self._last = Gauge("lunaria_client_last_message_timestamp_seconds", "When the last message was dealt with", registry=self.registry)
        self._beat = time.monotonic()
        self._text = "not yet"

    def __call__(self, event: Event) -> None:
        """Take an event into account; one that has not the fields that it should have counts for nothing."""
        try:
            self._take(event.event, dict(event.fields))
        except (KeyError, TypeError, ValueError, AttributeError):
            return

    def beat(self) -> None:
        """Note that the command lives."""
        self._beat = time.monotonic()

    def monitored(self) -> Monitored:
        """Return what is told about the client."""
        return Monitored(self.registry, lambda: time.monotonic() - self._beat < SILENT_SECONDS, self._checks)

    def _checks(self) -> Sequence[Check]:
        return [Check("server", self._text == "connected", self._text)]

    def _take(self, name: str, fields: Mapping[str, Any]) -> None:
        if name in _RESULTS:
            self._last.set_to_current_time()
            self._messages.labels(fields["type"], _RESULTS[name]).inc()
            seconds = fields.get("seconds", {})
            if "total" in seconds:
                self._seconds.labels(fields["type"]).observe(seconds["total"])
            for part, histogram in self._parts.items():
                if part in seconds:
                    histogram.observe(seconds[part])
        elif name in ("connected", "waiting-for-server", "connection-lost"):
            self._connected.set(name == "connected")
            self._text = name.replace("-", " ")
