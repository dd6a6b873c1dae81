"""Options that the commands of ``lunaria chain`` share; nothing here needs the extra ``[chain]`` until a command runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.chain.session import Session

File = Annotated[Path, typer.Option("--chain", help="The chain.toml: node, contract, cap on fees.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Show the call, its arguments, gas and cost; send nothing.")]
Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Epoch = Annotated[int, typer.Option(min=1, help="The number of the epoch.")]
Signed = Annotated[list[Path], typer.Argument(help="Files with what the witnesses signed, one each.")]
FILE = Path("chain.toml")


def opened(file: Path, *, dry: bool = False) -> "Session":
    """Read ``chain.toml`` and reach the node."""
    from server.http import installed

    with installed("chain"):
        from server.chain.session import Session
    return Session.open(file, dry=dry)
