"""Cosignatures (C2SP tlog-cosignature): what a witness says about a checkpoint, and when it said so.

A cosignature is a signature line of a note whose text is a checkpoint. Its value is a time, 8 bytes big-endian in
seconds since the epoch, and a signature by one of two algorithms:

====  ==========  =====================================================================================
type  algorithm   signs
====  ==========  =====================================================================================
04    Ed25519     ``cosignature/v1\\ntime <time>\\n`` and the whole text of the note
06    ML-DSA-44   ``subtree/v1\\n\\0``, cosigner's name, time, log's origin, 0, size, root (FIPS 204, no context)
====  ==========  =====================================================================================

It states that the checkpoint is consistent with every other one of this log that the cosigner has cosigned, and
that it knew of no larger one at that time. An Ed25519 cosignature does not commit to the cosigner's name: each
cosigner needs a key of its own.
"""

import time
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger.checkpoint import parse_checkpoint
from ledger.errors import FormatError
from ledger.identity import has_small_order
from ledger.note import Signature, VerifierKey

ED25519_COSIGNATURE = 0x04
ML_DSA_44_COSIGNATURE = 0x06
SEED_SIZE = 32
"""Bytes in the seed of a key of either algorithm (RFC 8032, 5.1.5; FIPS 204, algorithm 1)."""

MAX_NAME_SIZE = 255
"""Bytes in the name of a cosigner, and in an origin that is cosigned."""

_TIME_SIZE = 8
_MAX_TIME = (1 << 63) - 1
_PUBLIC_SIZES = {ED25519_COSIGNATURE: 32, ML_DSA_44_COSIGNATURE: 1312}
_SIGNATURE_SIZES = {ED25519_COSIGNATURE: 64, ML_DSA_44_COSIGNATURE: 2420}
_LABEL = b"subtree/v1\n\0"

Clock = Callable[[], int]
"""Returns the seconds since the epoch."""


def now() -> int:
    """Return the seconds since the epoch, by this machine's clock."""
    return int(time.time())


class CosignatureVerifier:
    """Checks the cosignatures of one key (a :class:`ledger.note.Verifier`).

    Parameters
    ----------
    key
        Of type 04 or 06.

    Raises
    ------
    FormatError
        The key is of another type, of a wrong length, or one for which everybody can sign.
    """

    def __init__(self, key: VerifierKey) -> None:
        if len(key.public) != _PUBLIC_SIZES.get(key.kind):
            raise FormatError(f"key {key.name} is not a witness's: its type must be 4 (Ed25519) or 6 (ML-DSA-44) cosignatures")
        if not _fits(key.name):
            raise FormatError(f"key {key.name[:40]}…: the name of a cosigner has at most {MAX_NAME_SIZE} bytes")
        if key.kind == ED25519_COSIGNATURE and has_small_order(key.public.hex()):
            raise FormatError(f"key {key.name} is a point of small order: everybody can sign for it")
        self._key = key
        self._public: Ed25519PublicKey | MLDSA44PublicKey
        if key.kind == ED25519_COSIGNATURE:
            self._public = Ed25519PublicKey.from_public_bytes(key.public)
        else:
            self._public = MLDSA44PublicKey.from_public_bytes(key.public)

    @property
    def key(self) -> VerifierKey:
        """The key."""
        return self._key

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (time and signature) is the key's for the checkpoint ``text``."""
        seconds = int.from_bytes(signature[:_TIME_SIZE], "big")
        if len(signature) != _TIME_SIZE + _SIGNATURE_SIZES[self._key.kind] or seconds > _MAX_TIME:
            return False
        try:
            self._public.verify(signature[_TIME_SIZE:], _message(self._key, text, seconds))
        except (InvalidSignature, FormatError):
            return False
        return True


class CosignatureSigner:
    """Cosigns checkpoints (a :class:`ledger.note.Signer`), with the time of each cosignature.

    Parameters
    ----------
    name
        Name of the key: a URL without scheme is recommended.
    kind
        ``ED25519_COSIGNATURE`` or ``ML_DSA_44_COSIGNATURE``.
    seed
        The private key, 32 bytes.
    clock
        Tells the time.

    Raises
    ------
    FormatError
        The name or the type is not allowed, or the seed is not 32 bytes long.
    """

    def __init__(self, name: str, kind: int, seed: bytes, clock: Clock = now) -> None:
        if len(seed) != SEED_SIZE:
            raise FormatError(f"key {name}: the seed is {SEED_SIZE} bytes, not {len(seed)}")
        self._private: Ed25519PrivateKey | MLDSA44PrivateKey
        if kind == ML_DSA_44_COSIGNATURE:
            self._private = MLDSA44PrivateKey.from_seed_bytes(seed)
        else:
            self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = CosignatureVerifier(VerifierKey(name, kind, self._private.public_key().public_bytes_raw()))
        self._clock = clock

    @property
    def verifier(self) -> CosignatureVerifier:
        """What checks this signer's cosignatures."""
        return self._verifier

    def sign(self, text: bytes) -> bytes:
        """Return time and signature for the checkpoint ``text``.

        Raises
        ------
        FormatError
            It is not a checkpoint, or one whose origin has more than 255 bytes.
        """
        parse_checkpoint(text.decode())
        seconds = self._clock()
        return seconds.to_bytes(_TIME_SIZE, "big") + self._private.sign(_message(self._verifier.key, text, seconds))


def cosigned_at(signature: Signature) -> int:
    """Return the time of a cosignature that verified, in seconds since the epoch."""
    return int.from_bytes(signature.value[:_TIME_SIZE], "big")


def _message(key: VerifierKey, text: bytes, seconds: int) -> bytes:
    """Return what a cosignature signs (tlog-cosignature, "Ed25519 signed message" and "ML-DSA-44 signed message")."""
    if key.kind == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {seconds}\n".encode() + text
    checkpoint = parse_checkpoint(text.decode())
    return b"".join(
        (_LABEL, _vector(key.name), _uint64(seconds), _vector(checkpoint.origin), _uint64(0), _uint64(checkpoint.size), checkpoint.root)
    )


def _vector(text: str) -> bytes:
    """Encode an ``opaque<1..2^8-1>`` (RFC 8446, section 3.4)."""
    if not _fits(text):
        raise FormatError(f"{text[:40]}…: a name that is cosigned has at most {MAX_NAME_SIZE} bytes")
    data = text.encode()
    return bytes([len(data)]) + data


def _fits(text: str) -> bool:
    return len(text.encode()) <= MAX_NAME_SIZE


def _uint64(value: int) -> bytes:
    return value.to_bytes(8, "big")
