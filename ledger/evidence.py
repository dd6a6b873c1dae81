"""Evidence: the large things that entries refer to, as files named by their SHA-256.

A file's name says what it must hold, so the folder needs no trust: whoever can change it can take evidence away
or break it, and both are noticed, but cannot replace it. ``cdef...`` below is the rest of the digest::

    evidence/ab/cdef...

A file appears under its name only when it is complete and on disk: it is written under a temporary name, synced
and renamed, and then its folder is synced. A crash leaves at most a temporary file, ``.*.tmp``, behind.
"""

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ledger.errors import FormatError, StorageError, VerificationError
from zk.hashing import sha256

_DIGEST = re.compile("[0-9a-f]{64}")


class Evidence(Protocol):
    """Where evidence is kept: :class:`EvidenceStore`, or :class:`ledger.remote_evidence.RemoteEvidence`."""

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its digest."""
        ...

    def get(self, digest: str, limit: int) -> bytes:
        """Return the data with ``digest``."""
        ...

    def path(self, digest: str) -> Path | str:
        """Return where the data with ``digest`` is kept."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the digests of all there is."""
        ...

    def __contains__(self, digest: str) -> bool:
        """Whether there is anything under a digest."""
        ...


class EvidenceStore:
    """A folder of evidence; any number of threads and processes may use it at once.

    Parameters
    ----------
    folder
        Created, with its parents, by the first ``put``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its digest; on return it is durable. Putting it again repairs it.

        Raises
        ------
        StorageError
            It cannot be written.
        """
        digest = sha256(data).hex()
        path = self.path(digest)
        write_durably(path, data)
        try:
            # The names of the folders above are as new as the file may be.
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        return digest

    def get(self, digest: str, limit: int) -> bytes:
        """Return the data with ``digest``.

        Parameters
        ----------
        digest
            64 lowercase hexadecimal digits.
        limit
            Bytes that the caller is ready to hold in memory.

        Raises
        ------
        FormatError
            The digest is malformed, or the data is longer than ``limit``.
        StorageError
            There is no such evidence, or it cannot be read.
        VerificationError
            The file was changed: its digest is another.
        """
        return checked(read_capped(self.path(digest), limit), digest, limit, self.folder)

    def path(self, digest: str) -> Path:
        """Return where the data with ``digest`` is kept, whether or not it is there.

        Raises
        ------
        FormatError
            The digest is malformed; so a path never leaves the folder.
        """
        check_digest(digest)
        return self.folder / digest[:2] / digest[2:]

    def digests(self) -> Iterator[str]:
        """Yield the digests of all files that are named like evidence, in no order."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            digest = digest_of_path(path.as_posix())
            if digest is not None:
                yield digest

    def __contains__(self, digest: str) -> bool:
        """Whether there is a file with this digest for a name; only ``get`` checks that it is intact."""
        return self.path(digest).is_file()


def write_durably(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that after a crash the file is there as it was before, or as a whole.

    Missing folders are created. On return the file, and its name in its folder, are on disk.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    temporary = path.with_name(f".{path.name[:16]}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def read_capped(path: Path, limit: int) -> bytes | None:
    """Return the file at ``path``, or its first ``limit + 1`` bytes if it is longer; None where there is none.

    Raises
    ------
    StorageError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; an OSError says that they may not be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checked(data: bytes | None, digest: str, limit: int, where: Path | str) -> bytes:
    """Return ``data``, read up to ``limit + 1`` bytes, if ``digest`` names it; raises as :meth:`EvidenceStore.get` does."""
    if data is None:
        raise StorageError(f"evidence {digest} is missing from {where}")
    if len(data) > limit:
        raise FormatError(f"evidence {digest} is over the limit of {limit} bytes")
    if sha256(data).hex() != digest:
        raise VerificationError(f"evidence {digest} was changed: its digest is another")
    return data


def digest_of_path(path: str) -> str | None:
    """Return the digest that the end of a path names, ``.../ab/cdef...``, or None where it names none."""
    folder, _, name = path.rpartition("/")
    digest = folder[-2:] + name
    return digest if len(name) == 62 and _DIGEST.fullmatch(digest) else None


def check_digest(digest: str) -> None:
    """Refuse what is no digest, with a FormatError: so a digest never leads out of a folder."""
    if _DIGEST.fullmatch(digest) is None:
        raise FormatError("a digest is 64 lowercase hexadecimal digits")
