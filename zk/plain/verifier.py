"""Section 9, encoding, and the order of everything.

A proof is ``magic | commitments | messages | announcements | scalars``: the committed rows in the order of ``Shape.blocks`` without the
samples, then the closing pads' point, 48 bytes each; all masked messages in the order of the protocol, 32 bytes each; six points; and
``σ``, ``z'``, ``t'``, ``u'``, ``v'``, and the five blinds, 32 bytes each. All lengths follow from the rule and the width.
"""

from py_ecc.bls.point_compression import decompress_G1

from zk.errors import EncodingError
from zk.field import decode_scalars
from zk.plain.closing import Opening, check_closing
from zk.plain.layers import Layers
from zk.plain.lookups import check_lookups
from zk.plain.losses import Values
from zk.plain.messages import Conversation
from zk.plain.statement import Generators, Point, begin
from zk.plain.tensors import Shape
from zk.training.statement import TrainingStatement

MAGIC = b"lunaria training 1\n"
ANNOUNCED = 6


def verify(width: int, generators: Generators, statement: TrainingStatement, proof: bytes) -> None:
    """Return if ``proof`` shows ``statement``.

    Parameters
    ----------
    width : int
        Values in a committed row.
    generators : Generators
        ``zk.pedersen.commitment_key(PyEcc, width)``.
    statement : TrainingStatement
    proof : bytes

    Raises
    ------
    EncodingError
        The proof or a row commitment is not a canonical encoding.
    CommitmentError
        The proof is wrong; the message names what does not hold.
    RuleError
        The rule's proof does not fit rows of this width.
    """
    if len(generators.generators) != width:
        raise ValueError(f"{len(generators.generators)} generators for rows of {width} values")
    shape = Shape(statement.rule, width)
    shape.check()
    samples = _points(statement.rows)
    own = len(shape.committed_rows) - len(samples) + 1
    messages = shape.pads + 2 * shape.products + shape.closing_pads
    answers = [1, width, shape.closing_pads, shape.products, shape.products, 5]
    lengths = [len(MAGIC), 48 * own, 32 * messages, 48 * ANNOUNCED, 32 * sum(answers)]
    if len(proof) != sum(lengths):
        raise EncodingError(f"a proof of this statement takes {sum(lengths)} bytes, this one has {len(proof)}")
    magic, commitments, masked, announced, scalars = _cut(proof, lengths)
    if magic != MAGIC:
        raise EncodingError("not a training proof of version 1")
    *rows, closing_pads = _points(commitments)
    opened = iter(decode_scalars(scalars, sum(answers)))
    (sigma,), z, t, u, v, blinds = ([next(opened) for _ in range(count)] for count in answers)
    opening = Opening(announced, _points(announced), sigma, z, t, u, v, blinds)

    transcript = begin(width, generators, statement)
    transcript.absorb("commitments", commitments)
    talk = Conversation(transcript, decode_scalars(masked, messages))
    check_lookups(talk, shape)
    Layers(talk, Values(shape), statement).check()
    check_closing(talk, shape, generators, [*samples, *rows], closing_pads, opening)


def _cut(data: bytes, lengths: list[int]) -> list[bytes]:
    """Cut into consecutive parts."""
    parts = []
    for length in lengths:
        parts.append(data[:length])
        data = data[length:]
    return parts


def _points(data: bytes) -> list[Point]:
    """Decode canonical points on the curve, 48 bytes each; whether they are in the subgroup is left to the last equations."""
    points = []
    for start in range(0, len(data), 48):
        try:
            points.append(decompress_G1(int.from_bytes(data[start : start + 48], "big")))
        except ValueError as error:
            raise EncodingError(f"bytes {start} to {start + 48} are not the canonical encoding of a point on the curve") from error
    return points
