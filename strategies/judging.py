"""A round's verdicts: every participant gets one, whatever came or did not come from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message

from ledger.entries import (
    POINTS,
    SCALARS,
    STATEMENT,
    TENSOR,
    TRAINING_PROOF,
    ContributionStatement,
    EnrolmentStatement,
    Reference,
    Verdict,
)
from ledger.judge import Expected, Opened, equations, judge_statement, open_parts
from ledger.verdicts import Reason
from strategies.recorder import Recorder
from strategies.replies import Candidate
from zk.batch import Check, false_ones
from zk.pedersen import CommitmentKey


@dataclass(frozen=True)
class Accepted:
    """A contribution that passed every check."""

    client: int
    statement: ContributionStatement
    opened: Opened
    message: Message


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a round in the order of the clients, and what was accepted."""

    verdicts: tuple[Verdict, ...]
    accepted: tuple[Accepted, ...]


def judge_round(
    recorder: Recorder,
    key: CommitmentKey,
    expected: Expected,
    participants: Sequence[int],
    outcomes: Mapping[int, Candidate | Reason],
) -> Judgement:
    """Judge what came from each participant and keep what an audit needs to judge it again.

    All contributions are checked together, on all cores (:mod:`zk.batch`); only when that fails are the guilty looked for.
    """
    reasons: dict[int, Reason] = {}
    kept: dict[int, Reference] = {}
    opened: dict[int, Accepted] = {}
    checks: list[tuple[int, Reason, Check]] = []
    for number in participants:
        outcome = outcomes.get(number, Reason.NO_REPLY)
        if isinstance(outcome, Reason):
            reasons[number] = outcome
            continue
        judged = _judge(recorder, key, expected, recorder.state.members[number], outcome)
        if judged.reference is not None:
            kept[number] = judged.reference
        if isinstance(judged.result, Reason):
            reasons[number] = judged.result
        else:
            statement, parts, remaining = judged.result
            opened[number] = Accepted(number, statement, parts, outcome.message)
            checks += [(number, reason, check) for reason, check in remaining]
    for position in false_ones(key, [check for _, _, check in checks]):
        number, reason, _ = checks[position]
        reasons.setdefault(number, reason)
    verdicts = tuple(
        Verdict(client=number, reason=reasons.get(number, Reason.ACCEPTED), contribution=kept.get(number)) for number in participants
    )
    return Judgement(verdicts, tuple(item for number, item in opened.items() if number not in reasons))


@dataclass(frozen=True)
class _Judged:
    """One contribution: a rejection, or what is left to check; and its statement as evidence."""

    result: Reason | tuple[ContributionStatement, Opened, list[tuple[Reason, Check]]]
    reference: Reference | None = None


def _judge(recorder: Recorder, key: CommitmentKey, expected: Expected, member: EnrolmentStatement, candidate: Candidate) -> _Judged:
    reason, signed = judge_statement(expected, member, candidate.statement)
    if signed is None:
        return _Judged(Reason.MALFORMED)
    reference = recorder.keep(candidate.statement, STATEMENT)
    if reason is not None:
        return _Judged(reason, reference)
    if candidate.samples != member.samples:
        return _Judged(Reason.MALFORMED, reference)
    if isinstance(candidate.parts, Reason):
        return _Judged(candidate.parts, reference)
    result = open_parts(expected, key, signed.statement, candidate.parts)
    if result is Reason.EVIDENCE_MISMATCH:
        return _Judged(result, reference)
    parts = candidate.parts
    evidence = [(parts.update, TENSOR), (parts.commitment, POINTS), (parts.blinds, SCALARS)]
    for data, media_type in [*evidence, *([(parts.proof, TRAINING_PROOF)] if parts.proof else [])]:
        recorder.keep(data, media_type)
    if isinstance(result, Reason):
        return _Judged(result, reference)
    rows = recorder.log.evidence.get(member.rows.digest, member.rows.size)
    remaining = equations(expected, key, member, rows, result, parts.proof)
    return _Judged(remaining if isinstance(remaining, Reason) else (signed.statement, result, remaining), reference)
