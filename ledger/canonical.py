"""Canonical bytes: JSON by RFC 8785, integer tensors as NPY files, digests of both.

Everything that is hashed or signed goes through here, so that two parties who mean the same thing hash the same bytes.
"""

import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785
from pydantic_core import from_json

from ledger.errors import FormatError
from zk.hashing import sha256

IntVector = npt.NDArray[np.int64]
_NPY_HEADER_BYTES = 128
_UNUSUAL_NUMBER = re.compile(rb"[:\[,]-?(?:[0-9]+[.eE]|[0-9]{16})")


def dump_json(value: Any) -> bytes:  # noqa: ANN401 - JSON is the one place where any value goes
    """Return the canonical encoding of a JSON value (RFC 8785); integers beyond 2^53 are refused."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise FormatError(f"cannot be written as canonical JSON: {error}") from error


def load_json(data: bytes, what: str) -> Any:  # noqa: ANN401
    """Parse canonical JSON; anything that is not the one canonical encoding of its value is refused.

    Raises
    ------
    FormatError
        Not UTF-8, not JSON, duplicate keys, too deeply nested, or not canonical.
    """
    try:
        value = from_json(data, allow_inf_nan=False)  # at most 200 levels deep, whatever the stack
    except ValueError as error:
        raise FormatError(f"{what} is not valid JSON: {error}") from error
    if not encodes(value, data):
        raise FormatError(f"{what} is not canonical JSON (RFC 8785)")
    return value


def encodes(value: Any, data: bytes) -> bool:  # noqa: ANN401
    """Whether ``data``, which is valid JSON, is the canonical encoding of ``value``.

    Python's own encoder, ten times as fast as the library, differs from RFC 8785 in fractions, in large integers and in characters beyond
    ASCII; where ``data`` has none of these and is what it writes, that settles it. A number in an object or a list without spaces follows
    one of ``:[,``; the same signs within a string do no harm, for they only lead the slow way.
    """
    if data.isascii() and data[:1] in (b"{", b"[") and not _UNUSUAL_NUMBER.search(data):
        plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if plain.encode("utf-8", "surrogatepass") == data:
            return True
    return dump_json(value) == data


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lowercase hexadecimal digits."""
    return sha256(data).hex()


def dump_vector(values: IntVector) -> bytes:
    """Encode a flat integer tensor as an NPY file (version 1.0): ``<i4`` where all values fit, else ``<i8``.

    ``numpy.load`` reads it. The header is fixed by the length and the type, so equal tensors have equal bytes.
    """
    fits = not values.size or (int(values.min()) >= -(2**31) and int(values.max()) < 2**31)
    dtype = "<i4" if fits else "<i8"
    return _npy_header(dtype, len(values)) + np.ascontiguousarray(values, dtype=dtype).tobytes()


def load_vector(data: bytes, length: int, what: str) -> IntVector:
    """Decode an integer tensor of ``length`` values; only the canonical encoding is accepted.

    Raises
    ------
    FormatError
        Another header, length or type, or a wider type than the values need.
    """
    for dtype in ("<i4", "<i8"):
        header = _npy_header(dtype, length)
        if data.startswith(header) and len(data) == len(header) + length * int(dtype[-1]):
            values = np.frombuffer(data, dtype=dtype, offset=len(header)).astype(np.int64)
            if dump_vector(values)[: len(header)] == header:
                return values
    raise FormatError(f"{what} is not a canonical tensor of {length} integers")


def _npy_header(dtype: str, length: int) -> bytes:
    """Return the 128 bytes with which NumPy's format version 1.0 begins (numpy.lib.format)."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({length},), }}".encode()
    filled = text + b" " * (_NPY_HEADER_BYTES - 10 - len(text) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(filled).to_bytes(2, "little") + filled
