"""A witness (C2SP tlog-witness): cosigns a log's checkpoints, and never two that disagree. Bytes in, bytes out.

It keeps the last checkpoint of each log that it cosigned, in one SQLite file. A request is checked, and its
checkpoint stored, within one transaction that shuts out every other writer (``BEGIN IMMEDIATE``), also of another
process; the answer is given after the transaction is on disk. So of two requests from one old size at most one is
answered with a cosignature, and none rolls the record back.

A log that signed two checkpoints that disagree is caught here: where a request proves it, the witness keeps the
proof (:mod:`ledger.fork`), the first of each log.

The file is trusted: whoever puts an old copy back lets the witness cosign a second history.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import MAX_NAME_SIZE, CosignatureSigner
from ledger.errors import FormatError, StorageError, VerificationError
from ledger.fork import ForkProof, find_fork
from ledger.witnessing import SIZE_TYPE, AddCheckpoint

_TEXT = "text/plain; charset=utf-8"
_APPLICATION_ID = int.from_bytes(b"LunW", "big")
_BUSY_SECONDS = 5.0
_SCHEMA = (
    "CREATE TABLE checkpoints (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, note BLOB NOT NULL)",
    "CREATE TABLE forks (origin TEXT PRIMARY KEY, proof BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)


@dataclass(frozen=True)
class Answer:
    """What a witness answers: status code, media type and body of an HTTP response."""

    status: int
    body: bytes
    media_type: str = _TEXT


class Witness:
    """Cosigns checkpoints of the logs that it knows. Any thread may use it, and other processes on the same file.

    Parameters
    ----------
    path
        The SQLite file with its state; made where there is none.
    signers
        Its keys: every answer has a cosignature of each.
    logs
        The logs that it knows; several keys of one origin are keys of one log.

    Raises
    ------
    FormatError
        A log's key is not an Ed25519 key, or its name is too long.
    StorageError
        The file cannot be used, or is something else.
    """

    def __init__(self, path: Path, signers: Sequence[CosignatureSigner], logs: Sequence[note.VerifierKey]) -> None:
        self._path = path
        self._signers = tuple(signers)
        self._logs: Mapping[str, list[note.Ed25519Verifier]] = {key.name: [] for key in logs}
        for key in logs:
            if len(key.name.encode()) > MAX_NAME_SIZE:
                raise FormatError(f"log {key.name[:40]}…: a name that is cosigned has at most {MAX_NAME_SIZE} bytes")
            self._logs[key.name].append(note.Ed25519Verifier(key))
        with self._transaction() as connection:
            tables, application = (
                connection.execute(query).fetchone()[0] for query in ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id")
            )
            if tables == 0 and application == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
            elif application != _APPLICATION_ID:
                raise StorageError(f"{path} is not the state of a witness")

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request; see the specification's ``add-checkpoint``.

        Returns
        -------
        Answer
            200 with cosignature lines; 400 malformed; 403 no valid signature of the log; 404 unknown log; 409 not from the size
            cosigned last, which is the body, or another root for that size; 422 the consistency proof does not verify.

        Raises
        ------
        StorageError
            The state cannot be used; nothing was cosigned.
        """
        try:
            request = AddCheckpoint.parse(body)
            new = parse_checkpoint(note.parse(request.checkpoint).text)
        except FormatError as error:
            return Answer(400, f"{error}\n".encode())
        if new.origin not in self._logs:
            return Answer(404, b"this witness does not know the log\n")
        try:  # the log's own signatures are kept, and no others
            opened = note.verify(request.checkpoint, self._logs[new.origin])
        except VerificationError as error:
            return Answer(403, f"{error}\n".encode())
        if request.old > new.size:
            return Answer(400, f"the old size {request.old} is above the size {new.size} of the checkpoint\n".encode())
        verified, text = note.UnverifiedNote(opened.text, opened.signatures).encode(), opened.text.encode()
        with self._transaction() as connection:
            row = connection.execute("SELECT size, note FROM checkpoints WHERE origin = ?", (new.origin,)).fetchone()
            size, stored = (0, None) if row is None else row
            answer = _refusal(request, new, size, stored)
            if answer is None:
                connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (new.origin, new.size, verified))
                # signed before anything newer can be stored, so that its time is right; given away only when this is on disk
                lines = [note.signature_by(signer, text).encode() for signer in self._signers]
                answer = Answer(200, "".join(lines).encode())
            elif stored is not None:
                self._keep_fork(connection, new.origin, stored, verified, request.proof)
        return answer

    def fork(self, origin: str) -> ForkProof | None:
        """Return the proof that a log misbehaved, if a request brought one."""
        with self._transaction() as connection:
            row = connection.execute("SELECT proof FROM forks WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else ForkProof.parse(row[0])

    def _keep_fork(self, connection: sqlite3.Connection, origin: str, stored: bytes, verified: bytes, proof: Sequence[bytes]) -> None:
        for verifier in self._logs[origin]:
            fork = find_fork(verifier.key, stored, verified, proof)
            if fork is not None:
                connection.execute("INSERT OR IGNORE INTO forks VALUES (?, ?)", (origin, fork.encode()))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the only write lock on the state; what was done is on disk when the block is left."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StorageError(f"cannot use the witness's state {self._path}: {error}") from error


def _refusal(request: AddCheckpoint, new: Checkpoint, size: int, stored: bytes | None) -> Answer | None:
    """Return the answer to a checkpoint that is not known to extend the one cosigned last, which covers ``size`` entries."""
    if request.old != size:
        return Answer(409, f"{size}\n".encode(), SIZE_TYPE)
    old_root = merkle.EMPTY_ROOT if stored is None else parse_checkpoint(note.parse(stored).text).root
    if new.size == size and new.root != old_root and stored is not None:
        return Answer(409, b"another root was cosigned for this size\n")
    try:
        if size:
            merkle.verify_consistency(size, new.size, old_root, new.root, request.proof)
        elif request.proof or (new.size == 0 and new.root != merkle.EMPTY_ROOT):
            raise VerificationError("from size 0 there is nothing to prove, and the empty tree has one root")
    except VerificationError as error:
        return Answer(422, f"{error}\n".encode())
    return None
