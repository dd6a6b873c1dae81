"""Knowledge of the openings of many Pedersen rows, in one sigma proof.

Relation: for public points ``C_1 … C_n`` the prover knows rows ``x_i`` and blinds ``r_i`` with ``C_i = Com(x_i; r_i)``.

1. The prover sends ``A = Com(d; δ)`` for a uniform row ``d`` and blind ``δ``.
2. The challenge is a vector ``ρ`` of n scalars of 128 bits.
3. The prover answers ``z = d + Σ ρ_i·x_i`` and ``ζ = δ + Σ ρ_i·r_i``.
4. Accept when ``Com(z; ζ) = A + Σ ρ_i·C_i``.

Special soundness: two accepting answers whose challenges differ in one ``ρ_i`` open ``C_i``, so a prover without an opening of every row
succeeds with probability at most about 2^-128 per hash query. Zero knowledge: for any ``ρ``, ``(z, ζ)`` is uniform and determines
``A``. Source: Schnorr's protocol for vectors; Gennaro, Leigh, Sundaram and Yerazunis, ASIACRYPT 2004, section 3 (batching).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zk.blinding import BlindingSource
from zk.combine import combine_rows
from zk.equations import Equation
from zk.field import ORDER, SCALAR_BYTES, decode_scalars, encode_scalars
from zk.group import POINT_BYTES, Point
from zk.pedersen import CommitmentKey
from zk.transcript import Transcript

PROTOCOL = "lunaria/v1/row-openings"


@dataclass(frozen=True)
class RowOpenings:
    """The statement: these rows were committed by somebody who can open them.

    Attributes
    ----------
    context : bytes
        Whatever the proof must be bound to (federation, client, agreement); a proof for another context fails.
    rows : bytes
        The n encoded commitments, 48 bytes each.
    """

    context: bytes
    rows: bytes

    def begin(self, key: CommitmentKey) -> Transcript:
        """Return a transcript that has absorbed the whole statement, generators included."""
        transcript = Transcript(PROTOCOL)
        transcript.absorb_int("width", key.width)
        transcript.absorb("generators", key.digest)
        transcript.absorb("context", self.context)
        transcript.absorb("rows", self.rows)
        return transcript

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows) // POINT_BYTES


def proof_bytes(width: int) -> int:
    """Return the exact size of a proof for rows of ``width`` values."""
    return POINT_BYTES + (width + 1) * SCALAR_BYTES


def prove(
    key: CommitmentKey,
    statement: RowOpenings,
    values: npt.NDArray[np.int64],
    blinds: Sequence[int],
    source: BlindingSource,
) -> bytes:
    """Prove knowledge of ``values`` (int64, shape (n, width)) and ``blinds`` (n scalars); returns :func:`proof_bytes` bytes."""
    transcript = statement.begin(key)
    # hedged: the mask depends on the secret, on this very statement and witness, and on fresh randomness
    witness = values.tobytes() + encode_scalars(blinds)
    *mask, mask_blind = source.scalars("row-openings", transcript.state() + witness, key.width + 1)
    announcement = key.encode([key.commit(mask, mask_blind)])
    transcript.absorb("announcement", announcement)
    rho = transcript.short_challenges("rho", statement.count)
    combined = combine_rows(rho, values)
    answer = [(d + c) % ORDER for d, c in zip(mask, combined, strict=True)]
    blind = (mask_blind + sum(weight * r for weight, r in zip(rho, blinds, strict=True))) % ORDER
    return announcement + encode_scalars([*answer, blind])


def verify(key: CommitmentKey, statement: RowOpenings, proof: bytes) -> Equation:
    """Return the equation that holds exactly when ``proof`` is right; the caller checks it with :func:`zk.equations.hold`.

    Raises
    ------
    EncodingError
        The rows or the proof are not canonical encodings of the right size.
    """
    points: list[Point] = key.decode(statement.rows, statement.count)
    announcement = key.decode(proof[:POINT_BYTES], 1)
    *answer, blind = decode_scalars(proof[POINT_BYTES:], key.width + 1)
    transcript = statement.begin(key)
    transcript.absorb("announcement", proof[:POINT_BYTES])
    rho = transcript.short_challenges("rho", statement.count)
    return Equation(answer, blind, [*announcement, *points], [-1, *(-weight for weight in rho)])
