"""Files that only their owner can read, and a folder that only one process uses."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.errors import MemberError
from ledger.evidence import sync_folder


def secret_file(path: Path, data: bytes) -> bool:
    """Write a file that only its owner can read, unless it exists; whether it was written.

    It is there as a whole or not at all, whenever the process is ended.

    Raises
    ------
    OSError
        It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        sync_folder(path.parent)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


@contextmanager
def only_user(folder: Path, program: str = "flower-client", error: type[Exception] = MemberError) -> Iterator[None]:
    """Use a folder alone as long as the context lasts: two clients with one memory would sign a round twice.

    The kernel lets go of it when the process ends, however it ends.

    Raises
    ------
    error
        Another process uses it, or it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as reason:
        raise error(f"cannot write the state folder {folder}: {reason.strerror}") from reason
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as reason:
            raise error(f"another {program} uses {folder}: stop it, or give another --state") from reason
        yield
