"""Signed notes: vectors of the specification and of Go's implementation, what is refused, and fuzzing."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.errors import FormatError, VerificationError

SPECIFICATION_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_SUM_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
# From the documentation of golang.org/x/mod/sumdb/note.
NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

ALICE = note.Ed25519Signer("alice.example/log", bytes(32))
BOB = note.Ed25519Signer("bob.example/witness", bytes([1] * 32))
TEXT = "first\n\nsecond\n"
SIGNED = note.sign(TEXT, ALICE, BOB)


def lines(count: int) -> bytes:
    """Signature lines by keys that nobody knows."""
    return b"".join(b"\xe2\x80\x94 key%d AAAAAAAA\n" % index for index in range(count))


@pytest.mark.parametrize("text", [SPECIFICATION_KEY, GO_SUM_KEY, NEUMANN_KEY])
def test_keys_of_others_are_read_and_written(text: str) -> None:
    key = note.VerifierKey.parse(text)
    assert str(key) == text
    assert key.kind == note.ED25519
    assert key.key_id.hex() == text.split("+")[1]


def test_a_note_of_another_implementation_verifies() -> None:
    verifier = note.Ed25519Verifier(note.VerifierKey.parse(NEUMANN_KEY))
    verified = note.verify(NEUMANN_NOTE, [verifier])
    assert verified.text.startswith("If you think cryptography")
    assert [signature.name for signature in verified.signatures] == ["PeterNeumann"]
    with pytest.raises(VerificationError, match="PeterNeumann is wrong"):
        note.verify(NEUMANN_NOTE.replace(b"answer", b"anther"), [verifier])


def test_a_note_ends_its_text_at_the_last_blank_line() -> None:
    verified = note.verify(SIGNED, [ALICE.verifier, BOB.verifier])
    assert verified.text == TEXT
    assert [signature.name for signature in verified.signatures] == ["alice.example/log", "bob.example/witness"]
    assert note.parse(SIGNED).encode() == SIGNED


def test_unknown_keys_are_ignored_even_under_a_known_name() -> None:
    impostor = note.Ed25519Signer("alice.example/log", bytes([2] * 32))
    verified = note.verify(note.sign(TEXT, impostor, BOB, ALICE), [ALICE.verifier])
    assert [signature.key_id for signature in verified.signatures] == [ALICE.verifier.key.key_id]
    with pytest.raises(VerificationError, match="none of the known keys"):
        note.verify(note.sign(TEXT, impostor), [ALICE.verifier, BOB.verifier])
    with pytest.raises(VerificationError, match="none of the known keys"):
        note.verify(SIGNED, [])


def test_one_bad_signature_by_a_known_key_rejects_the_note() -> None:
    parsed = note.parse(SIGNED)
    good, bad = parsed.signatures[0], replace(parsed.signatures[1], value=bytes(64))
    for signatures in ((good, bad), (bad, good), (good, good, bad)):
        with pytest.raises(VerificationError, match=r"bob\.example/witness is wrong"):
            note.verify(note.UnverifiedNote(TEXT, signatures).encode(), [ALICE.verifier, BOB.verifier])
    assert note.verify(note.UnverifiedNote(TEXT, (good, bad)).encode(), [ALICE.verifier]).text == TEXT


class Stamped:
    """A signature type of one byte that anything passes: two signatures of a key can differ."""

    key = note.VerifierKey("witness.example", 0x04, bytes(32))

    def __init__(self, stamp: bytes) -> None:
        self.stamp = stamp

    @property
    def verifier(self) -> note.Verifier:
        return self

    def sign(self, text: bytes) -> bytes:
        return self.stamp

    def verify(self, text: bytes, signature: bytes) -> bool:
        return len(signature) == 1


def test_further_signature_types_slot_in_and_a_key_with_two_signatures_counts_once() -> None:
    earlier, later = Stamped(b"1"), Stamped(b"2")
    verified = note.verify(note.sign(TEXT, ALICE, earlier, later), [ALICE.verifier, later])
    assert [signature.name for signature in verified.signatures] == ["alice.example/log", "witness.example"]
    assert verified.signatures[1].value == b"1"
    with pytest.raises(VerificationError, match=r"witness\.example is wrong"):
        note.verify(note.sign(TEXT, ALICE, earlier, Stamped(b"late")), [ALICE.verifier, later])


def test_a_key_that_signs_twice_counts_once() -> None:
    parsed = note.parse(SIGNED)
    doubled = note.UnverifiedNote(TEXT, parsed.signatures * 2).encode()
    assert len(note.verify(doubled, [ALICE.verifier, BOB.verifier, ALICE.verifier]).signatures) == 2


def test_known_keys_that_cannot_be_told_apart_are_refused() -> None:
    class Colliding(note.VerifierKey):
        key_id = ALICE.verifier.key.key_id

    other = note.Ed25519Verifier(Colliding("alice.example/log", note.ED25519, bytes(32)))
    with pytest.raises(VerificationError, match="rename one"):
        note.verify(SIGNED, [ALICE.verifier, other])


def test_every_changed_byte_is_found() -> None:
    verifiers = [ALICE.verifier, BOB.verifier]
    for at in range(len(SIGNED)):
        changed = SIGNED[:at] + bytes([SIGNED[at] ^ 1]) + SIGNED[at + 1 :]
        try:
            accepted = note.verify(changed, verifiers)
        except (FormatError, VerificationError):
            continue
        # The name or the key id of one signature: that is now an unknown key.
        assert accepted.text == TEXT
        assert len(accepted.signatures) == 1


def test_signatures_are_limited_in_number_and_notes_in_size() -> None:
    assert len(note.parse(b"text\n\n" + lines(note.MAX_SIGNATURES)).signatures) == note.MAX_SIGNATURES >= 16
    with pytest.raises(FormatError, match="101 signatures"):
        note.parse(b"text\n\n" + lines(note.MAX_SIGNATURES + 1))
    with pytest.raises(FormatError, match="over the limit"):
        note.parse(b"a" * note.MAX_NOTE_SIZE + b"\n\n" + lines(1))


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n" + lines(1),
        b"text\n\n" + lines(1)[:-1],
        b"text\n\n" + lines(1) + b"\n",
        b"te\rxt\n\n" + lines(1),
        b"te\x00xt\n\n" + lines(1),
        b"te\txt\n\n" + lines(1),
        b"te\xffxt\n\n" + lines(1),
        b"text\n\n- key AAAAAAAA\n",
        "text\n\n— AAAAAAAA\n".encode(),
        "text\n\n—  AAAAAAAA\n".encode(),
        "text\n\n— key  AAAAAAAA\n".encode(),
        "text\n\n— key AAAAAAAA more\n".encode(),
        "text\n\n— k+y AAAAAAAA\n".encode(),
        "text\n\n— k\u00a0y AAAAAAAA\n".encode(),
        "text\n\n— key AAAAAA==\n".encode(),  # a key id and nothing else
        "text\n\n— key AAAAAAA\n".encode(),
        "text\n\n— key AAAAAAB=\n".encode(),
        "text\n\n— key AAAA_AAA\n".encode(),
    ],
)
def test_malformed_notes_are_refused(malformed: bytes) -> None:
    with pytest.raises(FormatError):
        note.parse(malformed)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "\ud800\n"])
def test_texts_that_a_note_cannot_carry_are_not_signed(text: str) -> None:
    with pytest.raises(FormatError):
        note.sign(text, ALICE)


def test_a_note_needs_a_signer() -> None:
    with pytest.raises(FormatError):
        note.sign(TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        SPECIFICATION_KEY.replace("530d903a", "530d903b"),
        SPECIFICATION_KEY.replace("530d903a", "530D903A"),
        SPECIFICATION_KEY.replace("example.com/foo", "example.com/bar"),
        SPECIFICATION_KEY.replace("example.com/foo", "example.com foo"),
        SPECIFICATION_KEY + "=",
        SPECIFICATION_KEY + "\n",
        "name+00000000+",
    ],
)
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        note.VerifierKey.parse(text)


def test_only_ed25519_keys_make_ed25519_verifiers_and_signers() -> None:
    key = note.VerifierKey.parse(SPECIFICATION_KEY)
    for other in (replace(key, kind=4), replace(key, public=key.public[:-1])):
        assert note.VerifierKey.parse(str(other)) == other
        with pytest.raises(FormatError, match="not an Ed25519 key"):
            note.Ed25519Verifier(other)
    with pytest.raises(FormatError, match="one byte"):
        replace(key, kind=256)
    with pytest.raises(FormatError, match="32 bytes"):
        note.Ed25519Signer("name", bytes(31))
    with pytest.raises(FormatError, match="key name"):
        note.Ed25519Signer("two words", bytes(32))


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"], min_codepoint=0x20)))
def test_any_text_survives_signing(text: str) -> None:
    assert note.verify(note.sign(text + "\n", ALICE), [ALICE.verifier]).text == text + "\n"


@given(st.binary() | st.text().map(str.encode) | st.binary().map(lambda data: b"text\n\n" + lines(1) + data))
def test_parse_refuses_or_reads_what_encode_writes(data: bytes) -> None:
    try:
        parsed = note.parse(data)
    except FormatError:
        return
    assert parsed.encode() == data


@given(st.text() | st.builds("{}+{:08x}+{}".format, st.text(), st.integers(0, 2**32 - 1), st.text()))
def test_key_parser_refuses_or_reads_what_str_writes(text: str) -> None:
    try:
        key = note.VerifierKey.parse(text)
    except FormatError:
        return
    assert str(key) == text


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_base64_is_canonical_or_refused(text: str) -> None:
    try:
        data = note.decode_base64(text)
    except FormatError:
        return
    assert base64.b64encode(data).decode() == text
