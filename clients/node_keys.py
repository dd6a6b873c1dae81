"""Node keys: what a client's SuperNode shows to the server, ECDSA in OpenSSH's formats, as Flower wants them.

They say who may reach the server at all. Who a client is in the ledger is another key, which never leaves the client.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.errors import MemberError

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Those that Flower takes; ours are on P-384."""


def make_node_key(name: str) -> tuple[str, str]:
    """Return a fresh private key, and its public half with ``name`` as its comment; a file's text each."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return private.decode(), f"{public_text(key.public_key())} {name}\n"


def public_text(key: ec.EllipticCurvePublicKey) -> str:
    """Return a public key in OpenSSH's format, without a comment."""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def read_public(data: bytes) -> ec.EllipticCurvePublicKey:
    """Read the public half; raises MemberError where it is no node key."""
    try:
        key = serialization.load_ssh_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MemberError("this is no public node key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise MemberError("this is no public node key")
    return key


def public_of(private: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public half of a private key; raises MemberError where it is no node key."""
    try:
        key = serialization.load_ssh_private_key(private, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MemberError("this is no node key without a passphrase: make one with 'lunaria keygen'") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise MemberError("this is no node key: make one with 'lunaria keygen'")
    return key.public_key()
