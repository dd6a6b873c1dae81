"""The proof that somebody can open every row: it convinces, it cannot be bent, and it gives nothing away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zk.blinding import BlindingSource
from zk.combine import combine_rows
from zk.equations import hold
from zk.errors import EncodingError
from zk.field import ORDER, SCALAR_BYTES, decode_scalars, encode_scalars
from zk.group import POINT_BYTES, Arkworks, Group, Point, PyEcc
from zk.hashing import sha256
from zk.opening import RowOpenings, proof_bytes, prove, verify
from zk.pedersen import CommitmentKey, commitment_key

WIDTH = 4
KEY = commitment_key(Arkworks, WIDTH)
SOURCE = BlindingSource(b"s" * 32)
CONTEXT = b"federation 1, client 2"
IntRows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A statement with what opens it."""

    statement: RowOpenings
    values: IntRows
    blinds: list[int]


def case(values: Sequence[Sequence[int]], context: bytes = CONTEXT, key: CommitmentKey = KEY) -> Case:
    rows = np.array(values, dtype=np.int64)
    blinds = [1000 * i + 17 for i in range(len(rows))]
    points = [key.commit(row, blind) for row, blind in zip(rows, blinds, strict=True)]
    return Case(RowOpenings(context, key.encode(points)), rows, blinds)


def proof_of(made: Case, key: CommitmentKey = KEY, source: BlindingSource = SOURCE) -> bytes:
    return prove(key, made.statement, made.values, made.blinds, source)


def convinces(statement: RowOpenings, proof: bytes, key: CommitmentKey = KEY) -> bool:
    """Whether a verifier accepts; refusing to read the proof is refusing it."""
    try:
        return hold(key, [verify(key, statement, proof)])
    except EncodingError:
        return False


THREE = case([[1, 2, 3, 4], [255, 0, -256, 1], [0, 0, 0, 0]])
PROOF = proof_of(THREE)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=5), st.binary(max_size=20))
def test_whoever_can_open_the_rows_convinces(values: list[list[int]], context: bytes) -> None:
    made = case(values, context)
    assert convinces(made.statement, proof_of(made))


@pytest.mark.parametrize("group", [PyEcc, Arkworks])
def test_both_groups_prove_and_verify_for_each_other(group: type[Group]) -> None:
    key = commitment_key(group, 8)
    made = case([[9, 8, 7, 6, 5, 4, 3, 2], [1] * 8], key=key)
    proof = proof_of(made, key)
    assert len(proof) == proof_bytes(8) == 48 + 9 * 32
    for other in (PyEcc, Arkworks):
        assert convinces(made.statement, proof, commitment_key(other, 8))


def test_a_proof_of_the_first_version_is_made_and_verified_to_this_day() -> None:
    key = commitment_key(Arkworks, 8)
    made = case([[i * j for i in range(8)] for j in range(5)], b"known answer", key)
    proof = proof_of(made, key, BlindingSource(bytes(range(32)), deterministic=True))
    assert sha256(made.statement.rows).hex() == "f38aa260aa7949776a0bc4787247e147dc3c5e8c4c83b952fcdb33b8335af840"
    assert sha256(proof).hex() == "b9b0ca1f03b66ee9bbddfdffae6c331d4be0facf38535539e8e5e0612f6db520"
    assert convinces(made.statement, proof, commitment_key(PyEcc, 8))


@pytest.mark.parametrize("place", range(0, proof_bytes(WIDTH), 5))
def test_no_byte_of_a_proof_can_be_changed(place: int) -> None:
    assert convinces(THREE.statement, PROOF)
    for bit in (1, 0x80):
        assert not convinces(THREE.statement, PROOF[:place] + bytes([PROOF[place] ^ bit]) + PROOF[place + 1 :])


@pytest.mark.parametrize("place", range(0, 3 * POINT_BYTES, 7))
def test_no_byte_of_the_rows_can_be_changed(place: int) -> None:
    rows = THREE.statement.rows
    assert not convinces(replace(THREE.statement, rows=rows[:place] + bytes([rows[place] ^ 1]) + rows[place + 1 :]), PROOF)


@pytest.mark.parametrize("context", [b"", CONTEXT[:-1], CONTEXT + b"\0", b"G" + CONTEXT[1:], CONTEXT[:-1] + b"3"])
def test_a_proof_for_another_context_fails(context: bytes) -> None:
    assert not convinces(replace(THREE.statement, context=context), PROOF)


def test_rows_cannot_be_left_out_added_repeated_or_put_in_another_order() -> None:
    a, b, c = (THREE.statement.rows[i : i + POINT_BYTES] for i in range(0, 3 * POINT_BYTES, POINT_BYTES))
    for rows in (a + b, b + c, a + b + c + c, b + a + c, a + a + b, a, b""):
        assert not convinces(replace(THREE.statement, rows=rows), PROOF)


def test_bytes_cannot_move_between_context_and_rows() -> None:
    context, rows = THREE.statement.context, THREE.statement.rows
    moved = RowOpenings(context + rows[:POINT_BYTES], rows[POINT_BYTES:])
    assert moved.begin(KEY).state() != THREE.statement.begin(KEY).state()
    assert not convinces(moved, PROOF)


