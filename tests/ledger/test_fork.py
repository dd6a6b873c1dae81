"""Proofs of misbehaviour: every pair of disagreeing checkpoints gives one, and no log that only grows ever does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.fork import ForkProof, find_fork, path_of_tree
from tests.ledger.test_messages import ENTRIES, FORK, LOG, ORIGIN, TREE

KEY = LOG.verifier.key
OTHER = note.Ed25519Signer(ORIGIN, bytes([1] * 32))


def proof_between(first: int, second: int) -> ForkProof:
    path = path_of_tree(first, second, FORK.read) if first < second else ()
    proof = find_fork(KEY, TREE.signed(first), FORK.signed(second), path)
    assert proof is not None
    return proof


@pytest.mark.parametrize("first", range(5, 10))
def test_two_histories_are_proved_at_every_pair_of_sizes(first: int) -> None:
    for second in range(first, 10):
        proof = ForkProof.parse(proof_between(first, second).encode())
        assert proof.verify() == (TREE.checkpoint(first), FORK.checkpoint(second))


def test_the_order_in_which_they_were_met_does_not_matter() -> None:
    path = path_of_tree(5, 8, FORK.read)
    assert find_fork(KEY, FORK.signed(8), TREE.signed(5), path) == find_fork(KEY, TREE.signed(5), FORK.signed(8), path)


@pytest.mark.parametrize("first", range(1, 10))
def test_a_log_that_only_grows_is_never_accused(first: int) -> None:
    for second in range(first, 10):
        path = path_of_tree(first, second, TREE.read) if first < second else []
        for candidate in (path, path[1:], path[::-1], [*path, bytes(32)], [bytes(32), *path[1:]], []):
            assert find_fork(KEY, TREE.signed(first), TREE.signed(second), candidate) is None


def test_histories_that_part_later_are_no_fork_before() -> None:
    for first in range(1, 5):
        assert find_fork(KEY, TREE.signed(first), FORK.signed(8), path_of_tree(first, 8, FORK.read)) is None


def test_others_cannot_be_accused_in_the_logs_name() -> None:
    forged = note.sign(format_checkpoint(FORK.checkpoint(8)), OTHER)
    assert find_fork(KEY, TREE.signed(8), forged) is None
    assert find_fork(OTHER.verifier.key, TREE.signed(8), forged) is None
    elsewhere = note.sign(format_checkpoint(Checkpoint("example.com/b", 8, FORK.checkpoint(8).root)), LOG)
    assert find_fork(KEY, TREE.signed(8), elsewhere) is None


def test_a_signed_root_of_nothing_is_a_fork_of_every_empty_log() -> None:
    odd, empty = (note.sign(format_checkpoint(Checkpoint(ORIGIN, 0, root)), LOG) for root in (bytes(32), TREE.checkpoint(0).root))
    assert find_fork(KEY, odd, empty) is not None
    assert find_fork(KEY, odd, TREE.signed(3)) is not None
    assert find_fork(KEY, empty, TREE.signed(3)) is None


@pytest.mark.parametrize(("first", "second"), [(5, 5), (5, 8), (8, 9)])
def test_every_changed_byte_is_refused(first: int, second: int) -> None:
    whole = proof_between(first, second).encode()
    for at in range(len(whole)):
        for flip in (1, 0x20):
            with pytest.raises(LedgerError):
                ForkProof.parse(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]).verify()


def test_its_parts_must_be_in_order() -> None:
    proof = proof_between(5, 8)
    with pytest.raises(VerificationError, match="at most as many"):
        ForkProof(KEY, proof.second, proof.first, proof.path).verify()
    same = proof_between(5, 5)
    with pytest.raises(VerificationError, match="need no path"):
        ForkProof(KEY, same.first, same.second, (bytes(32),)).verify()
    with pytest.raises(VerificationError, match="do not contradict"):
        ForkProof(KEY, same.first, same.first).verify()


def test_the_same_proof_has_the_same_name() -> None:
    assert proof_between(5, 8).name == proof_between(5, 8).name != proof_between(5, 9).name
    assert len(ENTRIES) == 9


def test_what_is_too_large_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="over the limit"):
        ForkProof.parse(bytes(6 << 20))


@given(st.binary(max_size=200) | st.dictionaries(st.sampled_from(["first", "second", "path", "format", "log-key"]), st.text()).map(str))
def test_any_bytes_are_a_proof_or_a_format_error(data: bytes | str) -> None:
    with pytest.raises(FormatError):
        ForkProof.parse(data if isinstance(data, bytes) else data.replace("'", '"').encode(errors="replace"))
