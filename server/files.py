"""Files that a user names: read with a limit, and with one line where that fails."""

from pathlib import Path

from server.errors import ServerError


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a file, at most ``limit``.

    Raises
    ------
    ServerError
        It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ServerError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise ServerError(f"{path} is larger than {limit} bytes")
    return data
