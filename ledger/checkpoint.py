"""Checkpoints (C2SP tlog-checkpoint): a signed note that says how large a log is and what its root is.

The text of the note is three lines, and further *extension* lines that the specification allows but does not
recommend, since no monitor can check them::

    example.com/behind-the-sofa                       origin: which log this is
    20852163                                          number of entries, decimal
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      root of the tree over them, base64

The log's key has the origin as its name. A log never signs two checkpoints that disagree.
"""

import base64
import re
from dataclasses import dataclass

from ledger import note
from ledger.errors import FormatError, VerificationError
from ledger.merkle import HASH_SIZE

MAX_SIZE = (1 << 63) - 1
"""Largest number of entries (the largest integer of the stores)."""

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_UNPRINTABLE = re.compile("[\x00-\x1f]")


@dataclass(frozen=True)
class Checkpoint:
    """What a log commits to at one size.

    Attributes
    ----------
    origin
        Unique name of the log.
    size
        Number of entries.
    root
        RFC 6962 root of the tree over them, 32 bytes.
    extensions
        Extension lines, without newlines; a log of ours has none.

    Raises
    ------
    FormatError
        A value cannot stand in a checkpoint.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a checkpoint."""
        if any(not line or _UNPRINTABLE.search(line) for line in (self.origin, *self.extensions)):
            raise FormatError("a line of a checkpoint must be neither empty nor hold control characters")
        if not 0 <= self.size <= MAX_SIZE:
            raise FormatError(f"a checkpoint cannot be of size {self.size}")
        if len(self.root) != HASH_SIZE:
            raise FormatError(f"the root in a checkpoint is {HASH_SIZE} bytes, not {len(self.root)}")


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the text of the note (tlog-checkpoint, "Note text")."""
    root = base64.b64encode(checkpoint.root).decode()
    lines = [checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions]
    return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read what :func:`format_checkpoint` writes, and nothing else.

    Raises
    ------
    FormatError
        The text is malformed, or a number or the root is not in its canonical encoding.
    """
    *lines, rest = text.split("\n")
    if rest or len(lines) < 3:
        raise FormatError("a checkpoint has a line each for origin, size and root")
    origin, size, root, *extensions = lines
    if _DECIMAL.fullmatch(size) is None:
        raise FormatError("the size in a checkpoint is a decimal number without leading zeros, below 2**63")
    return Checkpoint(origin, int(size), note.decode_base64(root), tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: note.Signer) -> bytes:
    """Return the signed note of ``checkpoint``.

    Raises
    ------
    FormatError
        The signer's key does not have the origin as its name.
    """
    name = signer.verifier.key.name
    if name != checkpoint.origin:
        raise FormatError(f"key {name} cannot sign checkpoints of {checkpoint.origin}: the names must be equal")
    return note.sign(format_checkpoint(checkpoint), signer)


def open_checkpoint(signed: bytes, verifier: note.Verifier, origin: str) -> Checkpoint:
    """Return the checkpoint in the note ``signed``, once its signature and origin have been checked.

    Parameters
    ----------
    signed
        The note; it may carry signatures of others, which are ignored.
    verifier
        The log's key.
    origin
        The log that the checkpoint must be of.

    Raises
    ------
    FormatError
        The note or the checkpoint in it is malformed.
    VerificationError
        It is not signed by the key, or is of another log.
    """
    checkpoint = parse_checkpoint(note.verify(signed, [verifier]).text)
    if checkpoint.origin != origin:
        raise VerificationError(f"the checkpoint is of {checkpoint.origin}, not of {origin}")
    return checkpoint
