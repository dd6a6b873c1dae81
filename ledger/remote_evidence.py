"""Evidence in an object store (S3, Google Cloud, Azure, HDFS, SFTP and others), through fsspec (``pip install 'lunaria[remote]'``).

::

    s3://bucket/run1/ab/cdef...

The store is trusted for nothing but being there, as a folder is: a name says what it must hold, and everything read is hashed. What ``put``
returned for is as durable as the store makes an object that it acknowledged. Access keys come from the environment of each backend, never
from the URL.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ledger.errors import LedgerError, StorageError
from ledger.evidence import check_digest, checked, digest_of_path
from zk.hashing import sha256


class RemoteEvidence:
    """Evidence under a URL; any number of threads and processes may use it at once.

    Parameters
    ----------
    url
        Such as ``s3://bucket/folder``; its scheme says which backend of fsspec serves it.

    Raises
    ------
    StorageError
        fsspec, or the backend, is not installed or not known.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._system, self._root = importlib.import_module("fsspec.core").url_to_fs(self._url)
        except ModuleNotFoundError as error:
            raise StorageError(f"fsspec is not installed: pip install 'lunaria[remote]' ({error.name})") from error
        except (ImportError, ValueError) as error:
            raise StorageError(f"cannot use {self._url}: {' '.join(str(error).split())}") from error

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its digest; see :meth:`ledger.evidence.EvidenceStore.put`."""
        digest = sha256(data).hex()
        with self._explained(f"write {self.path(digest)}"):
            try:
                self._system.pipe_file(self._key(digest), data)
            except FileNotFoundError:  # a file system, which has folders
                self._system.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)
                self._system.pipe_file(self._key(digest), data)
        return digest

    def get(self, digest: str, limit: int) -> bytes:
        """Return the data with ``digest``; see :meth:`ledger.evidence.EvidenceStore.get`."""
        check_digest(digest)
        data: bytes | None
        with self._explained(f"read {self.path(digest)}"):
            try:
                with self._system.open(self._key(digest), "rb") as file:
                    data = file.read(limit + 1)
            except FileNotFoundError:
                data = None
        return checked(data, digest, limit, self._url)

    def path(self, digest: str) -> str:
        """Return the URL of the data with ``digest``, whether or not it is there."""
        check_digest(digest)
        return f"{self._url}/{digest[:2]}/{digest[2:]}"

    def digests(self) -> Iterator[str]:
        """Yield the digests of all objects that are named like evidence, in no order."""
        names: list[Any] = []
        with self._explained(f"list {self._url}"):
            names = self._system.find(self._root)
        for name in names:
            digest = digest_of_path(str(name))
            if digest is not None:
                yield digest

    def __contains__(self, digest: str) -> bool:
        """Whether there is an object with this digest for a name; only ``get`` checks that it is intact."""
        check_digest(digest)
        with self._explained(f"read {self.path(digest)}"):
            return bool(self._system.exists(self._key(digest)))

    def _key(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except LedgerError:
            raise
        except Exception as error:  # every backend has errors of its own
            raise StorageError(f"cannot {doing}: {' '.join(str(error).split()) or type(error).__name__}") from error
