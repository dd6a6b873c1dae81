"""Evaluation sets: made from a data set, checked against an agreement, and kept in the run's folder for whoever audits."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from ledger.agreement import Agreement, complete
from ledger.canonical import digest
from ledger.errors import FormatError, LedgerError
from ledger.evaluation import MAX_BYTES, MAX_SAMPLES, Evaluation, encode_evaluation
from ledger.evidence import write_durably
from server.errors import ServerError
from server.files import read_file

FILE = "evaluation.npy"
DEFAULT_SAMPLES = 512


def read_evaluation(path: Path | None, agreement: Agreement) -> bytes:
    """Return the content of the evaluation set that an agreement names; empty where it names none.

    Raises
    ------
    ServerError
        It is missing, another one, or there is none to give.
    """
    if agreement.settlement is None:
        if path is not None:
            raise ServerError("--evaluation-set is for an agreement with a [settlement], and this one has none")
        return b""
    if path is None:
        raise ServerError("the agreement has a [settlement]: give the evaluation set that it names with --evaluation-set FILE")
    data = read_file(path, MAX_BYTES)
    try:
        Evaluation.decode(data, agreement)
    except LedgerError as error:
        raise ServerError(f"{path}: {error}") from error
    return data


def evaluation_set(
    agreement: Annotated[Path, typer.Argument(help="The agreement.toml; what its [settlement] says so far does not matter.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    data: Annotated[str, typer.Option(help="A public data set, as for 'lunaria simulate': its test part is taken.")],
    samples: Annotated[int, typer.Option(min=2, max=MAX_SAMPLES, help="The first so many of its samples.")] = DEFAULT_SAMPLES,
) -> None:
    """Write the evaluation set of settlements, and print its digest for the agreement."""
    from clients.agreed import load_agreed
    from clients.errors import ClientError

    try:
        fields = tomllib.loads(agreement.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"cannot read {agreement}: {error}") from error
    fields.pop("settlement", None)
    terms = complete(fields)
    rule = terms.rule
    try:
        found = load_agreed(data, terms)
    except ClientError as error:
        raise ServerError(str(error)) from error
    if (found.x_test.shape[1], found.y_test.shape[1]) != (rule.layers[0], rule.layers[-1]):
        raise ServerError(
            f"{found.name} has {found.x_test.shape[1]} features and {found.y_test.shape[1]} outputs, the model takes "
            f"{rule.layers[0]} and {rule.layers[-1]}"
        )
    encoded = encode_evaluation(found.x_test[:samples], found.y_test[:samples])
    write_durably(output, encoded)
    typer.echo(f"{output}: {min(samples, len(found.x_test))} samples, {len(encoded):,} bytes; for the agreement:")
    typer.echo(f'[settlement]\nevaluation = "{digest(encoded)}"')
