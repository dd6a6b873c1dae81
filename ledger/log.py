"""The log: a store, evidence and a signing key in one folder, and the order that makes an entry safe.

::

    ledger.db      entries, tree, signed checkpoints (ledger.store); or elsewhere, by storage.toml (ledger.storage)
    evidence/      files named by their digest (ledger.evidence)
    checkpoint     the last signed checkpoint, for everybody
    ledger.lock    held while a process has the log open

An append goes through these steps, each durable before the next one begins:

1. evidence: ``evidence.put`` returns once the file is durable, and its digest goes into the entry;
2. entry and tree, in one transaction;
3. the checkpoint, signed and kept in the store;
4. the checkpoint, cosigned by witnesses where the agreement has some, kept, and published as a file.

Step 4 waits for a quorum as long as it takes; the entry is safe meanwhile, and nobody is shown its checkpoint.

A crash between two of them is repaired forward by the next :meth:`Log.open`, which does what is missing of 3 and
4. No step is ever undone. A checkpoint is only signed for the tree in the store, in which nothing changes, and
only after everything that was signed before has been found to agree with it: where a checkpoint, kept or
published, is not of this tree, as when the database comes from an old copy, or where the ledger is on hold, the log does not open.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from ledger import merkle
from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.errors import LedgerError, StorageError
from ledger.evidence import Evidence, read_capped, sync_folder, write_durably
from ledger.note import MAX_NOTE_SIZE, Signer
from ledger.storage import Storage
from ledger.store import Store

Cosign = Callable[[bytes, Callable[[int], list[bytes]]], bytes]
"""Returns a signed checkpoint with the cosignatures that it needs before it is published; it may wait for them.

