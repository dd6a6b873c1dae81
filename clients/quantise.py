"""From real numbers to the grid that the proof of training works on, and back.

A feature is an integer in ``[0, 2^bits)``, read as a binary fraction: at 8 bits the value 128 stands for 1/2. Every rounding
that happens between a file and the circuit happens here, in :func:`quantise`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clients.errors import DataError

Floats = npt.NDArray[np.float64]
Grid = npt.NDArray[np.unsignedinteger]
"""``uint8`` up to 8 bits, ``uint16`` above: sixty thousand images stay 47 MB. Convert the rows in use before calculating."""

MAX_BITS = 16
_ROWS_AT_A_TIME = 4096


def grid_dtype(bits: int) -> type[np.uint8 | np.uint16]:
    """Return the smallest unsigned type that holds ``bits`` bits."""
    return np.uint8 if bits <= 8 else np.uint16


def quantise(x: npt.NDArray[np.generic], low: npt.ArrayLike, high: npt.ArrayLike, bits: int) -> Grid:
    """Scale ``[low, high]`` onto the integers ``0 .. 2^bits - 1``.

    ``q = floor((x - low) / (high - low) · (2^bits - 1) + 1/2)``, computed in float64; what lies outside ``[low, high]`` takes the
    nearer end, and a constant feature (``low = high``) is 0. ``uint8`` on 0..255 at 8 bits is on the grid already and is
    returned as it is, without a copy.

    Parameters
    ----------
    x : array of shape (N, d) or (N,)
        Finite numbers.
    low, high : float or array of shape (d,)
        The range, for all features or feature by feature; finite, ``low <= high``.
    bits : int
        1 to 16.

    Returns
    -------
    Grid
        The shape of ``x``; ``uint8`` up to 8 bits, else ``uint16``.
    """
    lows, highs = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if x.dtype == np.uint8 and bits == 8 and bool(np.all(lows == 0)) and bool(np.all(highs == 255)):
        return x.view(np.uint8)
    top = 2**bits - 1
    span = highs - lows
    divisor = np.where(span > 0, span, 1.0)
    grid = np.zeros(x.shape, grid_dtype(bits))
    for start in range(0, len(x), _ROWS_AT_A_TIME):  # bounds the float64 copies
        rows = np.clip(x[start : start + _ROWS_AT_A_TIME].astype(np.float64), lows, highs)
        grid[start : start + _ROWS_AT_A_TIME] = np.floor((rows - lows) / divisor * top + 0.5)
    return grid


@dataclass(frozen=True)
class Range:
    """The range that was scaled onto the grid; clients that agree on one can add up their models.

    Attributes
    ----------
    low, high : tuple of float
        One value for each feature, or a single one for all of them.
    bits : int
        The grid is ``0 .. 2^bits - 1``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    bits: int

    def __post_init__(self) -> None:
        """Refuse what :func:`quantise` cannot use."""
        if not 1 <= self.bits <= MAX_BITS:
            raise DataError(f"a grid of {self.bits} bits: give 1 to {MAX_BITS} bits")
        if not self.low or len(self.low) != len(self.high):
            raise DataError("a range needs as many lower as upper ends: give one pair, or one pair per feature")
        for j, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not (low <= high and np.isfinite(high - low)):
                raise DataError(f"range {j} is {low} to {high}: give two finite numbers, the lower one first")

    @classmethod
    def of(cls, x: Floats | npt.NDArray[np.generic], bits: int) -> Range:
        """Return the range from minimum to maximum of every column of ``x``, an array of shape (N, d)."""
        low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        return cls(tuple(low.tolist()), tuple(high.tolist()), bits)

    def apply(self, x: npt.NDArray[np.generic]) -> Grid:
        """Put ``x``, of shape (N, d), on the grid: :func:`quantise` with this range."""
        return quantise(x, self.low, self.high, self.bits)

    def restore(self, q: npt.NDArray[np.generic]) -> Floats:
        """Scale grid values, of shape (N, d), back to the units they came in; they may lie between grid points."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray(low + q.astype(np.float64) / (2**self.bits - 1) * (high - low))


@dataclass(frozen=True)
class Scaling:
    """What was scaled how: the features, and the target where it is a number.

    Attributes
    ----------
    features : Range
        From the training part only, or the known range of an image's pixels.
    target : Range or None
        The regression target's range, from the training part only; None where the target is a class.
    """

    features: Range
    target: Range | None = None
