"""A witness: the answers of the specification, one by one; and that no two that disagree are ever cosigned, whoever races."""

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger.witness
from ledger import merkle, note
from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, CosignatureSigner, cosigned_at
from ledger.errors import FormatError, StorageError
from ledger.witness import Answer, Witness
from ledger.witnessing import MAX_REQUEST_SIZE, SIZE_TYPE, AddCheckpoint, parse_size
from tests.ledger.test_messages import FORK, LOG, ORIGIN, TREE, Tree

KEYS = [LOG.verifier.key]
SIGNERS = [CosignatureSigner("w.example", kind, bytes([7] * 32), lambda: 1_700_000_000) for kind in (4, 6)]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "state.db", SIGNERS, KEYS)


def request(old: int, new: int, tree: Tree = TREE, proof: Sequence[bytes] | None = None) -> bytes:
    if proof is None:
        proof = merkle.consistency_proof(old, new, tree.read) if 0 < old <= new else []
    return AddCheckpoint(old, tuple(proof), tree.signed(new)).encode()


def conflict(size: int) -> Answer:
    return Answer(409, f"{size}\n".encode(), SIZE_TYPE)


def test_it_follows_a_log_that_grows(witness: Witness) -> None:
    for old, new in ((0, 0), (0, 1), (1, 1), (1, 3), (3, 4), (4, 9), (9, 9)):
        answer = witness.add_checkpoint(request(old, new))
        assert answer.status == 200, answer
        cosigned = note.verify(TREE.signed(new) + answer.body, [signer.verifier for signer in SIGNERS])
        assert [cosigned_at(one) for one in cosigned.signatures] == [1_700_000_000] * 2
        assert answer.body.count(b"\n") == 2


def test_the_first_request_may_be_of_any_size(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 5)).status == 200


def test_400_what_is_malformed(witness: Witness) -> None:
    good = request(0, 5)
    for bad in (b"", b"\n\n", b"old 0", good[:-1], good.replace(b"old 0", b"old 00"), good.replace(b"old 0", b"new 0"), good + b"x"):
        assert witness.add_checkpoint(bad).status == 400, bad
    assert witness.add_checkpoint(good.replace(b"\n\n", b"\nAAAA\n\n", 1)).status == 400
    assert witness.add_checkpoint(good.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 64 + b"\n", 1)).status == 400
    assert witness.add_checkpoint(bytes(MAX_REQUEST_SIZE + 1)).status == 400
    assert witness.add_checkpoint(b"old 0\n\n" + note.sign("no checkpoint\n", LOG)).status == 400


def test_400_an_old_size_above_the_new_one(witness: Witness) -> None:
    assert witness.add_checkpoint(request(6, 5)).status == 400


def test_404_a_log_that_it_does_not_know(witness: Witness) -> None:
    other = note.Ed25519Signer("example.com/b", bytes(32))
    signed = note.sign(format_checkpoint(Checkpoint("example.com/b", 5, bytes(32))), other)
    assert witness.add_checkpoint(AddCheckpoint(0, (), signed).encode()).status == 404


def test_403_no_signature_of_the_log(witness: Witness) -> None:
    text = format_checkpoint(TREE.checkpoint(5))
    for signer in (note.Ed25519Signer(ORIGIN, bytes([9] * 32)), note.Ed25519Signer("example.com/b", bytes(32))):
        assert witness.add_checkpoint(AddCheckpoint(0, (), note.sign(text, signer)).encode()).status == 403
    changed = TREE.signed(5).replace(b"\n5\n", b"\n6\n")
    assert witness.add_checkpoint(AddCheckpoint(0, (), changed).encode()).status == 403


def test_409_says_which_size_it_cosigned_last(witness: Witness) -> None:
    assert witness.add_checkpoint(request(3, 5)) == conflict(0)
    assert witness.add_checkpoint(request(0, 5)).status == 200
    for old in (0, 3, 4):
        assert witness.add_checkpoint(request(old, 9)) == conflict(5)
    assert witness.add_checkpoint(request(3, 4)) == conflict(5)
    assert parse_size(conflict(5).body) == 5
    assert witness.add_checkpoint(request(5, 9)).status == 200


