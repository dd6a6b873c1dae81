"""A party's identity: an Ed25519 key, named by its public half in hexadecimal."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zk.hashing import expand


def signing_key(secret: bytes) -> Ed25519PrivateKey:
    """Return the signing key that a client derives from its 32-byte secret."""
    return Ed25519PrivateKey.from_private_bytes(expand("lunaria/v1/identity", secret, length=32))


def public_key(key: Ed25519PrivateKey) -> str:
    """Return the public key: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()
