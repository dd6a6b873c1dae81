"""What the HTTP services share: how they are run, and what to say where their packages are missing."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clients.console import Console, EventHandler, LogFormat
from server.errors import ExitCode, ServerError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from clients.monitoring import Check

    Checks = Callable[[], list[Check]]

Metrics = Annotated[str, typer.Option("--metrics", help="HOST:PORT for GET /metrics, /health and /ready. [default: none]")]
Format = Annotated[LogFormat, typer.Option("--log-format", help="What happens, on standard error: text, or json with an object a line.")]

MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 15


@dataclass(frozen=True)
class Telling:
    """How a service tells how it goes.

    Attributes
    ----------
    metrics : str
        HOST:PORT of its metrics and health; empty for none.
    log_format : LogFormat
    """

    metrics: str
    log_format: LogFormat


@contextmanager
def installed(extra: str = "http") -> Iterator[None]:
    """Say how to install what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'lunaria[{extra}]'\n")
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error


def serve(application: "Starlette", host: str, port: int, routes: Sequence[str], telling: Telling, checks: "Checks" = list) -> None:
    """Serve an application until Ctrl-C or SIGTERM; says where on standard error.

    Parameters
    ----------
    application : Starlette
    host : str
    port : int
    routes : sequence of str
        What metrics tell apart (:class:`server.metering.HttpMetrics`).
    telling : Telling
    checks : callable returning a list of Check
        What ``/ready`` asks.

    Raises
    ------
    ServerError
        The address cannot be listened on.
    """
    with installed():
        import uvicorn
        from prometheus_client import CollectorRegistry, ProcessCollector

        from clients.monitoring import Monitored, monitoring
        from server.metering import HttpMetrics, Metered
    console, registry = Console(telling.log_format), CollectorRegistry()
    for name in ("uvicorn", "lunaria"):
        logging.getLogger(name).handlers = [EventHandler(console)]
        logging.getLogger(name).setLevel(logging.INFO)
    if telling.metrics:
        ProcessCollector(registry=registry)
        application.add_middleware(Metered, metrics=HttpMetrics(registry, routes))
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="off",
        ws="none",
    )
    with monitoring(telling.metrics, Monitored(registry, lambda: True, checks)):
        try:
            uvicorn.Server(config).run()
        except SystemExit as error:  # uvicorn has said why
            raise ServerError(f"cannot serve at {host}:{port}: see the line above") from error
