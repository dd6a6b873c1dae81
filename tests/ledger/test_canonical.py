"""Canonical bytes: one encoding for each value, and nothing else is read."""

import io
import json
import struct
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import digest, dump_json, dump_vector, encodes, load_json, load_vector
from ledger.errors import FormatError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
IntVector = npt.NDArray[np.int64]


def vector(*values: int) -> IntVector:
    return np.array(values, dtype=np.int64)


def test_the_example_of_rfc_8785_is_written_as_it_says() -> None:
    value = json.loads(  # section 3.2.2
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )
    expected = (  # sections 3.2.3 and 3.2.4
        r"""{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"""
        r""""string":"€$\u000f\nA'B\"\\\\\"/"}"""
    )
    assert dump_json(value) == expected.encode()


@given(JSON_VALUES, JSON_VALUES)
def test_a_value_has_the_encoding_that_the_library_writes_and_no_other(value: Any, other: Any) -> None:  # noqa: ANN401
    wrapped = [value]
    data = dump_json(wrapped)
    assert encodes(wrapped, data)
    assert encodes([other], data) == (dump_json([other]) == data)
    for text in (
        json.dumps(wrapped),
        json.dumps(wrapped, separators=(",", ":")),
        json.dumps(wrapped, sort_keys=True, separators=(",", ":")),
    ):
        assert encodes(wrapped, text.encode()) == (text.encode() == data)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ([1.0], b"[1.0]"),
        ([1e16], b"[1e+16]"),
        ([1e-7], b"[1e-07]"),
        ([True], b"[1]"),
        ([1], b"[true]"),
        ([2**53], b"[9007199254740992]"),
        ({"a": -0.0}, b'{"a":-0.0}'),
        (["é"], b'["\\u00e9"]'),
        ({"b": 1, "a": 2}, b'{"b":1,"a":2}'),
        (["\ud800"], b'["\\ud800"]'),
    ],
)
def test_what_python_writes_and_rfc_8785_does_not_is_refused(value: Any, data: bytes) -> None:  # noqa: ANN401
    with suppress(FormatError):
        assert not encodes(value, data)


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    names = {  # section 3.2.3
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(dump_json(names))) == order


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_are_written_as_rfc_8785_says(bits: str, text: str) -> None:
    assert dump_json(struct.unpack(">d", bytes.fromhex(bits))[0]) == text.encode()


@settings(deadline=None)
@given(JSON_VALUES)
def test_what_is_written_can_be_read_and_is_the_only_encoding(value: Any) -> None:  # noqa: ANN401 - any JSON value
    data = dump_json(value)
    assert load_json(data, "it") == value
    for other in (json.dumps(value).encode(), json.dumps(value, indent=1).encode(), data + b"\n", b" " + data):
        if other != data:
            with pytest.raises(FormatError):
                load_json(other, "it")


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_in_which_a_value_was_built_does_not_matter(value: dict[str, int], random: Random) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert dump_json(dict(items)) == dump_json(value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":1,"a":1}', id="a key twice"),
        pytest.param(b'{"a":1,"a":2}', id="a key twice with two values"),
        pytest.param(b'{"b":1,"a":2}', id="keys out of order"),
        pytest.param(b'{"a": 1}', id="a space"),
        pytest.param(b"[1,2]\n", id="a newline"),
        pytest.param(b"[1,2] ", id="a trailing space"),
        pytest.param(b"[1,2]x", id="trailing bytes"),
        pytest.param(b"1.0", id="an integer with a fraction"),
        pytest.param(b"1e3", id="an exponent that is not needed"),
        pytest.param(b"1E+30", id="a capital exponent"),
        pytest.param(b"0.10", id="a trailing zero"),
        pytest.param(b"-0", id="negative zero"),
        pytest.param(b"-0.0", id="negative zero with a fraction"),
        pytest.param(b"01", id="a leading zero"),
        pytest.param(b"9007199254740992", id="2^53"),
        pytest.param(b"-9007199254740993", id="below -2^53"),
        pytest.param(b"1" * 400, id="four hundred digits"),
        pytest.param(b"1" * 5000, id="more digits than Python reads"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b"-Infinity", id="negative infinity"),
        pytest.param(b"1e400", id="beyond the largest float"),
        pytest.param(rb'"\u0041"', id="an escape that is not needed"),
        pytest.param(rb'"\/"', id="an escaped slash"),
        pytest.param(rb'"\u000A"', id="a long escape for a newline"),
        pytest.param(rb'"\ud800"', id="half a character"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbf1", id="a byte order mark"),
        pytest.param("[1]".encode("utf-16"), id="UTF-16"),
        pytest.param(b"'a'", id="single quotes"),
        pytest.param(b"[1,]", id="a trailing comma"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_json_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        load_json(data, "the entry")
    assert "\n" not in str(caught.value)


def test_a_refusal_says_what_was_read() -> None:
    with pytest.raises(FormatError, match="the entry is not canonical JSON"):
        load_json(b"[ ]", "the entry")
    with pytest.raises(FormatError, match="the entry is not valid JSON"):
        load_json(b"[", "the entry")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), b"bytes", {1: 2}, {1, 2}, object(), "\ud800"])
