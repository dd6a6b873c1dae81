"""SHA-256 is that of FIPS 180-4, whoever calls it, however often, at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from Crypto.Hash import SHA256
from hypothesis import given
from hypothesis import strategies as st

from zk.hashing import frame, sha256, unframe

# NIST's examples for SHA-256, and the empty message.
VECTORS = [
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]


@pytest.mark.parametrize(("message", "digest"), VECTORS)
def test_vectors(message: bytes, digest: str) -> None:
    assert sha256(message).hex() == digest


@given(st.lists(st.binary(max_size=200)))
def test_parts_are_hashed_as_their_concatenation(parts: list[bytes]) -> None:
    assert sha256(*parts) == SHA256.new(b"".join(parts)).digest()


def test_threads_do_not_disturb_each_other() -> None:
    messages = [bytes([number]) * (100 * number) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(10):
            assert list(threads.map(sha256, messages)) == [SHA256.new(message).digest() for message in messages]


@given(st.lists(st.binary(max_size=20)))
def test_what_was_framed_comes_apart_as_it_was(parts: list[bytes]) -> None:
    assert unframe(frame(*parts)) == parts


@given(st.lists(st.binary(max_size=20), min_size=1), st.data())
def test_a_frame_that_is_cut_off_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    whole = frame(*parts)
    ends = {len(frame(*parts[:count])) for count in range(len(parts) + 1)}
    cut = data.draw(st.sampled_from([length for length in range(len(whole)) if length not in ends]))
    with pytest.raises(ValueError, match="cut off"):
        unframe(whole[:cut])
