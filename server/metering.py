"""Counts what passes through an HTTP application: calls, bytes and time, by route (ASGI)."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OTHER = "other"


class HttpMetrics:
    """The metrics of one application.

    Parameters
    ----------
    registry : CollectorRegistry
    routes : iterable of str
        Beginnings of paths that are told apart, without the first slash; the longest that fits counts. All others are one: strangers
        choose paths, and each would be a series.
    """

    def __init__(self, registry: CollectorRegistry, routes: Iterable[str]) -> None:
        self._routes = sorted(routes, key=len, reverse=True)
        self.requests = Counter("lunaria_http_requests", "Calls, by route and status", ["route", "code"], registry=registry)
        self.received = Counter("lunaria_http_received_bytes", "Bytes of bodies that came", ["route"], registry=registry)
        self.sent = Counter("lunaria_http_sent_bytes", "Bytes of bodies that went", ["route"], registry=registry)
        self.seconds = Histogram(
            "lunaria_http_request_duration_seconds",
            "Time from a call to the end of its answer",
            ["route"],
            registry=registry,
            buckets=_BUCKETS,
        )

    def route(self, path: str) -> str:
        """Return the route of a path."""
        path = path.removeprefix("/")
        return next((route for route in self._routes if path == route or path.startswith(f"{route}/")), OTHER)


class Metered:
    """An ASGI middleware that counts into :class:`HttpMetrics`."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, route, status, began = self._metrics, self._metrics.route(scope["path"]), 500, time.monotonic()

        async def counted_receive() -> Message:
            message = await receive()
            metrics.received.labels(route).inc(len(message.get("body", b"")))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            metrics.sent.labels(route).inc(len(message.get("body", b"")))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            metrics.requests.labels(route, str(status)).inc()
            metrics.seconds.labels(route).observe(time.monotonic() - began)
