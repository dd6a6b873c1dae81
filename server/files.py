"""Files that a user names: read with a limit, or hashed, and with one line where that fails."""

from pathlib import Path

from server.errors import ServerError
from zk.hashing import sha256_of

PROVENANCE = "model.provenance.json"
"""The file of a run folder that says where the model beside it comes from; it is written last."""

_CHUNK = 1 << 20


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


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file of any size, in hexadecimal, and how many bytes it has.

    Raises
    ------
    ServerError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = sha256_of(iter(lambda: file.read(_CHUNK), b""))
            return found.hex(), file.tell()
    except OSError as error:
        raise ServerError(f"cannot read {path}: {error.strerror}") from error
