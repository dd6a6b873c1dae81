"""Prove and verify a statement about training: bytes in, bytes or an equation out."""

from collections.abc import Sequence
from dataclasses import dataclass

from zk import argument
from zk.argument import Given
from zk.blinding import BlindingSource
from zk.equations import Equation
from zk.errors import RuleError
from zk.group import POINT_BYTES
from zk.pedersen import CommitmentKey
from zk.training.relations import Relations, TrainingArgument, relations_of
from zk.training.statement import TrainingStatement
from zk.training.witness import build
from zk.vectors import IntArray


@dataclass(frozen=True)
class Samples:
    """What a client keeps secret of the samples it trains on, in the order of training.

    Attributes
    ----------
    x, y : int64 arrays, (samples, features) and (samples, outputs)
    blinds : sequence of int
        Those of the enrolled row commitments.
    """

    x: IntArray
    y: IntArray
    blinds: Sequence[int]


def proof_bytes(statement: TrainingStatement, width: int) -> int:
    """Return the exact size of a proof with rows of ``width`` values."""
    return argument.proof_bytes(TrainingArgument(statement, width), width)


def prove(
    key: CommitmentKey, statement: TrainingStatement, samples: Samples, source: BlindingSource, timings: dict[str, float] | None = None
) -> bytes:
    """Prove that training gives ``statement.update``.

    Parameters
    ----------
    key : CommitmentKey
        As wide as a committed sample or wider, a power of two.
    statement : TrainingStatement
    samples : Samples
    source : BlindingSource
    timings : dict, optional
        Receives the seconds spent in each phase.

    Raises
    ------
    RangeError
        A value leaves the agreed range: the message names step, layer and range.
    CommitmentError
        Training gives another update, so there is nothing to prove.
    RuleError
        The key is too narrow for this rule.
    """
    relations = relations_of(statement.rule)
    _check_width(key, relations)
    witness = build(statement, relations, samples.x, samples.y)
    prover = TrainingArgument(statement, key.width, witness.values)
    return argument.prove(prover, key, witness.tensors, Given(witness.rows, samples.blinds), source, timings)


def verify(key: CommitmentKey, statement: TrainingStatement, proof: bytes) -> Equation:
    """Return the equation that holds exactly when ``proof`` is right.

    Check it with :func:`zk.equations.hold`, alone or with those of all clients of a round.

    Raises
    ------
    EncodingError
        The proof or a row commitment is not a canonical encoding.
    CommitmentError
        The proof is wrong, whatever its equation says.
    RuleError
        The key is too narrow for this rule.
    """
    _check_width(key, relations_of(statement.rule))
    points = key.decode_enrolled(statement.rows, len(statement.indices))
    return argument.verify(TrainingArgument(statement, key.width), key, points, proof)


@dataclass(frozen=True)
class TrainingProof:
    """A proof to be checked among others (:class:`zk.batch.Proof`)."""

    statement: TrainingStatement
    proof: bytes

    @property
    def size(self) -> int:
        """See :class:`zk.batch.Proof`; a third of a proof's bytes are points."""
        return (len(self.statement.rows) + len(self.proof) // 3) // POINT_BYTES

    def equation(self, key: CommitmentKey) -> Equation:
        """See :class:`zk.batch.Proof`."""
        return verify(key, self.statement, self.proof)


def _check_width(key: CommitmentKey, relations: Relations) -> None:
    if key.width < relations.shape.data_width:
        raise RuleError(f"a sample takes {relations.shape.data_width} values, the key has {key.width}")
