"""Messages: fields of the right types, and a client that follows one ledger only."""

from collections.abc import Mapping
from dataclasses import fields, replace

import pytest

from ledger import merkle, note
from ledger.checkpoint import Checkpoint, format_checkpoint, sign_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.fork import ForkError
from ledger.messages import EnrolReply, Fields, LedgerView, RevealReply, RevealRequest, TrainReply, TrainRequest
from ledger.note import Ed25519Signer
from ledger.quorum import Policy

ORIGIN = "example.com/log"
LOG = Ed25519Signer(ORIGIN, bytes(32))
POLICY = Policy(LOG.verifier)
ENTRIES = [b"entry %d" % i for i in range(9)]


class Tree:
    """A log in memory, whose entries can be another history than ENTRIES."""

    def __init__(self, entries: list[bytes], signer: Ed25519Signer = LOG) -> None:
        self.entries, self.signer = entries, signer
        self.nodes: dict[tuple[int, int], bytes] = {}
        for size, entry in enumerate(entries):
            for level, index, value in merkle.new_nodes(size, [merkle.leaf_hash(entry)], self.read):
                self.nodes[level, index] = value

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def checkpoint(self, size: int, origin: str = ORIGIN) -> Checkpoint:
        return Checkpoint(origin, size, merkle.root(size, self.read))

    def signed(self, size: int) -> bytes:
        return sign_checkpoint(self.checkpoint(size), self.signer)

    def view(self, size: int, old: int = 0, index: int = 0) -> LedgerView:
        return LedgerView(
            checkpoint=self.signed(size),
            old_size=old,
            consistency=merkle.consistency_proof(old, size, self.read) if old else [],
            entry=self.entries[index],
            entry_index=index,
            inclusion=merkle.inclusion_proof(index, size, self.read),
        )


TREE = Tree(ENTRIES)
FORK = Tree([*ENTRIES[:4], b"something else", *ENTRIES[5:]])


@pytest.mark.parametrize("size", range(1, 10))
def test_a_client_follows_a_ledger_that_only_grows(size: int) -> None:
    for index in range(size):
        assert TREE.view(size, 0, index).follow(POLICY, None) == TREE.checkpoint(size)
        for old in range(1, size + 1):
            assert TREE.view(size, old, index).follow(POLICY, TREE.signed(old)) == TREE.checkpoint(size)


def test_the_first_view_needs_no_proof_of_consistency() -> None:
    view = replace(TREE.view(5), old_size=3, consistency=[bytes(32)])
    assert view.follow(POLICY, None) == TREE.checkpoint(5)


def refusal(view: LedgerView, seen: bytes | None, kind: type[LedgerError] = VerificationError) -> str:
    with pytest.raises(kind) as caught:
        view.follow(POLICY, seen)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_that_the_log_did_not_sign_is_refused() -> None:
    stranger = Tree(ENTRIES, Ed25519Signer(ORIGIN, b"\1" * 32)).view(5)
    assert "none of the known keys" in refusal(stranger, None)
    signed = TREE.view(5).checkpoint
    text, signature = signed.split(b"\n\n")
    larger = text.replace(b"\n5\n", b"\n6\n") + b"\n\n" + signature
    assert "signature" in refusal(replace(TREE.view(5), checkpoint=larger), None)
    moved = sign_checkpoint(TREE.checkpoint(6), LOG).split(b"\n\n")[0] + b"\n\n" + signature
    assert "signature" in refusal(replace(TREE.view(6), checkpoint=moved), None)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = Ed25519Signer("example.com/other", bytes(32))
    foreign = sign_checkpoint(TREE.checkpoint(5, "example.com/other"), other)
    assert "none of the known keys" in refusal(replace(TREE.view(5), checkpoint=foreign), None)


def test_another_origin_signed_with_the_logs_own_key_is_refused() -> None:

    forged = note.sign(format_checkpoint(TREE.checkpoint(5, "example.com/other")), LOG)
    assert "the checkpoint is of example.com/other, not of example.com/log" in refusal(replace(TREE.view(5), checkpoint=forged), None)


