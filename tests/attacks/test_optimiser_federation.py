"""A federation with momentum, weight decay, dropout and a norm bound, proofs included; and clients that train otherwise."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from clients import member as members
from clients.member import IntArray
from ledger.agreement import Agreement
from ledger.audit import audit
from ledger.canonical import load_vector
from ledger.entries import AgreementEntry, RoundEntry
from ledger.export import write_export
from ledger.verdicts import Reason
from tests.federation import OK, Contribution, Federation, LocalMember, cheat, client, federate, recommit, terms
from zk.dropout import dropped_units
from zk.field import decode_scalars
from zk.rule import Rule


def everything(count: int = 1) -> Agreement:
    return terms(
        3,
        count,
        training={"momentum": 0.9, "weight-decay": 0.05, "dropout": 0.2},
        aggregation={"maximum-update-norm": 3.0, "optimizer": "adam"},
        proof={"kind": "training"},
    )


def test_it_runs_and_audits(folder: Path) -> None:
    agreement = everything(2)
    rule = agreement.rule
    assert (rule.momentum, rule.decay, rule.dropout, rule.norm) == (Fraction(9, 10), Fraction(1, 160), 5, Fraction(3))
    run = federate(folder, [client(i) for i in range(3)], agreement=agreement)
    assert [run.verdicts(number) for number in (1, 2)] == [[OK, OK, OK]] * 2
    write_export(folder, folder.parent / "export.tar")
    for backend in ("arkworks", "py_ecc"):
        assert audit(folder.parent / "export.tar", backend=backend).verified


def test_the_mean_is_rounded_to_the_grid_of_the_model_once(folder: Path) -> None:
    agreement = terms(3, 1, training={"momentum": 0.9})
    run = federate(folder, [client(i) for i in range(3)], agreement=agreement)
    (entry,) = [entry for entry in run.entries if isinstance(entry, RoundEntry)]
    assert entry.aggregate is not None
    rule, opening = agreement.rule, run.entries[0]
    assert isinstance(opening, AgreementEntry)
    before, after, total = (
        load_vector(run.evidence.get(part.digest, part.size), rule.size, "evidence")
        for part in (opening.model, entry.model_after, entry.aggregate.sum)
    )
    exact = [Fraction(int(value), entry.aggregate.samples << rule.plan.coefficient_bits) for value in total]
    assert [int(change) for change in after - before] == [(value + Fraction(1, 2)).__floor__() for value in exact]


@pytest.mark.parametrize("kind", ["in units of the model", "seven eighths of it", "one unit more"])
def test_an_update_of_other_training_fails_its_proof(folder: Path, kind: str) -> None:
    """The proof is the honest one: what is claimed and committed to is something else."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        rule = member.rule()
        match kind:
            case "in units of the model":
                other = [layer >> rule.plan.coefficient_bits for layer in update]
            case "seven eighths of it":
                other = [layer - (layer >> 3) for layer in update]
            case _:
                other = [layer + 1 for layer in update]
        committed = recommit(member, other, decode_scalars(reply.blinds, 2), reply)
        return other, samples, replace(committed, proof=reply.proof)

    run = Federation(folder, [client(0), cheat(1, change), client(2)], everything()).run()
    assert run.verdicts(1) == [OK, Reason.BAD_PROOF, OK]


def test_a_client_that_drops_other_units_cannot_prove_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_another(rule: Rule, beacon: bytes, key: bytes) -> tuple[IntArray, ...]:
        return dropped_units(rule, beacon, key[::-1])

    monkeypatch.setattr(members, "dropped_units", of_another)
    run = Federation(folder, [client(0), client(1), client(2)], everything()).run()
    assert run.verdicts(1) == [Reason.CLIENT_ERROR] * 3
