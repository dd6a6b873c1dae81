"""Blinding values from a hedged generator: secret key, context and operating-system randomness together.

A blind used twice, or guessed, opens what it hides; mixing the secret with fresh randomness survives the failure of either one. The
context names what is blinded (including a digest of it), so that even without fresh randomness two different things never share a
blind. Source: the hedged signing of RFC 8937 and RFC 6979, section 3.6.
"""

import os

from zk.field import ORDER
from zk.hashing import expand


class BlindingSource:
    """Scalars that nobody else can guess.

    Parameters
    ----------
    secret : bytes
        At least 32 secret bytes of this party, shared with nobody.
    deterministic : bool
        Leave the operating system's randomness out, so that a seeded simulation can be repeated. Never in a deployment.
    """

    def __init__(self, secret: bytes, *, deterministic: bool = False) -> None:
        if len(secret) < 32:
            raise ValueError("a blinding secret needs at least 32 bytes")
        self._secret = secret
        self._deterministic = deterministic

    def secret_bytes(self, label: str, context: bytes, length: int) -> bytes:
        """Return ``length`` secret bytes for one ``label`` and ``context``."""
        entropy = b"" if self._deterministic else os.urandom(32)
        return expand(f"lunaria/v1/blind/{label}", self._secret, context, entropy, length=length)

    def scalars(self, label: str, context: bytes, count: int) -> list[int]:
        """Return ``count`` scalars, uniform up to a bias below 2^-128."""
        stream = self.secret_bytes(label, context, 48 * count)
        return [int.from_bytes(stream[i : i + 48], "big") % ORDER for i in range(0, len(stream), 48)]
