"""G1 of BLS12-381: two implementations, one group. Vectors of RFC 9380, refused encodings, and points outside the subgroup."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bls12_381 import FQ, G1, add, b, field_modulus, is_inf, is_on_curve, multiply, normalize

from zk.errors import EncodingError
from zk.field import ORDER
from zk.group import COFACTOR, GROUPS, POINT_BYTES, Arkworks, Group, PyEcc

REFERENCE, FAST = PyEcc(), Arkworks()
EACH_GROUP = pytest.mark.parametrize("group", [REFERENCE, FAST], ids=lambda group: group.name)
DOMAIN = b"LUNARIA-TESTS_BLS12381G1_XMD:SHA-256_SSWU_RO_"
COMPRESSED, INFINITY, GREATER = 1 << 383, 1 << 382, 1 << 381
IDENTITY = bytes([0xC0]) + bytes(47)


def point_bytes(x: int, flags: int) -> bytes:
    return (flags | x).to_bytes(POINT_BYTES, "big")


def raw_point(start: int) -> Any:  # noqa: ANN401 - a point of py_ecc
    """Return a point of E(Fp), whatever its order: the first whose x is at least ``start``."""
    for x in range(start, start + 100):
        y = pow((x**3 + b.n) % field_modulus, (field_modulus + 1) // 4, field_modulus)
        point = (FQ(x), FQ(y), FQ(1))
        if is_on_curve(point, b):
            return point
    raise AssertionError("half of all x lie on the curve")


# encoded points whose order divides the cofactor, and one that is a sum of such a point and one of order r
OUTSIDE = [REFERENCE.encode(multiply(raw_point(start), ORDER)) for start in (1, 1000, 2**200)]
MIXED = REFERENCE.encode(raw_point(5))
INSIDE = [FAST.encode(FAST.hash_to_curve(bytes([i]), DOMAIN)) for i in range(4)]


@EACH_GROUP
@pytest.mark.parametrize(
    ("message", "x", "y"),
    [
        (
            b"",
            "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
            "08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265",
        ),
        (
            b"abc",
            "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
            "0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d",
        ),
        (
            b"abcdef0123456789",
            "11e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98",
            "03a87ae2caf14e8ee52e51fa2ed8eefe80f02457004ba4d486d6aa1f517c0889501dc7413753f9599b099ebcbbd2d709",
        ),
    ],
)
def test_hashing_to_the_curve_gives_the_points_of_rfc_9380(group: Group, message: bytes, x: str, y: str) -> None:
    point = group.hash_to_curve(message, b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_")  # appendix J.9.1
    sign = GREATER if 2 * int(y, 16) > field_modulus else 0
    assert group.encode(point) == point_bytes(int(x, 16), COMPRESSED | sign)


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=1, max_size=60))
def test_both_groups_hash_to_the_same_point(message: bytes, domain: bytes) -> None:
    assert REFERENCE.encode(REFERENCE.hash_to_curve(message, domain)) == FAST.encode(FAST.hash_to_curve(message, domain))


@EACH_GROUP
def test_another_domain_or_message_is_another_point(group: Group) -> None:
    points = {group.encode(group.hash_to_curve(*pair)) for pair in ((b"a", b"D1"), (b"b", b"D1"), (b"a", b"D2"))}
    assert len(points) == 3


@EACH_GROUP
@pytest.mark.parametrize("data", [IDENTITY, *INSIDE, *OUTSIDE, MIXED], ids=lambda data: data.hex()[:8])
def test_a_canonical_encoding_is_read_and_written_back(group: Group, data: bytes) -> None:
    assert group.encode(group.decode(data)) == data


NOT_ON_CURVE = next(x for x in range(1, 20) if pow(x**3 + 4, (field_modulus - 1) // 2, field_modulus) != 1)
ON_CURVE = normalize(raw_point(NOT_ON_CURVE))[0].n


@EACH_GROUP
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(INSIDE[0][:-1], id="too short"),
        pytest.param(INSIDE[0] + b"\0", id="too long"),
        pytest.param(b"\0" + INSIDE[0], id="a leading zero"),
        pytest.param(bytes(96), id="uncompressed length"),
        pytest.param(point_bytes(ON_CURVE, 0), id="not marked as compressed"),
        pytest.param(point_bytes(ON_CURVE, GREATER), id="sign without compression"),
        pytest.param(point_bytes(ON_CURVE, COMPRESSED | INFINITY), id="infinity with an x"),
        pytest.param(point_bytes(ON_CURVE, COMPRESSED | INFINITY | GREATER), id="infinity with an x and a sign"),
        pytest.param(point_bytes(0, COMPRESSED | INFINITY | GREATER), id="infinity with a sign"),
        pytest.param(point_bytes(1, COMPRESSED | INFINITY), id="infinity with one extra bit"),
        pytest.param(point_bytes(0, INFINITY), id="infinity not marked as compressed"),
        pytest.param(bytes(48), id="all zeros"),
        pytest.param(b"\xff" * 48, id="all ones"),
        pytest.param(point_bytes(field_modulus, COMPRESSED), id="x is p"),
        pytest.param(point_bytes(ON_CURVE + field_modulus, COMPRESSED), id="x is on the curve once reduced"),
        pytest.param(point_bytes(ON_CURVE + field_modulus, COMPRESSED | GREATER), id="x is on the curve once reduced, with a sign"),
        pytest.param(point_bytes((1 << 381) - 1, COMPRESSED), id="largest x"),
        pytest.param(point_bytes(NOT_ON_CURVE, COMPRESSED), id="not on the curve"),
        pytest.param(point_bytes(NOT_ON_CURVE, COMPRESSED | GREATER), id="not on the curve, with a sign"),
    ],
)
def test_anything_but_a_canonical_encoding_is_refused(group: Group, data: bytes) -> None:
    assert REFERENCE.decode(point_bytes(ON_CURVE, COMPRESSED))  # the x of these cases is good in itself
    with pytest.raises(EncodingError):
        group.decode(data)


@EACH_GROUP
@pytest.mark.parametrize("length", [0, 47, 49, 96])
def test_a_wrong_length_is_named(group: Group, length: int) -> None:
    with pytest.raises(EncodingError, match=f"a point takes 48 bytes, got {length}"):
        group.decode((INSIDE[0] * 2)[:length])


def accepted(group: Group, data: bytes) -> bytes | None:
    try:
        return group.encode(group.decode(data))
    except EncodingError:
        return None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([0, COMPRESSED, COMPRESSED | GREATER, COMPRESSED | INFINITY]), st.integers(0, (1 << 381) - 1))
def test_both_groups_accept_the_same_encodings(flags: int, x: int) -> None:
    data = point_bytes(x, flags)
    answer = accepted(REFERENCE, data)
    assert answer in (None, data)
    assert accepted(FAST, data) == answer


HALF = ORDER // 2
EDGES = [
    0,
    1,
    2,
    HALF,
    HALF + 1,
    ORDER - 1,
    ORDER,
    ORDER + 1,
    2**300,
    *(2**bits + i for bits in (8, 14, 16, 32, 64, 128) for i in (-1, 0, 1)),
]
SCALARS = st.one_of(
    st.sampled_from([*EDGES, *(-edge for edge in EDGES)]),
    st.integers(-(2**31), 2**31),
    st.integers(-300, 300),
    st.integers(0, ORDER - 1),
)
POOL = [IDENTITY, *INSIDE]


def sum_of_multiples(pairs: list[tuple[bytes, int]]) -> bytes:
    """Return the sum by the textbook: double and add for each point."""
    total = multiply(G1, 0)
    for data, scalar in pairs:
        total = add(total, multiply(REFERENCE.decode(data), scalar % ORDER))
    return REFERENCE.encode(total)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(POOL), SCALARS), max_size=7))
def test_a_multi_scalar_product_is_the_sum_of_multiples(pairs: list[tuple[bytes, int]]) -> None:
    expected = sum_of_multiples(pairs)
    for group in (REFERENCE, FAST):
        total = group.msm([group.decode(data) for data, _ in pairs], [scalar for _, scalar in pairs])
        assert group.encode(total) == expected


@EACH_GROUP
def test_a_multiple_is_right_on_both_sides_of_every_edge(group: Group) -> None:
    point = group.decode(INSIDE[0])
    for edge in EDGES:
        for scalar in (edge, -edge):
            assert group.encode(group.msm([point], [scalar])) == sum_of_multiples([(INSIDE[0], scalar)]), scalar


@EACH_GROUP
def test_a_product_of_many_short_scalars_is_the_sum_too(group: Group) -> None:
    points = [group.decode(INSIDE[i % 4]) for i in range(40)]
    scalars = [(-1) ** i * (i * 7919 % 1009) for i in range(40)]
    by_point = [sum(scalars[i::4]) for i in range(4)]
    assert group.encode(group.msm(points, scalars)) == group.encode(group.msm(points[:4], by_point))


@EACH_GROUP
def test_empty_and_vanishing_products_are_the_identity(group: Group) -> None:
    point = group.decode(INSIDE[0])
    identity = group.decode(IDENTITY)
    for points, scalars in (([], []), ([point], [0]), ([point], [ORDER]), ([point, point], [5, -5]), ([identity], [7])):
        assert group.encode(group.msm(points, scalars)) == IDENTITY
        assert group.vanishes(points, scalars)


@EACH_GROUP
def test_points_and_scalars_must_be_as_many(group: Group) -> None:
    point = group.decode(INSIDE[0])
    with pytest.raises(ValueError, match="1 points but 2 scalars"):
        group.msm([point], [1, 2])
    with pytest.raises(ValueError, match="2 points but 1 scalars"):
        group.vanishes([point, point], [1])


def test_one_minus_z_kills_what_is_outside_the_subgroup_and_nothing_else() -> None:
    for data in OUTSIDE:
        assert not is_inf(multiply(REFERENCE.decode(data), ORDER))
        assert is_inf(multiply(REFERENCE.decode(data), COFACTOR))
    for data in INSIDE:
        assert is_inf(multiply(REFERENCE.decode(data), ORDER))
        assert not is_inf(multiply(REFERENCE.decode(data), COFACTOR))
    assert not is_inf(multiply(REFERENCE.decode(MIXED), ORDER))
    assert not is_inf(multiply(REFERENCE.decode(MIXED), COFACTOR))


@EACH_GROUP
@pytest.mark.parametrize("data", OUTSIDE, ids=lambda data: data.hex()[:8])
@pytest.mark.parametrize("scalar", [1, -1, 3, 2**128 - 1, ORDER - 1])
def test_a_part_outside_the_subgroup_does_not_count(group: Group, data: bytes, scalar: int) -> None:
    outside, point = group.decode(data), group.decode(INSIDE[0])
    shifted = group.msm([point, outside], [1, 1])
    assert group.encode(shifted) != INSIDE[0]
    assert group.vanishes([outside], [scalar])
    assert group.vanishes([shifted, point], [scalar, -scalar])
    assert group.vanishes([shifted, point, outside], [scalar, -scalar, 1])


@EACH_GROUP
@pytest.mark.parametrize("data", OUTSIDE, ids=lambda data: data.hex()[:8])
def test_a_wrong_sum_does_not_vanish(group: Group, data: bytes) -> None:
    outside, one, other = (group.decode(item) for item in (data, *INSIDE[:2]))
    wrong: list[tuple[list[Any], list[int]]] = [
        ([one], [1]),
        ([one, outside], [1, 1]),
        ([one, other], [1, -1]),
        ([one, one, outside], [2**128, -(2**128) + 1, 5]),
        ([group.decode(MIXED)], [1]),
    ]
    for points, scalars in wrong:
        assert not group.vanishes(points, scalars)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*INSIDE, *OUTSIDE, MIXED]), st.integers(-2, 2)), min_size=1, max_size=6))
def test_both_groups_give_one_verdict_on_any_sum(pairs: list[tuple[bytes, int]]) -> None:
    scalars = [scalar for _, scalar in pairs]
    verdicts = [group.vanishes([group.decode(data) for data, _ in pairs], scalars) for group in (REFERENCE, FAST)]
    assert verdicts[0] == verdicts[1]


def test_groups_go_by_their_names() -> None:
    assert {name: group().name for name, group in GROUPS.items()} == {"py_ecc": "py_ecc", "arkworks": "arkworks"}


@EACH_GROUP
@pytest.mark.parametrize("flags", [COMPRESSED, COMPRESSED | GREATER])
def test_the_points_of_order_three_are_no_encodings(group: Group, flags: int) -> None:
    with pytest.raises(EncodingError):
        group.decode(point_bytes(0, flags))