@pytest.mark.parametrize("checkpoint", [b"", b"\xff", b"text\n", b"a" * (2 << 20), TREE.view(5).checkpoint[:-1]])
def test_a_malformed_checkpoint_is_refused(checkpoint: bytes) -> None:
    refusal(replace(TREE.view(5), checkpoint=checkpoint), None, FormatError)


def test_a_ledger_that_shrank_is_refused() -> None:
    view = replace(TREE.view(5), old_size=7)
    assert refusal(view, TREE.signed(7)) == "the ledger shrank from 7 to 5 entries: keep both checkpoints"


@pytest.mark.parametrize("old", [0, 3, 5])
def test_the_proof_starts_from_the_size_that_was_seen(old: int) -> None:
    message = f"the server proves consistency from size {old}, but size 4 was seen last"
    assert refusal(TREE.view(8, old), TREE.signed(4)) == message


@pytest.mark.parametrize(("old", "size"), [(5, 5), (5, 6), (5, 8), (8, 9), (9, 9)])
def test_another_history_is_refused(old: int, size: int) -> None:
    for seen, shown in ((TREE, FORK), (FORK, TREE)):
        with pytest.raises(ForkError, match=r"^the ledger shows another history than before \(") as caught:
            shown.view(size, old).follow(POLICY, seen.signed(old))
        proof = caught.value.proof
        if (old, size) == (8, 9):  # the proof leaves the node out that would show it
            assert proof is None
            assert str(caught.value).endswith("): keep both checkpoints")
        else:
            assert proof is not None
            assert proof.verify() == (seen.checkpoint(old), shown.checkpoint(size))
            assert str(caught.value).endswith("): its signatures prove it")


def test_a_fork_after_what_was_seen_is_no_other_history() -> None:
    assert FORK.view(8, 4).follow(POLICY, TREE.signed(4)) == FORK.checkpoint(8)


def test_a_proof_of_consistency_that_is_cut_padded_or_changed_is_refused() -> None:
    good = TREE.view(8, 3)
    proof = good.consistency
    changed = [bytes(32), *proof[1:]]
    for bad in ([], proof[:-1], [*proof, bytes(32)], changed, proof[::-1], [*proof[:-1], proof[-1][:31]], [*proof[:-1], b""]):
        message = refusal(replace(good, consistency=bad), TREE.signed(3))
        assert message.startswith("the ledger shows another history than before (")
    same = TREE.view(8, 8)
    refusal(replace(same, consistency=[bytes(32)]), TREE.signed(8))


def test_an_entry_that_is_not_in_the_ledger_is_refused() -> None:
    good = TREE.view(8, 3, 5)
    proof = good.inclusion
    for bad in (
        replace(good, entry=b"something else"),
        replace(good, entry=ENTRIES[4]),
        replace(good, entry_index=4),
        replace(good, entry_index=8),
        replace(good, entry_index=-1),
        replace(good, inclusion=[]),
        replace(good, inclusion=proof[:-1]),
        replace(good, inclusion=[*proof, bytes(32)]),
        replace(good, inclusion=[proof[0][:31], *proof[1:]]),
        replace(good, inclusion=TREE.view(8, 3, 4).inclusion),
        replace(good, inclusion=TREE.view(7, 3, 5).inclusion),
    ):
        for seen, view in ((TREE.signed(3), bad), (None, bad)):
            assert "inclusion of entry" in refusal(view, seen)


def test_an_inner_node_cannot_pass_for_an_entry() -> None:
    left, right = (merkle.leaf_hash(entry) for entry in ENTRIES[:2])
    forged = replace(TREE.view(4), entry=left + right, entry_index=0, inclusion=TREE.view(4).inclusion[1:])
    refusal(forged, None)


