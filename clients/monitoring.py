"""Metrics and health of a long-running command over HTTP, at an address of their own.

::

    GET /metrics   Prometheus' text format
    GET /health    200 while the command lives, 503 when it should be started again
    GET /ready     200 while it can do its work, 503 otherwise; a line a check

They never share a port with what strangers reach: who takes part, when, and how much is the federation's business. Without TLS and
without a password, the address belongs on loopback or on a network of the operator's own.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from clients.address import is_loopback, parse_address
from clients.errors import MemberError
from clients.event_log import Events

_SECONDS = 10.0
_TEXT = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One thing that a command needs, or should have.

    Attributes
    ----------
    name : str
    ok : bool
    text : str
        What is found, in a line.
    decides : bool
        Whether the command is ready without it.
    """

    name: str
    ok: bool
    text: str
    decides: bool = True


@dataclass(frozen=True)
class Monitored:
    """What is told about a command.

    Attributes
    ----------
    registry : CollectorRegistry
    alive : callable returning bool
    checks : callable returning a sequence of Check
    """

    registry: CollectorRegistry
    alive: Callable[[], bool]
    checks: Callable[[], Sequence[Check]]


def ready(checks: Sequence[Check]) -> bool:
    """Whether nothing is missing that decides."""
    return all(check.ok or not check.decides for check in checks)


@contextmanager
def monitoring(address: str, monitored: Monitored, events: Events | None = None) -> Iterator[None]:
    """Answer at ``address`` (HOST:PORT) as long as the context lasts; nowhere where it is empty.

    Raises
    ------
    MemberError
        It is no address, or cannot be listened on.
    """
    if not address:
        yield
        return
    host, port = parse_address(address)
    if events is not None:
        level = "info" if is_loopback(host) else "warning"
        more = "" if is_loopback(host) else ": without TLS and password, let nobody reach it but your Prometheus"
        events.write(level, "monitoring", f"metrics and health at http://{address}{more}", address=address)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        server = _Server((host, port), _handler(monitored))
    except OSError as error:
        raise MemberError(f"cannot listen at {address} for --metrics: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="monitoring", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _handler(monitored: Monitored) -> type[BaseHTTPRequestHandler]:
    def metrics(accept: str) -> tuple[int, str, bytes]:
        encode, kind = choose_encoder(accept)
        return 200, kind, encode(monitored.registry)

    def health(accept: str) -> tuple[int, str, bytes]:
        return (200, _TEXT, b"ok\n") if monitored.alive() else (503, _TEXT, b"a process of it does not live\n")

    def readiness(accept: str) -> tuple[int, str, bytes]:
        checks = monitored.checks()
        lines = [f"{'ok' if check.ok else 'FAILED' if check.decides else 'note'} {check.name}: {check.text}\n" for check in checks]
        return 200 if ready(checks) else 503, _TEXT, "".join(lines).encode()

    routes = {"/metrics": metrics, "/health": health, "/ready": readiness}

    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS
        server_version, sys_version = "lunaria", ""

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            status, kind, body = route(self.headers.get("Accept", "")) if route else (404, _TEXT, b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            _log.debug(format, *arguments)

    return Handler
