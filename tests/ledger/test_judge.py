"""Judging contributions: one honest contribution, and for each reason a change that only this reason meets."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ledger.beacon import batch_digest, batch_indices
from ledger.canonical import dump_vector
from ledger.entries import (
    POINTS,
    SCALARS,
    TENSOR,
    ContributionStatement,
    Reference,
    SignedContribution,
    SignedEnrolment,
)
from ledger.judge import Expected, Opened, Parts, add_up, judge_statement, open_parts, opening_equation, sum_equation, within
from ledger.verdicts import Reason
from tests.ledger.test_entries import KEYS, changed, contribution, enrolment, opening_entry
from zk.equations import false_ones, hold
from zk.field import ORDER, encode_scalars
from zk.group import Arkworks, PyEcc
from zk.pedersen import CommitmentKey, commitment_key
from zk.rule import Plan

IntVector = npt.NDArray[np.int64]
RUN, MODEL, BEACON = "a1" * 32, "b2" * 32, "c3" * 32
RULE = opening_entry().agreement.rule  # layers (3, 16, 2): 98 weights, two rows of 64
LIMIT = 1 << RULE.plan.weight_range_bits
WEIGHTS = np.arange(-49, 49, dtype=np.int64) * 1_000_003
EXPECTED = Expected("federation", RUN, 3, MODEL, BEACON, False, RULE, WEIGHTS)
KEY = commitment_key(Arkworks, 64)
MEMBER = enrolment(RUN, 1, 20)


@dataclass(frozen=True)
class Reply:
    """What a client sends: its statement and the parts that it names."""

    statement: ContributionStatement
    parts: Parts

    def with_part(self, **parts: bytes) -> "Reply":
        """Return a reply with other parts, which the statement names."""
        fields = {name: Reference.of(data, getattr(self.statement, name).media_type) for name, data in parts.items()}
        return Reply(changed(self.statement, **fields), replace(self.parts, **parts))


def update_of(seed: int) -> IntVector:
    return np.random.default_rng(seed).integers(-(2**20), 2**20, RULE.size)


def reply_with(update: IntVector, seed: int = 0, key: CommitmentKey = KEY) -> Reply:
    blinds = [1000 + seed, ORDER - 7 - seed]
    parts = Parts(dump_vector(update), key.encode(key.commit_rows(update, blinds)), encode_scalars(blinds))
    statement = contribution(
        RUN,
        1,
        3,
        20,
        model=MODEL,
        batch=batch_digest(batch_indices(BEACON, MEMBER.client, 20, RULE.samples)),
        update=Reference.of(parts.update, TENSOR),
        commitment=Reference.of(parts.commitment, POINTS),
        blinds=Reference.of(parts.blinds, SCALARS),
    )
    return Reply(statement, parts)


HONEST = reply_with(update_of(1))


def signed(statement: ContributionStatement, key: int = 1) -> bytes:
    return SignedContribution.sign(statement, KEYS[key]).encode()


def verdict(statement: ContributionStatement, key: int = 1) -> Reason | None:
    return judge_statement(EXPECTED, MEMBER, signed(statement, key))[0]


def opened(reply: Reply, key: CommitmentKey = KEY) -> Opened:
    result = open_parts(EXPECTED, key, reply.statement, reply.parts)
    assert isinstance(result, Opened), result
    return result


def rejected(reply: Reply) -> Reason | Opened:
    return open_parts(EXPECTED, KEY, reply.statement, reply.parts)


def test_the_rule_of_these_tests_needs_two_rows() -> None:
    assert (RULE.size, KEY.rows_for(RULE.size), RULE.samples) == (98, 2, 8)


@pytest.mark.parametrize("group", [Arkworks, PyEcc])
def test_an_honest_contribution_passes_every_check(group: type[Arkworks] | type[PyEcc]) -> None:
    reason, statement = judge_statement(EXPECTED, MEMBER, signed(HONEST.statement))
    assert reason is None
    assert statement is not None
    assert statement.statement == HONEST.statement
    key = commitment_key(Arkworks, 64) if group is Arkworks else commitment_key(PyEcc, 64)
    result = opened(HONEST, key)
    assert result.update.tolist() == update_of(1).tolist()
    assert result.blinds == [1000, ORDER - 7]
    assert hold(key, [opening_equation(key, result)])


# ---- the statement


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 2_000 + b"]" * 2_000,
        signed(HONEST.statement) + b"\n",
        signed(HONEST.statement).replace(b'"round":3', b'"round":3.0'),
        signed(HONEST.statement).replace(b'"round":3', b'"extra":1,"round":3'),
        SignedEnrolment.sign(MEMBER, KEYS[1]).encode(),
    ],
    ids=["empty", "no fields", "not UTF-8", "deep", "newline", "not canonical", "unknown field", "enrolment"],
)
def test_what_cannot_be_read_is_malformed_and_nothing_is_kept(data: bytes) -> None:
    assert judge_statement(EXPECTED, MEMBER, data) == (Reason.MALFORMED, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run": "ee" * 32}, Reason.WRONG_RUN),
        ({"round": 2}, Reason.WRONG_ROUND),
        ({"round": 4}, Reason.WRONG_ROUND),
        ({"model": "ee" * 32}, Reason.STALE_MODEL),
        ({"batch": "ee" * 32}, Reason.WRONG_BATCH),
        ({"batch": batch_digest(batch_indices(BEACON, MEMBER.client, 21, RULE.samples))}, Reason.WRONG_BATCH),
        ({"batch": batch_digest(batch_indices("c4" * 32, MEMBER.client, 20, RULE.samples))}, Reason.WRONG_BATCH),
        ({"batch": batch_digest(batch_indices(BEACON, enrolment(RUN, 2).client, 20, RULE.samples))}, Reason.WRONG_BATCH),
        ({"batch": batch_digest(batch_indices(BEACON, MEMBER.client, 20, RULE.samples - 1))}, Reason.WRONG_BATCH),
        ({"batch": batch_digest(batch_indices(BEACON, MEMBER.client, 20, RULE.samples)[::-1])}, Reason.WRONG_BATCH),
        ({"samples": 19}, Reason.WRONG_SAMPLES),
        ({"samples": 21}, Reason.WRONG_SAMPLES),
    ],
    ids=str,
)
def test_a_false_claim_is_rejected_for_what_it_is_and_kept(change: dict[str, Any], reason: Reason) -> None:
    statement = changed(HONEST.statement, **change)
    given, kept = judge_statement(EXPECTED, MEMBER, signed(statement))
    assert given is reason
    assert kept is not None
    assert kept.statement == statement


def test_only_the_client_that_was_asked_can_answer() -> None:
    other = changed(HONEST.statement, client=enrolment(RUN, 2).client)
    assert verdict(other, key=2) is Reason.WRONG_CLIENT  # rightly signed by somebody else


@pytest.mark.parametrize("change", [{}, {"run": "ee" * 32}, {"samples": 19}])
def test_nothing_is_believed_without_the_clients_signature(change: dict[str, Any]) -> None:
    assert verdict(changed(HONEST.statement, **change), key=2) is Reason.BAD_SIGNATURE


def test_a_signature_for_another_round_does_not_count() -> None:
    earlier = SignedContribution.sign(changed(HONEST.statement, round=2), KEYS[1])
    replayed = SignedContribution(statement=HONEST.statement, signature=earlier.signature)
    assert judge_statement(EXPECTED, MEMBER, replayed.encode())[0] is Reason.BAD_SIGNATURE


# ---- the parts


@pytest.mark.parametrize("part", ["update", "commitment", "blinds"])
def test_a_part_that_was_not_signed_is_a_mismatch(part: str) -> None:
    good: bytes = getattr(HONEST.parts, part)
    for data in (good[:-1] + bytes([good[-1] ^ 1]), good + b"\0", b"", getattr(reply_with(update_of(2), 2).parts, part)):
        assert rejected(replace(HONEST, parts=replace(HONEST.parts, **{part: data}))) is Reason.EVIDENCE_MISMATCH


@pytest.mark.parametrize("part", ["update", "commitment", "blinds"])
def test_digest_and_size_must_both_be_right(part: str) -> None:
    reference: Reference = getattr(HONEST.statement, part)
    for other in (changed(reference, digest="ee" * 32), changed(reference, size=reference.size + 1)):
        assert rejected(replace(HONEST, statement=changed(HONEST.statement, **{part: other}))) is Reason.EVIDENCE_MISMATCH


@pytest.mark.parametrize(
    "update",
    [
        b"",
        dump_vector(update_of(1)[:-1]),
        dump_vector(np.append(update_of(1), 0)),
        dump_vector(update_of(1)) + b"\0",
        dump_vector(update_of(1)).replace(b"<i4", b"<u4"),
        dump_vector(update_of(1) + 2**40)[:128] + (update_of(1)).astype("<i8").tobytes(),
    ],
    ids=["empty", "one value less", "one value more", "trailing byte", "unsigned", "wider than needed"],
)
def test_an_update_that_is_not_the_tensor_of_the_model_is_of_the_wrong_shape(update: bytes) -> None:
    assert rejected(HONEST.with_part(update=update)) is Reason.WRONG_SHAPE


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("place", [0, 97])
def test_the_updated_model_stays_strictly_within_the_range(sign: int, place: int) -> None:
    update = update_of(1)
    update[place] = sign * (LIMIT - 1) - WEIGHTS[place]
    assert opened(reply_with(update)).update[place] == update[place]
    update[place] += sign
    assert rejected(reply_with(update)) is Reason.OUT_OF_RANGE


@pytest.mark.parametrize("value", [2 * LIMIT, -2 * LIMIT, 2**62, 2**63 - 1, -(2**63)])
def test_an_update_so_large_that_the_model_would_wrap_around_is_out_of_range(value: int) -> None:
    update = update_of(1)
    update[7] = value
    assert rejected(reply_with(update)) is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(("start", "step", "allowed"), [(1 - LIMIT, 2 * LIMIT - 2, True), (-2 * LIMIT, 2 * LIMIT, False)])
def test_an_update_is_bounded_itself_whatever_model_it_starts_from(start: int, step: int, allowed: bool) -> None:
    expected = replace(EXPECTED, weights=np.full(98, start, dtype=np.int64))
    reply = reply_with(np.full(98, step, dtype=np.int64))
    result = open_parts(expected, KEY, reply.statement, reply.parts)
    assert isinstance(result, Opened) if allowed else result is Reason.OUT_OF_RANGE


def test_inside_a_round_weights_have_the_range_of_the_model_on_a_finer_grid() -> None:
    finer = replace(RULE, plan=Plan.derive(0.125, RULE.batch, RULE.layers, history=True), momentum=Fraction(9, 10))
    bits = finer.plan.coefficient_bits
    limit = 1 << finer.plan.weight_range_bits + bits
    expected = replace(EXPECTED, rule=finer, weights=np.full(RULE.size, 5, dtype=np.int64))
    for value, allowed in ((limit - 1, True), (limit, False), (1 - limit, True), (-limit, False)):
        reply = reply_with(np.full(RULE.size, value - (5 << bits), dtype=np.int64))
        result = open_parts(expected, KEY, reply.statement, reply.parts)
        assert isinstance(result, Opened) if allowed else result is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(("norm", "allowed"), [(Fraction(50, 2**28), True), (Fraction(49999, 1000 * 2**28), False), (None, True)])
def test_an_update_is_as_long_as_agreed_at_most(norm: Fraction | None, allowed: bool) -> None:
    update = np.zeros(RULE.size, dtype=np.int64)
    update[3:7] = 25, -25, 25, -25  # of norm 50
    reply = reply_with(update)
    result = open_parts(replace(EXPECTED, rule=replace(RULE, norm=norm)), KEY, reply.statement, reply.parts)
    assert isinstance(result, Opened) if allowed else result is Reason.ABOVE_NORM


@pytest.mark.parametrize(
    "changes",
    [
        {"commitment": HONEST.parts.commitment[:48]},
        {"commitment": HONEST.parts.commitment + HONEST.parts.commitment[:48]},
        {"commitment": HONEST.parts.commitment[:-1]},
        {"commitment": b"\0" + HONEST.parts.commitment[1:]},
        {"commitment": HONEST.parts.commitment[:48] + b"\xff" * 48},
        {"commitment": b""},
        {"blinds": HONEST.parts.blinds[:32]},
        {"blinds": HONEST.parts.blinds + bytes(32)},
        {"blinds": HONEST.parts.blinds[:-1]},
        {"blinds": (1000 + ORDER).to_bytes(32, "big") + HONEST.parts.blinds[32:]},
        {"blinds": HONEST.parts.blinds[:32] + ORDER.to_bytes(32, "big")},
        {"blinds": b""},
    ],
)
def test_points_and_scalars_must_be_canonical_and_as_many_as_rows(changes: dict[str, bytes]) -> None:
    assert rejected(HONEST.with_part(**changes)) is Reason.BAD_ENCODING


# ---- the opening


def opens(reply: Reply) -> bool:
    return hold(KEY, [opening_equation(KEY, opened(reply))])


OTHER = reply_with(update_of(2), 2)


@pytest.mark.parametrize(
    "reply",
    [
        HONEST.with_part(update=dump_vector(update_of(1) + np.eye(1, 98, 0, dtype=np.int64)[0])),
        HONEST.with_part(update=dump_vector(update_of(1) - np.eye(1, 98, 97, dtype=np.int64)[0])),
        HONEST.with_part(update=dump_vector(update_of(1)[::-1])),
        HONEST.with_part(commitment=HONEST.parts.commitment[48:] + HONEST.parts.commitment[:48]),
        HONEST.with_part(commitment=HONEST.parts.commitment[:48] + OTHER.parts.commitment[48:]),
        HONEST.with_part(commitment=OTHER.parts.commitment),
        HONEST.with_part(blinds=HONEST.parts.blinds[32:] + HONEST.parts.blinds[:32]),
        HONEST.with_part(blinds=encode_scalars([1001, ORDER - 7])),
        HONEST.with_part(blinds=encode_scalars([1000, ORDER - 8])),
        HONEST.with_part(blinds=encode_scalars([1001, ORDER - 8])),  # the blinds' sum is right
        HONEST.with_part(commitment=bytes([0xC0]) + bytes(47) + HONEST.parts.commitment[48:]),
    ],
    ids=["first value", "last value", "reversed", "rows swapped", "one row", "all rows", "blinds swapped", "b0", "b1", "b0+b1", "identity"],
)
def test_a_commitment_that_does_not_open_to_the_update_is_found(reply: Reply) -> None:
    assert opens(HONEST)
    assert not opens(reply)


def test_an_update_moved_between_rows_is_found() -> None:
    """What is added to one row is taken from the other: the sum of the rows stays right."""
    update = update_of(1)
    update[0] += 5
    update[32] -= 5
    assert not opens(HONEST.with_part(update=dump_vector(update)))


def test_the_guilty_are_found_among_many() -> None:
    bad = HONEST.with_part(blinds=OTHER.parts.blinds)
    replies = [HONEST, bad, OTHER, HONEST, bad]
    assert false_ones(KEY, [opening_equation(KEY, opened(reply)) for reply in replies]) == [1, 4]


def test_two_contributions_whose_errors_cancel_are_both_found() -> None:
    plus = HONEST.with_part(blinds=encode_scalars([1001, ORDER - 7]))
    minus = HONEST.with_part(blinds=encode_scalars([999, ORDER - 7]))
    equations = [opening_equation(KEY, opened(reply)) for reply in (plus, minus)]
    assert not hold(KEY, equations)
    assert false_ones(KEY, equations) == [0, 1]


# ---- the sum, without any update

SAMPLES = [20, 3, 7]
ACCEPTED = [opened(reply_with(update_of(seed), seed)) for seed in (1, 2, 3)]
TOTAL, BLINDS = add_up(ACCEPTED, SAMPLES)
COMMITMENTS = [item.commitment for item in ACCEPTED]


def test_updates_and_blinds_are_added_up_by_samples() -> None:
    assert TOTAL.tolist() == [
        sum(n * int(v) for n, v in zip(SAMPLES, values, strict=True)) for values in zip(*map(update_of, (1, 2, 3)), strict=True)
    ]
    assert BLINDS == [(20 * 1001 + 3 * 1002 + 7 * 1003) % ORDER, (-20 * 8 - 3 * 9 - 7 * 10) % ORDER]


@pytest.mark.parametrize("group", [Arkworks, PyEcc])
def test_the_commitments_add_up_to_the_aggregate(group: type[Arkworks] | type[PyEcc]) -> None:
    key = commitment_key(Arkworks, 64) if group is Arkworks else commitment_key(PyEcc, 64)
    commitments = [key.decode(KEY.encode(commitment), 2) for commitment in COMMITMENTS]
    assert hold(key, [sum_equation(key, commitments, SAMPLES, TOTAL, BLINDS)])


def test_a_sum_of_one_is_the_contribution_times_its_samples() -> None:
    total, blinds = add_up(ACCEPTED[:1], [20])
    assert hold(KEY, [sum_equation(KEY, COMMITMENTS[:1], [20], total, blinds)])
    assert not hold(KEY, [sum_equation(KEY, COMMITMENTS[:1], [1], total, blinds)])


@pytest.mark.parametrize("change", ["first value", "last value", "between rows", "blind", "blinds swapped", "samples", "samples swapped"])
def test_a_false_aggregate_is_found_without_the_updates(change: str) -> None:
    total, blinds, samples = TOTAL.copy(), list(BLINDS), list(SAMPLES)
    match change:
        case "first value":
            total[0] += 1
        case "last value":
            total[97] -= 1
        case "between rows":
            total[0] += 1
            total[64] -= 1
        case "blind":
            blinds[1] += 1
        case "blinds swapped":
            blinds.reverse()
        case "samples":
            samples[2] += 1
        case "samples swapped":
            samples.reverse()
    assert not hold(KEY, [sum_equation(KEY, COMMITMENTS, samples, total, blinds)])


@pytest.mark.parametrize("commitments", [COMMITMENTS[:2], [*COMMITMENTS, COMMITMENTS[0]], [COMMITMENTS[1], COMMITMENTS[0], COMMITMENTS[2]]])
def test_other_commitments_do_not_add_up(commitments: list[list[Any]]) -> None:
    samples = (SAMPLES * 2)[: len(commitments)]
    assert not hold(KEY, [sum_equation(KEY, commitments, samples, TOTAL, BLINDS)])


def test_rows_of_one_client_cannot_change_places() -> None:
    swapped = [COMMITMENTS[0][::-1], *COMMITMENTS[1:]]
    assert not hold(KEY, [sum_equation(KEY, swapped, SAMPLES, TOTAL, BLINDS)])


@pytest.mark.parametrize(
    ("values", "limit", "holds"),
    [([], 1, True), ([0], 1, True), ([1], 1, False), ([-1], 1, False), ([-4, 4], 5, True), ([-5, 4], 5, False), ([-4, 5], 5, False)],
)
def test_a_range_is_open_at_both_ends(values: list[int], limit: int, holds: bool) -> None:
    assert within(np.array(values, dtype=np.int64), limit) is holds


@pytest.mark.parametrize("part", ["update", "commitment", "blinds"])
def test_evidence_has_its_media_type(part: str) -> None:
    reference = changed(getattr(HONEST.statement, part), media_type="application/x-other")
    assert rejected(replace(HONEST, statement=changed(HONEST.statement, **{part: reference}))) is Reason.EVIDENCE_MISMATCH
