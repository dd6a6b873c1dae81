"""``lunaria fsck``, ``backup``, ``restore`` and ``release``: looking after a ledger where it is kept."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server.errors import ExitCode

storage_app = typer.Typer()

Run = Annotated[Path, typer.Argument(help="The folder of a run.")]


@storage_app.command()
def fsck(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or a backup.")],
    key: Annotated[str | None, typer.Option(help="The log's public key; otherwise the one in entry 0.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check a ledger where it is kept: 0 intact, 1 damaged, 2 there is none to check."""
    from ledger.fsck import fsck as check
    from server.audit_display import audit_progress

    with audit_progress(Console(stderr=True), "checking") as progress:
        found = check(run, key, progress)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        typer.echo(
            f"{run}: {found.entries} entries, {found.nodes} hashes, {found.checkpoints} checkpoints, {found.evidence} pieces of evidence"
        )
        for note in found.notes:
            typer.echo(f"note     {note}")
        for damage in found.damage:
            typer.echo(f"damaged  {damage}")
        if found.damaged > len(found.damage):
            typer.echo(f"and {found.damaged - len(found.damage)} more")
        typer.echo(f"{found.damaged} damaged" if found.damaged else "intact")
    raise typer.Exit(ExitCode.FALSE if found.damaged else ExitCode.OK)


@storage_app.command()
def backup(run: Run, target: Annotated[Path, typer.Argument(help="A new folder for the backup.")]) -> None:
    """Copy a ledger, its evidence and what the run goes on with, without secret keys, while the server may be running."""
    from ledger.backup import backup as copy
    from server.audit_display import audit_progress

    with audit_progress(Console(stderr=True), "copying") as progress:
        size = copy(run, target, progress)
    typer.echo(f"{target}: {size} entries; keep {run / 'keys'} apart and secret, it is not in the backup")


@storage_app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    run: Annotated[Path, typer.Argument(help="A new folder for the run.")],
    database: Annotated[str | None, typer.Option(help="An empty PostgreSQL database instead of a file: postgresql://...")] = None,
    evidence: Annotated[str | None, typer.Option(help="Where to keep evidence instead of a folder of the run: s3://bucket/folder")] = None,
    newest: Annotated[Path | None, typer.Option(help="The newest checkpoint that anybody holds: ends the hold, as 'release' does.")] = None,
) -> None:
    """Bring a backup back into a new folder; it stays on hold until 'release'."""
    from ledger.backup import restore as copy
    from ledger.storage import Storage
    from server.audit_display import audit_progress

    with audit_progress(Console(stderr=True), "copying") as progress:
        size = copy(source, run, Storage.parse(database=database, evidence=evidence), progress)
    if newest is None:
        typer.echo(f"{run}: {size} entries, on hold: 'lunaria release {run} --newest FILE' opens it for appending")
    else:
        _release(run, newest)


@storage_app.command()
def release(
    run: Run,
    newest: Annotated[Path, typer.Option(help="The newest signed checkpoint that a client, a witness, a mirror or an auditor holds.")],
) -> None:
    """Let a restored ledger be appended to again, if it is as new as what was published."""
    _release(run, newest)


def _release(run: Path, newest: Path) -> None:
    from ledger.backup import release as end_hold
    from ledger.errors import StorageError
    from ledger.evidence import read_capped
    from ledger.note import MAX_NOTE_SIZE

    signed = read_capped(newest, MAX_NOTE_SIZE)
    if signed is None:
        raise StorageError(f"there is no checkpoint at {newest}")
    typer.echo(f"{run}: {end_hold(run, signed)} entries, released")
