"""What the HTTP services share: how they are run, and what to say where their packages are missing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from server.errors import ExitCode, ServerError

if TYPE_CHECKING:
    from starlette.applications import Starlette

MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 15


@contextmanager
def installed(extra: str = "http") -> Iterator[None]:
    """Say how to install what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'lunaria[{extra}]'\n")
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error


def serve(application: "Starlette", host: str, port: int) -> None:
    """Serve an application until Ctrl-C or SIGTERM; says where on standard error.

    Raises
    ------
    ServerError
        The address cannot be listened on.
    """
    with installed():
        import uvicorn
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="off",
        ws="none",
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit as error:  # uvicorn has said why
        raise ServerError(f"cannot serve at {host}:{port}: see the line above") from error
