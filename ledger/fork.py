"""Proofs of misbehaviour: two checkpoints that one log signed and that cannot both be true.

The file is canonical JSON and needs nothing beside it::

    {"first": <note>, "format": "lunaria-fork-proof/v1", "log-key": <verifier key>, "path": [<base64>], "second": <note>}

For one size, two roots are the proof, and the path is empty. For two sizes, the path leads to the second root, so
that the root to which it leads at the first size is that of the second tree's beginning (``merkle.roots_of_path``);
it is not the first root. Whoever holds the second tree can make the path, and nobody can make one where the second
tree extends the first.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from ledger import merkle
from ledger.canonical import digest, dump_json
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.note import MAX_NOTE_SIZE, Ed25519Verifier, VerifierKey, decode_base64
from ledger.schema import Section, explain

FORMAT = "lunaria-fork-proof/v1"
MAX_FORK_SIZE = 5 * MAX_NOTE_SIZE  # two notes, in which JSON may have to write every character as two
"""Bytes; a longer file is refused before it is parsed."""

_MAX_PATH = 64


class _File(Section):
    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    log_key: str = Field(max_length=1024)
    first: str = Field(max_length=MAX_NOTE_SIZE)
    second: str = Field(max_length=MAX_NOTE_SIZE)
    path: tuple[Annotated[str, Field(max_length=44)], ...] = Field(max_length=_MAX_PATH)


class ForkError(VerificationError):
    """A ledger shows another history than before.

    Attributes
    ----------
    proof : ForkProof or None
        What shows it to others; ``None`` where what the ledger showed does not prove it.
    """

    def __init__(self, message: str, proof: "ForkProof | None") -> None:
        super().__init__(message)
        self.proof = proof


@dataclass(frozen=True)
class ForkProof:
    """Two checkpoints of one log, and what shows that they contradict each other.

    Attributes
    ----------
    log
        The log's key.
    first, second
        Signed notes; the first covers at most as many entries as the second.
    path
        Hashes of 32 bytes; see :func:`ledger.merkle.roots_of_path`.
    """

    log: VerifierKey
    first: bytes
    second: bytes
    path: tuple[bytes, ...] = ()

    @property
    def name(self) -> str:
        """A file name for it: the same proof has the same name."""
        return f"fork-{digest(self.encode())[:16]}.json"

    def encode(self) -> bytes:
        """Encode as the bytes that :meth:`parse` reads."""
        path = tuple(base64.b64encode(value).decode() for value in self.path)
        file = _File(log_key=str(self.log), first=self.first.decode(), second=self.second.decode(), path=path)
        return dump_json(file.model_dump(mode="json"))

    @classmethod
    def parse(cls, data: bytes) -> "ForkProof":
        """Read a file without checking what it claims.

        Raises
        ------
        FormatError
            It is over a limit, malformed, or not canonical.
        """
        if len(data) > MAX_FORK_SIZE:
            raise FormatError(f"a fork proof of {len(data)} bytes is over the limit of {MAX_FORK_SIZE}")
        try:
            file = _File.model_validate_json(data)
        except ValidationError as error:
            raise FormatError(f"not a fork proof: {explain(error)}") from error
        path = tuple(decode_base64(value) for value in file.path)
        proof = cls(VerifierKey.parse(file.log_key), file.first.encode(), file.second.encode(), path)
        if proof.encode() != data:
            raise FormatError("the fork proof is not canonical JSON (RFC 8785)")
        return proof

    def verify(self) -> tuple[Checkpoint, Checkpoint]:
        """Check that the log's key signed both checkpoints and that they contradict each other; returns them.

        Raises
        ------
        FormatError
            A note or the key is malformed.
        VerificationError
            It proves nothing.
        """
        verifier = Ed25519Verifier(self.log)
        first, second = (open_checkpoint(note, verifier, self.log.name) for note in (self.first, self.second))
        if first.size > second.size:
            raise VerificationError("the first checkpoint must cover at most as many entries as the second")
        if first.size == second.size:
            if self.path:
                raise VerificationError("two checkpoints of one size need no path")
            contradict = first.root != second.root
        elif first.size == 0:
            contradict = first.root != merkle.EMPTY_ROOT and not self.path
        else:
            beginning, root = merkle.roots_of_path(first.size, second.size, self.path)
            contradict = root == second.root and beginning != first.root
        if not contradict:
            raise VerificationError("the two checkpoints do not contradict each other, as far as this file shows")
        return first, second


def find_fork(log: VerifierKey, one: bytes, other: bytes, path: Sequence[bytes] = ()) -> ForkProof | None:
    """Return the proof that two checkpoints contradict each other, if what is given proves it.

    Parameters
    ----------
    log
        The log's key.
    one, other
        Signed notes, in any order.
    path
        A consistency proof, or the path of one; what does not fit is no proof.
    """
    for first, second in ((one, other), (other, one)):
        for candidate in ((), tuple(path)):
            proof = ForkProof(log, first, second, candidate)
            try:
                proof.verify()
            except (LedgerError, UnicodeDecodeError):
                continue
            return proof
    return None


def path_of_tree(first_size: int, second_size: int, read: merkle.NodeReader) -> list[bytes]:
    """Return the path for :func:`find_fork` from the nodes of the second tree.

    Parameters
    ----------
    first_size, second_size
        Numbers of entries, ``0 < first_size < second_size``.
    read
        Reader of the second tree.
    """
    proof = merkle.consistency_proof(first_size, second_size, read)
    if first_size & (first_size - 1) == 0:
        proof.insert(0, merkle.root(first_size, read))
    return proof
