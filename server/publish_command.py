"""``lunaria publish``: collects the cosignatures that a ledger still lacks, and publishes its last checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from ledger.entries import AgreementEntry, decode_entry
from ledger.log import Log
from ledger.note import Ed25519Signer
from ledger.quorum import Policy
from ledger.storage import ledger_of
from server.errors import ServerError
from server.files import read_file
from server.http import installed


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a run that nobody is writing to.")],
    witness: Annotated[list[str], typer.Option(help="Where a witness is reached; once for each.")],
) -> None:
    """Publish the last checkpoint of a run once a quorum of witnesses has cosigned it; waits for them until Ctrl-C."""
    with installed():
        from server.cosigner import Cosigner
    store, _ = ledger_of(run)
    with store:
        if not store.size():
            raise ServerError(f"the ledger in {run} has no entry yet: there is nothing to publish")
        opening = decode_entry(store.entry(0))
    if not isinstance(opening, AgreementEntry):
        raise ServerError(f"the ledger in {run} does not begin with an agreement")
    try:
        seed = bytes.fromhex(read_file(run / "keys" / "log.key", 128).decode().strip())
    except ValueError as error:
        raise ServerError(f"{run / 'keys' / 'log.key'} is not the key of a log") from error
    with (
        Cosigner(Policy.of(opening), witness, notify=lambda line: typer.echo(line, err=True)) as cosign,
        Log.open(run, Ed25519Signer(opening.origin, seed), create=False, cosign=cosign) as log,
    ):
        typer.echo(f"{run / 'checkpoint'}: {log.size} entries, cosigned by {opening.agreement.witnesses.quorum} witnesses or more")
