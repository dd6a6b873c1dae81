"""Shared-inversion additions and bucket sums against py_ecc's own arithmetic."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bls12_381 import FQ, G1, Z1, add, eq, multiply, normalize

from zk import buckets
from zk.field import ORDER
from zk.group import Point, PyEcc
from zk.hashing import expand


def outside() -> Point:
    """Return a point on the curve, but (all but certainly) not in the subgroup."""
    for counter in range(100):
        x = FQ(int.from_bytes(expand("point", bytes([counter]), length=48), "big") % buckets.P)
        square = x * x * x + 4
        y = square ** ((buckets.P + 1) // 4)
        if y * y == square:
            return x, y, FQ(1)
    raise AssertionError


POINTS = [multiply(G1, k) for k in (1, 2, 3, 5, ORDER - 1, ORDER - 2, 2**200)] + [outside(), multiply(outside(), ORDER)]


def affine(point: Point) -> buckets.Affine | None:
    if point[2] == 0:
        return None
    x, y = normalize(point)
    return int(x), int(y)


@pytest.mark.parametrize("first", [*POINTS, Z1])
def test_additions_are_those_of_the_curve(first: Point) -> None:
    """Doubling, opposite points and the identity stand beside ordinary additions in one batch."""
    others = [*POINTS, Z1]
    found = buckets.add_many([affine(first)] * len(others), [affine(other) for other in others])
    assert found == [affine(add(first, other)) for other in others]


def test_no_additions_are_no_sums() -> None:
    assert buckets.add_many([], []) == []


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(POINTS) - 1),
            st.one_of(st.sampled_from([0, 1, 127, 128, 129, 2**16, ORDER - 1, -1, ORDER]), st.integers(-(2**130), 2**255)),
        ),
        max_size=12,
    )
)
def test_a_multi_scalar_product_is_the_sum_of_products(terms: list[tuple[int, int]]) -> None:
    """Points repeat, so buckets hold equal and opposite ones."""
    expected = Z1
    subgroup = [(i, scalar) for i, scalar in terms if i < 7]  # scalars are taken modulo r: only there is that the same
    for i, scalar in subgroup:
        expected = add(expected, multiply(POINTS[i], scalar % ORDER))
    assert eq(PyEcc().msm([POINTS[i] for i, _ in subgroup], [scalar for _, scalar in subgroup]), expected)


def test_many_points_and_points_outside_the_subgroup() -> None:
    points = [multiply(outside() if i % 3 else G1, i + 1) for i in range(40)]
    scalars = [secrets.randbits(254) for _ in points]
    expected = Z1
    for point, scalar in zip(points, scalars, strict=True):
        expected = add(
            expected, multiply(point, scalar) if scalar <= ORDER // 2 else multiply(multiply(point, ORDER - scalar), buckets_minus_one())
        )
    assert eq(PyEcc().msm(points, scalars), expected)


def buckets_minus_one() -> int:
    """Return -1 modulo the order of the whole curve."""
    z = -0xD201000000010000
    return (z - 1) ** 2 // 3 * ORDER - 1
