"""What a checkpoint needs: the log's signature, and as many known witnesses as the agreement says."""

import pytest

from ledger import note
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, CosignatureSigner
from ledger.errors import FormatError, VerificationError
from ledger.quorum import Policy

TEXT = "example.com/log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG = note.Ed25519Signer("example.com/log", bytes(32))
WITNESSES = [
    CosignatureSigner(f"w{number}.example", kind, bytes([number] * 32))
    for number, kind in ((1, ED25519_COSIGNATURE), (2, ML_DSA_44_COSIGNATURE), (3, ED25519_COSIGNATURE))
]
KEYS = tuple(witness.verifier for witness in WITNESSES)
STRANGER = CosignatureSigner("w4.example", ED25519_COSIGNATURE, bytes([4] * 32))


def lines(*signers: note.Signer, text: str = TEXT) -> bytes:
    return "".join(note.signature_by(signer, text.encode()).encode() for signer in signers).encode()


@pytest.mark.parametrize("quorum", range(4))
@pytest.mark.parametrize("count", range(4))
def test_exactly_the_quorum_opens_it(quorum: int, count: int) -> None:
    policy, signed = Policy(LOG.verifier, KEYS, quorum), note.sign(TEXT, LOG, *WITNESSES[:count])
    if count >= quorum:
        assert policy.open(signed).size == 3
    else:
        with pytest.raises(VerificationError, match=f"has {count} of the {quorum} cosignatures"):
            policy.open(signed)


def test_one_witness_twice_counts_once() -> None:
    signed = note.sign(TEXT, LOG, WITNESSES[0], WITNESSES[0])
    with pytest.raises(VerificationError, match="has 1 of the 2"):
        Policy(LOG.verifier, KEYS, 2).open(signed)


def test_strangers_do_not_count_and_do_not_disturb() -> None:
    signed = note.sign(TEXT, LOG, STRANGER, WITNESSES[0])
    assert Policy(LOG.verifier, KEYS, 1).open(signed).size == 3
    with pytest.raises(VerificationError, match="has 1 of the 2"):
        Policy(LOG.verifier, KEYS, 2).open(signed)


def test_witnesses_without_the_log_are_not_enough() -> None:
    with pytest.raises(VerificationError, match="not signed by the log"):
        Policy(LOG.verifier, KEYS, 3).open(note.sign(TEXT, *WITNESSES))


def test_a_checkpoint_of_another_log_under_the_same_key_is_refused() -> None:
    signed = note.sign(TEXT.replace("example.com/log", "example.com/other"), LOG, *WITNESSES)
    with pytest.raises(VerificationError, match=r"of example\.com/other"):
        Policy(LOG.verifier, KEYS, 3).open(signed)


def test_a_wrong_cosignature_of_a_known_witness_rejects_the_note() -> None:
    signed = note.sign(TEXT, LOG) + lines(WITNESSES[0], text=TEXT.replace("\n3\n", "\n4\n"))
    with pytest.raises(VerificationError, match=r"w1\.example is wrong"):
        Policy(LOG.verifier, KEYS, 0).open(signed)


def test_what_witnesses_answer_is_taken_as_far_as_it_is_good() -> None:
    policy, signed = Policy(LOG.verifier, KEYS, 2), note.sign(TEXT, LOG)
    answers = [
        b"\xff nonsense",
        b"",
        lines(STRANGER),
        lines(WITNESSES[0], text=TEXT.replace("\n3\n", "\n4\n")),
        lines(WITNESSES[1], STRANGER),
        lines(WITNESSES[1]),
        lines(WITNESSES[2]) + b"junk\n",
    ]
    once = policy.cosigned(signed, answers)
    assert [one.name for one in note.parse(once).signatures] == ["example.com/log", "w2.example"]
    twice = policy.cosigned(once, [lines(WITNESSES[2])])
    assert policy.open(twice).size == 3
    assert policy.cosigned(twice, answers) == twice


def test_a_quorum_that_cannot_be_met_or_counts_double_is_refused() -> None:
    with pytest.raises(FormatError, match="cannot be met by 3"):
        Policy(LOG.verifier, KEYS, 4)
    with pytest.raises(FormatError, match="more than once"):
        Policy(LOG.verifier, (*KEYS, CosignatureSigner("again.example", ED25519_COSIGNATURE, bytes([1] * 32)).verifier), 4)
    with pytest.raises(FormatError, match="more than once"):
        Policy(LOG.verifier, (CosignatureSigner("log.example", ED25519_COSIGNATURE, bytes(32)).verifier,), 1)
    with pytest.raises(FormatError):
        Policy.parse(str(LOG.verifier.key), [str(LOG.verifier.key)], 1)
