"""Field vectors against Python integers."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk import vectors
from zk.field import ORDER
from zk.limbs import limbs_of
from zk.vectors import Vector

EDGES = [0, 1, 2, ORDER - 1, ORDER - 2, ORDER // 2, 2**64 - 1, 2**64, 2**128, 2**192, 2**254, 2**256 % ORDER, -(2**256) % ORDER]
scalars = st.one_of(st.sampled_from(EDGES), st.integers(0, ORDER - 1))
pairs = st.lists(st.tuples(scalars, scalars), min_size=1, max_size=20)
int64s = st.one_of(st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile before hypothesis measures time."""
    two = vectors.from_ints([1, 2])
    for function in (vectors.add, vectors.subtract, vectors.multiply, vectors.inner, vectors.outer):
        function(two, two)
    vectors.eq_table([1])
    vectors.from_int64(np.array([1], dtype=np.int64))
    vectors.contract(np.ones((1, 2, 1), dtype=np.int64), two)


@given(st.lists(st.one_of(scalars, st.integers(-(2**600), 2**600)), max_size=20))
def test_conversion_reduces_and_returns(values: list[int]) -> None:
    vector = vectors.from_ints(values)
    assert vectors.to_ints(vector) == [value % ORDER for value in values]
    assert vectors.to_ints(vectors.from_ints(vectors.to_ints(vector))) == vectors.to_ints(vector)


@given(st.lists(int64s, max_size=20))
def test_signed_words_convert(values: list[int]) -> None:
    array = np.array(values, dtype=np.int64)
    assert vectors.to_ints(vectors.from_int64(array)) == [value % ORDER for value in values]


@given(pairs)
def test_arithmetic_is_that_of_integers(values: list[tuple[int, int]]) -> None:
    a, b = (vectors.from_ints(column) for column in zip(*values, strict=True))
    assert vectors.to_ints(vectors.add(a, b)) == [(x + y) % ORDER for x, y in values]
    assert vectors.to_ints(vectors.subtract(a, b)) == [(x - y) % ORDER for x, y in values]
    assert vectors.to_ints(vectors.multiply(a, b)) == [x * y % ORDER for x, y in values]
    assert vectors.inner(a, b) == sum(x * y for x, y in values) % ORDER
    assert vectors.to_ints(vectors.scale(a, values[0][1])) == [x * values[0][1] % ORDER for x, _ in values]


@given(pairs)
def test_every_result_is_below_the_order(values: list[tuple[int, int]]) -> None:
    a, b = (vectors.from_ints(column) for column in zip(*values, strict=True))
    limit = limbs_of(ORDER)
    for result in (a, vectors.add(a, b), vectors.subtract(a, b), vectors.multiply(a, b)):
        for element in result:
            assert tuple(int(limb) for limb in element[::-1]) < tuple(int(limb) for limb in limit[::-1])


@pytest.mark.parametrize("a", EDGES)
@pytest.mark.parametrize("b", EDGES)
def test_edges_multiply(a: int, b: int) -> None:
    assert vectors.to_ints(vectors.multiply(vectors.from_ints([a]), vectors.from_ints([b]))) == [a * b % ORDER]


def test_eq_of_no_variables_is_one() -> None:
    assert vectors.to_ints(vectors.eq_table([])) == [1]


@given(st.data())
def test_contraction_of_signed_words(data: st.DataObject) -> None:
    a, n, c = (data.draw(st.integers(1, 4)) for _ in range(3))
    flat = data.draw(st.lists(int64s, min_size=a * n * c, max_size=a * n * c))
    weights = data.draw(st.lists(scalars, min_size=n, max_size=n))
    values = np.array(flat, dtype=np.int64).reshape(a, n, c)
    expected = [sum(weights[j] * int(values[i, j, k]) for j in range(n)) % ORDER for i in range(a) for k in range(c)]
    assert vectors.to_ints(vectors.contract(values, vectors.from_ints(weights)).reshape(-1, 4)) == expected


def test_contraction_does_not_overflow_over_many_rows() -> None:
    count = 5000
    values = np.full((1, count, 1), -(2**63), dtype=np.int64)
    result = vectors.contract(values, vectors.from_ints([ORDER - 1] * count)).reshape(-1, 4)
    assert vectors.to_ints(result) == [count * 2**63 % ORDER]


def test_outer_product() -> None:
    table = vectors.outer(vectors.from_ints([2, 3]), vectors.from_ints([5, 7, 11]))
    assert vectors.to_ints(table) == [10, 14, 22, 15, 21, 33]


@pytest.mark.parametrize("function", [vectors.add, vectors.subtract, vectors.multiply, vectors.inner])
def test_lengths_must_match(function: Callable[[Vector, Vector], object]) -> None:
    with pytest.raises(ValueError, match="2 and 1 elements"):
        function(vectors.from_ints([1, 2]), vectors.from_ints([1]))


def test_contraction_needs_as_many_weights_as_values() -> None:
    with pytest.raises(ValueError, match="do not contract"):
        vectors.contract(np.zeros((1, 2, 1), dtype=np.int64), vectors.from_ints([1]))
