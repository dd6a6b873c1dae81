"""What a client remembers between messages."""

from dataclasses import dataclass

from clients.checks import agreement_entry
from ledger.canonical import digest
from ledger.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from ledger.entries import AgreementEntry
from ledger.messages import Fields, ProveRequest, TrainRequest
from ledger.note import parse as parse_note
from zk.hashing import frame, sha256


@dataclass(frozen=True)
class MemberState(Fields):
    """What a client remembers between messages. Secret: it never leaves the client.

    Attributes
    ----------
    agreement : bytes
        Entry 0, as accepted.
    checkpoint : bytes
        The last checkpoint seen, a signed note.
    enrolment : bytes
        The signed enrolment.
    rows : bytes
        The commitments to its samples, 48 bytes each.
    row_seed : bytes
        Expands to their blinds.
    statement : bytes
        The last statement that it signed, whose entry commits to ``nonce``.
    nonce : bytes
        To be revealed for the next beacon that chooses participants.
    revealed, contributed, opened : int
        The rounds for which a nonce was revealed, a contribution made, and a nonce revealed to choose the provers; 0 for none.
    asked, kept : bytes
        What was answered last, by its digest, and what is needed to give the same answer to the same question once more: a reply may be
        lost with a process or a connection, and two different ones must never be signed. Empty for none.
    """

    agreement: bytes
    checkpoint: bytes
    enrolment: bytes
    rows: bytes
    row_seed: bytes
    statement: bytes
    nonce: bytes
    revealed: int = 0
    contributed: int = 0
    opened: int = 0
    asked: bytes = b""
    kept: bytes = b""

    @property
    def run(self) -> str:
        """The digest of entry 0."""
        return digest(self.agreement)

    def opening(self) -> AgreementEntry:
        """Return entry 0, parsed."""
        return agreement_entry(self.agreement)

    def last(self) -> Checkpoint:
        """Return the last checkpoint seen."""
        return parse_checkpoint(parse_note(self.checkpoint).text)


def question(kind: bytes, request: TrainRequest | ProveRequest, checkpoint: Checkpoint, model: str) -> bytes:
    """Return the digest of what is asked: the kind, the round, the ledger and the nonces, which make the beacon, and the model."""
    numbers = b"".join(number.to_bytes(4, "big") for number in request.clients)
    text = format_checkpoint(checkpoint).encode()
    return sha256(frame(b"lunaria/v1/question", kind, request.round.to_bytes(4, "big"), text, numbers, *request.nonces, model.encode()))
