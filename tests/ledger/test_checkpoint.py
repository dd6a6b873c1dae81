"""Checkpoints: the example of the specification, what is refused, and fuzzing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.checkpoint import (
    MAX_SIZE,
    Checkpoint,
    format_checkpoint,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from ledger.errors import FormatError, VerificationError

EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
LOG = note.Ed25519Signer("example.com/behind-the-sofa", bytes(32))
OTHER = note.Ed25519Signer("example.com/another", bytes([1] * 32))


def test_the_example_of_the_specification_is_read_and_written() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20852163
    assert len(checkpoint.root) == 32
    assert checkpoint.extensions == ()
    assert format_checkpoint(checkpoint) == EXAMPLE


def test_extension_lines_are_exposed() -> None:
    checkpoint = parse_checkpoint(EXAMPLE + "one\ntwo 2\n")
    assert checkpoint.extensions == ("one", "two 2")
    assert format_checkpoint(checkpoint) == EXAMPLE + "one\ntwo 2\n"


def test_a_signed_checkpoint_opens_under_its_key_and_origin_only() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)
    signed = sign_checkpoint(checkpoint, LOG)
    assert open_checkpoint(signed, LOG.verifier, checkpoint.origin) == checkpoint
    with pytest.raises(VerificationError, match="none of the known keys"):
        open_checkpoint(signed, OTHER.verifier, checkpoint.origin)
    with pytest.raises(VerificationError, match=r"not of example\.com/another"):
        open_checkpoint(signed, LOG.verifier, "example.com/another")
    with pytest.raises(VerificationError):
        open_checkpoint(signed.replace(b"20852163", b"20852164"), LOG.verifier, checkpoint.origin)


def test_cosignatures_of_others_do_not_disturb() -> None:
    signed = note.sign(EXAMPLE, LOG, OTHER)
    assert open_checkpoint(signed, LOG.verifier, "example.com/behind-the-sofa").size == 20852163


def test_a_key_signs_only_for_the_origin_it_is_named_after() -> None:
    with pytest.raises(FormatError, match="cannot sign"):
        sign_checkpoint(parse_checkpoint(EXAMPLE), OTHER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "origin\n1\n",
        f"origin\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"origin\n\n1\n{ROOT}\n",
        f"origin\n1\n{ROOT}\n\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n+1\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n 1\n{ROOT}\n",
        f"origin\n1_0\n{ROOT}\n",
        f"origin\n١\n{ROOT}\n",
        f"origin\n{MAX_SIZE + 1}\n{ROOT}\n",
        f"origin\n{'9' * 5000}\n{ROOT}\n",
        f"origin\n1\n{ROOT[:-1]}\n",
        f"origin\n1\n{ROOT} \n",
        f"origin\n1\n{ROOT.replace('2I=', '2J=')}\n",  # not canonical: bits behind the last byte
        "origin\n1\nAAAA\n",
        f"origin\n1\n{ROOT}\nexten\x00sion\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(text)


def test_values_that_cannot_stand_in_a_checkpoint_are_refused() -> None:
    for origin, size, root in (("", 1, bytes(32)), ("a\nb", 1, bytes(32)), ("a", -1, bytes(32)), ("a", 1, b"")):
        with pytest.raises(FormatError):
            Checkpoint(origin, size, root)


@given(
    st.text(st.characters(blacklist_categories=["Cs"], min_codepoint=0x20), min_size=1),
    st.integers(0, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
)
def test_any_checkpoint_survives_its_encoding(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


@given(st.text() | st.lists(st.sampled_from(["origin", "0", "17", "017", ROOT, "", "\n"])).map("\n".join))
def test_parser_refuses_or_reads_what_format_writes(text: str) -> None:
    try:
        checkpoint = parse_checkpoint(text)
    except FormatError:
        return
    assert format_checkpoint(checkpoint) == text


@given(st.binary() | st.text().map(lambda text: note.sign("".join(filter(str.isprintable, text)) + "\n", LOG)))
def test_opening_anything_raises_only_documented_errors(data: bytes) -> None:
    with pytest.raises((FormatError, VerificationError)):
        open_checkpoint(data, LOG.verifier, LOG.verifier.key.name)
