"""``lunaria witness``: cosigns the checkpoints of other people's ledgers."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.console import LogFormat
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, SEED_SIZE, CosignatureSigner
from ledger.errors import FormatError
from ledger.note import VerifierKey
from server.errors import ServerError
from server.files import read_file
from server.http import Format, Metrics, Telling, installed, serve

if TYPE_CHECKING:
    from starlette.applications import Starlette

_HEADER = "lunaria-witness-key/v1"
_MAX_KEY_SIZE = 1024
_KINDS = {"ed25519": ED25519_COSIGNATURE, "ml-dsa-44": ML_DSA_44_COSIGNATURE}


class Algorithm(StrEnum):
    """Algorithms of a witness's key."""

    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"


def witness(
    key: Annotated[list[Path], typer.Option(help="The witness's key file; made with --name where there is none. May be repeated.")],
    name: Annotated[str | None, typer.Option(help="Name of a new key: a URL without scheme.")] = None,
    algorithm: Annotated[Algorithm, typer.Option(help="Algorithm of a new key.")] = Algorithm.ED25519,
    log: Annotated[list[str] | None, typer.Option(help="Public key of a log to cosign for; once for each.")] = None,
    state: Annotated[Path, typer.Option(help="The SQLite file with what was cosigned: never restore an old copy.")] = Path("witness.db"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
    metrics: Metrics = "",
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Serve a witness (C2SP tlog-witness); without --log only show the public keys, which go into agreements."""
    signers = []
    for path in key:
        if not path.exists():
            if name is None:
                raise ServerError(f"there is no key file {path}: give --name to make one")
            write_key(path, name, algorithm)
        signers.append(read_key(path))
        typer.echo(f"{signers[-1].verifier.key}")
    if not log:
        return
    sys.stdout.flush()
    with installed():
        from ledger.witness import Witness
        from server.witness_app import witness_app

        application: Starlette = witness_app(Witness(state, signers, [VerifierKey.parse(one) for one in log]))
    serve(application, host, port, ["add-checkpoint"], Telling(metrics, log_format))


def write_key(path: Path, name: str, algorithm: Algorithm) -> None:
    """Make a key file with a fresh key, which only its owner can read.

    Raises
    ------
    FormatError
        The name is not allowed.
    ServerError
        The file exists, or cannot be written.
    """
    seed = os.urandom(SEED_SIZE)
    CosignatureSigner(name, _KINDS[algorithm], seed)  # refuses a bad name before anything is written
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{_HEADER}\n{name}\n{algorithm}\n{seed.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ServerError(f"cannot write {path}: {error.strerror}") from error


def read_key(path: Path) -> CosignatureSigner:
    """Read what :func:`write_key` wrote.

    Raises
    ------
    ServerError
        It cannot be read, or is no key file.
    """
    try:
        header, name, algorithm, seed, end = read_file(path, _MAX_KEY_SIZE).decode().split("\n")
        if (header, end) != (_HEADER, ""):
            raise ValueError
        return CosignatureSigner(name, _KINDS[algorithm], bytes.fromhex(seed))
    except (ValueError, KeyError, FormatError) as error:
        raise ServerError(f"{path} is not the key file of a witness") from error
