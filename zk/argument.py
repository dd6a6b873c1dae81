"""From a protocol on masked messages to a proof in bytes.

An :class:`Argument` says which statement it proves, which tensors it commits to and what it sends; this module adds what all of them
share: pads, commitments, the transcript, the closing and the encoding. The order is always the same:

1. absorb the statement, generators included (:meth:`Argument.begin`);
2. commit to the tensors and to all pads, absorb the commitments;
3. run the protocol over a channel: each message is masked, sent and absorbed at once, each challenge is drawn after it;
4. close: all linear equations and all products in one opening (:mod:`zk.closing`).

Encoding: ``magic | one point for each committed row | point of the closing pads | masked messages | opening``, all of fixed lengths that
follow from the statement, so a proof has exactly one encoding.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zk import closing
from zk.blinding import BlindingSource
from zk.equations import Equation, random_weights
from zk.errors import EncodingError, RuleError
from zk.field import ORDER, SCALAR_BYTES, decode_scalars, encode_scalars
from zk.group import POINT_BYTES, Point
from zk.hashing import sha256
from zk.hyrax import Block, Layout, Matrix, as_block_rows
from zk.multilinear import variables
from zk.pads import Budget, Channel, Pads, Receiver, Row, Sender
from zk.pedersen import CommitmentKey
from zk.transcript import Transcript
from zk.vectors import IntArray


class Argument(ABC):
    """A statement about committed tensors, and the protocol that proves it.

    Attributes
    ----------
    magic : bytes
        First bytes of every proof: name and version of its encoding.
    """

    magic: bytes

    @abstractmethod
    def begin(self, key: CommitmentKey) -> Transcript:
        """Return a transcript that has absorbed the whole statement and the generators."""

    @property
    @abstractmethod
    def given(self) -> tuple[Block, ...]:
        """Blocks whose commitments are part of the statement."""

    @property
    @abstractmethod
    def committed(self) -> tuple[Block, ...]:
        """Blocks that the proof commits to."""

    @property
    @abstractmethod
    def budget(self) -> Budget:
        """What :meth:`run` uses."""

    @abstractmethod
    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        """Run the protocol on either side; ``tensors`` are the prover's flat int64 values, by block."""


@dataclass(frozen=True)
class Given:
    """The prover's openings of the rows that the statement commits to, in the order of ``Argument.given``.

    Attributes
    ----------
    rows : mapping from a block to int64 rows
        Shape ``(len(present), at most width)``.
    blinds : sequence of int
        One for each row.
    """

    rows: Mapping[str, IntArray]
    blinds: Sequence[int]


