"""The end of a proof on masked messages: all its linear equations, in one opening.

Input: forms over committed values that must all vanish, and rows ``U``, ``V``, ``UV`` that must satisfy ``UV = U∘V`` (:mod:`zk.pads`).

1. A challenge ``λ`` combines the forms: ``κ + Σ_c a_c·claim_c = 0``. Written over the rows of the matrix this is
   ``Σ_i ⟨row_i, Ω_i⟩ = -κ`` with public ``Ω``; a sum-check over the row index (degree 2, masked by a pad row ``t`` of its own) leaves a
   point ``r`` and ``⟨z, R⟩ = κ' + ⟨t, Λ⟩`` for ``z = Σ_i eq(r, i)·row_i`` and ``R = Σ_c a_c·weight_c(r)·columns_c``.
2. The prover sends
   ``Com(d)``, ``Com(d_t)``, ``σ = ⟨d, R⟩ - ⟨d_t, Λ⟩``, ``Com(d_u)``, ``Com(d_v)``, ``T₁ = Com(U∘d_v + V∘d_u)``, ``T₀ = Com(d_u∘d_v)``.
3. Challenge ``e``. The prover answers ``z' = e·z + d``, ``t' = e·t + d_t``, ``u' = e·U + d_u``, ``v' = e·V + d_v`` and their blinds.
4. Accept when ``⟨z', R⟩ - ⟨t', Λ⟩ = e·κ' + σ``, the four answers open ``e·C + Com(d)`` for the combined row, ``t``, ``U`` and ``V``, and
   ``Com(u'∘v') = e²·Com(UV) + e·T₁ + T₀``.

Zero knowledge: the answers are uniform and determine what was sent in step 2. Soundness error: ``(number of forms + 2·variables + 1) / r``
and what breaking Pedersen's binding costs. Sources: Hyrax, section 6; Longfellow, ePrint 2024/2010; Schnorr's protocol for vectors and
its product form (Cramer and Damgård, CRYPTO 1998).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zk import vectors
from zk.blinding import BlindingSource
from zk.equations import Equation
from zk.errors import CommitmentError
from zk.field import ORDER, SCALAR_BYTES, decode_scalars, encode_scalars
from zk.forms import Form, combine
from zk.group import POINT_BYTES, Point
from zk.hyrax import Layout, Matrix
from zk.multilinear import dot, eq_table
from zk.pads import Channel, Claim, Pads, Row, Spot
from zk.pedersen import CommitmentKey
from zk.sumcheck import ProductSum, sumcheck
from zk.transcript import Transcript
from zk.vectors import Vector

DEGREE = 2
_ANNOUNCED = 6  # points of step 2


def tail_length(layout: Layout) -> int:
    """Return how many closing pads there are."""
    return DEGREE * layout.variables


@dataclass(frozen=True)
class Reduced:
    """What step 1 leaves: ``⟨Σ_i weights[i]·row_i, R⟩ = constant + ⟨t, Λ⟩``.

    Attributes
    ----------
    weights : list of int
        One for each commitment, in the order of ``layout.rows``.
    R, Lambda : list of int
    constant : int
    """

    weights: list[int]
    R: list[int]
    Lambda: list[int]
    constant: int


@dataclass(frozen=True)
class Opening:
    """Steps 2 and 3.

    Attributes
    ----------
    announced : bytes
        ``Com(d)``, ``Com(d_t)``, ``Com(d_u)``, ``Com(d_v)``, ``T₁``, ``T₀``: 48 bytes each.
    sigma : int
    row, tail, left, right : list of int
        The answers ``z'``, ``t'``, ``u'``, ``v'``.
    blinds : list of int
        Those of ``z'``, ``t'``, ``u'``, ``v'`` and ``u'∘v'``.
    """

    announced: bytes
    sigma: int
    row: list[int]
    tail: list[int]
    left: list[int]
    right: list[int]
    blinds: list[int]

    def encode(self) -> bytes:
        """Return the canonical encoding, of :func:`opening_bytes` bytes."""
        return self.announced + encode_scalars([self.sigma, *self.row, *self.tail, *self.left, *self.right, *self.blinds])


def opening_bytes(layout: Layout, products: int) -> int:
    """Return the exact size of an opening."""
    return _ANNOUNCED * POINT_BYTES + (1 + layout.width + tail_length(layout) + 2 * products + 5) * SCALAR_BYTES


def decode_opening(data: bytes, layout: Layout, products: int) -> Opening:
    """Read a canonical encoding; the points are decoded when they are used."""
    start = _ANNOUNCED * POINT_BYTES
    lengths = [1, layout.width, tail_length(layout), products, products, 5]
    values = iter(decode_scalars(data[start:], sum(lengths)))
    (sigma,), row, tail, left, right, blinds = ([next(values) for _ in range(length)] for length in lengths)
    return Opening(data[:start], sigma, row, tail, left, right, blinds)


def reduce_equations(channel: Channel, layout: Layout, matrix: Matrix | None) -> Reduced:
    """Run step 1 on either side; the prover passes its rows."""
    challenge = channel.challenge("combine equations")
    power, parts = 1, []
    for _, equation in channel.equations:
        parts.append((power, equation))
        power = power * challenge % ORDER
    total = combine(parts)
    channel.begin_closing()
    claims = layout.row_claims(channel.atoms, dict(total.terms))
    prover = _row_tables(layout, matrix, claims) if matrix else None
    r, value = sumcheck(channel, "rows", Form(-total.constant % ORDER), layout.variables, DEGREE, prover)
    R = vectors.constant(0, layout.width)
    for columns, group in _by_columns(claims):
        weight = sum(factor * layout.weight(claim.block, claim.point, r) for factor, claim in group)
        R[: len(columns)] = vectors.add(R[: len(columns)], vectors.scale(columns, weight))
    Lambda = [0] * tail_length(layout)
    for number, coefficient in value.terms.items():
        Lambda[_tail_position(channel.atoms[number])] += coefficient
    weights = vectors.to_ints(vectors.eq_table(r)[layout.rows])
    return Reduced(weights, vectors.to_ints(R), [x % ORDER for x in Lambda], value.constant)


def prove(
    channel: Channel,
    key: CommitmentKey,
    matrix: Matrix,
    blinds: Sequence[int],
    pads: Pads,
    tail_blind: int,
    product_blinds: tuple[int, int, int],
    source: BlindingSource,
) -> Opening:
    """Run steps 1 to 3 on the prover's side.

    Parameters
    ----------
    channel : Channel
        After the whole protocol; its transcript has absorbed every commitment.
    key : CommitmentKey
    matrix : Matrix
        The committed rows.
    blinds : sequence of int
        One for each of ``matrix.layout.rows``.
    pads : Pads
    tail_blind : int
        Blind of the commitment to ``pads.tail``.
    product_blinds : tuple of int
        Blinds of the rows ``U``, ``V`` and ``UV``, which stand in ``blinds`` too.
    source : BlindingSource
    """
    layout, transcript = matrix.layout, channel.transcript
    reduced = reduce_equations(channel, layout, matrix)
    z = matrix.combine(reduced.weights)
    _check_values(channel, matrix, (dot(z, reduced.R) - dot(pads.tail, reduced.Lambda) - reduced.constant) % ORDER)
    count = len(pads.left)
    # hedged: the masks depend on what they mask, on all that was said before, and on fresh randomness
    context = transcript.state() + encode_scalars([*z, *pads.tail, *pads.left, *pads.right, *blinds, tail_blind])
    masks = iter(source.scalars("closing", context, layout.width + len(pads.tail) + 2 * count + _ANNOUNCED))
    d, d_t, d_u, d_v, deltas = ([next(masks) for _ in range(n)] for n in (layout.width, len(pads.tail), count, count, _ANNOUNCED))
    cross = [(u * b + v * a) % ORDER for u, v, a, b in zip(pads.left, pads.right, d_u, d_v, strict=True)]
    square = [a * b % ORDER for a, b in zip(d_u, d_v, strict=True)]
    announced = key.encode([key.commit(row, delta) for row, delta in zip((d, d_t, d_u, d_v, cross, square), deltas, strict=True)])
    sigma = (dot(d, reduced.R) - dot(d_t, reduced.Lambda)) % ORDER
    e = _challenge(transcript, announced, sigma)
    left_blind, right_blind, product_blind = product_blinds
    z_blind = dot(reduced.weights, blinds)
    return Opening(
        announced,
        sigma,
        _answer(e, z, d),
        _answer(e, pads.tail, d_t),
        _answer(e, pads.left, d_u),
        _answer(e, pads.right, d_v),
        [
            *_answer(e, [z_blind, tail_blind, left_blind, right_blind], deltas[:4]),
            (e * e * product_blind + e * deltas[4] + deltas[5]) % ORDER,
        ],
    )


def verify(channel: Channel, key: CommitmentKey, layout: Layout, points: Sequence[Point], tail: Point, opening: Opening) -> list[Equation]:
    """Check step 4 on the verifier's side.

    Parameters
    ----------
    channel : Channel
        After the whole protocol; its transcript has absorbed every commitment.
    key : CommitmentKey
    layout : Layout
    points : sequence of Point
        The commitment of each of ``layout.rows``.
    tail : Point
        The commitment to the closing pads.
    opening : Opening

    Returns
    -------
    list of Equation
        They hold exactly when every equation of ``channel`` does and the product row is a product.

    Raises
    ------
    CommitmentError
        The answers do not satisfy the combined equation.
    EncodingError
        An announced point is not canonical or not on the curve.
    """
    reduced = reduce_equations(channel, layout, None)
    announced = key.decode(opening.announced, _ANNOUNCED)
    e = _challenge(channel.transcript, opening.announced, opening.sigma)
    opened = dot(opening.row, reduced.R) - dot(opening.tail, reduced.Lambda)
    if (opened - e * reduced.constant - opening.sigma) % ORDER:
        raise CommitmentError("the opened rows do not satisfy the relations of the proof")
    for_row, for_tail, for_left, for_right, cross, square = announced
    left, right, both = (points[layout.rows.index(layout.offset(row))] for row in (Row.LEFT, Row.RIGHT, Row.PRODUCTS))
    product = [u * v % ORDER for u, v in zip(opening.left, opening.right, strict=True)]
    z_blind, tail_blind, left_blind, right_blind, product_blind = opening.blinds
    return [
        Equation(opening.row, z_blind, [for_row, *points], [-1, *(-e * weight for weight in reduced.weights)]),
        Equation(opening.tail, tail_blind, [for_tail, tail], [-1, -e]),
        Equation(opening.left, left_blind, [for_left, left], [-1, -e]),
        Equation(opening.right, right_blind, [for_right, right], [-1, -e]),
        Equation(product, product_blind, [square, cross, both], [-1, -e, -e * e]),
    ]


def broken(channel: Channel, matrix: Matrix) -> list[str]:
    """Return the labels of the equations that the prover's values do not satisfy."""
    layout = matrix.layout
    values = []
    for atom in channel.atoms:
        if isinstance(atom, Claim):
            start, height = layout.offset(atom.block), layout.blocks[atom.block].height
            rows = vectors.to_ints(matrix.row_values(atom.columns)[start : start + height])
            values.append(dot(eq_table(atom.point), rows))
        elif atom.row is not Row.TAIL:
            row, column = divmod(atom.position, layout.width)
            values.append(matrix.scalars[atom.row][row][column])
    return [
        label
        for label, form in channel.equations
        if (form.constant + sum(coefficient * values[number] for number, coefficient in form.terms.items())) % ORDER
    ]


