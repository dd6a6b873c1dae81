"""Backup and restore: copies of a ledger that check themselves, and that cannot fork it.

A backup is a folder with ``ledger.db``, ``checkpoint`` and ``evidence/``, whatever database the ledger is in, and without any key. Entries
never change, so those under one signed checkpoint are a consistent copy while a server goes on appending. The copy makes its own tree and
keeps only checkpoints of that tree; evidence is hashed as it is read. What else a run goes on with lies beside it: the agreement, the
evaluation set, what was promised about the next entry, and the node keys and changes of members.

A ledger that comes from a copy may be older than what was published, and to sign on from there would be a fork. Therefore a backup and what
is restored from it are *on hold*, until :func:`release` is shown the newest checkpoint that anybody holds.
"""

import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from ledger import merkle, note
from ledger.checkpoint import open_checkpoint, parse_checkpoint
from ledger.entries import AgreementEntry, decode_entry
from ledger.errors import StorageError
from ledger.evidence import Evidence, EvidenceStore, sync_folder, write_durably
from ledger.export import parts, references, statements
from ledger.fsck import Progress
from ledger.log import published_checkpoint
from ledger.storage import Storage, ledger_of
from ledger.store import Store

IS_BACKUP = "it is a backup: restore it with 'lunaria restore'"
UNFINISHED = "it is a restore that was cut short: remove it and restore again"
RESTORED = (
    "it was restored, and a later checkpoint than its own may have been published; 'lunaria release RUN --newest FILE' opens it, with the "
    "newest checkpoint that a client, a witness, a mirror or an auditor holds"
)
BESIDE = ("agreement.toml", "evaluation.npy", "journal/{size}.json", "changes/*.json", "nodes/*.pub")
"""What is copied beside the ledger, where there is any. Of the journal only the page of the copy's size: another is of another history."""

_CHUNK = 1024


def backup(run: Path, target: Path, progress: Progress = lambda done, total: None) -> int:
    """Copy the ledger of a run folder, up to its last signed checkpoint, into a new folder; return the number of entries.

    Raises
    ------
    StorageError
        ``target`` exists, the ledger has no signed checkpoint, or it is damaged.
    """
    if target.exists() or target.is_symlink():
        raise StorageError(f"{target} exists already: choose another folder for the backup")
    temporary = target.parent / f".{target.name}.{secrets.token_hex(8)}.tmp"
    published = published_checkpoint(run)  # before the rest: what is published is signed and kept already
    store, evidence = ledger_of(run)
    with store:
        try:
            temporary.mkdir(parents=True)
            with Store.open(temporary / "ledger.db", create=True) as copy:
                copy.hold(IS_BACKUP)
                size = _copy(store, copy, evidence, EvidenceStore(temporary / "evidence"), progress)
                _finish(run, temporary, published, size)
            temporary.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return size


def restore(source: Path, run: Path, storage: Storage, progress: Progress = lambda done, total: None) -> int:
    """Copy a backup into a new run folder, on hold, and return the number of entries.

    Parameters
    ----------
    source
        A backup, or any run folder.
    run
        A folder that is empty or does not exist.
    storage
        Where the ledger is to be kept; a database must be empty.

    Raises
    ------
    StorageError
        There is something already, or the backup is damaged.
    """
    published = published_checkpoint(source)
    store, evidence = ledger_of(source)
    with store:
        try:
            run.mkdir(parents=True, exist_ok=True)
            if any(run.iterdir()):
                raise StorageError(f"{run} is not empty: nothing is restored over it, choose another folder")
        except OSError as error:
            raise StorageError(f"cannot write {run}: {error.strerror}") from error
        with storage.open_store(run, create=True) as copy:
            if copy.size() or copy.latest_checkpoint() is not None or copy.holds():
                raise StorageError(f"{copy.name} holds a ledger already: nothing is restored over it, choose another database")
            copy.hold(UNFINISHED)
            storage.save(run)
            size = _copy(store, copy, evidence, storage.open_evidence(run), progress)
            _finish(source, run, published, size)
            copy.hold(RESTORED)
    return size


def release(run: Path, newest: bytes) -> int:
    """End the hold of a restored ledger, if it is no older than the signed checkpoint ``newest``; return the number of entries.

    Raises
    ------
    FormatError, VerificationError
        ``newest`` is not a checkpoint of this log, signed with its key.
    StorageError
        The ledger lacks entries that were published, or has others: it stays on hold.
    """
    store, _ = ledger_of(run)
    with store:
        size = store.size()
        entry = decode_entry(store.entry(0))
        if not isinstance(entry, AgreementEntry):
            raise StorageError(f"the ledger in {run} does not begin with an agreement")
        if store.holds() in ([UNFINISHED], [IS_BACKUP]):
            raise StorageError(f"{store.name} stays on hold: {store.holds()[0]}")
        checkpoint = open_checkpoint(newest, note.Ed25519Verifier(note.VerifierKey.parse(entry.log_key)), entry.origin)
        if checkpoint.size > size:
            raise StorageError(
                f"{run} stays on hold: {checkpoint.size} entries were published, it has {size}; restore a newer copy. "
                "It can be exported and audited as it is"
            )
        if checkpoint.root != merkle.root(checkpoint.size, store.node):
            raise StorageError(f"{run} stays on hold: the first {checkpoint.size} entries that were published are others")
        store.release()
        return size


def _copy(source: Store, copy: Store, evidence: Evidence, target: Evidence, progress: Progress) -> int:
    last = source.latest_checkpoint()
    if last is None:
        raise StorageError(f"{source.name} holds no signed checkpoint yet: there is nothing to copy")
    size = parse_checkpoint(note.parse(last).text).size
    kept: set[str] = set()
    for start in range(0, max(size, 1), _CHUNK):
        progress(start, size)
        stop = min(start + _CHUNK, size)
        entries = list(source.entries(start, stop))
        for data in entries:
            _copy_evidence(data, evidence, target, kept)
        notes = [signed for _, signed in source.checkpoints(start + (start > 0), stop + 1)]
        copy.replicate(entries, notes, start, held=True)
    progress(size, size)
    return size


def _copy_evidence(data: bytes, evidence: Evidence, target: Evidence, kept: set[str]) -> None:
    entry = decode_entry(data)
    wanted = list(references(entry))
    for statement in statements(entry):
        wanted += parts(evidence.get(statement.digest, statement.size))
    for reference in wanted:
        if reference.digest not in kept:
            target.put(evidence.get(reference.digest, reference.size))
            kept.add(reference.digest)


def _finish(source: Path, target: Path, published: bytes | None, size: int) -> None:
    """Write what stands beside the database."""
    for pattern in BESIDE:
        for path in sorted(source.glob(pattern.format(size=size))):
            with suppress(FileNotFoundError):  # used up by the server meanwhile
                write_durably(target / path.relative_to(source), path.read_bytes())
    if published is not None:
        write_durably(target / "checkpoint", published)
