"""The beacon: what it depends on, what it chooses, and answers that every version must give again."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from Crypto.Hash import SHA256, SHAKE256
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.beacon import batch_digest, batch_indices, beacon, commit_nonce, participants
from ledger.checkpoint import Checkpoint

RUN = "a5" * 32
BEACON = "be" * 32
CHECKPOINT = Checkpoint("example.com/log", 7, bytes(range(32)))
NONCES = {0: "00" * 32, 3: "33" * 32, 11: "bb" * 32}
CLIENTS = [f"{i:064x}" for i in range(1, 21)]


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def test_a_beacon_is_the_hash_of_run_round_checkpoint_and_nonces() -> None:
    text = b"example.com/log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    nonces = [b"\0\0\0\0", bytes(32), b"\0\0\0\x03", b"\x33" * 32, b"\0\0\0\x0b", b"\xbb" * 32]
    message = framed(b"lunaria/v1/beacon", b"\xa5" * 32, b"\0\0\0\x05", text, *nonces)
    assert beacon(RUN, 5, CHECKPOINT, NONCES) == SHA256.new(message).hexdigest()
    assert beacon(RUN, 5, CHECKPOINT, NONCES) == "fdc0a115885dfc3c6dc02345865cd88604cdf6005b651f044c07bb8f0acd7cdc"


@settings(deadline=None)
@given(st.permutations(list(NONCES)))
def test_the_order_in_which_nonces_came_does_not_matter(order: list[int]) -> None:
    assert beacon(RUN, 5, CHECKPOINT, {client: NONCES[client] for client in order}) == beacon(RUN, 5, CHECKPOINT, NONCES)


def test_everything_the_beacon_is_made_of_changes_it() -> None:
    others = [
        beacon("a6" * 32, 5, CHECKPOINT, NONCES),
        beacon(RUN, 6, CHECKPOINT, NONCES),
        beacon(RUN, 5, Checkpoint("example.com/log2", 7, bytes(range(32))), NONCES),
        beacon(RUN, 5, Checkpoint("example.com/log", 8, bytes(range(32))), NONCES),
        beacon(RUN, 5, Checkpoint("example.com/log", 7, bytes(32)), NONCES),
        beacon(RUN, 5, Checkpoint("example.com/log", 7, bytes(range(32)), ("extension",)), NONCES),
        beacon(RUN, 5, CHECKPOINT, {}),
        beacon(RUN, 5, CHECKPOINT, {0: NONCES[0], 3: NONCES[3]}),
        beacon(RUN, 5, CHECKPOINT, {**NONCES, 12: "cc" * 32}),
        beacon(RUN, 5, CHECKPOINT, {**NONCES, 3: "34" * 32}),
        beacon(RUN, 5, CHECKPOINT, {0: NONCES[3], 3: NONCES[0], 11: NONCES[11]}),
        beacon(RUN, 5, CHECKPOINT, {0: NONCES[0], 4: NONCES[3], 11: NONCES[11]}),
    ]
    assert len({beacon(RUN, 5, CHECKPOINT, NONCES), *others}) == len(others) + 1


def test_a_commitment_to_a_nonce_binds_run_client_and_nonce() -> None:
    nonce = bytes(range(32))
    message = framed(b"lunaria/v1/nonce", b"\xa5" * 32, bytes.fromhex(CLIENTS[0]), nonce)
    assert commit_nonce(RUN, CLIENTS[0], nonce) == SHA256.new(message).hexdigest()
    assert commit_nonce(RUN, CLIENTS[0], nonce) == "28acc6d5b290bb675dc2e1f878b44c4487445d6e7d4df67fc1343d2f53a0b076"
    others = [
        commit_nonce("a6" * 32, CLIENTS[0], nonce),
        commit_nonce(RUN, CLIENTS[1], nonce),
        commit_nonce(RUN, CLIENTS[0], nonce[:31]),
        commit_nonce(RUN, CLIENTS[0], nonce + b"\0"),
    ]
    assert len({commit_nonce(RUN, CLIENTS[0], nonce), *others}) == 5


def test_the_participants_are_the_clients_with_the_lowest_hashes() -> None:
    ranks = [SHA256.new(framed(b"lunaria/v1/participant", bytes.fromhex(BEACON), bytes.fromhex(client))).digest() for client in CLIENTS]
    lowest = sorted(ranks)[:6]
    assert participants(BEACON, CLIENTS, 6) == [i for i, rank in enumerate(ranks) if rank in lowest]
    assert participants(BEACON, CLIENTS, 6) == [5, 8, 10, 11, 12, 19]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.binary(min_size=32, max_size=32))
def test_participants_are_distinct_ascending_and_as_many_as_there_are(enrolled: int, count: int, seed: bytes) -> None:
    chosen = participants(seed.hex(), CLIENTS[:enrolled], count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, enrolled)
    assert set(chosen) <= set(range(enrolled))


def test_a_larger_round_keeps_the_clients_of_a_smaller_one() -> None:
    chosen = [set(participants(BEACON, CLIENTS, count)) for count in range(len(CLIENTS) + 1)]
    assert all(fewer < more for fewer, more in pairwise(chosen))


def test_a_client_is_chosen_by_its_key_not_by_its_number() -> None:
    chosen = {CLIENTS[i] for i in participants(BEACON, CLIENTS, 6)}
    assert {CLIENTS[::-1][i] for i in participants(BEACON, CLIENTS[::-1], 6)} == chosen


def test_every_client_has_its_turn() -> None:
    turns = Counter(i for number in range(400) for i in participants(f"{number:064x}", CLIENTS, 5))
    assert set(turns) == set(range(20))
    assert all(55 < turns[i] < 150 for i in turns)  # 100 expected, standard deviation 9


def test_a_batch_is_a_shuffle_by_an_expansion_of_the_beacon() -> None:
    stream = SHAKE256.new(framed(b"lunaria/v1/batch", b"\xbe" * 32, bytes.fromhex(CLIENTS[4]), b"\0\0\0\0")).read(80)
    keys = [int.from_bytes(stream[8 * i : 8 * i + 8], "big") for i in range(10)]
    assert batch_indices(BEACON, CLIENTS[4], 10, 10).tolist() == sorted(range(10), key=keys.__getitem__)
    assert batch_indices(BEACON, CLIENTS[4], 10, 23).tolist() == [9, 5, 7, 6, 4, 8, 3, 1, 2, 0, 5, 2, 1, 3, 6, 0, 4, 7, 9, 8, 5, 7, 9]


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 100), st.binary(min_size=32, max_size=32))
def test_samples_are_drawn_without_replacement_pass_by_pass(enrolled: int, wanted: int, seed: bytes) -> None:
    indices = batch_indices(seed.hex(), CLIENTS[0], enrolled, wanted)
    assert indices.dtype == np.int64
    assert indices.shape == (wanted,)
    for start in range(0, wanted, enrolled):
        one_pass = indices[start : start + enrolled].tolist()
        assert len(set(one_pass)) == len(one_pass)
        assert set(one_pass) <= set(range(enrolled))


def test_each_pass_each_client_and_each_beacon_shuffles_anew() -> None:
    first, second = np.split(batch_indices(BEACON, CLIENTS[0], 30, 60), 2)
    others = [second, batch_indices(BEACON, CLIENTS[1], 30, 30), batch_indices("bf" * 32, CLIENTS[0], 30, 30)]
    assert all(first.tolist() != other.tolist() for other in others)
    assert all(sorted(other.tolist()) == list(range(30)) for other in others)


def test_wanting_fewer_samples_is_wanting_the_first_ones() -> None:
    every = batch_indices(BEACON, CLIENTS[0], 30, 75).tolist()
    for wanted in (1, 29, 30, 31, 60, 61):
        assert batch_indices(BEACON, CLIENTS[0], 30, wanted).tolist() == every[:wanted]


def test_one_enrolled_sample_is_drawn_again_and_again() -> None:
    assert batch_indices(BEACON, CLIENTS[0], 1, 5).tolist() == [0] * 5


def test_a_batch_is_named_by_its_samples_in_their_order() -> None:
    assert batch_digest([1, 2, 2**32 - 1]) == SHA256.new(bytes.fromhex("0000000100000002ffffffff")).hexdigest()
    assert batch_digest(np.array([1, 2], dtype=np.int64)) == batch_digest([1, 2])
    assert len({batch_digest(batch) for batch in ([1, 2], [2, 1], [1], [1, 2, 0], [0x10002], [])}) == 6
    for index in (-1, 2**32):
        with pytest.raises(OverflowError):
            batch_digest([index])
