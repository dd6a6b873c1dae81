"""A client's signature on what it says: Ed25519 (RFC 8032) over a label of the kind of message and the canonical JSON (RFC 8785)."""

import base64
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from ledger.canonical import dump_json
from ledger.errors import VerificationError
from ledger.schema import Section

Base64Signature = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$")]


def sign(label: str, statement: Section, key: Ed25519PrivateKey) -> str:
    """Return the signature of ``statement``, base64; no other kind of message may share ``label``."""
    return base64.b64encode(key.sign(_signed(label, statement))).decode()


def verify(label: str, statement: Section, client: str, signature: str) -> None:
    """Check that ``client``, a public key in hexadecimal, signed ``statement``.

    Raises
    ------
    VerificationError
        The signature is not that client's.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(client))
        key.verify(base64.b64decode(signature, validate=True), _signed(label, statement))
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"the signature is not by client {client[:16]}") from error


def _signed(label: str, statement: Section) -> bytes:
    return f"lunaria/v1/{label}\n".encode() + dump_json(statement.model_dump(mode="json"))
