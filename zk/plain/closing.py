"""Section 4, rows and closing: all equations become one about a single row, and five openings decide.

The equations with the powers of a challenge make ``κ + Σ_i ⟨row_i, Ω_i⟩ = 0`` over the rows of the matrix. A sum-check over their numbers,
masked by the closing pads ``t``, leaves ``⟨z, R⟩ = κ' + ⟨t, Λ⟩`` with ``z = Σ_i eq(r, i)·row_i`` and ``R = Σ_i eq(r, i)·Ω_i``. ``Ω`` has
entries also where a row has no commitment: they count in ``R``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from py_ecc.optimized_bls12_381 import add, is_inf, multiply, neg

from zk.errors import CommitmentError
from zk.field import ORDER, encode_scalars
from zk.plain.algebra import Affine, cube, dot
from zk.plain.messages import Conversation
from zk.plain.statement import Generators, Point
from zk.plain.tensors import CLOSING_PADS, LEFT, PRODUCTS, RIGHT, Shape

CLEAR_COFACTOR = 0xD201000000010001  # kills the part of a point outside the subgroup of order r


@dataclass(frozen=True)
class Opening:
    """The last part of a proof: announcements (encoded, and as points), ``σ``, the answers, and their blinds."""

    encoded: bytes
    announced: list[Point]
    sigma: int
    z: list[int]
    t: list[int]
    u: list[int]
    v: list[int]
    blinds: list[int]


def check_closing(
    talk: Conversation, shape: Shape, key: Generators, commitments: Sequence[Point], closing_pads: Point, opening: Opening
) -> None:
    """Decide; ``commitments`` are those of ``shape.committed_rows``, in that order.

    Raises
    ------
    CommitmentError
        Naming what does not hold.
    """
    R, Lambda, constant, at_rows = _one_row(talk, shape)
    talk.finish()
    talk.transcript.absorb("announced", opening.encoded)
    talk.transcript.absorb("sigma", encode_scalars([opening.sigma]))
    e = talk.challenge("opening")
    if (dot(opening.z, R) - dot(opening.t, Lambda) - e * constant - opening.sigma) % ORDER:
        raise CommitmentError("the opened row does not satisfy the equations of the proof")
    of_z, of_t, of_u, of_v, cross, square = opening.announced
    rows = dict(zip(shape.committed_rows, commitments, strict=True))
    left, right, both = (rows[shape.first_row[name]] for name in (LEFT, RIGHT, PRODUCTS))
    blind_z, blind_t, blind_u, blind_v, blind_uv = opening.blinds
    product = [a * b % ORDER for a, b in zip(opening.u, opening.v, strict=True)]
    combined = [(e * at_rows[row], point) for row, point in rows.items()]
    _open("combined row", key, opening.z, blind_z, [(1, of_z), *combined])
    _open("closing pads", key, opening.t, blind_t, [(1, of_t), (e, closing_pads)])
    _open("left factors", key, opening.u, blind_u, [(1, of_u), (e, left)])
    _open("right factors", key, opening.v, blind_v, [(1, of_v), (e, right)])
    _open("row of products", key, product, blind_uv, [(1, square), (e, cross), (e * e, both)])


def _one_row(talk: Conversation, shape: Shape) -> tuple[list[int], list[int], int, list[int]]:
    """Combine all equations, run the sum-check over the rows, and return ``R``, ``Λ``, ``κ'`` and ``eq(r, ·)``."""
    challenge, power = talk.challenge("combine equations"), 1
    kappa, Omega = 0, [[0] * shape.width for _ in range(1 << shape.row_variables)]
    for _, equation in talk.equations:
        kappa += power * equation.constant
        for (name, position), coefficient in equation.terms.items():
            row, column = divmod(position, shape.width)
            Omega[shape.first_row[name] + row][column] += power * coefficient
        power = power * challenge % ORDER
    r, value = talk.sumcheck("rows", Affine(-kappa), shape.row_variables, 2, CLOSING_PADS)
    at_rows = cube(r)
    R = [dot(at_rows, column) for column in zip(*Omega, strict=True)]
    Lambda = [value.terms.get((CLOSING_PADS, i), 0) for i in range(shape.closing_pads)]
    return R, Lambda, value.constant, at_rows


def _open(what: str, key: Generators, values: Sequence[int], blind: int, points: Sequence[tuple[int, Point]]) -> None:
    """Demand ``Σ values[j]·G_j + blind·H = Σ factor·point``, up to parts outside the subgroup."""
    difference = multiply(key.blinding, blind)
    for value, generator in zip(values, key.generators, strict=False):  # what is not given is zero
        difference = add(difference, multiply(generator, value))
    for factor, point in points:
        difference = add(difference, neg(multiply(point, factor % ORDER)))
    if not is_inf(multiply(difference, CLEAR_COFACTOR)):
        raise CommitmentError(f"the answer does not open the commitment: {what}")
