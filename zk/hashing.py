"""Hashing, all of it through pycryptodome (no ``hashlib`` anywhere in the product)."""

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
_IDLE: list[tuple[SmartPointer, Any]] = []  # states with a buffer each, for whoever takes one out: threads never share them


def sha256(*parts: bytes) -> bytes:
    """SHA-256 (FIPS 180-4) of the concatenation of ``parts``: 32 bytes."""
    data = b"".join(parts)
    try:
        tools = _IDLE.pop()
    except IndexError:
        tools = _state(), create_string_buffer(32)  # type: ignore[call-arg]
    state, buffer = tools
    pointer = state.get()
    if (
        _C.SHA256_copy(_FRESH.get(), pointer)
        or _C.SHA256_update(pointer, data, c_size_t(len(data)))
        or _C.SHA256_digest(pointer, buffer, c_size_t(32))
    ):
        raise ValueError("SHA-256 failed")
    found: bytes = get_raw_buffer(buffer)
    _IDLE.append(tools)
    return found


def frame(*parts: bytes) -> bytes:
    """Concatenate ``parts``, each behind its length (8 bytes, big-endian): an injective encoding."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def expand(label: str, *parts: bytes, length: int) -> bytes:
    """Return ``length`` bytes of SHAKE256 (FIPS 202) over the framed ``label`` and ``parts``."""
    return SHAKE256.new(frame(label.encode(), *parts)).read(length)
