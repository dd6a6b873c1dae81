"""Hashing, all of it through pycryptodome (no ``hashlib`` anywhere in the product)."""

from collections.abc import Iterable
from typing import Any

from Crypto.Hash import SHA256, SHAKE256
from Crypto.Util._raw_api import SmartPointer, VoidPointer, c_size_t, create_string_buffer, get_raw_buffer

# pycryptodome's C functions, without the objects that its Python makes around each hash: trees are made of millions of short ones, and
# the objects take three quarters of the time.
_C: Any = SHA256._raw_sha256_lib  # type: ignore[attr-defined]


def _state() -> SmartPointer:
    made = VoidPointer()
    if _C.SHA256_init(made.address_of()):
        raise MemoryError
    return SmartPointer(made.get(), _C.SHA256_destroy)


_FRESH = _state()
_START = _FRESH.get()
_SIZE = c_size_t(32)
_IDLE: list[tuple[Any, Any, SmartPointer]] = []  # states with a buffer each, for whoever takes one out: threads never share them


def sha256(*parts: bytes) -> bytes:
    """SHA-256 (FIPS 180-4) of the concatenation of ``parts``: 32 bytes."""
    data = b"".join(parts)
    try:
        tools = _IDLE.pop()
    except IndexError:
        made = _state()
        tools = made.get(), create_string_buffer(32), made  # type: ignore[call-arg]
    state, buffer, _ = tools
    if _C.SHA256_copy(_START, state) or _C.SHA256_update(state, data, c_size_t(len(data))) or _C.SHA256_digest(state, buffer, _SIZE):
        raise ValueError("SHA-256 failed")
    found: bytes = get_raw_buffer(buffer)
    _IDLE.append(tools)
    return found


def frame(*parts: bytes) -> bytes:
    """Concatenate ``parts``, each behind its length (8 bytes, big-endian): an injective encoding."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def unframe(data: bytes) -> list[bytes]:
    """Return the parts that :func:`frame` concatenated; raises ValueError for anything else."""
    parts, place = [], 0
    while place < len(data):
        start = place + 8
        place = start + int.from_bytes(data[place:start], "big")
        if start > len(data) or place > len(data):
            raise ValueError("the last part is cut off")
        parts.append(data[start:place])
    return parts


def expand(label: str, *parts: bytes, length: int) -> bytes:
    """Return ``length`` bytes of SHAKE256 (FIPS 202) over the framed ``label`` and ``parts``."""
    return SHAKE256.new(frame(label.encode(), *parts)).read(length)


def sha256_of(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of the concatenation of ``chunks``, which need not fit into memory together: 32 bytes."""
    hashed = SHA256.new()
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.digest()
