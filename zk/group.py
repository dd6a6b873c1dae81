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
from functools import lru_cache
from typing import Any, Protocol

import py_arkworks_bls12381 as ark
from Crypto.Hash import SHA256
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, decompress_G1
from py_ecc.optimized_bls12_381 import FQ, Z1, add, double, is_inf, multiply, normalize

from zk import buckets
from zk.errors import EncodingError
from zk.field import ORDER, signed
from zk.roots import square_root

POINT_BYTES = 48
COFACTOR = 0xD201000000010001  # 1 - z
_LONG = 1 << 128  # blinds and challenges; committed values and their negatives are below it
_X_MASK = (1 << 381) - 1
_SHORT = 1 << 14  # one long scalar makes a multi-scalar product of short ones several times slower
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
        x = int.from_bytes(data, "big") & _X_MASK
        if data[0] & 0xC0 == 0x80 and 0 < x < buckets.P:
            square = (x * x * x + 4) % buckets.P
            y = square_root(square)
            if y * y % buckets.P == square:
                larger = bool(data[0] & 0x20)
                return FQ(x), FQ(y if (2 * y > buckets.P) == larger else buckets.P - y), FQ(1)
        try:  # whatever is not plainly a point is for py_ecc to judge
            return decompress_G1(int.from_bytes(data, "big"))
        except ValueError as error:
            raise EncodingError("not the canonical encoding of a point on the curve") from error

    def encode(self, point: Point) -> bytes:
        """See :class:`Group`."""
        return int(compress_G1(point)).to_bytes(POINT_BYTES, "big")

    def msm(self, points: Sequence[Point], scalars: Sequence[int]) -> Point:
        """See :class:`Group`; :mod:`zk.buckets`."""
        _same_length(points, scalars)
        chosen, sizes = [], []
        for point, scalar in zip(points, scalars, strict=True):
            value = signed(scalar)
            if value and not is_inf(point):
                x, y = _affine(point)
                chosen.append((x, y) if value > 0 else (x, -y % buckets.P))
                sizes.append(abs(value))
        total = Z1
        width = buckets.window_width(len(sizes), max((size.bit_length() for size in sizes), default=0))
        for part in reversed(buckets.multiply_sum(chosen, sizes)):
            for _ in range(width if not is_inf(total) else 0):
                total = double(total)
            if part:
                total = add(total, (FQ(part[0]), FQ(part[1]), FQ(1)))
        return total

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        """See :class:`Group`."""
        return bool(is_inf(multiply(self.msm(points, scalars), COFACTOR)))


def _affine(point: Point) -> buckets.Affine:
    """Return the coordinates of a py_ecc point that is not the identity."""
    x, y = (point[0], point[1]) if point[2] == 1 else normalize(point)
    return int(x), int(y)


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
        # (0, ±2) has order 3: this wheel reads it, py_ecc does not
        if bytes(point.to_compressed_bytes()) != data or (not any(data[1:]) and data[0] & 0x5F == 0):
            raise EncodingError("not the canonical encoding of a point on the curve")
        return point

    def encode(self, point: Point) -> bytes:
        """See :class:`Group`."""
        return bytes(point.to_compressed_bytes())

    def msm(self, points: Sequence[Point], scalars: Sequence[int]) -> Point:
        """See :class:`Group`; negative ones apart, and short ones and long ones, since the longest sets the time for all."""
        _same_length(points, scalars)
        short = _short_scalars()
        kept = [(point, short[scalar]) for point, scalar in zip(points, scalars, strict=True) if 0 < scalar < _SHORT]
        total = ark.G1Point.multiexp_unchecked([point for point, _ in kept], [scalar for _, scalar in kept])
        positive: tuple[list[Point], list[ark.Scalar]] = ([], [])
        negative: tuple[list[Point], list[ark.Scalar]] = ([], [])
        long: tuple[list[Point], list[ark.Scalar]] = ([], [])
        for point, scalar in zip(points, scalars, strict=True):
            if 0 <= scalar < _SHORT:
                continue
            value = scalar % ORDER
            size = min(value, ORDER - value)
            chosen = long if size >= _LONG else positive if size == value else negative
            chosen[0].append(point)
            chosen[1].append(_scalar(value if chosen is long else size))
        total += ark.G1Point.multiexp_unchecked(*long)
        return total + ark.G1Point.multiexp_unchecked(*positive) - ark.G1Point.multiexp_unchecked(*negative)

    def vanishes(self, points: Sequence[Point], scalars: Sequence[int]) -> bool:
        """See :class:`Group`."""
        total = self.msm(points, scalars)
        # multiexp, not ``*``: the latter may use an endomorphism that is a multiplication inside the subgroup only
        return bool(ark.G1Point.multiexp_unchecked([total], [ark.Scalar(COFACTOR)]) == ark.G1Point.identity())


def _scalar(value: int) -> ark.Scalar:
    return ark.Scalar.from_le_bytes(value.to_bytes(32, "little"))


@lru_cache(maxsize=1)
def _short_scalars() -> list[ark.Scalar]:
    """Keep what most committed values are: converting one takes as long as multiplying by it."""
    return [ark.Scalar(value) for value in range(_SHORT)]


def _same_length(points: Sequence[Point], scalars: Sequence[int]) -> None:
    if len(points) != len(scalars):
        raise ValueError(f"{len(points)} points but {len(scalars)} scalars")


GROUPS: dict[str, type[Group]] = {"py_ecc": PyEcc, "arkworks": Arkworks}
