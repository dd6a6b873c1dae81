"""The enrolment proof: every row of a committed data set is a sample, and whoever enrols it can open it.

For public rows ``C_1 … C_n``, a rule and a context the prover knows openings ``C_i = Com(M_i; ρ_i)`` such that in each row

    features     ``M_i[j]`` in ``[0, 2^f_x)`` for ``j < d``
    constant     ``M_i[d] = 2^f_x``
    labels       ``M_i[l + o]`` in ``{0, 1}``, with ``Σ_o M_i[l + o] = 1`` for softmax; in ``[0, 2^f_z)`` for squared error
    unused       ``M_i[j] = 0`` for every other slot ``j``

where ``o`` runs over the outputs and ``l`` is the first of the last 16 slots of a sample. A sample has as many slots as the
training proof says (:attr:`zk.training.shape.Shape.data_width`); what a wider key has behind them is unused.

What is public is linear, so only features and labels are looked up. The ``d`` features are cut into powers of two (784 = 512 + 256
+ 16), one column of the lookup each, so no unused slot becomes a leaf: half as many leaves as looking up whole rows. Then, at
random points ``t`` over the rows and ``s`` over the slots, with ``μ = Σ_{i<n} eq(t,i)``,

    ``Σ_i eq(t,i)·M_i[d] = 2^f_x·μ``      ``Σ_i eq(t,i)·Σ_{j unused} eq(s,j)·M_i[j] = 0``      ``Σ_i eq(t,i)·Σ_o M_i[l + o] = μ``.

Rows that pad ``n`` to a power of two have no commitment: they are zero, which is in both tables, and ``μ`` leaves them out. The
proof commits to two tensors of multiplicities and to the pads.

Soundness error: ``(L² + L) / r`` for a lookup of ``L`` leaves, padding included (2^-216 for 512 samples of 784 features), some
hundreds over ``r`` for its tree and the closing, ``(log n + log width) / r`` for each linear equation (Schwartz-Zippel). An
equation modulo ``r`` is one between integers: at most 16 labels are added, and they were looked up.

Knowledge: the closing opens ``Σ_i eq(ρ,i)·C_i`` over all rows of the proof, those of the statement among them, at a point ``ρ_1 …
ρ_v`` that is drawn in v rounds. Two answers to different challenges ``e`` for one ``ρ`` open that sum. Take a tree of such
transcripts with two values of ``ρ_1``, two of ``ρ_2`` below each, and so on: its 2^v vectors ``eq(ρ,·)`` are linearly independent,
by induction, because ``(1-a, a)`` and ``(1-b, b)`` are for ``a ≠ b``. So 2^(v+1) transcripts, a small multiple of the number of
rows, open every ``C_i``: the closing is (2, …, 2)-special-sound for the openings, its knowledge error is at most ``(v + 1) / r``,
and Fiat-Shamir multiplies that by the number of hash queries (Attema, Fehr and Klooß, TCC 2022). A proof of knowledge of its own
would add nothing. What is opened is the part of ``C_i`` in G1 (:mod:`zk.group`).

The building blocks and their sources: :mod:`zk.lookup`, :mod:`zk.pads`, :mod:`zk.closing`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from zk import argument, vectors
from zk.argument import Argument, Given
from zk.blinding import BlindingSource
from zk.equations import Equation
from zk.errors import EncodingError, RuleError
from zk.group import POINT_BYTES
from zk.hyrax import Block
from zk.lookup import Leaves, Slots, Table, count_uses, lookup
from zk.multilinear import eq_table, variables
from zk.pads import Budget, Channel, Claim, Counter
from zk.pedersen import CommitmentKey
from zk.rule import LABEL_SLOTS, Loss, Rule
from zk.training.shape import Shape, padded
from zk.training.statement import SUITE, encode_rule
from zk.transcript import Transcript
from zk.vectors import IntArray

PROTOCOL = "lunaria/v1/enrolment"
ROWS = "rows"
FEATURE_TAG, LABEL_TAG = 0, 1
FEATURE_USES, LABEL_USES = "feature uses", "label uses"


@dataclass(frozen=True)
class EnrolmentStatement:
    """These rows are samples of this rule, committed by somebody who can open them.

    Attributes
    ----------
    context : bytes
        Whatever the proof must be bound to (run, client); a proof for another context fails.
    rows : bytes
        The encoded commitments, 48 bytes a sample, one sample or more.
    rule : Rule

    Raises
    ------
    EncodingError
        ``rows`` is empty or has another length than a number of points.
    """

    context: bytes
    rows: bytes
    rule: Rule

    def __post_init__(self) -> None:
        """Refuse what is not a list of rows."""
        if not self.rows or len(self.rows) % POINT_BYTES:
            raise EncodingError(f"rows take {POINT_BYTES} bytes each, one or more of them: got {len(self.rows)} bytes")

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.rows) // POINT_BYTES

    def begin(self, key: CommitmentKey) -> Transcript:
        """Return a transcript that has absorbed all of it, and the generators."""
        transcript = Transcript(PROTOCOL)
        transcript.absorb("suite", SUITE)
        transcript.absorb_int("width", key.width)
        transcript.absorb("generators", key.digest)
        transcript.absorb("context", self.context)
        transcript.absorb("rule", encode_rule(self.rule))
        transcript.absorb("rows", self.rows)
        return transcript


@dataclass(frozen=True)
class Relations:
    """What must hold of ``count`` rows.

    Attributes
    ----------
    rule : Rule
    count : int
    """

    rule: Rule
    count: int

    @property
    def used(self) -> int:
        """Values of a sample."""
        return Shape(self.rule).data_width

    @property
    def constant(self) -> int:
        """The slot of the constant one, behind the features."""
        return self.rule.layers[0]

    @property
    def labels(self) -> range:
        """The slots of the labels."""
        first = self.used - LABEL_SLOTS
        return range(first, first + self.rule.layers[-1])

    @property
    def block(self) -> Block:
        """The rows of the statement."""
        return Block(ROWS, tuple(range(self.count)), padded(self.count))

    @cached_property
    def tables(self) -> tuple[Table, Table]:
        """What a feature and a label may be."""
        feature, label = self.rule.feature_bound.allowed, self.rule.label_bound.allowed
        return Table(FEATURE_TAG, (np.array(feature),), FEATURE_USES), Table(LABEL_TAG, (np.array(label),), LABEL_USES)

    @cached_property
    def lookups(self) -> list[Leaves]:
        """Return the leaves: every feature and every label of every row, and no other slot."""
        parts = ((FEATURE_TAG, range(self.constant)), (LABEL_TAG, self.labels))
        return [Leaves(self.block.height * column.count, tag, (column,)) for tag, slots in parts for column in powers(slots)]

    def uses(self, width: int) -> tuple[Block, ...]:
        """Return the blocks of the multiplicities."""
        return tuple(Block(x.multiplicities, tuple(range(-(-x.size // width))), max(1, x.size // width)) for x in self.tables)

    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        """Demand all of it, on either side."""
        lookup(channel, width, self.lookups, self.tables, tensors)
        t = tuple(channel.challenges("samples", variables(self.count)))
        weights = vectors.eq_table(channel.challenges("slots", variables(width)))
        weights[[*range(self.constant + 1), *self.labels]] = 0
        real = sum(eq_table(t)[: self.count])
        one = vectors.from_ints([0] * self.constant + [1])
        channel.vanish("constant one", channel.claim(Claim(ROWS, t, one)) - (real << self.rule.plan.feature_bits))
        channel.vanish("unused slots", channel.claim(Claim(ROWS, t, weights)))
        if self.rule.loss == Loss.SOFTMAX:
            total = vectors.from_ints([int(slot in self.labels) for slot in range(self.labels.stop)])
            channel.vanish("one label", channel.claim(Claim(ROWS, t, total)) - real)


def powers(slots: range) -> Iterator[Slots]:
    """Cut consecutive slots into powers of two, the largest first."""
    first = slots.start
    while first < slots.stop:
        count = 1 << ((slots.stop - first).bit_length() - 1)
        yield Slots(ROWS, first, count)
        first += count


@lru_cache(maxsize=16)
def budget(relations: Relations, width: int) -> Budget:
    """Count what the protocol uses, by running it on zeros."""
    counter = Counter(Transcript("count"))
    relations.run(counter, width, None)
    return counter.used


@dataclass(frozen=True)
class EnrolmentArgument(Argument):
    """The argument for one statement."""

    statement: EnrolmentStatement
    width: int
    magic = b"lunaria enrolment 1\n"

    @cached_property
    def relations(self) -> Relations:
        """The relations of the statement's rule."""
        return Relations(self.statement.rule, self.statement.count)

    def begin(self, key: CommitmentKey) -> Transcript:
        """See :class:`zk.argument.Argument`."""
        return self.statement.begin(key)

    @property
    def given(self) -> tuple[Block, ...]:
        """The data set."""
        return (self.relations.block,)

    @property
    def committed(self) -> tuple[Block, ...]:
        """See :class:`zk.argument.Argument`."""
        return self.relations.uses(self.width)

    @property
    def budget(self) -> Budget:
        """See :class:`zk.argument.Argument`."""
        return budget(self.relations, self.width)

    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        """See :class:`zk.argument.Argument`."""
        self.relations.run(channel, width, tensors)


