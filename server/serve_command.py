"""``lunaria serve``: a run's ledger for everybody to read."""

from pathlib import Path
from typing import Annotated

import typer

from clients.console import LogFormat
from ledger.errors import LedgerError
from ledger.storage import ledger_of
from server.http import Format, Metrics, Telling, installed, serve


def serve_ledger(
    run: Annotated[Path, typer.Argument(help="The folder of a run; a server may be writing to it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    metrics: Metrics = "",
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Serve the ledger of a run over HTTP (C2SP tlog-tiles), with a page to look at it; no evidence, no updates."""
    with installed():
        from starlette.applications import Starlette

        from clients.monitoring import Check
        from server.read_app import Files, explorer_route, read_routes
    store, _ = ledger_of(run)
    with store:

        def checks() -> list[Check]:
            try:
                return [Check("ledger", ok=True, text=f"{store.size()} entries")]
            except LedgerError as error:
                return [Check("ledger", ok=False, text=str(error))]

        application = Starlette(routes=[explorer_route(), *read_routes(Files(run, store))])
        serve(application, host, port, ["checkpoint", "tile"], Telling(metrics, log_format), checks)
