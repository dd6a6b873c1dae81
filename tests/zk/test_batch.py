"""Batches of equations and proofs: the same verdicts on one core and on several, whatever is wrong with what."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.zk.training_cases import case_of, key, rule_of, source
from zk import batch
from zk.batch import Check, false_ones
from zk.equations import Equation
from zk.errors import CommitmentError
from zk.group import Arkworks, Group, PyEcc
from zk.pedersen import CommitmentKey
from zk.training import TrainingProof, prove


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNARIA_WORKERS", "2")
    monkeypatch.setattr(batch, "_alone", False)


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    for pool in batch._pools.values():
        pool.shutdown()
    batch._pools.clear()


@dataclass(frozen=True)
class Expensive:
    """A proof that says it is large."""

    proof: TrainingProof
    size: int = 1 << 20

    def equation(self, key: CommitmentKey) -> Equation:
        return self.proof.equation(key)


@pytest.fixture(scope="module")
def proofs() -> list[TrainingProof]:
    """Return a right proof, one whose last equation fails, one whose algebra fails, one cut short, and one of another statement."""
    case = case_of(rule_of((5, 3), batch=2, steps=1))
    proof = prove(key(), case.statement, case.samples, source())
    swapped = proof[:19] + proof[67:115] + proof[19:67] + proof[115:]
    false = proof[:-1] + bytes([proof[-1] ^ 1])
    other = replace(case.statement, round=5)
    return [TrainingProof(case.statement, one) for one in (proof, false, swapped, proof[:-1])] + [TrainingProof(other, proof)]


def mixed(proofs: list[TrainingProof], commitment: CommitmentKey) -> list[Check]:
    """Return checks of which those at 1, 4, 5, 6 and 8 fail."""
    point = commitment.commit([3], 5)
    right, wrong = (Equation([value], 5, [point], [-1]) for value in (3, 4))
    honest, false, swapped, short, other = proofs
    return [right, wrong, honest, honest, false, swapped, short, honest, other, right]


@pytest.mark.parametrize("group", [Arkworks, PyEcc])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_verdicts_do_not_depend_on_who_checks(workers: int, group: type[Group], proofs: list[TrainingProof]) -> None:
    commitment = key(group)
    assert false_ones(commitment, mixed(proofs, commitment), workers) == [1, 4, 5, 6, 8]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_small_batches(workers: int, proofs: list[TrainingProof]) -> None:
    assert false_ones(key(), [], workers) == []
    assert false_ones(key(), [proofs[0]], workers) == []
    assert false_ones(key(), [proofs[1]], workers) == [0]
    assert false_ones(key(), [proofs[0], proofs[0]], min(workers, 2)) == []


def test_little_work_stays_here(proofs: list[TrainingProof], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_pools", {})
    monkeypatch.setattr(batch, "_pool", lambda workers: pytest.fail("a process for nothing"))
    assert false_ones(key(), proofs) == [1, 2, 3, 4]


@pytest.mark.parametrize(("wanted", "expected"), [("1", 0), ("2", 1), ("3", 2)])
def test_much_work_takes_as_many_as_are_wanted(
    wanted: str, expected: int, proofs: list[TrainingProof], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNARIA_WORKERS", wanted)
    asked: list[int] = []

    def refuse(workers: int) -> ProcessPoolExecutor:
        asked.append(workers)
        raise OSError("no memory")

    monkeypatch.setattr(batch, "_pool", refuse)
    assert false_ones(key(), [Expensive(proof) for proof in proofs]) == [1, 2, 3, 4]
    assert asked[:1] == [expected] * bool(expected)


def test_a_worker_that_dies_changes_no_verdict(
    proofs: list[TrainingProof], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[Any] = [Dies(proofs[0], os.getpid()), Dies(proofs[1], os.getpid()), Dies(proofs[0], os.getpid())]
    assert false_ones(key(), checks, 2) == [1]
    assert "checking on one core" in caplog.text
    monkeypatch.setattr(batch, "_pool", lambda workers: pytest.fail("another process"))
    assert false_ones(key(), [Expensive(proofs[1]), Expensive(proofs[0])]) == [0]


@dataclass(frozen=True)
class Dies:
    """A proof that kills every process but one."""

    proof: TrainingProof
    parent: int
    size: int = 1

    def equation(self, key: CommitmentKey) -> Equation:
        if os.getpid() != self.parent:
            os._exit(1)
        return self.proof.equation(key)


def _verify(answers: "multiprocessing.Queue[list[int]]", checks: list[Check]) -> None:
    answers.put(false_ones(key(), checks, 2))


def test_a_process_with_workers_ends(proofs: list[TrainingProof]) -> None:
    """Also one that multiprocessing started, which waits for all of its children."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_verify, args=(answers, [proofs[1], proofs[0], proofs[3]]))
    process.start()
    assert answers.get(timeout=120) == [0, 2]
    process.join(60)
    assert process.exitcode == 0


def test_other_errors_are_not_verdicts(proofs: list[TrainingProof], monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(self: TrainingProof, key: CommitmentKey) -> Equation:
        raise ValueError("a defect")

    monkeypatch.setattr(TrainingProof, "equation", defect)
    with pytest.raises(ValueError, match="a defect"):
        false_ones(key(), proofs)
    monkeypatch.setattr(TrainingProof, "equation", lambda self, key: (_ for _ in ()).throw(CommitmentError("wrong")))
    assert false_ones(key(), proofs) == [0, 1, 2, 3, 4]