def _check_values(channel: Channel, matrix: Matrix, difference: int) -> None:
    """Refuse to prove what is not true."""
    if difference:
        raise CommitmentError(f"the values to be proved do not satisfy: {', '.join(broken(channel, matrix))}")


def _row_tables(layout: Layout, matrix: Matrix, claims: Sequence[tuple[int, Claim]]) -> ProductSum:
    """Return the tables of ``Σ_i Σ_c a_c·eq(point_c, i)·⟨row_i, columns_c⟩`` over all rows, of whatever block."""
    tables: list[Vector] = []
    for columns, group in _by_columns(claims):
        weights = vectors.constant(0, 1 << layout.variables)
        for factor, claim in group:
            first, last = layout.offset(claim.block), layout.offset(claim.block) + layout.blocks[claim.block].height
            weights[first:last] = vectors.add(weights[first:last], vectors.scale(vectors.eq_table(claim.point), factor))
        tables += [weights, matrix.row_values(columns)]
    return ProductSum(tables, [(None, i, i + 1) for i in range(0, len(tables), 2)])


def _by_columns(claims: Sequence[tuple[int, Claim]]) -> list[tuple[Vector, list[tuple[int, Claim]]]]:
    """Group claims that weigh the columns alike: the sum of their row weights takes one inner product a row."""
    groups: dict[bytes, list[tuple[int, Claim]]] = {}
    for factor, claim in claims:
        groups.setdefault(claim.columns.tobytes(), []).append((factor, claim))
    return [(group[0][1].columns, group) for group in groups.values()]


def _tail_position(atom: Spot | Claim) -> int:
    if not isinstance(atom, Spot) or atom.row is not Row.TAIL:
        raise ValueError("the closing sum-check uses closing pads only")
    return atom.position


def _challenge(transcript: Transcript, announced: bytes, sigma: int) -> int:
    transcript.absorb("announced", announced)
    transcript.absorb("sigma", encode_scalars([sigma]))
    return transcript.challenge("opening")


def _answer(e: int, secret: Sequence[int], mask: Sequence[int]) -> list[int]:
    return [(e * s + d) % ORDER for s, d in zip(secret, mask, strict=True)]
