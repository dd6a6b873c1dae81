"""A client sends commitments and blinds in bytes that no honest client would write.

Both implementations of the group give the same verdict on each: else a server with one of them would write a ledger that an auditor
with the other one refuses.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.clientapp import ClientApp

from ledger.messages import TrainReply
from ledger.verdicts import Reason
from tests.federation import (
    Change,
    Contribution,
    Federation,
    LocalMember,
    cheat,
    client,
    federate,
    judged,
    recommit,
    refused,
    represent,
    terms,
)
from zk.field import ORDER, SCALAR_BYTES
from zk.group import COFACTOR, GROUPS, POINT_BYTES, PyEcc

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
COMPRESSED, INFINITY, SIGN = 1 << 383, 1 << 382, 1 << 381
IDENTITY = (COMPRESSED | INFINITY).to_bytes(POINT_BYTES, "big")


def point(x: int, flags: int = COMPRESSED) -> bytes:
    return (x | flags).to_bytes(POINT_BYTES, "big")


def square(value: int) -> bool:
    return pow(value, (P - 1) // 2, P) == 1


ON_CURVE = next(x for x in range(1, 100) if square(x**3 + 4))
OFF_CURVE = next(x for x in range(1, 100) if not square(x**3 + 4))


def committed(change: Callable[[bytes], bytes]) -> Change:
    """Sign and send other bytes as the commitment."""

    def altered(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        return update, samples, represent(member, change(reply.commitment), reply.blinds, reply)

    return altered


def blinded(change: Callable[[bytes], bytes]) -> Change:
    """Sign and send other bytes as the blinds."""

    def altered(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        return update, samples, represent(member, reply.commitment, change(reply.blinds), reply)

    return altered


def by(change: Change) -> Callable[[int], ClientApp]:
    return lambda number: cheat(number, change)


def first(row: bytes) -> Callable[[bytes], bytes]:
    return lambda data: row + data[len(row) :]


def attacked(folder: Path, change: Change, backend: str, reason: Reason) -> None:
    refused(federate(folder, [client(0), cheat(1, change), client(2)], backend=backend), reason)


def test_commitment_that_is_no_canonical_encoding(folder: Path, backend: str) -> None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "x not below p": first(point(P + ON_CURVE)),
        "x is p": first(point(P)),
        "not on the curve": first(point(OFF_CURVE)),
        "uncompressed by its flag": first(point(ON_CURVE, 0)),
        "identity with an x": first(point(ON_CURVE, COMPRESSED | INFINITY)),
        "identity with a sign": first(point(0, COMPRESSED | INFINITY | SIGN)),
        "zeros": first(bytes(POINT_BYTES)),
        "ones": first(b"\xff" * POINT_BYTES),
        "truncated": lambda data: data[:-1],
        "a row short": lambda data: data[:POINT_BYTES],
        "a row too many": lambda data: data + data[:POINT_BYTES],
        "empty": lambda data: b"",
        "oversized": lambda data: data + bytes(10_000),
    }
    cases = {name: by(committed(change)) for name, change in changes.items()}
    assert judged(folder, cases, backend) == dict.fromkeys(cases, Reason.BAD_ENCODING)


def test_commitment_to_something_else(folder: Path, backend: str) -> None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "identity everywhere": lambda data: IDENTITY * 2,
        "rows swapped": lambda data: data[POINT_BYTES:] + data[:POINT_BYTES],
        "negated": lambda data: bytes([data[0] ^ 0x20]) + data[1:],
        "one row twice": lambda data: data[:POINT_BYTES] * 2,
    }
    cases = {name: by(committed(change)) for name, change in changes.items()}
    assert judged(folder, cases, backend) == dict.fromkeys(cases, Reason.COMMITMENT_MISMATCH)


def scalar(data: bytes) -> int:
    return int.from_bytes(data[:SCALAR_BYTES], "big")


def test_blinds_that_are_no_canonical_scalars(folder: Path) -> None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "the same blind plus r": lambda data: first((scalar(data) + ORDER).to_bytes(32, "big"))(data),
        "r": first(ORDER.to_bytes(32, "big")),
        "ones": first(b"\xff" * 32),
        "truncated": lambda data: data[:-1],
        "one too many": lambda data: data + bytes(32),
        "empty": lambda data: b"",
    }
    cases = {name: by(blinded(change)) for name, change in changes.items()}
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.BAD_ENCODING)


def test_blinds_of_something_else(folder: Path, backend: str) -> None:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "zero": lambda data: bytes(64),
        "swapped": lambda data: data[32:] + data[:32],
        "one more": lambda data: ((scalar(data) + 1) % ORDER).to_bytes(32, "big") + data[32:],
    }
    cases = {name: by(blinded(change)) for name, change in changes.items()}
    assert judged(folder, cases, backend) == dict.fromkeys(cases, Reason.COMMITMENT_MISMATCH)


def outside_the_subgroup(x: int) -> bytes:
    """Return a point without any part in the subgroup of order r: ``r`` times a point of the curve."""
    group = PyEcc()
    doubled = base = group.decode(point(x))
    total = None
    for bit in bin(ORDER)[:1:-1]:  # msm reduces scalars modulo r, so r itself takes double and add
        if bit == "1":
            total = doubled if total is None else group.msm([total, doubled], [1, 1])
        doubled = group.msm([doubled], [2])
    assert total is not None
    assert base is not None
    return group.encode(total)


def plus(torsion: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        group = GROUPS["arkworks"]()
        total = group.msm([group.decode(data[:POINT_BYTES]), group.decode(torsion)], [1, 1])
        return group.encode(total) + data[POINT_BYTES:]

    return change


def test_part_outside_the_subgroup_changes_no_verdict(folder: Path, backend: str) -> None:
    """It neither opens what would not open, nor does it split the verdicts of one check and of a batch."""
    torsion = outside_the_subgroup(ON_CURVE)
    assert torsion != IDENTITY
    clients = [client(0), cheat(1, committed(plus(torsion))), client(2)]
    run = federate(folder, clients, backend=backend)
    assert run.verdicts(1) == [Reason.ACCEPTED] * 3


def test_part_outside_the_subgroup_alone_commits_to_nothing(folder: Path, backend: str) -> None:
    torsion = outside_the_subgroup(ON_CURVE)
    attacked(folder, committed(lambda data: torsion * 2), backend, Reason.COMMITMENT_MISMATCH)


def idle(row: bytes) -> Change:
    """Contribute no change, without blinds: rows of the identity, or of what the verifier takes for it."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        for layer in update:
            layer[:] = 0
        plain = recommit(member, update, [0, 0], reply)
        assert plain.commitment == IDENTITY * 2
        return update, samples, represent(member, row * 2, plain.blinds, plain)

    return change


@pytest.mark.parametrize("row", [IDENTITY, point(0), point(0, COMPRESSED | SIGN)], ids=["identity", "order three", "its negative"])
def test_same_verdict_with_either_implementation(folder: Path, row: bytes) -> None:
    verdicts = []
    for name in GROUPS:
        clients = [client(0), cheat(1, idle(row)), client(2)]
        verdicts.append(Federation(folder / name, clients, terms(3, 1), backend=name).run().verdicts(1))
    assert verdicts[0] == verdicts[1]


def test_cofactor_is_the_one_of_the_standard() -> None:
    assert COFACTOR == 0xD201000000010001


def test_reply_is_what_was_edited(folder: Path) -> None:
    """The helpers of this module sign what they send: an unedited reply passes."""
    sent: list[TrainReply] = []

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        sent.append(represent(member, reply.commitment, reply.blinds, reply))
        return update, samples, sent[0]

    run = federate(folder, [client(0), cheat(1, change), client(2)])
    assert run.verdicts(1) == [Reason.ACCEPTED] * 3
