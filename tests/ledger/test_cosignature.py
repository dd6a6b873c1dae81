"""Cosignatures of both algorithms: what they sign, what another implementation makes of them, and what is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger import note
from ledger.cosignature import (
    ED25519_COSIGNATURE,
    ML_DSA_44_COSIGNATURE,
    CosignatureSigner,
    CosignatureVerifier,
    cosigned_at,
)
from ledger.errors import FormatError, VerificationError

TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
TIME = 1679315147
LOG = note.Ed25519Signer("example.com/behind-the-sofa", bytes(32))
KINDS = pytest.mark.parametrize("kind", [ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE])
# the examples of tlog-cosignature (a checkpoint with a cosignature) and tlog-witness (an answer): lines without their keys
EXAMPLES = [
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==",
    "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==",
]


def signer(kind: int, name: str = "witness.example.com/w1", number: int = 1, at: int = TIME) -> CosignatureSigner:
    return CosignatureSigner(name, kind, bytes([number] * 32), lambda: at)


def test_an_ed25519_cosignature_signs_the_message_of_the_specification() -> None:
    value = signer(ED25519_COSIGNATURE).sign(TEXT.encode())
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    assert value == (TIME).to_bytes(8, "big") + Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)).sign(message)


def test_an_ml_dsa_44_cosignature_signs_the_structure_of_the_specification() -> None:
    value = signer(ML_DSA_44_COSIGNATURE).sign(TEXT.encode())
    assert (len(value), value[:8]) == (8 + 2420, TIME.to_bytes(8, "big"))
    message = b"".join(
        [
            b"subtree/v1\n\x00",
            b"\x16witness.example.com/w1",
            TIME.to_bytes(8, "big"),
            b"\x1bexample.com/behind-the-sofa",
            bytes(8),
            (20852163).to_bytes(8, "big"),
            base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="),
        ]
    )
    MLDSA44PrivateKey.from_seed_bytes(bytes([1] * 32)).public_key().verify(value[8:], message)


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_of_the_specifications_have_the_parts_of_a_cosignature(line: str) -> None:
    (signature,) = note.parse(f"{TEXT}\n{line}\n".encode()).signatures
    assert signature.encode() == line + "\n"
    assert len(signature.value) == 8 + 64
    if line is EXAMPLES[0]:
        assert cosigned_at(signature) == TIME


@KINDS
def test_a_cosigned_note_verifies_and_tells_the_time(kind: int) -> None:
    witness = signer(kind)
    signed = note.sign(TEXT, LOG, witness)
    verified = note.verify(signed, [LOG.verifier, witness.verifier])
    assert [one.name for one in verified.signatures] == [LOG.verifier.key.name, "witness.example.com/w1"]
    assert cosigned_at(verified.signatures[1]) == TIME
    assert note.VerifierKey.parse(str(witness.verifier.key)) == witness.verifier.key


@KINDS
def test_every_byte_of_it_counts(kind: int) -> None:
    witness, text = signer(kind), TEXT.encode()
    value = witness.sign(text)
    assert witness.verifier.verify(text, value)
    step = 1 if kind == ED25519_COSIGNATURE else 37
    for at in range(0, len(value), step):
        assert not witness.verifier.verify(text, value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]), at
    for other in (value[:-1], value + b"\0", b"", value[:8]):
        assert not witness.verifier.verify(text, other)


@KINDS
def test_it_is_of_one_checkpoint(kind: int) -> None:
    witness = signer(kind)
    value = witness.sign(TEXT.encode())
    for old, new in (("20852163", "20852164"), ("sofa", "bed"), ("CsUY", "DsUY")):
        assert not witness.verifier.verify(TEXT.replace(old, new).encode(), value)
    assert not signer(kind, number=2).verifier.verify(TEXT.encode(), value)


def test_only_ml_dsa_44_commits_to_the_name_and_leaves_extensions_out() -> None:
    extended = (TEXT + "extension\n").encode()
    for kind, name_matters in ((ED25519_COSIGNATURE, False), (ML_DSA_44_COSIGNATURE, True)):
        value = signer(kind).sign(TEXT.encode())
        renamed = signer(kind, name="witness.example.com/w2").verifier
        assert renamed.verify(TEXT.encode(), value) is not name_matters
        assert signer(kind).verifier.verify(extended, value) is name_matters


@KINDS
def test_a_time_beyond_the_limit_is_refused(kind: int) -> None:
    for at, good in (((1 << 63) - 1, True), (1 << 63, False)):
        witness = signer(kind, at=at)
        assert witness.verifier.verify(TEXT.encode(), witness.sign(TEXT.encode())) is good


@KINDS
def test_what_is_no_checkpoint_is_not_cosigned(kind: int) -> None:
    with pytest.raises(FormatError):
        signer(kind).sign(b"hello\n")


@pytest.mark.parametrize(
    "key",
    [
        LOG.verifier.key,
        note.VerifierKey("w", 4, bytes(31)),
        note.VerifierKey("w", 6, bytes(1311)),
        note.VerifierKey("w", 6, bytes(32)),
        note.VerifierKey("w", 5, bytes(32)),
        note.VerifierKey("w", 4, bytes(32)),  # the point of order four: everybody signs for it
        note.VerifierKey("w" * 256, 4, b"\x05" * 32),
    ],
    ids=["log", "short", "short-ml-dsa", "ed25519-as-ml-dsa", "unknown", "small-order", "long-name"],
)
def test_keys_that_cannot_be_a_witness_are_refused(key: note.VerifierKey) -> None:
    with pytest.raises(FormatError):
        CosignatureVerifier(key)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(FormatError, match="32 bytes, not 31"):
        CosignatureSigner("w", 4, bytes(31))
    with pytest.raises(FormatError, match="its type must be"):
        CosignatureSigner("w", 1, bytes(32))


def test_an_origin_that_ml_dsa_44_cannot_carry() -> None:
    text = TEXT.replace("example.com/behind-the-sofa", "x" * 256).encode()
    with pytest.raises(FormatError, match="255 bytes"):
        signer(ML_DSA_44_COSIGNATURE).sign(text)
    assert not signer(ML_DSA_44_COSIGNATURE).verifier.verify(text, bytes(8 + 2420))


@KINDS
def test_tlog_scales_reads_our_cosignatures_and_we_read_its(kind: int) -> None:
    """An implementation that none of us wrote."""
    signing = pytest.importorskip("tlog_scales.signing", reason="the package tlog-scales is not installed")
    tlog = pytest.importorskip("tlog_scales.tlog")
    witness = signer(kind)
    signed = note.sign(TEXT, LOG, witness)
    theirs = tlog.Checkpoint.from_text(signed.decode())
    ours = signing.Vkey.from_string(str(witness.verifier.key))
    for key in (signing.Vkey.from_string(str(LOG.verifier.key)), ours):
        theirs.verify(key)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it raises
        tlog.Checkpoint.from_text(signed.decode().replace("20852163", "20852164")).verify(
            signing.Vkey.from_string(str(witness.verifier.key))
        )
    if kind == ML_DSA_44_COSIGNATURE:  # it signs with this one only
        signer_ = signing.MLDSA44CosignatureSigner("witness.example.com/w1", bytes([1] * 32))
        note_ = tlog.Checkpoint.make_signed(theirs.origin, theirs.size, theirs.root_hash, [signer_]).serialize().encode()
        assert note.verify(note_, [witness.verifier]).text == TEXT
        with pytest.raises(VerificationError):
            note.verify(note_.replace(b"20852163", b"20852164"), [witness.verifier])
