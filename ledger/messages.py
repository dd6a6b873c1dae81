"""What server and clients say to each other, as plain fields: the content of Flower's ConfigRecords.

Both rooms use these classes, so that neither knows the other. Every request but :class:`IdentifyRequest`, on which nothing is done,
carries a :class:`LedgerView`, and a client acts only on a ledger that extends the one it saw before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self, get_args, get_origin

from ledger import merkle
from ledger.canonical import dump_json
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.fork import ForkError, find_fork
from ledger.merkle import HASH_SIZE
from ledger.note import parse as parse_note
from ledger.quorum import Policy

Value = int | float | str | bytes | bool | list[int] | list[float] | list[str] | list[bytes] | list[bool]  # as in Flower
RECORD = "lunaria"  # the key of the ConfigRecord in a message


class Fields:
    """Dataclasses that are read from, and written as, the fields of a ConfigRecord."""

    def to_fields(self) -> dict[str, Value]:
        """Return the fields by name."""
        return dict(vars(self))

    @classmethod
    def from_fields(cls, record: Mapping[str, object]) -> Self:
        """Read the fields of this class from a record.

        Raises
        ------
        FormatError
            A field is missing, or is not of its type.
        """
        values = {}
        for one in fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = record.get(one.name)
            expected = get_origin(one.type) or one.type
            items = value if isinstance(value, list) else ()
            if type(value) is not expected or any(type(item) not in get_args(one.type) for item in items):
                raise FormatError(f"the message lacks {one.name}, or it is not {getattr(expected, '__name__', expected)}")
            values[one.name] = value
        return cls(**values)


@dataclass(frozen=True)
class LedgerView(Fields):
    """The ledger as the server shows it to a client.

    Attributes
    ----------
    checkpoint : bytes
        The last checkpoint, a signed note.
    old_size : int
        The size that the client is believed to have seen; 0 for none.
    consistency : list of bytes
        The proof that the checkpoint extends that size (empty for 0).
    entry, entry_index, inclusion : bytes, int, list of bytes
        The entry that says which model is current (the agreement, or the last round), with its proof of inclusion.
    unconfirmed, unconfirmed_proofs : list of int, list of bytes
        Sizes that the client was shown since without a reply, and for each its proof, the hashes one behind the other: a client whose
        replies were lost has seen one of these.
    """

    checkpoint: bytes
    old_size: int
    consistency: list[bytes]
    entry: bytes
    entry_index: int
    inclusion: list[bytes]
    unconfirmed: list[int] = field(default_factory=list)
    unconfirmed_proofs: list[bytes] = field(default_factory=list)

    def follow(self, policy: Policy, seen: bytes | None) -> Checkpoint:
        """Check that this view is signed by the log and its witnesses, holds its entry, and extends the checkpoint ``seen`` last.

        Raises
        ------
        VerificationError
            It is not, does not, or shows another history; then a :class:`ledger.fork.ForkError`, with the proof if there is one.
        """
        new = policy.open(self.checkpoint)
        if seen is not None:
            last = parse_checkpoint(parse_note(seen).text)
            proof = self._proof_from(last.size)
            if proof is None:
                raise VerificationError(f"the server proves consistency from size {self.old_size}, but size {last.size} was seen last")
            if new.size < last.size:
                raise self._fork(policy, seen, proof, f"the ledger shrank from {last.size} to {new.size} entries")
            try:
                merkle.verify_consistency(last.size, new.size, last.root, new.root, proof)
            except LedgerError as error:
                raise self._fork(policy, seen, proof, f"the ledger shows another history than before ({error})") from error
        merkle.verify_inclusion(merkle.leaf_hash(self.entry), self.entry_index, new.size, self.inclusion, new.root)
        return new

    def _proof_from(self, size: int) -> list[bytes] | None:
        if size == self.old_size:
            return self.consistency
        for shown, proof in zip(self.unconfirmed, self.unconfirmed_proofs, strict=False):
            if shown == size:
                return [proof[at : at + HASH_SIZE] for at in range(0, len(proof), HASH_SIZE)]
        return None

    def _fork(self, policy: Policy, seen: bytes, path: list[bytes], reason: str) -> ForkError:
        proof = find_fork(policy.log.key, seen, self.checkpoint, path)
        return ForkError(f"{reason}: {'its signatures prove it' if proof else 'keep both checkpoints'}", proof)


@dataclass(frozen=True)
class EnrolReply(Fields):
    """A signed enrolment with its evidence."""

    statement: bytes
    rows: bytes
    proof: bytes


@dataclass(frozen=True)
class IdentifyRequest(Fields):
    """Asks a node which member of a run it is: the digest of entry 0, and bytes that nobody has signed before."""

    run: str
    challenge: bytes


@dataclass(frozen=True)
class IdentifyReply(Fields):
    """A member's public key, the size of the ledger that it saw last, and its signature over :func:`identity_claim`."""

    client: str
    size: int
    signature: bytes


def identity_claim(request: IdentifyRequest, node: int, client: str, size: int) -> bytes:
    """Return what a member signs to say that it is at a node; the label is shared with nothing else that is ever signed."""
    claim = {"run": request.run, "challenge": request.challenge.hex(), "node": str(node), "client": client, "size": size}
    return b"lunaria/v1/identity\n" + dump_json(claim)


@dataclass(frozen=True)
class RevealRequest(Fields):
    """Asks for the nonce of a round, or for the one that helps to choose its provers: the entry in the view says which.

    ``last`` and ``last_inclusion`` are the last entry of the ledger and its proof, for the first nonce: it shows that nobody enrols after
    the nonces are out. Empty where all of ``federation.clients`` have enrolled, and in later rounds.
    """

    round: int
    last: bytes = b""
    last_inclusion: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class RevealReply(Fields):
    """A nonce, 32 bytes."""

    nonce: bytes


@dataclass(frozen=True)
class TrainRequest(Fields):
    """Asks for a contribution: the round, and the nonces that were revealed for its beacon, by client number."""

    round: int
    clients: list[int]
    nonces: list[bytes]


@dataclass(frozen=True)
class TrainReply(Fields):
    """A signed contribution with its evidence; the update itself travels as Flower's ArrayRecord. No proof is an empty one."""

    statement: bytes
    commitment: bytes
    blinds: bytes
    proof: bytes = b""


@dataclass(frozen=True)
class ProveRequest(Fields):
    """Asks for the proof of a contribution that stands in the ledger: the nonces that chose it, by client number."""

    round: int
    clients: list[int]
    nonces: list[bytes]


@dataclass(frozen=True)
class ProveReply(Fields):
    """A signed proof statement, and the proof."""

    statement: bytes
    proof: bytes
