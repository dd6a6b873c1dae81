"""What stands in the ledger: one kind, one schema, canonical JSON (RFC 8785), at most 65,535 bytes.

Large things (commitments, updates, models, proofs) are *evidence*: files named by their SHA-256 and referenced by digest, size and media
type. What a client says is a *statement* that it signed with its Ed25519 key; the ledger holds the statement with its signature.
Unknown kinds and unknown fields are errors, never skipped.
"""

from typing import Annotated, Literal, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ledger.agreement import Agreement
from ledger.canonical import digest, dump_json, encodes, load_json
from ledger.changes import MAX_CHANGES, Change
from ledger.errors import FormatError
from ledger.schema import Hex32, Index, Section, absent, explain
from ledger.signature import Base64Signature, sign, verify
from ledger.verdicts import Reason

MAX_ENTRY_BYTES = 65_535
T = TypeVar("T", bound=BaseModel)
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Account = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,38})$")]  # smallest units of a currency, below 2^128
Units = Annotated[int, Field(ge=1 - 2**53, le=2**53 - 1)]

POINTS = "application/x-lunaria-g1-points"  # 48-byte compressed points of BLS12-381 G1, one after the other
SCALARS = "application/x-lunaria-scalars"  # 32-byte big-endian scalars, one after the other
TENSOR = "application/x-npy"  # one flat little-endian integer tensor
TRAINING_PROOF = "application/x-lunaria-training-proof-v1"  # see zk.training
ENROLMENT_PROOF = "application/x-lunaria-enrolment-proof-v1"  # see zk.enrolment, ledger.enrolment
STATEMENT = "application/x-lunaria-signed-statement+json"


class Reference(Section):
    """A file of evidence: its SHA-256, its size in bytes, and how to read it."""

    digest: Hex32
    size: int = Field(ge=0, le=2**32)
    media_type: str = Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$", max_length=80)

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """Return the reference of ``data``."""
        return cls(digest=digest(data), size=len(data), media_type=media_type)


class EnrolmentStatement(Section):
    """A client joins: it accepts the agreement, and commits to its data and to its first nonce.

    ``run`` is the digest of entry 0. ``rows`` are the commitments to its samples, one each; ``proof`` shows that they
    are samples as agreed and that it can open them. ``nonce`` is the commitment to what it adds to the first beacon. ``account`` is
    where it wants to be paid (an address of Ethereum), where it says so. ``node``, where it has one, is the digest of the node key that
    it connects with (:func:`ledger.identity.node_digest`).
    """

    run: Hex32
    client: Hex32
    samples: int = Field(ge=1)
    rows: Reference
    proof: Reference
    nonce: Hex32
    account: Account | None = Field(default=None, exclude_if=absent)
    node: Hex32 | None = Field(default=None, exclude_if=absent)


class ContributionStatement(Section):
    """A client's contribution to one round: from which model, on which batch, committed how.

    ``model`` and ``batch`` are digests, ``commitment`` the Pedersen rows of the update, ``update`` the update itself and ``blinds`` the
    values that open the one to the other, ``proof`` what the agreement asks for. ``nonce`` commits to what the client adds to a later
    beacon.
    """

    run: Hex32
    round: int = Field(ge=1)
    client: Hex32
    model: Hex32
    batch: Hex32
    samples: int = Field(ge=1)
    commitment: Reference
    update: Reference
    blinds: Reference
    proof: Reference | None = None
    nonce: Hex32


class ProofStatement(Section):
    """A client's proof of a contribution that stands in the ledger already: asked for where ``proof.rate`` is below 1.

    ``contribution`` is the digest of the signed contribution.
    """

    run: Hex32
    round: int = Field(ge=1)
    client: Hex32
    contribution: Hex32
    proof: Reference


Statement = EnrolmentStatement | ContributionStatement | ProofStatement


class SignedStatement(Section):
    """A statement with its author's Ed25519 signature over a kind label and the canonical JSON (RFC 8032, RFC 8785)."""

    statement: Statement
    signature: Base64Signature

    @classmethod
    def sign(cls, statement: Statement, key: Ed25519PrivateKey) -> Self:
        """Sign ``statement``; the key must be the one that it names."""
        return cls(statement=statement, signature=sign(_LABELS[type(statement)], statement, key))

    def check(self) -> None:
        """Verify the signature by the key that the statement names.

        Raises
        ------
        VerificationError
            The signature is not that client's.
        """
        verify(_LABELS[type(self.statement)], self.statement, self.statement.client, self.signature)

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return dump_json(self.model_dump(mode="json"))