Its second argument returns the proof that the checkpoint extends that of an older size. Raises a ``LedgerError`` when it gives up."""


class Log:
    """A log that this process alone may extend, opened by :meth:`open`; any thread may use it.

    Attributes
    ----------
    evidence
        The evidence that entries refer to.
    """

    def __init__(self, folder: Path, store: Store, evidence: Evidence, signer: Signer, cosign: Cosign | None = None) -> None:
        self.evidence = evidence
        self._file = folder / "checkpoint"
        self._store = store
        self._signer = signer
        self._cosign = cosign
        self._origin = signer.verifier.key.name
        self._lock = RLock()
        self._resources = ExitStack()
        self._checkpoint, self._note = self._repair()

    @classmethod
    def open(cls, folder: Path, signer: Signer, *, create: bool, cosign: Cosign | None = None) -> Self:
        """Open the log in ``folder``, and finish what a crash left undone.

        Parameters
        ----------
        folder
            The run's folder.
        signer
            The log's key; its name is the log's origin.
        create
            Whether to start an empty log where there is none; its first checkpoint is of size 0.
        cosign
            Collects the cosignatures of witnesses; ``None`` where the agreement has none.

        Raises
        ------
        StorageError
            There is none, another process has it open, it belongs to another key, it is damaged, a checkpoint of
            it is not of its tree, or it is on hold.
        """
        with ExitStack() as stack:
            stack.enter_context(_exclusive(folder, create))
            storage = Storage.of(folder)
            store = stack.enter_context(storage.open_store(folder, create=create))
            log = cls(folder, store, storage.open_evidence(folder), signer, cosign)
            log._resources = stack.pop_all()
            return log

    @property
    def size(self) -> int:
        """Number of entries under the last checkpoint."""
        return self._checkpoint.size

    def append(self, entry: bytes) -> Checkpoint:
        """Append ``entry`` and return the checkpoint that covers it, signed and published.

        Parameters
        ----------
        entry
            At most 65,535 bytes; the evidence that it names is in ``evidence`` already.

        Raises
        ------
        FormatError
            The entry is too long; nothing has happened.
        StorageError
            The entry may or may not have been appended, or it has no quorum of witnesses yet. If it has been, the log takes no
            further one until it is reopened, so that repeating the append cannot double the entry.
        """
        with self._lock:
            size = self._store.append([entry], expected_size=self._checkpoint.size)
            checkpoint, signed = self._sign(size)
            self._checkpoint, self._note = checkpoint, self._publish(checkpoint, signed)
            return checkpoint

    def entry(self, index: int) -> bytes:
        """Return entry ``index``.

        Raises
        ------
        StorageError
            There is no such entry.
        """
        return self._store.entry(index)

    def checkpoint_note(self) -> bytes:
        """Return the last checkpoint as a signed note."""
        return self._note

    def inclusion(self, index: int) -> list[bytes]:
        """Return the proof that entry ``index`` is under the last checkpoint (``merkle.inclusion_proof``).

        Raises
        ------
        VerificationError
            There is no such entry.
        """
        return merkle.inclusion_proof(index, self.size, self._store.node)

    def consistency(self, old_size: int) -> list[bytes]:
        """Return the proof that the last checkpoint extends that of ``old_size`` (``merkle.consistency_proof``).

        Raises
        ------
        VerificationError
            ``old_size`` is 0 or greater than the size.
        """
        return merkle.consistency_proof(old_size, self.size, self._store.node)

    def close(self) -> None:
        """Let go of the folder; closing twice is harmless."""
        with self._lock:
            self._resources.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, and let an error through."""
        self.close()

    def _repair(self) -> tuple[Checkpoint, bytes]:
        """Check everything signed before against the tree; then do what is missing of steps 3 and 4."""
        for reason in self._store.holds():
            raise StorageError(f"{self._store.name} is on hold: {reason}")
        published, kept = published_checkpoint(self._file.parent), self._store.latest_checkpoint()
        if published is not None:
            self._check(published, str(self._file))
        size = self._store.size()
        last = None if kept is None else (self._check(kept, "the last signed checkpoint"), kept)
        checkpoint, signed = last if last is not None and last[0].size == size else self._sign(size)
        if published == signed and self._cosign is None:
            return checkpoint, signed
        return checkpoint, self._publish(checkpoint, signed)

    def _publish(self, checkpoint: Checkpoint, signed: bytes) -> bytes:
        if self._cosign is not None:
            signed = self._cosign(signed, lambda old: merkle.consistency_proof(old, checkpoint.size, self._store.node))
            self._store.save_checkpoint(checkpoint.size, signed)
        write_durably(self._file, signed)
        return signed

    def _check(self, signed: bytes, what: str) -> Checkpoint:
        """Return the checkpoint in ``signed`` if it is this key's and of this tree."""
        try:
            checkpoint = open_checkpoint(signed, self._signer.verifier, self._origin)
        except LedgerError as error:
            raise StorageError(f"{what} is not of the log {self._origin} and its key: {error}") from error
        size = self._store.size()
        if checkpoint.size > size:
            raise StorageError(
                f"{what} covers {checkpoint.size} entries, {self._store.name} has {size}: it is an old copy, or damaged; "
                "going on would fork the log, bring back the newest one"
            )
        if merkle.root(checkpoint.size, self._store.node) != checkpoint.root:
            raise StorageError(f"{what} is of another tree: {self._store.name} was changed or damaged; see 'lunaria fsck'")
        return checkpoint

    def _sign(self, size: int) -> tuple[Checkpoint, bytes]:
        checkpoint = Checkpoint(self._origin, size, merkle.root(size, self._store.node))
        signed = sign_checkpoint(checkpoint, self._signer)
        self._store.save_checkpoint(size, signed)
        return checkpoint, signed


@contextmanager
def _exclusive(folder: Path, create: bool) -> Iterator[None]:
    """Hold the lock of ``folder``; the kernel lets go of it when the process ends, however it ends."""
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        descriptor = os.open(folder / "ledger.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"cannot open the log in {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder} is in use by another server: stop it, or use another folder") from None
        except OSError as error:
            raise StorageError(f"cannot lock {folder}: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)


def published_checkpoint(folder: Path) -> bytes | None:
    """Return the checkpoint that the log in ``folder`` has published last, a note that nobody has checked; None before the first.

    Raises
    ------
    StorageError
        It cannot be read.
    """
    return read_capped(folder / "checkpoint", MAX_NOTE_SIZE)
