"""Hashing, all of it through pycryptodome (no ``hashlib`` anywhere in the product)."""

from Crypto.Hash import SHA256, SHAKE256


def sha256(*parts: bytes) -> bytes:
    """SHA-256 (FIPS 180-4) of the concatenation of ``parts``: 32 bytes."""
    digest = SHA256.new()
    for part in parts:
        digest.update(part)
    return digest.digest()


def frame(*parts: bytes) -> bytes:
    """Concatenate ``parts``, each behind its length (8 bytes, big-endian): an injective encoding."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def expand(label: str, *parts: bytes, length: int) -> bytes:
    """Return ``length`` bytes of SHAKE256 (FIPS 202) over the framed ``label`` and ``parts``."""
    return SHAKE256.new(frame(label.encode(), *parts)).read(length)
