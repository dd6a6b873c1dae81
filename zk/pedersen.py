"""Pedersen vector commitments: ``Com(v; ρ) = Σ v_j·G_j + ρ·H``.

Binding as long as nobody knows a relation between the generators (they are hashes of their index: RFC 9380), hiding because ``ρ`` is
uniform, additive: ``Com(v; ρ) + Com(w; σ) = Com(v + w; ρ + σ)``. A tensor is committed as consecutive rows of ``width`` values.
Source: Pedersen, CRYPTO 1991.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zk.errors import EncodingError
from zk.group import POINT_BYTES, Group, Point
from zk.hashing import frame, sha256

DOMAIN = b"LUNARIA-V1-PEDERSEN_BLS12381G1_XMD:SHA-256_SSWU_RO_"
IntVector = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CommitmentKey:
    """Generators of one group.

    Attributes
    ----------
    group : Group
        The implementation whose points these are.
    generators : tuple of Point
        ``G_0 … G_{width-1}``.
    blinding : Point
        ``H``.
    """

    group: Group
    generators: tuple[Point, ...]
    blinding: Point

    @property
    def width(self) -> int:
        """Number of values in a row."""
        return len(self.generators)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all encoded generators: what a transcript absorbs of them (32 bytes)."""
        return sha256(self.encode([self.blinding, *self.generators]))

    def commit(self, values: Sequence[int] | IntVector, blind: int) -> Point:
        """Commit to at most ``width`` integers (signed ones are taken modulo r)."""
        if len(values) > self.width:
            raise ValueError(f"a row holds {self.width} values, got {len(values)}")
        used = [(point, int(value)) for point, value in zip(self.generators, values, strict=False) if value]
        lowest = min((value for _, value in used), default=0)
        if lowest >= 0 or 2 * len(used) < len(values):
            return self.group.msm([p for p, _ in used] + [self.blinding], [v for _, v in used] + [blind])
        # Of one sign, values are one multi-scalar product instead of two: v = (v + s) - s with s at least -v.
        shift = 1 << (-lowest).bit_length()
        shifted = [int(value) + shift for value in values]
        points = [*self.generators[: len(values)], self._sum(len(values)), self.blinding]
        return self.group.msm(points, [*shifted, -shift, blind])

    def _sum(self, count: int) -> Point:
        """Return the sum of the first ``count`` generators."""
        sums = self.__dict__.setdefault("_sums", {})  # beside the fields, as cached_property does
        if count not in sums:
            sums[count] = self.group.msm(self.generators[:count], [1] * count)
        return sums[count]

    def commit_rows(self, values: IntVector, blinds: Sequence[int]) -> list[Point]:
        """Commit to a flat tensor as ``rows_for(len(values))`` rows, one blind each."""
        rows = self.rows_for(len(values))
        if len(blinds) != rows:
            raise ValueError(f"{rows} rows need {rows} blinds, got {len(blinds)}")
        return [self.commit(values[i * self.width : (i + 1) * self.width], blind) for i, blind in enumerate(blinds)]

    def rows_for(self, size: int) -> int:
        """Return the number of rows that hold ``size`` values."""
        return -(-size // self.width)

    def encode(self, points: Sequence[Point]) -> bytes:
        """Concatenate the canonical encodings of ``points``: 48 bytes each."""
        return b"".join(self.group.encode(point) for point in points)

    def decode(self, data: bytes, count: int) -> list[Point]:
        """Decode exactly ``count`` points.

        Raises
        ------
        EncodingError
            The length is wrong, or an encoding is not canonical or not on the curve.
        """
        _check_length(data, count)
        return [self.group.decode(data[i : i + POINT_BYTES]) for i in range(0, len(data), POINT_BYTES)]

    def decode_enrolled(self, data: bytes, count: int) -> list[Point]:
        """Do as :meth:`decode` does, and remember the points: those of a data set are read again in every round."""
        _check_length(data, count)
        return [_remembered(type(self.group), data[i : i + POINT_BYTES]) for i in range(0, len(data), POINT_BYTES)]


@lru_cache(maxsize=1 << 15)  # about 30 MB
def _remembered(group_type: type[Group], data: bytes) -> Point:
    return group_type().decode(data)


def _check_length(data: bytes, count: int) -> None:
    if len(data) != count * POINT_BYTES:
        raise EncodingError(f"expected {count} points in {count * POINT_BYTES} bytes, got {len(data)} bytes")


@lru_cache(maxsize=8)
def commitment_key(group_type: type[Group], width: int) -> CommitmentKey:
    """Return the key of ``width`` generators, derived from their index and kept on disk for the next process."""
    group = group_type()
    encoded = _cached_encodings(group, width)
    points = [group.decode(encoded[i : i + POINT_BYTES]) for i in range(0, len(encoded), POINT_BYTES)]
    return CommitmentKey(group, tuple(points[1:]), points[0])


def derive_generators(group: Group, width: int) -> bytes:
    """Return ``H, G_0 … G_{width-1}`` encoded: hashes to the curve of a letter and a 4-byte index."""
    messages = [b"H"] + [b"G" + i.to_bytes(4, "big") for i in range(width)]
    return b"".join(group.encode(group.hash_to_curve(message, DOMAIN)) for message in messages)


def _cached_encodings(group: Group, width: int) -> bytes:
    """Derive once per machine and implementation: py_ecc takes 6 ms for each generator."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "lunaria"
    path = folder / f"generators-{group.name}-{width}-{sha256(DOMAIN).hex()[:16]}"
    length = (width + 1) * POINT_BYTES
    try:
        stored = path.read_bytes()
        if len(stored) == length + 32 and stored[length:] == _checksum(stored[:length]):
            return stored[:length]
    except OSError:
        pass  # no cache yet, or none readable: derive
    encoded = derive_generators(group, width)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_bytes(encoded + _checksum(encoded))
        temporary.replace(path)
    except OSError:
        pass  # a machine without a writable home derives each time
    return encoded


def _checksum(encoded: bytes) -> bytes:
    return sha256(frame(b"lunaria/v1/generators", DOMAIN, encoded))