def test_the_challenge_depends_on_the_generators_and_on_every_part_of_the_statement() -> None:
    g = KEY.generators
    keys = [
        CommitmentKey(KEY.group, (g[1], g[0], *g[2:]), KEY.blinding),
        CommitmentKey(KEY.group, g[:3], KEY.blinding),
        CommitmentKey(KEY.group, (*g[:3], KEY.blinding), g[3]),
    ]
    statements = [replace(THREE.statement, context=b"another"), replace(THREE.statement, rows=THREE.statement.rows[POINT_BYTES:])]
    states = [THREE.statement.begin(key).state() for key in [KEY, *keys]] + [statement.begin(KEY).state() for statement in statements]
    assert len(set(states)) == len(states)


@pytest.mark.parametrize("change", [-1, 1, -SCALAR_BYTES, SCALAR_BYTES, -proof_bytes(WIDTH)])
def test_a_proof_of_another_size_is_refused(change: int) -> None:
    with pytest.raises(EncodingError):
        verify(KEY, THREE.statement, PROOF[:change] if change < 0 else PROOF + bytes(change))


@pytest.mark.parametrize("rows", [THREE.statement.rows[:-1], THREE.statement.rows + b"\0", THREE.statement.rows[: POINT_BYTES + 1]])
def test_rows_of_a_broken_length_are_refused(rows: bytes) -> None:
    with pytest.raises(EncodingError):
        verify(KEY, replace(THREE.statement, rows=rows), PROOF)


@pytest.mark.parametrize("place", range(WIDTH + 1))
def test_an_answer_that_is_right_but_not_below_the_group_order_is_refused(place: int) -> None:
    answers = decode_scalars(PROOF[POINT_BYTES:], WIDTH + 1)
    answers[place] += ORDER
    forged = PROOF[:POINT_BYTES] + b"".join(value.to_bytes(SCALAR_BYTES, "big") for value in answers)
    with pytest.raises(EncodingError, match=f"scalar {place} is not below the group order"):
        verify(KEY, THREE.statement, forged)


def random_point(index: int) -> Point:
    """Return a point that nobody in these tests can open."""
    return KEY.group.hash_to_curve(bytes([index]), b"LUNARIA-TESTS-CHEATING_BLS12381G1_XMD:SHA-256_SSWU_RO_")


def with_rows(points: list[Point]) -> RowOpenings:
    return replace(THREE.statement, rows=KEY.encode(points))


@pytest.mark.parametrize("unknown", range(3))
def test_a_prover_who_cannot_open_one_row_fails(unknown: int) -> None:
    points = KEY.decode(THREE.statement.rows, 3)
    points[unknown] = random_point(1)
    statement = with_rows(points)
    # everything else by the book, with the row's honest opening, and with none
    for values in (THREE.values, np.where(np.arange(3)[:, None] == unknown, 0, THREE.values)):
        assert not convinces(statement, prove(KEY, statement, values, THREE.blinds, SOURCE))


def test_a_prover_whose_unknown_rows_cancel_in_the_sum_fails() -> None:
    first, second, third = KEY.decode(THREE.statement.rows, 3)
    unknown = random_point(2)
    statement = with_rows([KEY.group.msm([first, unknown], [1, 1]), KEY.group.msm([second, unknown], [1, -1]), third])
    assert not convinces(statement, prove(KEY, statement, THREE.values, THREE.blinds, SOURCE))


def test_a_prover_who_knows_the_blind_but_not_the_values_fails() -> None:
    values = THREE.values.copy()
    values[1, 2] += 1
    assert not convinces(THREE.statement, prove(KEY, THREE.statement, values, THREE.blinds, SOURCE))
    assert not convinces(THREE.statement, prove(KEY, THREE.statement, THREE.values, [*THREE.blinds[:2], THREE.blinds[2] + 1], SOURCE))


def test_an_announcement_made_after_the_challenge_fails() -> None:
    """Answers first, then an announcement that fits them: works when the challenge does not depend on it."""
    statement = with_rows([random_point(i) for i in range(3)])
    answers, blind = [5, 6, 7, 8], 9
    for absorbed in (None, b"", KEY.encode([KEY.blinding])):
        transcript = statement.begin(KEY)
        if absorbed is not None:
            transcript.absorb("announcement", absorbed)
        rho = transcript.short_challenges("rho", 3)
        fitting = KEY.group.msm([KEY.commit(answers, blind), *KEY.decode(statement.rows, 3)], [1, *(-weight for weight in rho)])
        assert not convinces(statement, KEY.encode([fitting]) + encode_scalars([*answers, blind]))


