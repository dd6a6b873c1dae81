"""The sum-check on masked messages, and the verifier's polynomials, against plain sums over the cube."""

import itertools
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk import multilinear, vectors
from zk.errors import CommitmentError
from zk.field import ORDER
from zk.forms import Form, combine
from zk.pads import Budget, Counter, Pads, Receiver, Sender
from zk.sumcheck import ProductSum, sumcheck
from zk.transcript import Transcript

scalars = st.one_of(st.sampled_from([0, 1, ORDER - 1]), st.integers(0, ORDER - 1))


def value_of(channel: Sender, form: Form, pads: list[int]) -> int:
    total = form.constant
    for number, coefficient in form.terms.items():
        atom = channel.atoms[number]
        total += coefficient * pads[atom.position]  # type: ignore[union-attr]
    return total % ORDER


@pytest.mark.parametrize("rounds", [0, 1, 3, 13])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_last_claim_is_the_value_at_the_point(rounds: int, weighted: bool) -> None:
    tables = [vectors.from_ints([secrets.randbelow(ORDER) for _ in range(1 << rounds)]) for _ in range(5)]
    w = 0 if weighted else None
    first, second = (vectors.multiply(tables[i], tables[j]) for i, j in ((1, 2), (3, 4)))
    inner = vectors.add(first, second)
    total = vectors.inner(tables[0], inner) if weighted else sum(vectors.to_ints(inner)) % ORDER
    degree = 3 if weighted else 2
    pads = [secrets.randbelow(ORDER) for _ in range(degree * rounds)]
    prover = ProductSum(tables, [(w, 1, 2), (w, 3, 4)])
    sender = Sender(Transcript("test"), Pads(pads, [], [], []))
    point, claim = sumcheck(sender, "round", Form(total), rounds, degree, prover)
    e, a, b, c, d = prover.final()
    expected = (a * b + c * d) * (e if weighted else 1) % ORDER
    assert value_of(sender, claim, pads) == expected
    assert e == vectors.inner(vectors.eq_table(point), tables[0])
    receiver = Receiver(Transcript("test"), sender.sent)
    assert sumcheck(receiver, "round", Form(total), rounds, degree, None) == (point, claim)
    receiver.finish()
    assert sender.used == receiver.used == Budget(degree * rounds, 0)


def test_products_of_different_weights_add_up() -> None:
    tables = [vectors.from_ints([secrets.randbelow(ORDER) for _ in range(8)]) for _ in range(4)]
    plain = [vectors.to_ints(table) for table in tables]
    total = sum(w * a * b + v * a * a for w, v, a, b in zip(*plain, strict=True)) % ORDER
    prover = ProductSum(tables, [(0, 2, 3), (1, 2, 2)])
    pads = [secrets.randbelow(ORDER) for _ in range(9)]
    sender = Sender(Transcript("test"), Pads(pads, [], [], []))
    _, claim = sumcheck(sender, "round", Form(total), 3, 3, prover)
    w, v, a, b = prover.final()
    assert value_of(sender, claim, pads) == (w * a * b + v * a * a) % ORDER


def test_messages_must_be_as_many_as_the_protocol_has() -> None:
    short, long = Receiver(Transcript("test"), [1, 2]), Receiver(Transcript("test"), [1, 2, 3, 4])
    with pytest.raises(CommitmentError, match="too early"):
        short.message("m", 3, None)
    long.message("m", 3, None)
    with pytest.raises(CommitmentError, match="4 messages, the protocol 3"):
        long.finish()
    sender = Sender(Transcript("test"), Pads([0, 0], [], [], []))
    with pytest.raises(ValueError, match="exactly 2 values"):
        sender.message("m", 2, [1])


def test_a_counter_counts_products_apart() -> None:
    counter = Counter(Transcript("test"))
    counter.message("m", 3, None)
    counter.product("p", None)
    assert counter.used == Budget(3, 1)


@given(st.lists(scalars, max_size=4), st.data())
def test_eq_is_the_extension_of_equality(point: list[int], data: st.DataObject) -> None:
    table = multilinear.eq_table(point)
    corners = list(itertools.product([0, 1], repeat=len(point)))
    assert table == [multilinear.eq(point, corner) % ORDER for corner in corners]
    assert [multilinear.corner(i, len(point)) for i in range(len(corners))] == [list(corner) for corner in corners]
    assert multilinear.dot(table, range(len(corners))) == sum(
        x << bit for bit, x in enumerate(reversed(point))
    ) % ORDER  # fmt: skip
    other = data.draw(st.lists(scalars, min_size=len(point), max_size=len(point)))
    assert multilinear.eq(point, other) == multilinear.dot(table, multilinear.eq_table(other))


@given(st.lists(scalars, min_size=1, max_size=5), scalars)
def test_lagrange_evaluates_polynomials(coefficients: list[int], x: int) -> None:
    def polynomial(at: int) -> int:
        return sum(c * pow(at, i, ORDER) for i, c in enumerate(coefficients)) % ORDER

    weights = multilinear.lagrange(len(coefficients), x)
    assert multilinear.dot(weights, [polynomial(i) for i in range(len(coefficients))]) == polynomial(x)


@given(st.integers(-(2**260), 2**260), st.integers(-5, 5), scalars)
def test_forms_are_affine(constant: int, factor: int, coefficient: int) -> None:
    a, b = Form(3, {0: coefficient, 1: 2}), Form(5, {1: ORDER - 2, 7: 1})
    total = combine([(factor, a), (1, b), (2, constant)])
    assert total.constant == (3 * factor + 5 + 2 * constant) % ORDER
    assert total.terms.get(0, 0) == factor * coefficient % ORDER
    assert (a + b).terms.get(1) == 0
    assert (a - b - 1).constant == (3 - 5 - 1) % ORDER
    assert (factor * a).constant == (a * factor).constant
