"""Judging a contribution: the checks that give a reply its verdict, the same for the strategy and for the audit.

A reply is judged on its own. :func:`judge_statement` needs the signed statement only; :func:`open_parts` needs the update, its
commitment and the blinds, and ends in an equation over the group that :mod:`zk.equations` checks, one alone or many together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ledger.aggregation import weighted_sum
from ledger.beacon import batch_digest, batch_indices
from ledger.canonical import load_vector
from ledger.entries import (
    POINTS,
    SCALARS,
    TENSOR,
    TRAINING_PROOF,
    ContributionStatement,
    EnrolmentStatement,
    Reference,
    SignedContribution,
    decode_contribution,
    decode_proof,
)
from ledger.errors import FormatError, VerificationError
from ledger.state import RunState
from ledger.verdicts import Reason
from zk.batch import Check
from zk.combine import as_rows, combine_rows
from zk.equations import Equation, random_weights
from zk.errors import EncodingError
from zk.field import ORDER, decode_scalars
from zk.group import POINT_BYTES, Point
from zk.pedersen import CommitmentKey
from zk.rule import Rule
from zk.sgd import unflatten, within_norm
from zk.training.proof import TrainingProof
from zk.training.statement import TrainingStatement

IntVector = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Expected:
    """What a contribution to one round must say.

    Attributes
    ----------
    federation, run, round, model, beacon
        Name of the federation, digest of entry 0, round number, digest of the global model, beacon (digests in hexadecimal).
    proof : bool
        Whether every contribution must bring its proof of training. Where a second beacon chooses, proofs come later
        (:func:`judge_proof`).
    rule : Rule
        The rule of local training.
    weights : int64 array of shape (rule.size,)
        The global model.
    """

    federation: str
    run: str
    round: int
    model: str
    beacon: str
    proof: bool
    rule: Rule
    weights: IntVector

    @classmethod
    def of(cls, state: RunState, beacon: str, weights: IntVector) -> Self:
        """Return what the next round expects."""
        agreement = state.opening.agreement
        proof = agreement.proof.kind == "training" and not agreement.proof.chosen_later
        return cls(agreement.federation.name, state.run, state.rounds + 1, state.model.digest, beacon, proof, agreement.rule, weights)


@dataclass(frozen=True)
class Parts:
    """The large parts of a contribution as bytes: canonical tensor, points, scalars, proof (empty for none)."""

    update: bytes
    commitment: bytes
    blinds: bytes
    proof: bytes = b""


@dataclass(frozen=True)
class Opened:
    """A contribution whose parts were read: the update, its commitment and what opens it.

    Attributes
    ----------
    update : int64 array of shape (rule.size,)
    commitment : list of Point
        One for each row of the update.
    blinds : list of int
        One for each row.
    """

    update: IntVector
    commitment: list[Point]
    blinds: list[int]


def judge_statement(expected: Expected, member: EnrolmentStatement, data: bytes) -> tuple[Reason | None, SignedContribution | None]:
    """Judge what a client signed; ``None`` for the reason means that nothing is wrong so far."""
    try:
        signed = decode_contribution(data)
    except FormatError:
        return Reason.MALFORMED, None
    statement = signed.statement
    if statement.client != member.client:
        return Reason.WRONG_CLIENT, signed
    try:
        signed.check()
    except VerificationError:
        return Reason.BAD_SIGNATURE, signed
    batch = batch_digest(batch_indices(expected.beacon, member.client, member.samples, expected.rule.samples))
    claims = (
        (statement.run == expected.run, Reason.WRONG_RUN),
        (statement.round == expected.round, Reason.WRONG_ROUND),
        (statement.model == expected.model, Reason.STALE_MODEL),
        (statement.batch == batch, Reason.WRONG_BATCH),
        (statement.samples == member.samples, Reason.WRONG_SAMPLES),
    )
    return next((reason for holds, reason in claims if not holds), None), signed


def open_parts(expected: Expected, key: CommitmentKey, statement: ContributionStatement, parts: Parts) -> Reason | Opened:
    """Read and judge the large parts; what is left is whether the equations of :func:`equations` hold."""
    named = (
        (statement.update, parts.update, TENSOR),
        (statement.commitment, parts.commitment, POINTS),
        (statement.blinds, parts.blinds, SCALARS),
    )
    if any(reference != Reference.of(data, media_type) for reference, data, media_type in named):
        return Reason.EVIDENCE_MISMATCH
    if statement.proof != (Reference.of(parts.proof, TRAINING_PROOF) if parts.proof else None):
        return Reason.EVIDENCE_MISMATCH
    try:
        update = load_vector(parts.update, expected.rule.size, "the update")
    except FormatError:
        return Reason.WRONG_SHAPE
    finer = expected.rule.plan.coefficient_bits
    limit = 1 << expected.rule.plan.weight_range_bits + finer
    if not within(update, 2 * limit) or not within((expected.weights << finer) + update, limit):
        return Reason.OUT_OF_RANGE
    if not within_norm(expected.rule, update):
        return Reason.ABOVE_NORM
    rows = key.rows_for(expected.rule.size)
    try:
        return Opened(update, key.decode(parts.commitment, rows), decode_scalars(parts.blinds, rows))
    except EncodingError:
        return Reason.BAD_ENCODING


def equations(
    expected: Expected, key: CommitmentKey, member: EnrolmentStatement, rows: bytes, opened: Opened, proof: bytes
) -> Reason | list[tuple[Reason, Check]]:
    """Return the checks that remain, each with the verdict when it is the first that fails; or why there is nothing to check.

    Parameters
    ----------
    expected : Expected
    key : CommitmentKey
    member : EnrolmentStatement
    rows : bytes
        The member's enrolled commitments.
    opened : Opened
    proof : bytes
        The proof of training; empty for none.
    """
    checks: list[tuple[Reason, Check]] = [(Reason.COMMITMENT_MISMATCH, opening_equation(key, opened))]
    if expected.proof:
        if not proof:
            return Reason.NO_PROOF
        checks.append((Reason.BAD_PROOF, TrainingProof(training_statement(expected, member, rows, opened.update), proof)))
    elif proof:
        return Reason.BAD_PROOF
    return checks


def judge_proof(
    expected: Expected,
    member: EnrolmentStatement,
    rows: bytes,
    contribution: str,
    update: IntVector,
    statement: bytes,
    proof: bytes,
) -> Reason | TrainingProof:
    """Judge a proof that was asked for later: return the check that remains, or ``no-proof``.

    Parameters
    ----------
    expected, member, rows
        As for :func:`equations`.
    contribution : str
        The digest of the signed contribution that must be proved.
    update : int64 array of shape (rule.size,)
        The contributed update.
    statement, proof : bytes
        What the client sent. Unless it signed for this proof of this contribution, it has not proved anything: ``no-proof``.
    """
    try:
        signed = decode_proof(statement)
        signed.check()
    except (FormatError, VerificationError):
        return Reason.NO_PROOF
    said = signed.statement
    named = (said.run, said.round, said.client, said.contribution, said.proof)
    if named != (expected.run, expected.round, member.client, contribution, Reference.of(proof, TRAINING_PROOF)):
        return Reason.NO_PROOF
    return TrainingProof(training_statement(expected, member, rows, update), proof)


def training_statement(expected: Expected, member: EnrolmentStatement, rows: bytes, update: IntVector) -> TrainingStatement:
    """Return what a member's proof of training in a round is about: made by the client that proves and by everybody who verifies.

    Parameters
    ----------
    expected : Expected
        Run, round, beacon, rule and the model that training starts from.
    member : EnrolmentStatement
        The client, with the digest of its committed data.
    rows : bytes
        The enrolled commitments, 48 bytes for each of its samples.
    update : int64 array of shape (rule.size,)
    """
    indices = batch_indices(expected.beacon, member.client, member.samples, expected.rule.samples)
    client = bytes.fromhex(member.client)
    return TrainingStatement(
        federation=expected.federation.encode(),
        run=bytes.fromhex(expected.run),
        round=expected.round,
        beacon=bytes.fromhex(expected.beacon),
        client=client,
        public_key=client,
        dataset_root=bytes.fromhex(member.rows.digest),
        indices=tuple(int(index) for index in indices),
        rows=b"".join(rows[index * POINT_BYTES : (index + 1) * POINT_BYTES] for index in indices),
        rule=expected.rule,
        start=tuple(unflatten(expected.rule, expected.weights)),
        update=tuple(unflatten(expected.rule, update)),
    )


def within(values: IntVector, limit: int) -> bool:
    """Whether all values lie strictly between ``-limit`` and ``limit``."""
    return not values.size or (-limit < int(values.min()) and int(values.max()) < limit)


def opening_equation(key: CommitmentKey, opened: Opened) -> Equation:
    """Return an equation that holds when every row of the commitment opens to its row of the update.

    The rows are combined with fresh random weights, so that a million values cost one multi-scalar product of ``width`` generators.
    """
    weights = random_weights(len(opened.commitment))
    return Equation(
        generators=combine_rows(weights, as_rows(opened.update, key.width)),
        blinding=sum(weight * blind for weight, blind in zip(weights, opened.blinds, strict=True)) % ORDER,
        points=opened.commitment,
        scalars=[-weight for weight in weights],
        weighted=True,
    )


def sum_equation(
    key: CommitmentKey, commitments: Sequence[Sequence[Point]], samples: Sequence[int], total: IntVector, blinds: Sequence[int]
) -> Equation:
    """Return an equation that holds when the commitments, weighted by samples and added, open to ``total`` with ``blinds``.

    It needs no update: this is what an audit checks when the updates were left out of the export.
    """
    weights = random_weights(len(blinds))
    return Equation(
        generators=combine_rows(weights, as_rows(total, key.width)),
        blinding=sum(weight * blind for weight, blind in zip(weights, blinds, strict=True)) % ORDER,
        points=[point for commitment in commitments for point in commitment],
        scalars=[-weight * count for commitment, count in zip(commitments, samples, strict=True) for weight in weights[: len(commitment)]],
        weighted=True,
    )


def add_up(opened: Sequence[Opened], samples: Sequence[int]) -> tuple[IntVector, list[int]]:
    """Return the weighted sum of updates and of blinds, row by row."""
    total = weighted_sum([item.update for item in opened], samples)
    blinds = [
        sum(count * blind for count, blind in zip(samples, row, strict=True)) % ORDER
        for row in zip(*(item.blinds for item in opened), strict=True)
    ]
    return total, blinds
