"""What a log sends to a witness (C2SP tlog-witness, ``add-checkpoint``), as bytes.

::

    old 3                  size of the checkpoint that the witness cosigned last, as far as the log knows
    <base64>               the consistency proof from there, a hash a line, at most 63

    <checkpoint>           the signed note
"""

import base64
import re
from dataclasses import dataclass

from ledger import note
from ledger.errors import FormatError
from ledger.proof import parse_hashes

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
"""Media type of an answer that says which size the witness cosigned last."""

MAX_REQUEST_SIZE = 1 << 18
"""Bytes; a longer request is refused before it is parsed."""

_OLD = re.compile("old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile("(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True)
class AddCheckpoint:
    """A request to cosign a checkpoint.

    Attributes
    ----------
    old
        Number of entries in the checkpoint that the witness cosigned last.
    proof
        The consistency proof from there, 32 bytes each; empty where ``old`` is 0.
    checkpoint
        The signed note.
    """

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Encode as the bytes that :meth:`parse` reads."""
        lines = [f"old {self.old}", *(base64.b64encode(value).decode() for value in self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "AddCheckpoint":
        """Read a request without checking any signature.

        Raises
        ------
        FormatError
            It is over a limit, or malformed.
        """
        if len(data) > MAX_REQUEST_SIZE:
            raise FormatError(f"a request of {len(data)} bytes is over the limit of {MAX_REQUEST_SIZE}")
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            first, *lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise FormatError("a request must be valid UTF-8") from None
        old = _OLD.fullmatch(first)
        if not blank or old is None:
            raise FormatError("a request begins with: old, a space, and a decimal number; a blank line stands before the checkpoint")
        note.parse(checkpoint)
        return cls(int(old[1]), parse_hashes(lines), checkpoint)


def parse_size(data: bytes) -> int:
    """Read the body of an answer of type ``text/x.tlog.size``.

    Raises
    ------
    FormatError
        It is not a decimal number and a newline.
    """
    match = _SIZE.fullmatch(data[:32].decode("ascii", errors="replace"))
    if match is None or len(data) > 32:
        raise FormatError("a witness's size is a decimal number and a newline")
    return int(match[1])
