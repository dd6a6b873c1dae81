"""Every parser of the open formats, on good bytes that were changed and on the worst that fits a limit.

Whatever comes in, a parser returns what encodes to the same bytes again, or raises a LedgerError; it does not hang, and it does not take
memory out of proportion.
"""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger import merkle, note
from ledger.checkpoint import format_checkpoint, parse_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, CosignatureSigner
from ledger.errors import FormatError, LedgerError
from ledger.fork import MAX_FORK_SIZE, ForkProof
from ledger.note import MAX_NOTE_SIZE
from ledger.proof import MAX_PROOF_SIZE, TlogProof
from ledger.quorum import Policy
from ledger.tiles import Bundle, Tile, decode_bundle, decode_tile, encode_bundle, entries_path, parse_path, tile_path
from ledger.witnessing import MAX_REQUEST_SIZE, AddCheckpoint, parse_size
from tests.ledger.test_fork import proof_between
from tests.ledger.test_messages import LOG, TREE
from tests.ledger.test_witness import request

WITNESSES = [CosignatureSigner(f"w{kind}.example", kind, bytes([kind] * 32)) for kind in (ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE)]
POLICY = Policy(LOG.verifier, tuple(witness.verifier for witness in WITNESSES), 2)
SIGNED = note.sign(format_checkpoint(TREE.checkpoint(7)), LOG, *WITNESSES)
ENTRIES = [b"", b"a", b"b" * 300]


def opened(data: bytes) -> bytes:
    """Read a note as a client does: what the policy lets through says what was signed, whatever strangers add."""
    assert POLICY.open(data) == TREE.checkpoint(7)
    return note.parse(data).encode()


def text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError("the parsers of texts are given texts") from None


def path_again(data: bytes) -> bytes:
    place = parse_path(text(data))
    return (tile_path(place) if isinstance(place, Tile) else entries_path(place)).encode()


PARSERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "note": (SIGNED, lambda data: note.parse(data).encode()),
    "verified": (SIGNED, opened),
    "verifier-key": (str(LOG.verifier.key).encode(), lambda data: str(note.VerifierKey.parse(text(data))).encode()),
    "checkpoint": (
        note.parse(SIGNED).text.encode(),
        lambda data: format_checkpoint(parse_checkpoint(text(data))).encode(),
    ),
    "proof": (
        TlogProof(3, tuple(merkle.inclusion_proof(3, 7, TREE.read)), SIGNED, b"extra").encode(),
        lambda data: TlogProof.parse(data).encode(),
    ),
    "request": (request(3, 7), lambda data: AddCheckpoint.parse(data).encode()),
    "size": (b"1234\n", lambda data: f"{parse_size(data)}\n".encode()),
    "fork": (proof_between(5, 8).encode(), lambda data: ForkProof.parse(data).encode()),
    "path": (b"tile/entries/x001/234.p/5", path_again),
    "tile": (bytes(range(96)), lambda data: b"".join(decode_tile(Tile(0, 0, 3), data))),
    "bundle": (encode_bundle(ENTRIES), lambda data: encode_bundle(decode_bundle(Bundle(0, 3), data))),
}

PIECES = [b"\n", b"\n\n", b" ", b"+", b"=", b"0", b"-1", b"\x00", b"\xff", b"extra ", b"\\ud800", b"\xed\xa0\x80"]
PIECES += ["—".encode(), "\u2028".encode()]
Edit = tuple[str, int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "copy", "move"]),
        st.integers(0, 4000),
        st.integers(0, 200),
        st.sampled_from(
            [b"\n", b"\n\n", b" ", b"+", b"=", b"0", b"-1", b"\x00", b"\xff", "—".encode(), b"extra ", b"\xed\xa0\x80", "\u2028".encode()]
        )
        | st.binary(max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[Edit]) -> bytes:
    for kind, where, length, piece in edits:
        at = where % (len(data) + 1)
        part = data[at : at + length]
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "copy":
            data = data[:at] + part + data[at:]
        elif kind == "move":
            data = part + data[:at] + data[at + length :]
    return data


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_good_is_read_and_written(name: str) -> None:
    data, parse = PARSERS[name]
    assert parse(data) == data


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150, deadline=1000)
@given(edits=EDITS)
@example(edits=[("insert", 0, 0, b"\n")])
def test_what_is_changed_is_refused_or_read_as_it_stands(name: str, edits: list[Edit]) -> None:
    good, parse = PARSERS[name]
    data = edited(good, edits)
    refused = ""
    try:
        again = parse(data)
    except LedgerError as error:
        refused = str(error)
    assert refused or again == data
    assert "\n" not in refused
    assert len(refused) < 4000


def worst(limit: int) -> dict[str, bytes]:
    """Input as large as a limit lets in, made to split, nest and repeat."""
    line = b"A" * 43 + b"=\n"
    return {
        "newlines": b"\n" * limit,
        "lines": b"a\n" * (limit // 2),
        "hashes": (line * (limit // len(line)))[: limit - 1] + b"\n",
        "one line": b"x" * limit,
        "signatures": SIGNED + ("— a AAAAAAAA\n".encode() * (limit // 15))[: limit - len(SIGNED)],
        "dashes": "—".encode() * (limit // 3),
        "brackets": b"[" * limit,
        "objects": b'{"a":' * (limit // 5),
        "numbers": b"[" + b"1," * (limit // 2 - 2) + b"1]",
        "digits": b"9" * limit,
        "proof": b"c2sp.org/tlog-proof@v1\nindex 0\n" + line * ((limit - 40) // len(line)),
        "extra": b"c2sp.org/tlog-proof@v1\nextra " + b"AAAA" * ((limit - 40) // 4),
        "request": b"old 0\n" + line * ((limit - 10) // len(line)),
        "surrogates": b'{"first":"' + b"\\ud800" * (limit // 6 - 10) + b'"}',
        "quotes": b'{"first":"' + b'\\"' * (limit // 2 - 10) + b'"}',
    }


@pytest.mark.parametrize(
    ("name", "limit"), [("note", MAX_NOTE_SIZE), ("proof", MAX_PROOF_SIZE), ("request", MAX_REQUEST_SIZE), ("fork", MAX_FORK_SIZE)]
)
def test_the_worst_that_fits_takes_neither_time_nor_memory(name: str, limit: int) -> None:
    _, parse = PARSERS[name]
    for what, data in worst(limit).items():
        assert len(data) <= limit, what
        tracemalloc.start()
        began = time.process_time()
        with suppress(LedgerError):
            parse(data)
        took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert took < 10, (what, took)  # tracemalloc makes it many times slower
        assert peak < 64 * limit, (what, peak / limit)


def test_a_fork_of_large_notes_is_still_proved() -> None:
    """A log cannot make its checkpoints too large to be accused of them."""
    from ledger.checkpoint import Checkpoint
    from ledger.fork import find_fork

    lines = ('"' * 1_000_000,)
    one, other = (note.sign(format_checkpoint(Checkpoint("example.com/log", 5, bytes([n] * 32), lines)), LOG) for n in (1, 2))
    proof = find_fork(LOG.verifier.key, one, other)
    assert proof is not None
    assert ForkProof.parse(proof.encode()).verify()[0].size == 5
