"""The scalar field of BLS12-381: integers modulo the prime order ``r`` of G1.

A scalar is a Python integer in ``[0, r)``; its canonical encoding is 32 bytes, big-endian.
"""

from collections.abc import Iterable

from zk.errors import EncodingError

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SCALAR_BYTES = 32


def encode_scalars(values: Iterable[int]) -> bytes:
    """Encode integers modulo ``r``: 32 bytes each, big-endian."""
    return b"".join((value % ORDER).to_bytes(SCALAR_BYTES, "big") for value in values)


def decode_scalars(data: bytes, count: int) -> list[int]:
    """Decode exactly ``count`` canonical scalars.

    Raises
    ------
    EncodingError
        The length is wrong or a value is not below ``r``.
    """
    if len(data) != count * SCALAR_BYTES:
        raise EncodingError(f"expected {count} scalars in {count * SCALAR_BYTES} bytes, got {len(data)} bytes")
    values = [int.from_bytes(data[i : i + SCALAR_BYTES], "big") for i in range(0, len(data), SCALAR_BYTES)]
    for position, value in enumerate(values):
        if value >= ORDER:
            raise EncodingError(f"scalar {position} is not below the group order: not a canonical encoding")
    return values


def signed(value: int) -> int:
    """Return the representative of ``value`` modulo ``r`` with the smallest absolute value."""
    value %= ORDER
    return value - ORDER if value > ORDER // 2 else value
