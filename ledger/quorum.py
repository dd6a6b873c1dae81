"""What a checkpoint needs before anybody acts on it: the log's signature, and cosignatures of a quorum of witnesses.

Log key, witnesses and quorum stand in entry 0, so that the server, every client and every auditor demand the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger import note
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import CosignatureVerifier
from ledger.entries import AgreementEntry
from ledger.errors import FormatError, VerificationError


@dataclass(frozen=True)
class Policy:
    """Whose signatures a checkpoint must carry.

    Attributes
    ----------
    log
        The log's key; its name is the origin.
    witnesses
        Keys of witnesses, with distinct public keys.
    quorum
        How many of them must have cosigned.

    Raises
    ------
    FormatError
        The quorum cannot be met, or one key would count twice.
    """

    log: note.Ed25519Verifier
    witnesses: tuple[CosignatureVerifier, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        """Refuse a quorum that cannot be met or that one key could meet alone."""
        if not 0 <= self.quorum <= len(self.witnesses):
            raise FormatError(f"a quorum of {self.quorum} cannot be met by {len(self.witnesses)} witnesses")
        keys = [self.log.key.public, *(witness.key.public for witness in self.witnesses)]
        if len(set(keys)) != len(keys):
            raise FormatError("a witness's key is listed twice, or is the log's own: it would count more than once")

    @classmethod
    def parse(cls, log_key: str, witnesses: Iterable[str] = (), quorum: int = 0) -> "Policy":
        """Read keys as people exchange them (``note.VerifierKey``).

        Raises
        ------
        FormatError
            A key is malformed or of another type, or the quorum cannot be met.
        """
        keys = tuple(CosignatureVerifier(note.VerifierKey.parse(witness)) for witness in witnesses)
        return cls(note.Ed25519Verifier(note.VerifierKey.parse(log_key)), keys, quorum)

    @classmethod
    def of(cls, opening: AgreementEntry) -> "Policy":
        """Return what an agreement's entry demands."""
        witnesses = opening.agreement.witnesses
        return cls.parse(opening.log_key, witnesses.keys, witnesses.quorum)

    def open(self, signed: bytes) -> Checkpoint:
        """Return the checkpoint in the note ``signed``, once it is known to be signed by the log and a quorum.

        Raises
        ------
        FormatError
            The note or the checkpoint in it is malformed.
        VerificationError
            It is not signed by the log, is of another log, carries a wrong cosignature, or too few.
        """
        verified = note.verify(signed, [self.log, *self.witnesses])
        checkpoint = parse_checkpoint(verified.text)
        signers = {(signature.name, signature.key_id) for signature in verified.signatures}
        log = (self.log.key.name, self.log.key.key_id)
        if log not in signers:
            raise VerificationError(f"the checkpoint is not signed by the log {self.log.key.name}")
        if checkpoint.origin != self.log.key.name:
            raise VerificationError(f"the checkpoint is of {checkpoint.origin}, not of {self.log.key.name}")
        found = len(signers) - 1
        if found < self.quorum:
            raise VerificationError(
                f"the checkpoint of size {checkpoint.size} has {found} of the {self.quorum} cosignatures that the agreement demands"
            )
        return checkpoint

    def cosigned(self, signed: bytes, answers: Iterable[bytes]) -> bytes:
        """Return the note ``signed`` with the valid cosignatures of known witnesses that ``answers`` hold.

        Parameters
        ----------
        signed
            A checkpoint, signed by the log.
        answers
            What witnesses answered: signature lines. Whatever is malformed, unknown or wrong in one is left out.
        """
        unverified = note.parse(signed)
        text = unverified.text.encode()
        known = {(witness.key.name, witness.key.key_id): witness for witness in self.witnesses}
        have = {(one.name, one.key_id) for one in unverified.signatures}
        signatures = list(unverified.signatures)
        for answer in answers:
            try:
                offered = note.parse(text + b"\n" + answer).signatures
            except FormatError:
                continue
            for one in offered:
                identity = (one.name, one.key_id)
                if identity in known and identity not in have and known[identity].verify(text, one.value):
                    have.add(identity)
                    signatures.append(one)
        return note.UnverifiedNote(unverified.text, tuple(signatures)).encode()
