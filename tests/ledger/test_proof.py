"""tlog-proofs: written and read back, every place and size, and no change that still verifies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.proof import TlogProof
from ledger.quorum import Policy

LOG = note.Ed25519Signer("example.com/fancylog", bytes(32))
POLICY = Policy(LOG.verifier)
ENTRIES = [b"entry %d" % number for number in range(130)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
# the example of the specification; its extra data and signatures are cut short there, and are whole here
EXAMPLE = """c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog AAAAAAAA
""".encode()


def nodes(level: int, index: int) -> bytes:
    return merkle.root_of(LEAVES[index << level : (index + 1) << level])


def checkpoint_of(size: int, *witnesses: note.Signer) -> bytes:
    signed = sign_checkpoint(Checkpoint("example.com/fancylog", size, merkle.root_of(LEAVES[:size])), LOG)
    text = note.parse(signed).text
    return note.sign(text, LOG, *witnesses)


def proof_of(index: int, size: int, extra: bytes | None = None) -> TlogProof:
    return TlogProof(index, tuple(merkle.inclusion_proof(index, size, nodes)), checkpoint_of(size), extra)


def test_the_example_of_the_specification_is_read_and_written() -> None:
    proof = TlogProof.parse(EXAMPLE)
    assert (proof.index, len(proof.hashes)) == (73894, 5)
    assert proof.extra == b"age-v1.2.1-darwin-arm64.tar.gz"
    assert proof.encode() == EXAMPLE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100, 129])
def test_every_place_verifies_and_no_other_entry_does(size: int) -> None:
    signed = checkpoint_of(size)
    for index in range(size):
        proof = TlogProof.parse(TlogProof(index, tuple(merkle.inclusion_proof(index, size, nodes)), signed).encode())
        assert proof.verify(ENTRIES[index], POLICY).size == size
        with pytest.raises(VerificationError):
            proof.verify(ENTRIES[index + 1], POLICY)
        if size > 1:
            with pytest.raises(VerificationError):
                TlogProof((index + 1) % size, proof.hashes, signed).verify(ENTRIES[index], POLICY)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (4, 7), (6, 7), (77, 100)])
def test_every_changed_byte_is_refused(index: int, size: int) -> None:
    whole = proof_of(index, size).encode()
    for at in range(len(whole)):
        for flip in (1, 0x20):
            changed = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            with pytest.raises(LedgerError):
                TlogProof.parse(changed).verify(ENTRIES[index], POLICY)
    for changed in (whole[:-1], whole + b"\n", whole[1:], b""):
        with pytest.raises(LedgerError):
            TlogProof.parse(changed).verify(ENTRIES[index], POLICY)


def test_it_carries_what_it_is_about_and_trusts_it_in_nothing() -> None:
    proof = TlogProof.parse(proof_of(5, 20, ENTRIES[5]).encode())
    assert proof.extra == ENTRIES[5]
    proof.verify(proof.extra, POLICY)
    with pytest.raises(VerificationError, match="another root"):
        proof.verify(proof.extra + b"!", POLICY)


def test_the_policy_of_its_reader_counts() -> None:
    witnesses = [CosignatureSigner(f"w{number}.example", ED25519_COSIGNATURE, bytes([number] * 32)) for number in (1, 2, 3)]
    keys = tuple(witness.verifier for witness in witnesses)
    proof = TlogProof(5, tuple(merkle.inclusion_proof(5, 20, nodes)), checkpoint_of(20, *witnesses[:2]))
    for quorum in (0, 1, 2):
        proof.verify(ENTRIES[5], Policy(LOG.verifier, keys, quorum))
    with pytest.raises(VerificationError, match="2 of the 3 cosignatures"):
        proof.verify(ENTRIES[5], Policy(LOG.verifier, keys, 3))
    with pytest.raises(VerificationError, match="0 of the 1"):
        proof.verify(ENTRIES[5], Policy(LOG.verifier, keys[2:], 1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ((b"@v1", b"@v2"), "begins with the line"),
        ((b"index 5", b"index 05"), "decimal number"),
        ((b"index 5", b"index -5"), "decimal number"),
        ((b"index 5", b"index 99999999999999999999"), "decimal number"),
        ((b"index 5\n", b"extra \nindex 5\n"), "base64"),
        ((b"index 5\n", b"extra =\nindex 5\n"), "base64"),
        ((b"index 5\n", b"index 5\nAAAA\n"), "not 32 bytes"),
        ((b"index 5\n", b"index 5\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63), "over the limit of 63"),
        ((b"index 5\n", b"extra " + b"AAAA" * 21846 + b"\nindex 5\n"), "over the limit of 65535"),
        ((b"index 5\n", b"\xff\nindex 5\n"), "UTF-8"),
        ((b"index 5\n", b""), "decimal number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_malformed_is_refused(change: tuple[bytes, bytes], text: str) -> None:
    with pytest.raises(FormatError, match=text):
        TlogProof.parse(proof_of(5, 20).encode().replace(*change))


def test_what_is_too_large_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="over the limit"):
        TlogProof.parse(bytes(1 << 22))


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_proof_or_a_format_error(data: bytes) -> None:
    for candidate in (data, b"c2sp.org/tlog-proof@v1\n" + data, b"c2sp.org/tlog-proof@v1\nindex 0\n" + data):
        try:
            proof = TlogProof.parse(candidate)
        except FormatError:
            continue
        assert proof.encode() == candidate