def test_409_two_roots_for_one_size_and_the_proof_is_kept(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 5)).status == 200
    assert witness.fork(ORIGIN) is None
    assert witness.add_checkpoint(request(5, 5, FORK)).status == 409
    proof = witness.fork(ORIGIN)
    assert proof is not None
    assert proof.verify() == (TREE.checkpoint(5), FORK.checkpoint(5))
    assert witness.add_checkpoint(request(5, 9)).status == 200  # its record stands as it was


def test_422_a_proof_that_does_not_verify(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 5, proof=[bytes(32)])).status == 422
    assert witness.add_checkpoint(request(0, 5)).status == 200
    good = merkle.consistency_proof(5, 9, TREE.read)
    for bad in ([], good[:-1], good[1:], [*good, bytes(32)], [bytes(32), *good[1:]]):
        assert witness.add_checkpoint(request(5, 9, proof=bad)).status == 422
    assert witness.add_checkpoint(request(5, 5, proof=[bytes(32)])).status == 422
    assert witness.fork(ORIGIN) is None


def test_422_another_history_and_the_proof_is_kept(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 5)).status == 200
    assert witness.add_checkpoint(request(5, 9, FORK)).status == 422
    proof = witness.fork(ORIGIN)
    assert proof is not None
    assert proof.verify() == (TREE.checkpoint(5), FORK.checkpoint(9))


def test_an_empty_tree_has_one_root(witness: Witness) -> None:
    signed = note.sign(format_checkpoint(Checkpoint(ORIGIN, 0, bytes(32))), LOG)
    assert witness.add_checkpoint(AddCheckpoint(0, (), signed).encode()).status == 422


def test_signatures_of_strangers_are_neither_kept_nor_in_the_way(witness: Witness, tmp_path: Path) -> None:
    text = format_checkpoint(TREE.checkpoint(5))
    signed = note.sign(text, note.Ed25519Signer("stranger.example", bytes([3] * 32)), LOG)
    assert witness.add_checkpoint(AddCheckpoint(0, (), signed).encode()).status == 200
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT note FROM checkpoints").fetchall() == [(TREE.signed(5),)]


def test_it_remembers_when_it_is_started_again(witness: Witness, tmp_path: Path) -> None:
    assert witness.add_checkpoint(request(0, 5)).status == 200
    again = Witness(tmp_path / "state.db", SIGNERS, KEYS)
    assert again.add_checkpoint(request(0, 5, FORK)) == conflict(5)
    assert again.add_checkpoint(request(5, 9)).status == 200


def test_logs_do_not_meet(tmp_path: Path) -> None:
    other = note.Ed25519Signer("example.com/b", bytes([2] * 32))
    witness = Witness(tmp_path / "state.db", SIGNERS, [*KEYS, other.verifier.key])
    assert witness.add_checkpoint(request(0, 5)).status == 200
    signed = note.sign(format_checkpoint(Checkpoint("example.com/b", 5, FORK.checkpoint(5).root)), other)
    assert witness.add_checkpoint(AddCheckpoint(0, (), signed).encode()).status == 200
    assert witness.add_checkpoint(request(5, 9)).status == 200


def test_nothing_is_answered_that_is_not_on_disk(witness: Witness, tmp_path: Path) -> None:
    """The state at the moment of the answer is read by another connection."""
    assert witness.add_checkpoint(request(0, 5)).status == 200
    with sqlite3.connect(f"file:{tmp_path / 'state.db'}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT size FROM checkpoints").fetchall() == [(5,)]