def layout_of(argument: Argument, width: int) -> Layout:
    """Return where everything stands for rows of ``width`` values.

    Raises
    ------
    RuleError
        The rows are too narrow for this protocol.
    """
    budget = argument.budget
    rows = -(-budget.pads // width)
    channel_rows = [
        Block(Row.PADS, tuple(range(rows)), 1 << variables(max(rows, 1))),
        *(Block(row, (0,), 1) for row in (Row.LEFT, Row.RIGHT, Row.PRODUCTS)),
    ]
    layout = Layout(width, [*argument.given, *argument.committed, *channel_rows])
    if width & (width - 1) or max(budget.products, closing.tail_length(layout)) > width:
        raise RuleError(f"rows of {width} values do not fit this proof: use a commitment key of a wider power of two")
    return layout


def proof_bytes(argument: Argument, width: int) -> int:
    """Return the exact size of a proof."""
    layout = layout_of(argument, width)
    return sum(_lengths(argument, layout))


def prove(
    argument: Argument,
    key: CommitmentKey,
    tensors: Mapping[str, IntArray],
    given: Given,
    source: BlindingSource,
    timings: dict[str, float] | None = None,
) -> bytes:
    """Return a proof.

    Parameters
    ----------
    argument : Argument
    key : CommitmentKey
        Its width is the number of values in a row, a power of two.
    tensors : mapping from a block to its flat int64 values
        For ``argument.committed``; each as long as the block is high times wide, or shorter than one row.
    given : Given
    source : BlindingSource
    timings : dict, optional
        Receives the processor seconds spent in each phase, those of all threads.

    Raises
    ------
    CommitmentError
        The values do not satisfy the relations: there is nothing to prove.
    """
    clock = _Clock(timings)
    layout = layout_of(argument, key.width)
    transcript = argument.begin(key)
    # hedged: everything secret depends on the statement, on the witness and on fresh randomness
    witness = sha256(*(tensors[block.name].tobytes() for block in argument.committed), encode_scalars(given.blinds))
    context = transcript.state() + witness
    pads = _draw_pads(argument.budget, layout, source, context)
    pad_rows = [list(pads.pads[i : i + key.width]) for i in range(0, len(pads.pads), key.width)]
    scalars = {Row.PADS.value: pad_rows, Row.LEFT.value: [list(pads.left)], Row.RIGHT.value: [list(pads.right)]}
    scalars[Row.PRODUCTS.value] = [pads.products]
    integers = {block.name: as_block_rows(block, tensors[block.name], key.width) for block in argument.committed}
    matrix = Matrix(layout, {**given.rows, **integers}, scalars)
    own = [row for block in integers.values() for row in block.tolist()] + [row for rows in scalars.values() for row in rows]
    *blinds, tail_blind = source.scalars("rows", context, len(own) + 1)
    commitments = key.encode([key.commit(row, blind) for row, blind in zip([*own, pads.tail], [*blinds, tail_blind], strict=True)])
    transcript.absorb("commitments", commitments)
    clock.lap("commit")
    channel = Sender(transcript, pads)
    argument.run(channel, key.width, tensors)
    clock.lap("protocol")
    left, right, products = blinds[-3:]
    opening = closing.prove(channel, key, matrix, [*given.blinds, *blinds], pads, tail_blind, (left, right, products), source)
    clock.lap("closing")
    return argument.magic + commitments + encode_scalars(channel.sent) + opening.encode()


def verify(argument: Argument, key: CommitmentKey, given: Sequence[Point], proof: bytes) -> Equation:
    """Return the one equation that holds exactly when ``proof`` is right; check it with :func:`zk.equations.hold`.

    Parameters
    ----------
    argument : Argument
    key : CommitmentKey
    given : sequence of Point
        The commitments of ``argument.given``, of ``key.group``; the statement has absorbed them.
    proof : bytes

    Raises
    ------
    EncodingError
        ``proof`` is not a canonical encoding.
    CommitmentError
        ``proof`` is wrong, whatever its equation says.
    """
    layout = layout_of(argument, key.width)
    lengths = _lengths(argument, layout)
    if len(proof) != sum(lengths):
        raise EncodingError(f"a proof of this statement takes {sum(lengths)} bytes, got {len(proof)}")
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    magic, commitments, messages, opened = (proof[start:stop] for start, stop in pairwise(edges))
    if magic != argument.magic:
        raise EncodingError("not a proof of this kind and version")
    *points, tail = key.decode(commitments, len(commitments) // POINT_BYTES)
    received = decode_scalars(messages, len(messages) // SCALAR_BYTES)
    opening = closing.decode_opening(opened, layout, argument.budget.products)
    transcript = argument.begin(key)
    transcript.absorb("commitments", commitments)
    channel = Receiver(transcript, received)
    argument.run(channel, key.width, None)
    equations = closing.verify(channel, key, layout, [*given, *points], tail, opening)
    channel.finish()
    return _merge(equations)


def _lengths(argument: Argument, layout: Layout) -> list[int]:
    """Return the lengths of the parts of a proof."""
    given = sum(len(block.present) for block in argument.given)
    budget = argument.budget
    messages = budget.pads + 2 * budget.products + closing.tail_length(layout)
    return [
        len(argument.magic),
        (len(layout.rows) - given + 1) * POINT_BYTES,
        messages * SCALAR_BYTES,
        closing.opening_bytes(layout, budget.products),
    ]


def _draw_pads(budget: Budget, layout: Layout, source: BlindingSource, context: bytes) -> Pads:
    lengths = [budget.pads, budget.products, budget.products, closing.tail_length(layout)]
    drawn = iter(source.scalars("pads", context, sum(lengths)))
    return Pads(*([next(drawn) for _ in range(length)] for length in lengths))


def _merge(equations: Sequence[Equation]) -> Equation:
    """Return one weighted equation that holds, but for probability 2^-128, exactly when all of ``equations`` do."""
    generators = [0] * max(len(equation.generators) for equation in equations)
    blinding = 0
    points: list[Point] = []
    scalars: list[int] = []
    for weight, equation in zip(random_weights(len(equations)), equations, strict=True):
        for j, value in enumerate(equation.generators):
            generators[j] += weight * value
        blinding += weight * equation.blinding
        points += equation.points
        scalars += [weight * scalar % ORDER for scalar in equation.scalars]
    return Equation([value % ORDER for value in generators], blinding % ORDER, points, scalars, weighted=True)


class _Clock:
    """Processor seconds between laps."""

    def __init__(self, timings: dict[str, float] | None) -> None:
        self._timings = timings
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        if self._timings is not None:
            self._timings[name] = now - self._last
        self._last = now
