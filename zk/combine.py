"""Random linear combinations of integer rows, exactly and quickly.

``Σ_i w_i·row_i`` with weights of 128 or 255 bits: the weights are cut into 16-bit limbs, each limb's product with the rows is one int64
matrix product, and the limbs are put together in Python integers, one per column.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zk.field import ORDER

_LIMB_BITS = 16
_PIECE_BITS = 24
_PIECE_MASK = (1 << _PIECE_BITS) - 1
_LIMBS = -(-ORDER.bit_length() // _LIMB_BITS)


def combine_rows(weights: Sequence[int], rows: npt.NDArray[np.int64]) -> list[int]:
    """Return ``Σ_i weights[i]·rows[i]`` modulo r for each column.

    Parameters
    ----------
    weights : sequence of int, one per row
        Non-negative, below r.
    rows : int64 array of shape (n, columns)
        Signed.
    """
    if len(weights) != len(rows):
        raise ValueError(f"{len(weights)} weights for {len(rows)} rows")
    packed = b"".join(weight.to_bytes(2 * _LIMBS, "little") for weight in weights)
    limbs = np.frombuffer(packed, dtype="<u2").reshape(len(weights), _LIMBS).astype(np.int64).T
    # n·2^16·2^24 stays below 2^63 for fewer than 2^23 rows: larger values go in two or three pieces
    pieces = [(rows & _PIECE_MASK, 0)]
    rest, shift = rows >> _PIECE_BITS, _PIECE_BITS
    while ((rest != 0) & (rest != -1)).any():
        pieces.append((rest & _PIECE_MASK, shift))
        rest, shift = rest >> _PIECE_BITS, shift + _PIECE_BITS
    pieces.append((rest, shift))  # what is left is the sign: 0 or -1
    totals = [0] * rows.shape[1]
    for piece, offset in pieces:
        if piece.any():
            for column, values in enumerate((limbs @ piece).T.tolist()):
                totals[column] += sum(value << (_LIMB_BITS * limb) for limb, value in enumerate(values)) << offset
    return [total % ORDER for total in totals]


def as_rows(values: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.int64]:
    """Cut a flat tensor into rows of ``width`` values, the last one filled with zeros: shape (⌈n/width⌉, width)."""
    rows = -(-len(values) // width)
    padded = np.zeros(rows * width, dtype=np.int64)
    padded[: len(values)] = values
    return padded.reshape(rows, width)
