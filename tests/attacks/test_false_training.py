"""Clients of a federation that do not train as agreed, and follow the protocol everywhere else: they enrol, reveal, commit, sign and prove.

Their provers are honest about what was done: they commit to the values of the false training and send what the protocol sends, only
without the check that would stop them. Every one gets its verdict, the honest ones are not touched, and the audit agrees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from flwr.clientapp import ClientApp

from clients.commitments import client_key, data_blinds
from clients.member import IntArray, Trainer
from ledger.audit import audit
from ledger.entries import TRAINING_PROOF, Reference, decode_contribution, decode_enrolment
from ledger.export import write_export
from ledger.judge import Expected, training_statement
from ledger.messages import LedgerView, TrainRequest
from ledger.verdicts import Reason
from tests.attacks.crooked import Crooked
from tests.federation import OK, Contribution, Federation, LocalMember, client, recommit, terms
from zk import argument, closing, sgd
from zk.argument import Given
from zk.field import decode_scalars
from zk.rule import Rule
from zk.sgd import Step, flatten, unflatten
from zk.training.relations import TrainingArgument
from zk.training.shape import DATA
from zk.training.witness import from_steps, multiplicities, sample_rows

Weights = Sequence[IntArray]


@dataclass(frozen=True)
class Lie:
    """A false training: the steps behind the proof, and the update that is claimed for them."""

    steps: list[Step]
    update: IntArray
    x: IntArray
    y: IntArray


def result(steps: Sequence[Step]) -> IntArray:
    return flatten(steps[-1].updated) - flatten(steps[0].weights)


def honest(rule: Rule, start: Weights, x: IntArray, y: IntArray) -> Lie:
    steps = list(sgd.trace(rule, start, x, y))
    return Lie(steps, result(steps), x, y)


def crooked(how: Crooked) -> Callable[[Rule, Weights, IntArray, IntArray], Lie]:
    def train(rule: Rule, start: Weights, x: IntArray, y: IntArray) -> Lie:
        steps = how.run(rule, start, x, y)
        return Lie(steps, result(steps), x, y)

    return train


def claiming(change: Callable[[IntArray], IntArray]) -> Callable[[Rule, Weights, IntArray, IntArray], Lie]:
    """Train as agreed, and claim another update."""

    def train(rule: Rule, start: Weights, x: IntArray, y: IntArray) -> Lie:
        lie = honest(rule, start, x, y)
        return replace(lie, update=change(lie.update))

    return train


def one_step_less(rule: Rule, start: Weights, x: IntArray, y: IntArray) -> Lie:
    lie = honest(rule, start, x, y)
    return replace(lie, update=result(lie.steps[:-1]))


LIES: dict[str, Callable[[Rule, Weights, IntArray, IntArray], Lie]] = {
    "nothing": claiming(np.zeros_like),
    "noise": claiming(lambda update: np.random.default_rng(1).integers(-(2**20), 2**20, update.size)),
    "the opposite": claiming(lambda update: -update),
    "one unit more in one weight": claiming(lambda update: update + np.eye(1, update.size, 7, dtype=np.int64)[0]),
    "twice the learning rate": crooked(Crooked(numerator=2)),
    "weaker activations": crooked(Crooked(activation=lambda A: np.maximum(A, 0) >> 3)),
    "no rounding of errors": crooked(Crooked(backward=lambda E, shift: E >> shift)),
    "leaky units": crooked(Crooked(derivative=lambda A: np.ones_like(A))),
    "one step less": one_step_less,
    "from another model": lambda rule, start, x, y: honest(rule, [layer + 2**20 for layer in start], x, y),
    "on other samples": lambda rule, start, x, y: honest(rule, start, x[::-1].copy(), y),
    "on samples of its own choice": lambda rule, start, x, y: honest(rule, start, 255 - x, y),
    "with other labels": lambda rule, start, x, y: honest(rule, start, x, np.roll(y, 1, axis=1)),
}


def liar(train: Callable[[Rule, Weights, IntArray, IntArray], Lie]) -> type[LocalMember]:
    """Return a client that trains in round 1 as ``train`` does, and proves what it did as well as it can be proved."""

    class Liar(LocalMember):
        lie: Lie

        def contribute(self, request: TrainRequest, view: LedgerView, weights: Weights, trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            if request.round != 1:
                return update, samples, reply
            assert self.state is not None
            false = unflatten(self.rule(), self.lie.update)
            committed = recommit(self, false, decode_scalars(reply.blinds, 2), reply)
            signed = self.resign(committed, proof=Reference.of(reply.proof, TRAINING_PROOF))
            self.state = replace(self.state, statement=signed.statement)
            return false, samples, replace(signed, proof=reply.proof)

        def _proof(self, expected: Expected, update: IntArray, x: IntArray, y: IntArray, indices: IntArray) -> bytes:
            if expected.round != 1:
                return super()._proof(expected, update, x, y, indices)
            assert self.state is not None
            rule = expected.rule
            self.lie = train(rule, unflatten(rule, expected.weights), x[indices], y[indices])
            enrolled = decode_enrolment(self.state.enrolment).statement
            statement = training_statement(expected, enrolled, self.state.rows, self.lie.update)
            key = client_key(self.state.opening().agreement.row_width)
            prover = TrainingArgument(statement, key.width)
            witness = from_steps(prover.relations, self.lie.steps, self.lie.x, self.lie.y)
            witness.rows[DATA] = sample_rows(prover.relations.shape, x[indices], y[indices])
            witness.tensors.update(multiplicities(prover.relations, witness.tensors))
            prover = TrainingArgument(statement, key.width, witness.values)
            blinds = data_blinds(self.state.row_seed, len(x))
            given = Given(witness.rows, [blinds[index] for index in indices])
            return argument.prove(prover, key, witness.tensors, given, self._source())

    return Liar


def with_proof(change: Callable[[bytes], bytes]) -> type[LocalMember]:
    """Return a client that trains as agreed and sends other bytes as its proof in round 1."""

    class Careless(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Weights, trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            if request.round != 1:
                return update, samples, reply
            proof = change(reply.proof)
            signed = self.resign(reply, proof=Reference.of(proof, TRAINING_PROOF) if proof else None)
            assert self.state is not None
            self.state = replace(self.state, statement=signed.statement)
            return update, samples, replace(signed, proof=proof)

    return Careless


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "last byte": lambda proof: proof[:-1] + bytes([proof[-1] ^ 1]),
    "first byte": lambda proof: bytes([proof[0] ^ 1]) + proof[1:],
    "truncated": lambda proof: proof[:-32],
    "longer": lambda proof: proof + bytes(32),
    "zeros": lambda proof: proof[:20] + bytes(len(proof) - 20),
    "scalars that are not reduced": lambda proof: proof[:-32] + b"\xff" * 32,
}


def audited(folder: Path) -> None:
    export = folder.parent / "export.tar"
    write_export(folder, export)
    for backend in ("arkworks", "py_ecc"):
        report = audit(export, backend=backend)
        assert report.verified, report.findings


@pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
def test_no_false_training_passes(folder: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "_check_values", lambda *_: None)  # the check of its own values that an honest prover makes
    cheaters = [client(number, liar(train)) for number, train in enumerate(LIES.values())]
    count = len(cheaters)
    clients: list[ClientApp] = [*cheaters, client(count), client(count + 1)]
    agreement = terms(len(clients), 2, proof={"kind": "training"}, rounds={"reply-timeout": 60})
    run = Federation(folder, clients, agreement, backend=backend).run()
    assert dict(zip(LIES, run.verdicts(1), strict=False)) == dict.fromkeys(LIES, Reason.BAD_PROOF)
    assert run.verdicts(1)[count:] == [OK, OK]
    assert run.verdicts(2) == [OK] * len(clients)
    run.check()
    audited(folder)


def test_other_bytes_are_no_proof(folder: Path) -> None:
    kinds = [*(with_proof(change) for change in BYTES.values()), with_proof(lambda _: b"")]
    clients = [*(client(number, kind) for number, kind in enumerate(kinds)), client(len(kinds))]
    agreement = terms(len(clients), 2, proof={"kind": "training"}, rounds={"reply-timeout": 60})
    run = Federation(folder, clients, agreement).run()
    assert run.verdicts(1) == [*[Reason.BAD_PROOF] * len(BYTES), Reason.NO_PROOF, OK]
    assert run.verdicts(2) == [OK] * len(clients)
    run.check()
    audited(folder)


def test_proofs_of_others_and_of_other_rounds(folder: Path) -> None:
    """Each reply carries a valid proof: of another client, or of this one in the round before."""
    seen: dict[tuple[str, int], bytes] = {}

    class Copier(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Weights, trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            me = decode_contribution(reply.statement).statement.client
            others = [proof for (who, number), proof in seen.items() if who != me and number == request.round]
            seen[me, request.round] = reply.proof
            proof = seen[me, 1] if request.round == 2 else others[0] if others else reply.proof
            signed = self.resign(reply, proof=Reference.of(proof, TRAINING_PROOF))
            assert self.state is not None
            self.state = replace(self.state, statement=signed.statement)
            return update, samples, replace(signed, proof=proof)

    agreement = terms(3, 2, proof={"kind": "training"}, rounds={"reply-timeout": 60, "minimum-accepted": 1})
    run = Federation(folder, [client(0, Copier), client(1, Copier), client(2)], agreement).run()
    assert sorted(map(str, run.verdicts(1))) == ["accepted", "accepted", "bad-proof"]
    assert run.verdicts(2) == [Reason.BAD_PROOF, Reason.BAD_PROOF, OK]
    run.check()
    audited(folder)
