"""Proofs that one entry is in a log (C2SP tlog-proof): a text that is checked offline, without the log.

::

    c2sp.org/tlog-proof@v1
    extra <base64>             optional, and not authenticated
    index 4
    <base64>                   the inclusion proof, a hash a line, from the leaf's sibling upwards

    <checkpoint>               the signed note, with its cosignatures

Ours carry the entry itself as extra data, so that one file holds all there is to show. It needs no trust: the
proof is of its hash.
"""

import base64
import re
from dataclasses import dataclass

from ledger import merkle, note
from ledger.checkpoint import Checkpoint
from ledger.errors import FormatError
from ledger.quorum import Policy
from ledger.tiles import MAX_ENTRY_SIZE

MAX_PROOF_SIZE = note.MAX_NOTE_SIZE + (1 << 18)
"""Bytes; a longer proof is refused before it is parsed."""

MAX_EXTRA_SIZE = MAX_ENTRY_SIZE
"""Bytes of extra data that are read and written."""

_HEADER = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 63
_INDEX = re.compile("index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class TlogProof:
    """Place of an entry, the way from its leaf to the root, and the checkpoint with that root.

    Attributes
    ----------
    index
        Number of the entry, from 0.
    hashes
        The inclusion proof (``merkle.inclusion_proof``), 32 bytes each.
    checkpoint
        The signed note.
    extra
        Opaque data that nothing vouches for; ``None`` for none.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Encode as the bytes that :meth:`parse` reads."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines += [f"index {self.index}", *(base64.b64encode(value).decode() for value in self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "TlogProof":
        """Take a proof apart without checking it.

        Raises
        ------
        FormatError
            It is over a limit, malformed, or not in its canonical encoding; the note in it is malformed.
        """
        if len(data) > MAX_PROOF_SIZE:
            raise FormatError(f"a proof of {len(data)} bytes is over the limit of {MAX_PROOF_SIZE}")
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise FormatError("a proof must be valid UTF-8") from None
        if not blank or lines.pop(0) != _HEADER:
            raise FormatError(f"a proof begins with the line {_HEADER} and holds a blank line before its checkpoint")
        extra = note.decode_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
        if extra is not None and len(extra) > MAX_EXTRA_SIZE:
            raise FormatError(f"{len(extra)} bytes of extra data are over the limit of {MAX_EXTRA_SIZE}")
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None:
            raise FormatError("a proof has a line: index, a space, and a decimal number without leading zeros")
        note.parse(checkpoint)
        return cls(int(index[1]), parse_hashes(lines), checkpoint, extra)

    def verify(self, entry: bytes, policy: Policy) -> Checkpoint:
        """Check that ``entry`` is in the log that ``policy`` names, and return the checkpoint that covers it.

        Raises
        ------
        FormatError
            The checkpoint is malformed.
        VerificationError
            The checkpoint is not signed as the policy demands, or the entry is not under it at this index.
        """
        checkpoint = policy.open(self.checkpoint)
        merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def parse_hashes(lines: list[str]) -> tuple[bytes, ...]:
    """Read the lines of a Merkle proof: at most 63, a hash in base64 each.

    Raises
    ------
    FormatError
        There are more, or one is no hash.
    """
    if len(lines) > _MAX_HASHES:
        raise FormatError(f"a proof of {len(lines)} hashes is over the limit of {_MAX_HASHES}")
    hashes = tuple(note.decode_base64(line) for line in lines)
    if any(len(value) != merkle.HASH_SIZE for value in hashes):
        raise FormatError(f"a hash in a proof is not {merkle.HASH_SIZE} bytes long")
    return hashes