class SignedEnrolment(SignedStatement):
    """An enrolment, signed."""

    statement: EnrolmentStatement


class SignedContribution(SignedStatement):
    """A contribution, signed."""

    statement: ContributionStatement


class SignedProof(SignedStatement):
    """A proof that was asked for later, signed."""

    statement: ProofStatement


_LABELS: dict[type[Section], str] = {EnrolmentStatement: "enrolment", ContributionStatement: "contribution", ProofStatement: "proof"}


class AgreementEntry(Section):
    """Entry 0. Its digest is the run's name everywhere.

    ``run`` is a random value that makes two runs of one agreement different; ``origin`` and ``log_key`` name the ledger and its key as
    in its checkpoints; ``model`` is the digest of the first model, ``tables`` of the public tables the loss uses.
    """

    kind: Literal["agreement"] = "agreement"
    version: Literal[1] = 1
    run: Hex32
    origin: str = Field(max_length=255)
    log_key: str = Field(max_length=255)
    model: Reference
    tables: Hex32
    agreement: Agreement


class EnrolmentEntry(Section):
    """A client's enrolment. Clients are numbered from 0 in the order of these entries, which is the order of their keys.

    ``last`` says that no other follows, where fewer than ``federation.clients`` enrolled: clients keep their first nonces until then.
    """

    kind: Literal["enrolment"] = "enrolment"
    version: Literal[1] = 1
    enrolment: SignedEnrolment
    last: bool = Field(default=False, exclude_if=lambda value: not value)


class Reveal(Section):
    """The nonce that a client had committed to, opened after the checkpoint it is mixed with."""

    client: Index
    nonce: Hex32


class Verdict(Section):
    """What became of one participant's reply.

    ``contribution`` is the signed statement, where one could be read; ``proof`` the signed statement about a proof that was asked for
    later.
    """

    client: Index
    reason: Reason
    contribution: Reference | None = None
    proof: Reference | None = None

    @property
    def accepted(self) -> bool:
        """Whether the update entered the aggregate."""
        return self.reason is Reason.ACCEPTED


class Contributed(Section):
    """A contribution that stands, before it is known whether it must be proved."""

    client: Index
    contribution: Reference


class CommitmentsEntry(Section):
    """The contributions of a round, fixed before a second beacon chooses which of them must be proved (``proof.rate`` below 1).

    Reveals and beacon are those that chose participants and batches. Those of the round's entry, which follows, choose the provers.
    """

    kind: Literal["commitments"] = "commitments"
    version: Literal[1] = 1
    round: int = Field(ge=1)
    reveals: tuple[Reveal, ...]
    withheld: tuple[Index, ...]
    beacon: Hex32
    contributions: tuple[Contributed, ...]


class Aggregate(Section):
    """The sum of the accepted updates, weighted by samples; ``blinds`` open the sum of their commitments to it."""

    samples: Count
    sum: Reference
    blinds: Reference


class TestResult(Section):
    """The new model on the server's test data, as the server states it: an audit cannot recompute it without that data.

    ``correct`` of ``total`` for classification; for regression ``squared_error`` is the sum over ``total`` outputs, in units of
    2^-2·logit-bits.
    """

    __test__ = False  # not a pytest class
    data: Hex32
    total: Count
    correct: Count | None = None
    squared_error: Count | None = None


class RoundEntry(Section):
    """One round: who was chosen by which beacon, what each did, and which model came out.

    ``withheld`` lists the clients that did not reveal their nonce; ``aggregate`` is absent when nothing was accepted, and the model then
    stays what it was. ``changes`` of who takes part count from the next round (:mod:`ledger.changes`).
    """

    kind: Literal["round"] = "round"
    version: Literal[1] = 1
    round: int = Field(ge=1)
    reveals: tuple[Reveal, ...]
    withheld: tuple[Index, ...]
    beacon: Hex32
    model_before: Hex32
    model_after: Reference
    verdicts: tuple[Verdict, ...]
    aggregate: Aggregate | None
    test: TestResult | None
    changes: tuple[Change, ...] = Field(default=(), max_length=MAX_CHANGES, exclude_if=absent)


