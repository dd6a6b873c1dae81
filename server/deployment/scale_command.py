"""``lunaria scale``: the lines of an agreement that put every member's data on one scale."""

import json
from typing import Annotated

import typer

from clients.errors import ClientError
from server.errors import ServerError
from server.http import installed


def scale(
    data: Annotated[str, typer.Argument(help="A sample as a member has it: .csv, .csv:COLUMN, .npz, .parquet or module:function.")],
) -> None:
    """Print the [data] fields of an agreement from a sample: the range of each feature, and the classes.

    They show the smallest and the largest value of each column: widen them to bounds that every member knows, such as 0 to 120 for an
    age. A member's value beyond them is refused.
    """
    with installed("federation"):
        from clients.agreed import terms_of
        from clients.datasets import load
    try:
        fields = terms_of(load(data))
    except ClientError as error:
        raise ServerError(str(error)) from error
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]  # which is TOML, too
    typer.echo("\n".join(["[data]", *lines]))