def test_no_cosignature_without_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness(tmp_path / "state.db", SIGNERS, KEYS)
    monkeypatch.setattr(ledger.witness, "_BUSY_SECONDS", 0.05)
    with sqlite3.connect(tmp_path / "state.db", isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            witness.add_checkpoint(request(0, 5))
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(StorageError):
        Witness(tmp_path / "other.db", SIGNERS, KEYS)
    with sqlite3.connect(tmp_path / "foreign.db") as foreign:
        foreign.execute("CREATE TABLE t (x)")
    with pytest.raises(StorageError, match="not the state of a witness"):
        Witness(tmp_path / "foreign.db", SIGNERS, KEYS)


def test_keys_that_cannot_be_served_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="255 bytes"):
        Witness(tmp_path / "state.db", SIGNERS, [note.Ed25519Signer("x" * 256, bytes(32)).verifier.key])
    with pytest.raises(FormatError, match="not an Ed25519 key"):
        Witness(tmp_path / "state.db", SIGNERS, [SIGNERS[0].verifier.key])


def stalling(seconds: float, inside: list[int], most: list[int]) -> Callable[..., None]:
    """Return a check of consistency that stalls, and counts how many stand between reading the record and storing it."""
    check, lock = merkle.verify_consistency, threading.Lock()

    def stalled(*arguments: object) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(seconds)
        with lock:
            inside[0] -= 1
        check(*arguments)  # type: ignore[arg-type]  # as they came

    return stalled


def test_a_stalled_request_lets_nobody_past(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race of the specification: two requests from one old size, both checked before either is stored."""
    assert witness.add_checkpoint(request(0, 3)).status == 200
    most = [0]
    monkeypatch.setattr(merkle, "verify_consistency", stalling(0.15, [0], most))
    bodies = [request(3, new, tree) for new in (5, 6, 7, 8) for tree in (TREE, FORK)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        statuses = [answer.status for answer in pool.map(witness.add_checkpoint, bodies)]
    assert (statuses.count(200), statuses.count(409)) == (1, len(bodies) - 1)
    assert most == [1]


def _race(path: Path, body: bytes, start: "multiprocessing.synchronize.Barrier", statuses: "multiprocessing.Queue[int]") -> None:
    racer = Witness(path, SIGNERS, KEYS)
    start.wait(30)
    statuses.put(racer.add_checkpoint(body).status)


def test_processes_on_one_state_cosign_one_history(tmp_path: Path) -> None:
    """Two witnesses started on one file by mistake."""
    path = tmp_path / "state.db"
    assert Witness(path, SIGNERS, KEYS).add_checkpoint(request(0, 3)).status == 200
    context = multiprocessing.get_context("spawn")
    start, statuses = context.Barrier(4), context.Queue()
    bodies = [request(3, new, tree) for new in (8, 9) for tree in (TREE, FORK)]
    racers = [context.Process(target=_race, args=(path, body, start, statuses)) for body in bodies]
    for racer in racers:
        racer.start()
    found = sorted(statuses.get(timeout=30) for _ in racers)
    for racer in racers:
        racer.join(10)
    assert found == [200, 409, 409, 409]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=12))
def test_whatever_is_asked_the_cosigned_checkpoints_are_one_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    witness = Witness(tmp_path_factory.mktemp("witness") / "state.db", SIGNERS[:1], KEYS)
    cosigned: list[tuple[int, bool]] = []
    for old, new, forked in steps:
        if witness.add_checkpoint(request(old, new, FORK if forked else TREE)).status == 200:
            cosigned.append((new, forked and new > 4))
    sizes = [size for size, _ in cosigned]
    assert sizes == sorted(sizes)
    assert len({forked for size, forked in cosigned if size > 4}) <= 1


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_request_or_a_format_error(data: bytes) -> None:
    for candidate in (data, b"old 0\n" + data, b"old 0\n\n" + data, request(0, 5) + data):
        try:
            parsed = AddCheckpoint.parse(candidate)
        except FormatError:
            continue
        assert parsed.encode() == candidate


@pytest.mark.parametrize("body", [b"", b"1", b"01\n", b"-1\n", b"1\n\n", b"1" * 40, b"\xff\n", b" 1\n"])
def test_a_size_is_a_decimal_number_and_a_newline(body: bytes) -> None:
    with pytest.raises(FormatError):
        parse_size(body)


def test_both_algorithms_are_there() -> None:
    assert [signer.verifier.key.kind for signer in SIGNERS] == [ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE]