def test_a_client_whose_replies_were_lost_is_shown_the_way_from_where_it_is() -> None:
    proofs = {size: b"".join(merkle.consistency_proof(size, 8, TREE.read)) for size in (3, 4, 7)}
    view = replace(TREE.view(8, 2), unconfirmed=list(proofs), unconfirmed_proofs=list(proofs.values()))
    for size in (2, 3, 4, 7):
        assert view.follow(POLICY, TREE.signed(size)) == TREE.checkpoint(8)
    for size in (1, 5, 6, 8):
        assert f"but size {size} was seen last" in refusal(view, TREE.signed(size))
    forked = replace(FORK.view(8, 2), unconfirmed=[7], unconfirmed_proofs=[b"".join(merkle.consistency_proof(7, 8, FORK.read))])
    with pytest.raises(ForkError) as caught:
        forked.follow(POLICY, TREE.signed(7))
    assert caught.value.proof is not None
    for bad in (b"", proofs[3][:-1], proofs[3] + b"x", proofs[4]):
        refusal(replace(view, unconfirmed_proofs=[bad, b"", b""]), TREE.signed(3))
    refusal(replace(view, unconfirmed_proofs=[]), TREE.signed(3))


def test_a_quorum_of_witnesses_is_demanded() -> None:
    witness = CosignatureSigner("w.example", ED25519_COSIGNATURE, bytes([1] * 32))
    policy = Policy(LOG.verifier, (witness.verifier,), 1)
    view = TREE.view(5)
    with pytest.raises(VerificationError, match="has 0 of the 1 cosignatures"):
        view.follow(policy, None)
    cosigned = replace(view, checkpoint=note.sign(format_checkpoint(TREE.checkpoint(5)), LOG, witness))
    assert cosigned.follow(policy, None) == TREE.checkpoint(5)


# ---- fields

EXAMPLES: list[Fields] = [
    TREE.view(5, 3),
    EnrolReply(b"statement", b"rows", b"proof"),
    RevealRequest(3),
    RevealReply(b"nonce"),
    TrainRequest(3, [0, 2], [b"a", b"b"]),
    TrainReply(b"statement", b"commitment", b"blinds"),
]
EACH_MESSAGE = pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)


@EACH_MESSAGE
def test_a_message_is_read_back_from_its_fields(message: Fields) -> None:
    assert type(message).from_fields(message.to_fields()) == message


@EACH_MESSAGE
def test_a_record_may_hold_the_fields_of_other_messages_too(message: Fields) -> None:
    record = {**TREE.view(5, 3).to_fields(), "more": 1, **message.to_fields()}
    assert type(message).from_fields(record) == message


@EACH_MESSAGE
def test_a_missing_field_is_refused_by_its_name(message: Fields) -> None:
    assert len(fields(message)) > 0  # type: ignore[arg-type]  # every subclass is a dataclass
    for name in message.to_fields():
        record = {key: value for key, value in message.to_fields().items() if key != name}
        with pytest.raises(FormatError, match=f"the message lacks {name}, or it is not "):
            type(message).from_fields(record)


@EACH_MESSAGE
def test_a_field_of_another_type_is_refused_by_its_name(message: Fields) -> None:
    for name, value in message.to_fields().items():
        others: list[object] = [None, "text", 1.5, {"a": 1}, (1,), object]
        others += [other for other in (b"bytes", 7, [b"list"]) if type(other) is not type(value)]
        for other in others:
            record: Mapping[str, object] = {**message.to_fields(), name: other}
            with pytest.raises(FormatError, match=f"the message lacks {name}, or it is not {type(value).__name__}"):
                type(message).from_fields(record)


def test_nothing_is_read_from_an_empty_record() -> None:
    for message in EXAMPLES:
        with pytest.raises(FormatError):
            type(message).from_fields({})


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        (RevealRequest, {"round": True}),
        (TrainRequest, {"round": 1, "clients": ["a"], "nonces": [b"a"]}),
        (TrainRequest, {"round": 1, "clients": [True], "nonces": [b"a"]}),
        (TrainRequest, {"round": 1, "clients": [1], "nonces": ["a"]}),
    ],
)
def test_the_items_of_a_list_are_of_their_type(kind: type[Fields], record: Mapping[str, object]) -> None:
    with pytest.raises(FormatError):
        kind.from_fields(record)