Outcome = Literal["completed", "too-few-accepted", "too-few-clients", "interrupted"]


class Settled(Section):
    """What one client earned and lost in an epoch, and why.

    ``rounds`` counts the rounds in which its update entered the model and, where the agreement asks for proofs, was proved. ``score`` and
    ``error`` are what these were worth and the standard error of that, in units of the utility (:mod:`ledger.contribution`), the one
    rounded down and the other up. ``contribution`` and ``licence`` are earned, ``penalty`` is lost: for ``faults``, verdicts that only
    the client can have caused, and ``missed`` obligations; ``reasons`` are the verdicts behind both.
    """

    client: Index
    account: Account | None
    rounds: Count
    score: Units
    error: Count
    contribution: Amount
    licence: Amount
    penalty: Amount
    faults: Count
    missed: Count
    reasons: tuple[Reason, ...]

    @property
    def earned(self) -> int:
        """What is paid to it."""
        return int(self.contribution) + int(self.licence)


class SettlementEntry(Section):
    """Who earned and who lost what in an epoch, the rounds ``first`` to ``last``; appended after its last round.

    ``total`` is the sum of the claims, what those earn who named an account; ``root`` the root of the tree over the claims
    (:mod:`ledger.settlement`).
    """

    kind: Literal["settlement"] = "settlement"
    version: Literal[1] = 1
    epoch: int = Field(ge=1)
    first: int = Field(ge=1)
    last: int = Field(ge=1)
    clients: tuple[Settled, ...]
    total: Amount
    root: Hex32


class ClosingEntry(Section):
    """The last entry: how the run ended, after how many rounds, with which model."""

    kind: Literal["closing"] = "closing"
    version: Literal[1] = 1
    outcome: Outcome
    rounds: int = Field(ge=0)
    model: Hex32


Entry = AgreementEntry | EnrolmentEntry | CommitmentsEntry | RoundEntry | SettlementEntry | ClosingEntry
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])
_CONTRIBUTION = TypeAdapter(SignedContribution)
_ENROLMENT = TypeAdapter(SignedEnrolment)
_PROOF = TypeAdapter(SignedProof)
_STATEMENT: TypeAdapter[SignedContribution | SignedProof] = TypeAdapter(SignedContribution | SignedProof)


def encode_entry(entry: Entry) -> bytes:
    """Return the entry's canonical bytes, the leaf of the tree.

    Raises
    ------
    FormatError
        The entry is larger than 65,535 bytes.
    """
    data = dump_json(entry.model_dump(mode="json"))
    if len(data) > MAX_ENTRY_BYTES:
        raise FormatError(f"this {entry.kind} entry takes {len(data)} bytes, above the limit of {MAX_ENTRY_BYTES}")
    return data


def decode_entry(data: bytes) -> Entry:
    """Parse an entry; only the canonical encoding of a known kind with known fields is accepted."""
    return _decode(_ENTRY, data, "the entry")


def decode_contribution(data: bytes) -> SignedContribution:
    """Parse a signed contribution; its signature is not checked here."""
    return _decode(_CONTRIBUTION, data, "the contribution")


def decode_enrolment(data: bytes) -> SignedEnrolment:
    """Parse a signed enrolment; its signature is not checked here."""
    return _decode(_ENROLMENT, data, "the enrolment")


def decode_proof(data: bytes) -> SignedProof:
    """Parse a signed proof statement; neither its signature nor the proof are checked here."""
    return _decode(_PROOF, data, "the proof statement")


def decode_statement(data: bytes) -> SignedContribution | SignedProof:
    """Parse either of the two; nothing is checked here."""
    return _decode(_STATEMENT, data, "the statement")


def _decode(adapter: TypeAdapter[T], data: bytes, what: str) -> T:
    if len(data) > MAX_ENTRY_BYTES:
        raise FormatError(f"{what} takes {len(data)} bytes, above the limit of {MAX_ENTRY_BYTES}")
    load_json(data, what)
    try:
        value = adapter.validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{what} does not follow its schema: {explain(error)}") from error
    if not encodes(value.model_dump(mode="json"), data):
        raise FormatError(f"{what} leaves fields out that its canonical encoding writes")
    return value