def proof_bytes(statement: EnrolmentStatement, width: int) -> int:
    """Return the exact size of a proof with a key of ``width`` generators."""
    return argument.proof_bytes(EnrolmentArgument(statement, width), width)


def prove(
    key: CommitmentKey,
    statement: EnrolmentStatement,
    rows: IntArray,
    blinds: Sequence[int],
    source: BlindingSource,
    timings: dict[str, float] | None = None,
) -> bytes:
    """Prove that ``rows``, whose commitments are in the statement, are samples.

    Parameters
    ----------
    key : CommitmentKey
        As wide as a sample or wider, a power of two; 64 generators are enough for 2^31 features and labels.
    statement : EnrolmentStatement
    rows : int64 array of shape (samples, width)
        ``width`` is at least a sample's, at most the key's.
    blinds : sequence of int
        One for each row.
    source : BlindingSource
    timings : dict, optional
        Receives the seconds spent in each phase.

    Raises
    ------
    RangeError
        A feature or a label is out of range.
    CommitmentError
        The rows are not samples: the message names what they do not satisfy.
    RuleError
        The key is too narrow.
    """
    prover = EnrolmentArgument(statement, key.width)
    relations = prover.relations
    _check_width(key, relations)
    if len(rows) != relations.count or len(blinds) != relations.count or not relations.used <= rows.shape[1] <= key.width:
        raise ValueError(f"the statement has {relations.count} rows of {relations.used} values or more: give as many, and a blind for each")
    for bound, slots in ((statement.rule.feature_bound, range(relations.constant)), (statement.rule.label_bound, relations.labels)):
        values = rows[:, slots.start : slots.stop]
        bound.check(int(values.min()), int(values.max()), "the data set")
    return argument.prove(prover, key, tensors_of(relations, rows), Given({ROWS: rows}, blinds), source, timings)


