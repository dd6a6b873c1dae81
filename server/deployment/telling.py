"""How a server tells how it goes: events for people and programs, metrics for Prometheus, and systemd."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from clients.console import Console, LogFormat
from clients.event_log import Events
from clients.monitoring import monitoring
from clients.notify import Notifier
from server.deployment.gate import CALLS, SELF_REGISTRATION
from server.deployment.health import Health
from server.deployment.home import ServerHome
from server.deployment.metrics import RunMetrics, monitored
from server.metering import HttpMetrics, Metered

WARN_DAYS = 30


class Telling:
    """What ``flower-server`` tells, from its start.

    Parameters
    ----------
    home : ServerHome
    form : LogFormat
    address : str
        HOST:PORT of metrics and health; empty for none.

    Attributes
    ----------
    events : Events
    """

    def __init__(self, home: ServerHome, form: LogFormat, address: str) -> None:
        self._registry, self._notifier, self._address = CollectorRegistry(), Notifier(), address
        self.events = Events(home.folder / "server.log", Console(form), RunMetrics(self._registry), self._notifier.show)

    def count(self, gate: Starlette) -> None:
        """Count what passes through the gate."""
        routes = ["health", *(f"v1/fleet/{call}" for call in sorted(CALLS | SELF_REGISTRATION))]
        gate.add_middleware(Metered, metrics=HttpMetrics(self._registry, routes))

    @contextmanager
    def about(self, health: Health) -> Iterator[None]:
        """Answer what is asked about a server that is ready, as long as the context lasts."""
        left = health.days_left
        if left is not None and left < WARN_DAYS:
            self.events.warning("certificate-expires", f"the certificate expires in {left} days: see docs/deployment.md", days=left)
        with monitoring(self._address, monitored(health, self._registry), self.events):
            self._notifier.ready()
            yield

    def follow(self, health: Health) -> None:
        """Tell what is new; to be called often."""
        self.events.follow()
        self._notifier.alive(lives=health.alive())
