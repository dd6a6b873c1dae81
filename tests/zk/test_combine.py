"""Combinations of rows: the fast way gives the integers that Python's own arithmetic gives."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zk.combine import as_rows, combine_rows
from zk.field import ORDER

WEIGHTS = st.one_of(st.sampled_from([0, 1, 2**16 - 1, 2**16, 2**128 - 1, ORDER - 1]), st.integers(0, 2**128 - 1), st.integers(0, ORDER - 1))
POSITIVE = st.one_of(st.sampled_from([0, 1, 2**24 - 1, 2**24, 2**48 - 1, 2**48, 2**63 - 1]), st.integers(0, 2**63 - 1))
NEGATIVE = st.one_of(st.sampled_from([-1, -(2**24), -(2**24) - 1, -(2**48), -(2**63)]), st.integers(-(2**63), -1))


def by_definition(weights: list[int], rows: list[list[int]]) -> list[int]:
    return [sum(weight * value for weight, value in zip(weights, column, strict=True)) % ORDER for column in zip(*rows, strict=True)]


def array(rows: list[list[int]]) -> npt.NDArray[np.int64]:
    return np.array(rows, dtype=np.int64)


@settings(deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.sampled_from([POSITIVE, NEGATIVE, POSITIVE | NEGATIVE]))
def test_rows_combine_as_integers_do(data: st.DataObject, count: int, columns: int, values: st.SearchStrategy[int]) -> None:
    weights = data.draw(st.lists(WEIGHTS, min_size=count, max_size=count))
    rows = data.draw(st.lists(st.lists(values, min_size=columns, max_size=columns), min_size=count, max_size=count))
    assert combine_rows(weights, array(rows)) == by_definition(weights, rows)


@pytest.mark.parametrize("value", [0, 1, -1, 2**24 - 1, 2**24, -(2**24), 2**48, -(2**48), 2**63 - 1, -(2**63), -(2**63) + 1])
@pytest.mark.parametrize("weight", [0, 1, 2**128 - 1, ORDER - 1])
def test_extreme_values_combine_exactly(value: int, weight: int) -> None:
    assert combine_rows([weight] * 3, array([[value] * 2] * 3)) == [3 * weight * value % ORDER] * 2


@pytest.mark.parametrize("values", [[1, -1], [0, -1], [2**40, -1], [-(2**40), 1], [2**63 - 1, -(2**63)], [-(2**63), -(2**48), -1, 0]])
def test_values_of_both_signs_combine_exactly(values: list[int]) -> None:
    assert combine_rows([7, 2**127], array([values, values[::-1]])) == by_definition([7, 2**127], [values, values[::-1]])


def test_a_thousand_full_rows_do_not_overflow() -> None:
    rows = np.full((1000, 2), 2**63 - 1, dtype=np.int64)
    assert combine_rows([2**128 - 1] * 1000, rows) == [1000 * (2**128 - 1) * (2**63 - 1) % ORDER] * 2


def test_each_row_takes_its_own_weight() -> None:
    assert combine_rows([1, 10, 100], array([[1, 2], [3, 4], [5, 6]])) == [531, 642]


def test_no_rows_combine_to_zero() -> None:
    assert combine_rows([], np.zeros((0, 3), dtype=np.int64)) == [0, 0, 0]


def test_the_rows_are_left_as_they_were() -> None:
    rows = array([[2**40, 5]])
    combine_rows([3], rows)
    assert rows.tolist() == [[2**40, 5]]


@pytest.mark.parametrize("weights", [[], [1], [1, 2, 3]])
def test_weights_and_rows_must_be_as_many(weights: list[int]) -> None:
    with pytest.raises(ValueError, match=f"{len(weights)} weights for 2 rows"):
        combine_rows(weights, array([[1], [2]]))


@pytest.mark.parametrize("weight", [-1, 2**256])
def test_weights_are_not_negative_and_fit_the_limbs(weight: int) -> None:
    with pytest.raises(OverflowError):
        combine_rows([weight], array([[1]]))


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.integers(1, 8))
def test_a_tensor_is_cut_into_rows_and_filled_with_zeros(values: list[int], width: int) -> None:
    rows = as_rows(np.array(values, dtype=np.int64), width)
    assert rows.shape == (-(-len(values) // width), width)
    assert rows.ravel().tolist() == values + [0] * (rows.size - len(values))
