"""What every schema of the ledger is made of: strict sections, and one line that says why something does not follow its schema."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_snake

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0, le=9_999)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")]


def kebab(name: str) -> str:
    """Return the name of a field as it is outside: ``minimum-clients``."""
    return to_snake(name).replace("_", "-")


def absent(value: object) -> bool:
    """Whether an optional field is left out of the canonical encoding: what was written before it existed still encodes to its bytes."""
    return value is None or value == ()


class Section(BaseModel):
    """Strict, immutable, without unknown fields; kebab-case outside."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", alias_generator=kebab, populate_by_name=True, serialize_by_alias=True
    )


def explain(error: ValidationError) -> str:
    """Return the first finding of a validation as one line: where, what, and what stood there."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ").replace("Extra inputs are not permitted", "unknown field")
    given = first["input"]
    shown = f" (got {given!r})" if isinstance(given, bool | int | float | str) and len(repr(given)) <= 80 else ""
    more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{where}: {message}{shown}{more}" if where else f"{message}{more}"
