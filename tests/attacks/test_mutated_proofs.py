"""Random changes of valid proofs: each is refused, by an error of this package or by its equation, and by nothing else."""

import random

import pytest

from tests.zk import enrolment_cases, training_cases
from zk.field import SCALAR_BYTES
from zk.group import POINT_BYTES
from zk.rule import Loss
from zk.training import prove

TIMES = 25
POINTS = (b"\xc0" + bytes(47), b"\x80" + bytes(47), b"\xa0" + bytes(47), b"\x40" + bytes(47), b"\xff" * 48, bytes(48))
SCALARS = (bytes(32), b"\xff" * 32, b"\x01" * 32)


def mutated(proof: bytes, magic: int, rng: random.Random) -> bytes:
    """Return the proof with a bit, a point, a scalar or its length changed, or two of its parts exchanged."""
    data = bytearray(proof)
    point = magic + POINT_BYTES * rng.randrange(8)
    scalar, other = (len(proof) - SCALAR_BYTES * rng.randrange(1, 40) for _ in range(2))
    match rng.randrange(6):
        case 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            data = data[: rng.randrange(len(data))]
        case 2:
            data += rng.randbytes(rng.choice((1, SCALAR_BYTES, POINT_BYTES)))
        case 3:
            data[point : point + POINT_BYTES] = rng.choice(POINTS)
        case 4:
            data[scalar : scalar + SCALAR_BYTES] = rng.choice((*SCALARS, rng.randbytes(SCALAR_BYTES)))
        case _:
            data[scalar : scalar + SCALAR_BYTES], data[other : other + SCALAR_BYTES] = (
                data[other : other + SCALAR_BYTES],
                data[scalar : scalar + SCALAR_BYTES],
            )
    return bytes(data)


@pytest.mark.parametrize("kind", ["softmax", "squared", "dropout", "momentum"])
def test_proofs_of_training(kind: str) -> None:
    rule = {
        "softmax": training_cases.rule_of((5, 3), batch=2, steps=2),
        "squared": training_cases.rule_of((5, 2, 1), Loss.SQUARED, 2, 1),
        "dropout": training_cases.dropout_rule(2, (5, 4, 3)),
        "momentum": training_cases.history_rule(steps=2),
    }[kind]
    case = training_cases.case_of(rule)
    proof = prove(training_cases.key(), case.statement, case.samples, training_cases.source())
    assert training_cases.accepts(case.statement, proof)
    rng = random.Random(1)  # noqa: S311 - which bytes are changed is no secret
    for changed in (mutated(proof, len(b"lunaria training 1\n"), rng) for _ in range(TIMES)):
        assert changed == proof or not training_cases.accepts(case.statement, changed)


@pytest.mark.parametrize("count", [1, 5])
def test_proofs_of_enrolment(count: int) -> None:
    case = enrolment_cases.case_of(enrolment_cases.enrolment_rule(), count)
    proof = case.prove()
    assert enrolment_cases.accepts(case.statement, proof)
    rng = random.Random(1)  # noqa: S311 - as above
    for changed in (mutated(proof, len(b"lunaria enrolment 1\n"), rng) for _ in range(TIMES)):
        assert changed == proof or not enrolment_cases.accepts(case.statement, changed)
