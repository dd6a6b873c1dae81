"""``lunaria log verify``: checks a tlog-proof offline."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger.canonical import load_json
from ledger.cosignature import cosigned_at
from ledger.errors import FormatError, VerificationError
from ledger.note import verify
from ledger.proof import MAX_PROOF_SIZE, TlogProof
from ledger.quorum import Policy
from ledger.tiles import MAX_ENTRY_SIZE
from server.errors import ExitCode, ServerError
from server.files import read_file


def verify_proof(
    proof: Annotated[Path, typer.Argument(help="A file made by 'lunaria log proof', or another tlog-proof.")],
    key: Annotated[str, typer.Option(help="The log's public key, as you know it from elsewhere.")],
    witness: Annotated[list[str] | None, typer.Option(help="A witness's public key; once for each.")] = None,
    quorum: Annotated[int | None, typer.Option(min=0, help="Cosignatures that are demanded. [default: of all witnesses]")] = None,
    entry: Annotated[Path | None, typer.Option(help="The entry, where the proof does not carry it.")] = None,
) -> None:
    """Check offline that an entry is in a ledger, and print it: 0 it is, 1 it is not, 2 the file is unusable."""
    witnesses = witness or []
    policy = Policy.parse(key, witnesses, len(witnesses) if quorum is None else quorum)
    found = TlogProof.parse(read_file(proof, MAX_PROOF_SIZE))
    data = read_file(entry, MAX_ENTRY_SIZE) if entry else found.extra
    if data is None:
        raise ServerError(f"{proof} does not carry the entry that it is about: give the entry with --entry FILE")
    try:
        checkpoint = found.verify(data, policy)
    except VerificationError as error:
        typer.echo(f"false: {error}", err=True)
        raise typer.Exit(ExitCode.FALSE) from error
    signatures = verify(found.checkpoint, [policy.log, *policy.witnesses]).signatures
    times = {signature.name: cosigned_at(signature) for signature in signatures if signature.name != policy.log.key.name}
    typer.echo(f"entry {found.index} of {checkpoint.size} in {checkpoint.origin}", err=True)
    for name, seconds in times.items():
        typer.echo(f"cosigned by {name} at {_date(seconds)}", err=True)
    typer.echo(_shown(data))


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # a year that no calendar here has
        return f"{seconds} seconds after 1970"


def _shown(data: bytes) -> str:
    """Return the entry as people read it; one of another log as hexadecimal digits."""
    try:
        return json.dumps(load_json(data, "the entry"), indent=2, ensure_ascii=False)
    except FormatError:
        return data.hex()