def test_a_row_chosen_after_the_challenge_fails() -> None:
    """The last row made to fit a challenge computed without it: works when the challenge does not depend on the rows."""
    announcement = KEY.commit([1, 1, 1, 1], 1)
    known = [random_point(1), random_point(2)]
    for rows in (b"", KEY.encode(known), KEY.encode([*known, random_point(3)])):
        transcript = replace(THREE.statement, rows=rows).begin(KEY)
        transcript.absorb("announcement", KEY.encode([announcement]))
        rho = transcript.short_challenges("rho", 3)
        inverse = pow(rho[2], -1, ORDER)
        fitting = KEY.group.msm(
            [KEY.commit([5, 6, 7, 8], 9), announcement, *known], [inverse, -inverse, -rho[0] * inverse, -rho[1] * inverse]
        )
        statement = with_rows([*known, fitting])
        assert not convinces(statement, KEY.encode([announcement]) + encode_scalars([5, 6, 7, 8, 9]))


def test_witness_and_statement_must_be_of_one_size() -> None:
    for values, blinds in ((THREE.values[:2], THREE.blinds), (THREE.values, THREE.blinds[:2]), (THREE.values[:, :3], THREE.blinds)):
        with pytest.raises(ValueError, match=r"weights for|zip\(\)"):
            prove(KEY, THREE.statement, values, blinds, SOURCE)


def test_two_proofs_of_one_statement_share_no_mask() -> None:
    first, second = proof_of(THREE), proof_of(THREE)
    assert first[:POINT_BYTES] != second[:POINT_BYTES]
    assert not set(decode_scalars(first[POINT_BYTES:], WIDTH + 1)) & set(decode_scalars(second[POINT_BYTES:], WIDTH + 1))


def test_even_without_fresh_randomness_another_statement_or_witness_has_another_mask() -> None:
    """One mask under two challenges would give the rows away."""
    source = BlindingSource(b"s" * 32, deterministic=True)
    again = proof_of(THREE, source=source)
    assert again == proof_of(THREE, source=source)
    values = THREE.values.copy()
    values[0, 0] += 1
    others = [
        prove(KEY, replace(THREE.statement, context=b"another"), THREE.values, THREE.blinds, source),
        prove(KEY, with_rows([random_point(i) for i in range(3)]), THREE.values, THREE.blinds, source),
        prove(KEY, THREE.statement, values, THREE.blinds, source),
        prove(KEY, THREE.statement, THREE.values, [1, *THREE.blinds[1:]], source),
        proof_of(THREE, source=BlindingSource(b"t" * 32, deterministic=True)),
    ]
    assert len({proof[:POINT_BYTES] for proof in [again, *others]}) == 6


class FixedMask(BlindingSource):
    """Gives out a mask chosen beforehand."""

    def __init__(self, mask: list[int]) -> None:
        super().__init__(bytes(32))
        self.mask = mask

    def scalars(self, label: str, context: bytes, count: int) -> list[int]:
        assert count == len(self.mask)
        return self.mask


def test_every_proof_for_one_data_set_is_a_proof_for_any_other_with_the_same_commitments() -> None:
    """Perfect zero knowledge: with a trapdoor key, rows open to any data; to each mask of one belongs one mask of the other.

    The two proofs are then equal to the last byte, so no verifier, however strong, learns which data was proved.
    """
    h = KEY.blinding
    logs = [3, 5, 7, 11]
    key = CommitmentKey(KEY.group, tuple(KEY.group.msm([h], [log]) for log in logs), h)
    one = case([[1, 2, 3, 4], [9, 9, 9, 9]], key=key)
    values = np.array([[100, 0, 50, 7], [0, 1, 2, 3]], dtype=np.int64)
    blinds = [
        (blind + sum(log * int(a - b) for log, a, b in zip(logs, old, new, strict=True))) % ORDER
        for blind, old, new in zip(one.blinds, one.values, values, strict=True)
    ]
    other = Case(one.statement, values, blinds)
    assert key.encode([key.commit(row, blind) for row, blind in zip(values, blinds, strict=True)]) == one.statement.rows

    proof = proof_of(one, key)
    *answers, answer_blind = decode_scalars(proof[POINT_BYTES:], WIDTH + 1)
    transcript = one.statement.begin(key)
    transcript.absorb("announcement", proof[:POINT_BYTES])
    rho = transcript.short_challenges("rho", 2)
    mask = [(z - c) % ORDER for z, c in zip(answers, combine_rows(rho, values), strict=True)]
    mask.append((answer_blind - sum(weight * blind for weight, blind in zip(rho, blinds, strict=True))) % ORDER)
    assert proof_of(other, key, FixedMask(mask)) == proof


def test_answers_for_very_different_data_are_distributed_alike() -> None:
    """Answers over the whole field whatever the data: their mean lies within five standard errors of one half."""
    for value in (0, -(2**63)):
        made = case([[value] * WIDTH] * 2)
        answers = [
            answer
            for seed in range(64)
            for answer in decode_scalars(
                proof_of(made, source=BlindingSource(bytes([seed]) * 32, deterministic=True))[POINT_BYTES:], WIDTH + 1
            )
        ]
        standard_error = (1 / 12 / len(answers)) ** 0.5
        assert abs(sum(answer / ORDER for answer in answers) / len(answers) - 0.5) < 5 * standard_error
        assert len(set(answers)) == len(answers)
