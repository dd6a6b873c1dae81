"""A party's identity: an Ed25519 key, named by its public half in hexadecimal."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zk.hashing import expand, sha256


def signing_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the signing key that a client derives from its 32-byte secret."""
    return Ed25519PrivateKey.from_private_bytes(expand("lunaria/v1/identity", secret, length=32))


def public_key(key: Ed25519PrivateKey) -> str:
    """Return the public key: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def node_digest(public_key: ec.EllipticCurvePublicKey) -> str:
    """Return the digest that binds a node key to a client: SHA-256 of its SubjectPublicKeyInfo (RFC 5280, DER), in hexadecimal."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(public_key.public_bytes(encoding, form)).hex()


# The y coordinates of the points of order 1, 2, 4 and 8, in every encoding of 255 bits (little-endian): 0, 1, -1, p, p + 1 and two more.
# Source: the blacklist of libsodium's ge25519_has_small_order.
_SMALL_ORDER = frozenset(
    bytes.fromhex(encoding)
    for encoding in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


def has_small_order(key: str) -> bool:
    """Whether a public key is a point of order at most 8: its owner could deny everything it signed."""
    data = bytes.fromhex(key)
    return data[:31] + bytes([data[31] & 0x7F]) in _SMALL_ORDER