def verify(key: CommitmentKey, statement: EnrolmentStatement, proof: bytes) -> Equation:
    """Return the equation that holds exactly when ``proof`` is right; check it with :func:`zk.equations.hold`, alone or with others.

    Raises
    ------
    EncodingError
        The proof or a row is not a canonical encoding.
    CommitmentError
        The proof is wrong, whatever its equation says.
    RuleError
        The key is too narrow.
    """
    verifier = EnrolmentArgument(statement, key.width)
    _check_width(key, verifier.relations)
    return argument.verify(verifier, key, key.decode(statement.rows, statement.count), proof)


@dataclass(frozen=True)
class EnrolmentProof:
    """A proof to be checked among others (:class:`zk.batch.Proof`)."""

    statement: EnrolmentStatement
    proof: bytes

    @property
    def size(self) -> int:
        """See :class:`zk.batch.Proof`; nearly all points are rows."""
        return self.statement.count

    def equation(self, key: CommitmentKey) -> Equation:
        """See :class:`zk.batch.Proof`."""
        return verify(key, self.statement, self.proof)


def tensors_of(relations: Relations, rows: IntArray) -> dict[str, IntArray]:
    """Return the prover's tensors: the rows, with those that pad their number, and how often each table entry is looked up."""
    tensors = {ROWS: np.zeros((relations.block.height, rows.shape[1]), dtype=np.int64)}
    tensors[ROWS][: len(rows)] = rows
    uses = {table.multiplicities: count_uses(table, relations.lookups, tensors) for table in relations.tables}
    return tensors | uses


def _check_width(key: CommitmentKey, relations: Relations) -> None:
    if key.width < relations.used:
        raise RuleError(f"a sample takes {relations.used} values, the key has {key.width}")
