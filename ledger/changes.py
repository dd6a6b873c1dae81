"""Changes of who takes part while a run goes on: a member takes another node key or withdraws, or the operator revokes it.

They stand in the entry of a round, and count from the next one. So nobody can change who takes part once a beacon is known: the round
that an entry closes was drawn before, and the nonces of the next one are revealed when the entry stands. What a member wants it signs;
a revocation is the operator's word, signed like all of the ledger by the log's key in every checkpoint that covers it.
"""

from enum import StrEnum
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, TypeAdapter, ValidationError

from ledger.canonical import dump_json, encodes, load_json
from ledger.errors import FormatError
from ledger.schema import Hex32, Index, Section, explain
from ledger.signature import Base64Signature, sign, verify

MAX_CHANGES = 64
"""In one round; what does not fit waits for the next."""


class RevocationReason(StrEnum):
    """Why an operator ends a membership: one of a closed list, for the ledger has no free text."""

    KEY_COMPROMISED = "key-compromised"
    RULES_BROKEN = "rules-broken"
    UNREACHABLE = "unreachable"
    CONTRACT_ENDED = "contract-ended"
    LEGAL_ORDER = "legal-order"


class RotationStatement(Section):
    """A member says that it is reached by another node key from now on.

    ``node`` is the digest of the new key, ``previous`` that of the one it replaces (absent: none was bound): an old rotation fits no
    second time, and a key that was ever bound in the run is not bound again.
    """

    run: Hex32
    client: Hex32
    previous: Hex32 | None
    node: Hex32


class WithdrawalStatement(Section):
    """A member says that it takes part in this run no longer."""

    run: Hex32
    client: Hex32


class SignedRotation(Section):
    """A rotation with its member's signature: what the member hands to the operator."""

    statement: RotationStatement
    signature: Base64Signature

    @classmethod
    def sign(cls, statement: RotationStatement, key: Ed25519PrivateKey) -> "SignedRotation":
        """Sign ``statement``; the key must be the one that it names."""
        return SignedRotation(statement=statement, signature=sign("rotation", statement, key))

    def check(self) -> None:
        """Verify the signature; raises VerificationError."""
        verify("rotation", self.statement, self.statement.client, self.signature)


class SignedWithdrawal(Section):
    """A withdrawal with its member's signature."""

    statement: WithdrawalStatement
    signature: Base64Signature

    @classmethod
    def sign(cls, statement: WithdrawalStatement, key: Ed25519PrivateKey) -> "SignedWithdrawal":
        """Sign ``statement``; the key must be the one that it names."""
        return SignedWithdrawal(statement=statement, signature=sign("withdrawal", statement, key))

    def check(self) -> None:
        """Verify the signature; raises VerificationError."""
        verify("withdrawal", self.statement, self.statement.client, self.signature)


class Rotation(SignedRotation):
    """A signed rotation as it stands in the entry of a round, where the operator adds the client's number."""

    change: Literal["rotation"] = "rotation"
    client: Index


class Withdrawal(SignedWithdrawal):
    """A signed withdrawal as it stands in the entry of a round."""

    change: Literal["withdrawal"] = "withdrawal"
    client: Index


class Revocation(Section):
    """The operator ends a membership."""

    change: Literal["revocation"] = "revocation"
    client: Index
    reason: RevocationReason


AnyChange = Rotation | Withdrawal | Revocation
Change = Annotated[AnyChange, Field(discriminator="change")]
_CHANGE: TypeAdapter[AnyChange] = TypeAdapter(Change)


def numbered(signed: SignedRotation | SignedWithdrawal, number: int) -> AnyChange:
    """Return what client ``number`` signed, as it stands in an entry."""
    if isinstance(signed, SignedRotation):
        return Rotation(client=number, statement=signed.statement, signature=signed.signature)
    return Withdrawal(client=number, statement=signed.statement, signature=signed.signature)


def describe(change: AnyChange) -> str:
    """Return what a change does, as part of a line."""
    if isinstance(change, Revocation):
        return f"client {change.client} was revoked by the operator ({change.reason})"
    return f"client {change.client} {'took another node key' if isinstance(change, Rotation) else 'withdrew'}"


def encode_change(change: AnyChange) -> bytes:
    """Return the canonical JSON of a change."""
    return dump_json(change.model_dump(mode="json"))


def decode_change(data: bytes, what: str) -> AnyChange:
    """Parse a change; whether it may be made is for :mod:`ledger.membership`.

    Raises
    ------
    FormatError
        It is none, or not canonical.
    """
    load_json(data, what)
    try:
        change = _CHANGE.validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{what} is no change of a membership: {explain(error)}") from error
    if not encodes(change.model_dump(mode="json"), data):
        raise FormatError(f"{what} leaves fields out that its canonical encoding writes")
    return change
