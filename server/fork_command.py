"""``lunaria fork``: proofs that a log signed two histories."""

from pathlib import Path
from typing import Annotated

import typer

from ledger.archive import ArchiveReader
from ledger.checkpoint import open_checkpoint
from ledger.errors import VerificationError
from ledger.evidence import write_durably
from ledger.fork import MAX_FORK_SIZE, ForkProof, find_fork, path_of_tree
from ledger.merkle import HASH_SIZE
from ledger.note import MAX_NOTE_SIZE, Ed25519Verifier, VerifierKey
from ledger.tiles import WIDTH, tile_path, tile_reader
from server.errors import ExitCode, ServerError
from server.files import read_file

fork_app = typer.Typer(help="Make and check proofs that a log signed two histories.", no_args_is_help=True)


@fork_app.command("prove")
def prove(
    first: Annotated[Path, typer.Argument(help="A checkpoint, as the log signed it.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    key: Annotated[str, typer.Option(help="The log's public key.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    export: Annotated[Path | None, typer.Option(help="An export of the larger of the two ledgers; not needed for equal sizes.")] = None,
) -> None:
    """Make one file that proves that two checkpoints contradict each other: 0 they do, 1 they do not."""
    log = VerifierKey.parse(key)
    notes = [read_file(path, MAX_NOTE_SIZE) for path in (first, second)]
    try:
        small, large = sorted(open_checkpoint(note, Ed25519Verifier(log), log.name).size for note in notes)
    except VerificationError as error:
        raise ServerError(f"a checkpoint is not signed by {log.name}: {error}") from error
    path = _path(export, small, large) if 0 < small < large else []
    proof = find_fork(log, notes[0], notes[1], path)
    if proof is None:
        typer.echo("false: the two checkpoints do not contradict each other", err=True)
        raise typer.Exit(ExitCode.FALSE)
    write_durably(output, proof.encode())
    typer.echo(f"{output}: {log.name} signed two histories")


@fork_app.command("verify")
def verify(
    proof: Annotated[Path, typer.Argument(help="A file made by 'lunaria fork prove', a monitor, a witness or a client.")],
    key: Annotated[str | None, typer.Option(help="The log's public key, as you know it from elsewhere.")] = None,
) -> None:
    """Check such a file offline: 0 it proves that the log misbehaved, 1 it proves nothing, 2 it is unusable."""
    found = ForkProof.parse(read_file(proof, MAX_FORK_SIZE))
    try:
        if key is not None and str(found.log) != key:
            raise VerificationError(f"it accuses the key {found.log}, not the one that was given")
        first, second = found.verify()
    except VerificationError as error:
        typer.echo(f"false: {error}", err=True)
        raise typer.Exit(ExitCode.FALSE) from error
    typer.echo(f"{found.log} signed two histories:")
    for checkpoint in (first, second):
        typer.echo(f"  {checkpoint.size} entries with root {checkpoint.root.hex()}")
    if key is None:
        typer.echo("compare the key with the one that you know: anybody can make a log of two histories")


def _path(export: Path | None, small: int, large: int) -> list[bytes]:
    """Return the path from an export of the larger ledger."""
    if export is None:
        raise ServerError(f"the checkpoints are of {small} and {large} entries: give an export of the larger ledger with --export FILE")
    try:
        with ArchiveReader(export) as archive:
            return path_of_tree(small, large, tile_reader(large, lambda tile: archive.read(tile_path(tile), WIDTH * HASH_SIZE)))
    except VerificationError as error:
        raise ServerError(f"{export} is not an export of the ledger with {large} entries: {error}") from error
