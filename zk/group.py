"""The group G1 of BLS12-381 behind one interface, twice.

:class:`PyEcc` is the reference and the verifiers' default: pure Python, every step readable. :class:`Arkworks` is the same group from
the ``py_arkworks_bls12381`` wheel (Rust), about thirty times faster, for clients' commitments. Tests hold them equal.

Points are canonical compressed encodings (48 bytes, the ZCash serialisation) outside, opaque values inside. ``decode`` checks that an
encoding is canonical and on the curve, not that it lies in the subgroup of order r: that check costs 10 ms a point in Python. Instead
:meth:`Group.vanishes` multiplies the final sum by ``1 - z``, which kills every part outside the subgroup, so that one and the same
verdict comes out for one equation and for a batch, on either implementation. (``1 - z`` annihilates the cofactor part of E(Fp) and is
prime to r: Wahby and Boneh, CHES 2019, section 5; RFC 9380, section 8.8.1, where it is ``h_eff``.)
"""

from collections.abc import Sequence
from typing import Any, Protocol

import py_arkworks_bls12381 as ark
from Crypto.Hash import SHA256
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, decompress_G1
from py_ecc.optimized_bls12_381 import Z1, add, double, is_inf, multiply, neg

from zk.errors import EncodingError
from zk.field import signed

POINT_BYTES = 48
COFACTOR = 0xD201000000010001  # 1 - z
_SHORT = 1 << 32  # one long scalar makes a multi-scalar product of short ones several times slower
Point = Any  # opaque: only the group that made it can read it


class Group(Protocol):
    """What commitments and proofs need of a group of prime order ``r``."""

    name: str

    def hash_to_curve(self, message: bytes, domain: bytes) -> Point:
        """Return a point whose discrete logarithm nobody knows (RFC 9380, BLS12381G1_XMD:SHA-256_SSWU_RO_)."""

    def decode(self, data: bytes) -> Point:
        """Return the point of a canonical 48-byte encoding; :class:`EncodingError` for anything else."""

    def encode(self, point: Point) -> bytes:
        """Return the canonical 48-byte encoding."""

    def msm(self, points: Sequence[Point], scalars: Sequence[int]) -> Point:
        """Return ``Σ scalars[i]·points[i]``; scalars are any integers, cheap when small in absolute value."""

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        """Whether ``Σ scalars[i]·points[i]`` is the identity, up to parts outside the subgroup of order r."""


class PyEcc:
    """G1 by ``py_ecc``: the reference."""

    name = "py_ecc"

    def hash_to_curve(self, message: bytes, domain: bytes) -> Point:
        """See :class:`Group`."""
        return hash_to_G1(message, domain, lambda data=b"": SHA256.new(data))

    def decode(self, data: bytes) -> Point:
        """See :class:`Group`."""
        if len(data) != POINT_BYTES:
            raise EncodingError(f"a point takes {POINT_BYTES} bytes, got {len(data)}")
        try:
            return decompress_G1(int.from_bytes(data, "big"))
        except ValueError as error:
            raise EncodingError("not the canonical encoding of a point on the curve") from error

    def encode(self, point: Point) -> bytes:
        """See :class:`Group`."""
        return int(compress_G1(point)).to_bytes(POINT_BYTES, "big")

    def msm(self, points: Sequence[Point], scalars: Sequence[int]) -> Point:
        """See :class:`Group`; Pippenger's bucket method over signed scalars."""
        _same_length(points, scalars)
        pairs = []
        for point, scalar in zip(points, scalars, strict=True):
            value = signed(scalar)
            if value and not is_inf(point):
                pairs.append((point, value) if value > 0 else (neg(point), -value))
        if not pairs:
            return Z1
        bits = max(value.bit_length() for _, value in pairs)
        window = _window(len(pairs), bits)
        total = Z1
        for shift in range(bits - bits % window, -1, -window):
            for _ in range(window if not is_inf(total) else 0):
                total = double(total)
            total = add(total, _window_sum(pairs, shift, (1 << window) - 1))
        return total

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        """See :class:`Group`."""
        return bool(is_inf(multiply(self.msm(points, scalars), COFACTOR)))


def _window(count: int, bits: int) -> int:
    """Return the window width with the fewest additions for ``count`` scalars of ``bits`` bits."""
    return min(range(1, 16), key=lambda c: -(-bits // c) * (count + 2 * 2**c))


def _window_sum(pairs: list[tuple[Point, int]], shift: int, mask: int) -> Point:
    """Return ``Σ digit·point`` for the window of each scalar that starts at bit ``shift``."""
    buckets: dict[int, Point] = {}
    for point, value in pairs:
        digit = (value >> shift) & mask
        if digit:
            buckets[digit] = add(buckets[digit], point) if digit in buckets else point
    running = total = Z1
    for digit in range(max(buckets, default=0), 0, -1):
        if digit in buckets:
            running = add(running, buckets[digit])
        total = add(total, running)
    return total


class Arkworks:
    """G1 by the ``py_arkworks_bls12381`` wheel: the same group, in Rust."""

    name = "arkworks"

    def hash_to_curve(self, message: bytes, domain: bytes) -> Point:
        """See :class:`Group`."""
        return ark.G1Point.hash_to_curve(message, domain)

    def decode(self, data: bytes) -> Point:
        """See :class:`Group`."""
        if len(data) != POINT_BYTES:
            raise EncodingError(f"a point takes {POINT_BYTES} bytes, got {len(data)}")
        try:
            point = ark.G1Point.from_compressed_bytes_unchecked(data)
        except ValueError as error:
            raise EncodingError("not the canonical encoding of a point on the curve") from error
        if bytes(point.to_compressed_bytes()) != data:
            raise EncodingError("not the canonical encoding of a point on the curve")
        return point

    def encode(self, point: Point) -> bytes:
        """See :class:`Group`."""
        return bytes(point.to_compressed_bytes())

    def msm(self, points: Sequence[Point], scalars: Sequence[int]) -> Point:
        """See :class:`Group`; positive and negative, short and long scalars apart, so that short ones stay short."""
        _same_length(points, scalars)
        chosen: dict[tuple[bool, bool], tuple[list[Point], list[ark.Scalar]]] = {}
        for point, scalar in zip(points, scalars, strict=True):
            value = scalar if 0 <= scalar < _SHORT else signed(scalar)
            if value:
                size = abs(value)
                some, factors = chosen.setdefault((value > 0, size < _SHORT), ([], []))
                some.append(point)
                factors.append(ark.Scalar(size) if size < _SHORT else ark.Scalar.from_le_bytes(size.to_bytes(32, "little")))
        total = ark.G1Point.identity()
        for (positive, _), (some, factors) in chosen.items():
            part = ark.G1Point.multiexp_unchecked(some, factors)
            total = total + part if positive else total - part
        return total

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        """See :class:`Group`."""
        total = self.msm(points, scalars)
        # multiexp, not ``*``: the latter may use an endomorphism that is a multiplication inside the subgroup only
        return bool(ark.G1Point.multiexp_unchecked([total], [ark.Scalar(COFACTOR)]) == ark.G1Point.identity())


def _same_length(points: Sequence[Point], scalars: Sequence[int]) -> None:
    if len(points) != len(scalars):
        raise ValueError(f"{len(points)} points but {len(scalars)} scalars")


GROUPS: dict[str, type[Group]] = {"py_ecc": PyEcc, "arkworks": Arkworks}