def test_what_canonical_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises(FormatError, match="cannot be written as canonical JSON"):
        dump_json(value)


def test_a_digest_is_the_sha_256_in_hexadecimal() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


VALUES = st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), max_size=20)


@settings(deadline=None)
@given(VALUES)
def test_numpy_writes_and_reads_the_same_tensor(values: list[int]) -> None:
    data = dump_vector(vector(*values))
    small = all(-(2**31) <= value < 2**31 for value in values)
    file = io.BytesIO()
    np.save(file, np.array(values, dtype="<i4" if small else "<i8"))
    assert file.getvalue() == data
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    assert loaded.tolist() == values


@settings(deadline=None)
@given(VALUES)
def test_a_tensor_is_read_back_as_it_was_written(values: list[int]) -> None:
    loaded = load_vector(dump_vector(vector(*values)), len(values), "it")
    assert loaded.dtype == np.int64
    assert loaded.tolist() == values


@pytest.mark.parametrize(
    ("value", "width"), [(2**31 - 1, 4), (-(2**31), 4), (2**31, 8), (-(2**31) - 1, 8), (2**63 - 1, 8), (-(2**63), 8), (0, 4)]
)
def test_a_tensor_takes_four_bytes_for_each_value_unless_one_needs_eight(value: int, width: int) -> None:
    assert len(dump_vector(vector(0, value))) == 128 + 2 * width


def test_how_an_array_lies_in_memory_does_not_matter() -> None:
    straight = np.arange(6, dtype=np.int64)
    assert dump_vector(np.repeat(straight, 2)[::2]) == dump_vector(straight)
    assert dump_vector(straight.astype(">i8")) == dump_vector(straight)


def npy(values: npt.NDArray[Any], version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version=version, allow_pickle=True)
    return file.getvalue()


GOOD = dump_vector(vector(1, -2, 3))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GOOD[:-1], id="one byte short"),
        pytest.param(GOOD + b"\0", id="one byte more"),
        pytest.param(GOOD + bytes(12), id="as many bytes as the wide type takes"),
        pytest.param(GOOD[:128], id="header only"),
        pytest.param(GOOD[:127] + b" " + GOOD[128:], id="header without newline"),
        pytest.param(GOOD.replace(b", }", b",}", 1), id="another header"),
        pytest.param(b"\x93NUMPX" + GOOD[6:], id="another magic"),
        pytest.param(npy(np.array([1, -2, 3], dtype="<i8")), id="wider than the values need"),
        pytest.param(npy(np.array([1, -2, 3], dtype="<i2")), id="narrower"),
        pytest.param(npy(np.array([1, -2, 3], dtype=">i4")), id="big-endian"),
        pytest.param(npy(np.array([1, 2, 3], dtype="<u4")), id="unsigned"),
        pytest.param(npy(np.array([1.0, -2.0, 3.0], dtype="<f8")), id="floats"),
        pytest.param(npy(np.array([1, -2, 3], dtype="<i4"), (2, 0)), id="format version 2"),
        pytest.param(npy(np.array([[1, -2, 3]], dtype="<i4")), id="two dimensions"),
        pytest.param(npy(np.array([1, -2], dtype="<i4")), id="fewer values"),
        pytest.param(npy(np.array([1, -2, 3, 4], dtype="<i4")), id="more values"),
        pytest.param(npy(np.array([1, "a", None], dtype=object)), id="pickled objects"),
    ],
)
def test_anything_but_the_canonical_tensor_of_that_length_is_refused(data: bytes) -> None:
    assert load_vector(GOOD, 3, "the update").tolist() == [1, -2, 3]
    with pytest.raises(FormatError, match="the update is not a canonical tensor of 3 integers"):
        load_vector(data, 3, "the update")


def test_what_was_read_can_be_written_to() -> None:
    loaded = load_vector(GOOD, 3, "it")
    loaded += 1
    assert loaded.tolist() == [2, -1, 4]


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 65_535,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        *(b'{"a":' * n + b"1" + b"}" * n for n in range(940, 1010, 10)),
    ],
    ids=len,
)
def test_deep_nesting_is_refused_whatever_the_stack_allows(data: bytes) -> None:
    with pytest.raises(FormatError):
        load_json(data, "it")


def test_half_a_character_is_no_json() -> None:
    with pytest.raises(FormatError):
        load_json(rb'{"\ud800":1}', "it")
    with pytest.raises(FormatError):
        dump_json({"\ud800": 1})
