"""``lunaria explorer``: a ledger as one HTML file that verifies itself in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from ledger.evidence import write_durably
from server.explorer_data import ledger_data
from server.explorer_page import explorer_page


def explorer(
    ledger: Annotated[Path, typer.Argument(metavar="RUN_OR_EXPORT", help="The folder of a run, or an export.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")],
) -> None:
    """Write the ledger as one web page that verifies it in the browser, offline."""
    write_durably(output, explorer_page(ledger_data(ledger)).html)
    typer.echo(f"{output}: {output.stat().st_size:,} bytes; open it in a browser")
