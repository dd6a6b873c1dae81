"""What a client reads from the entries and requests that the server shows it."""

from clients.errors import MemberError
from ledger import merkle
from ledger.agreement import Agreement
from ledger.canonical import digest, dump_vector
from ledger.checkpoint import Checkpoint
from ledger.entries import AgreementEntry, CommitmentsEntry, EnrolmentEntry, Entry, RoundEntry, decode_entry
from ledger.messages import ProveRequest, RevealRequest, TrainRequest
from zk.sgd import flatten, initial_weights


def agreement_entry(data: bytes) -> AgreementEntry:
    """Parse entry 0; raises MemberError for any other."""
    entry = decode_entry(data)
    if not isinstance(entry, AgreementEntry):
        raise MemberError(f"the server shows an entry of kind {entry.kind} where the agreement should be")
    return entry


def first_model(agreement: Agreement) -> str:
    """Return the digest of the first model that an agreement gives."""
    if agreement.model.seed is None:
        return agreement.model.initial or ""
    return digest(dump_vector(flatten(initial_weights(agreement.rule, bytes.fromhex(agreement.model.seed)))))


def nonces_by_client(request: TrainRequest | ProveRequest, agreement: Agreement) -> dict[int, str]:
    """Return the revealed nonces by client number."""
    numbers = request.clients
    known = all(0 <= number < agreement.federation.clients for number in numbers)
    if not known or len(numbers) != len(request.nonces) or len(set(numbers)) != len(numbers):
        raise MemberError("the revealed nonces do not belong to one client each")
    return {number: nonce.hex() for number, nonce in zip(numbers, request.nonces, strict=True)}


def commits_to(entry: Entry, statement: bytes) -> bool:
    """Whether an entry holds this signed statement, and with it the commitment to its nonce."""
    if isinstance(entry, EnrolmentEntry):
        return entry.enrolment.encode() == statement
    if isinstance(entry, CommitmentsEntry):
        return digest(statement) in [item.contribution.digest for item in entry.contributions]
    if isinstance(entry, RoundEntry):
        found = (verdict.contribution for verdict in entry.verdicts if verdict.accepted)
        return any(reference is not None and reference.digest == digest(statement) for reference in found)
    return False


def enrolment_over(request: RevealRequest, checkpoint: Checkpoint, agreement: Agreement) -> bool:
    """Whether nobody can enrol after this checkpoint: all have, or its last entry is an enrolment that says that it is the last one.

    Raises
    ------
    LedgerError
        What is shown as the last entry is none, or is not that of this checkpoint.
    """
    if checkpoint.size > agreement.federation.clients:
        return True
    if not request.last:
        return False
    merkle.verify_inclusion(merkle.leaf_hash(request.last), checkpoint.size - 1, checkpoint.size, request.last_inclusion, checkpoint.root)
    entry = decode_entry(request.last)
    return isinstance(entry, EnrolmentEntry) and entry.last


def round_after(entry: Entry) -> int:
    """Return the round that goes on, or comes next, after an entry."""
    if isinstance(entry, CommitmentsEntry):
        return entry.round
    return entry.round + 1 if isinstance(entry, RoundEntry) else 1


def settlements_after(entry: Entry, agreement: Agreement) -> int:
    """Return how many entries settle an epoch between a round's entry and the next round: one or none."""
    return int(isinstance(entry, RoundEntry) and agreement.settlement is not None and entry.round % agreement.settlement.epoch == 0)


def model_in(entry: Entry) -> str | None:
    """Return the digest of the model that an entry makes the current one."""
    if isinstance(entry, RoundEntry):
        return entry.model_after.digest
    return entry.model.digest if isinstance(entry, AgreementEntry) else None
