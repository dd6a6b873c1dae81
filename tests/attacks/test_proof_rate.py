"""Proofs on demand: who is chosen must prove, who keeps back a nonce is out, and a false update passes only when nobody looks.

Real proofs of training, on tiny models; each verdict is the audit's as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from clients.member import IntArray, Trainer
from ledger.agreement import Agreement
from ledger.audit import audit
from ledger.beacon import provers
from ledger.entries import (
    STATEMENT,
    TRAINING_PROOF,
    CommitmentsEntry,
    ContributionStatement,
    Entry,
    ProofStatement,
    Reference,
    SignedContribution,
    SignedProof,
    decode_proof,
)
from ledger.errors import VerificationError
from ledger.export import write_export
from ledger.identity import signing_key
from ledger.messages import LedgerView, ProveReply, ProveRequest, RevealReply, RevealRequest, TrainRequest
from ledger.report import Check, Report
from ledger.state import RunState
from ledger.verdicts import Reason
from tests.federation import OK, Contribution, Federation, LocalMember, Run, client, recommit, terms

CLIENTS = 4


def agreed(rate: float = 0.5, count: int = 2, clients: int = CLIENTS) -> Agreement:
    return terms(clients, count, layers=(5, 3), proof={"kind": "training", "rate": rate})


def chosen(run: Run, number: int = 1) -> set[str]:
    """Return the keys of those that had to prove in a round."""
    entry, standing = run.rounds[number - 1], commitments(run)[number - 1]
    digests = {item.client: item.contribution.digest for item in standing.contributions}
    revealed = {reveal.client for reveal in entry.reveals}
    digests = {client: digest for client, digest in digests.items() if client in revealed}
    return {run.state.keys[client] for client in provers(entry.beacon, digests, run.agreement.proof.provers(len(digests)))}


def commitments(run: Run) -> list[CommitmentsEntry]:
    return [entry for entry in run.entries if isinstance(entry, CommitmentsEntry)]


def verified(folder: Path) -> Report:
    export = folder.parent / "export.tar"
    write_export(folder, export)
    report = audit(export, backend="arkworks")
    assert report.verified, report.findings
    return report


def one_cheater(folder: Path, kind: type[LocalMember], rate: float = 0.999, count: int = 1) -> Run:
    """Run with the cheater at position 1; at this rate everybody whose contribution stands is chosen."""
    clients = [client(0), client(1, kind), client(2), client(3)]
    return Federation(folder, clients, agreed(rate, count)).run()


@pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
def test_half_of_them_prove(folder: Path, backend: str) -> None:
    run = Federation(folder, [client(i) for i in range(CLIENTS)], agreed(0.5), backend=backend).run()
    run.check()
    assert run.outcome == "completed"
    assert [entry.kind for entry in run.entries[1 + CLIENTS :]] == ["commitments", "round", "commitments", "round", "closing"]
    for number in (1, 2):
        assert run.verdicts(number) == [OK] * CLIENTS
        proved = {run.state.keys[verdict.client] for verdict in run.rounds[number - 1].verdicts if verdict.proof is not None}
        assert proved == chosen(run, number)
        assert len(proved) == 2
    report = verified(folder)
    assert report.counts[Check.PROOFS] == 4


def test_one_of_ten_at_a_rate_of_a_tenth() -> None:
    """A rate means what it says, not what its nearest binary fraction does."""
    assert [agreed(0.1).proof.provers(count) for count in (0, 1, 10, 11, 20, 100)] == [0, 1, 1, 2, 2, 10]
    assert [agreed(0.3).proof.provers(count) for count in (10, 100)] == [3, 30]


class Liar(LocalMember):
    """Contributes an update that is no training, properly committed to and signed; when asked, it proves what it should have done."""

    def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
        update, samples, reply = super().contribute(request, view, weights, trainer)
        false = [change + 1 for change in update]
        lie = recommit(self, false, [3], reply)
        assert self.state is not None
        self.state = replace(self.state, statement=lie.statement)
        return false, samples, lie


def test_a_false_update_is_caught_when_chosen(folder: Path) -> None:
    run = one_cheater(folder, Liar)
    run.check()
    assert run.verdicts(1) == [OK, Reason.BAD_PROOF, OK, OK]
    verified(folder)


def test_a_false_update_that_is_not_chosen_passes(folder: Path) -> None:
    """What a rate below 1 means, on purpose: the chance to be caught is the rate."""
    passed = 0
    for seed in range(4):
        run = Federation(folder / str(seed), [client(0), client(1, Liar), client(2), client(3 + seed)], agreed(0.5, 1)).run()
        looked_at = run.clients[1] in chosen(run)
        assert run.verdicts(1)[1] == (Reason.BAD_PROOF if looked_at else OK)
        passed += not looked_at
    assert 0 < passed < 4


def test_keeping_back_the_nonce_does_not_avoid_the_choice(folder: Path) -> None:
    class Silent(Liar):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            if self.state is not None and self.state.contributed == request.round:
                raise RuntimeError("no")
            return super().reveal(request, view)

    run = one_cheater(folder, Silent, 0.5)
    assert run.verdicts(1) == [OK, Reason.WITHHELD, OK, OK]
    run.check()
    verified(folder)


def test_another_nonce_for_the_choice(folder: Path) -> None:
    class Grinder(LocalMember):
        def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
            reply = super().reveal(request, view)
            return RevealReply(bytes(32)) if self.state is not None and self.state.opened else reply

    run = one_cheater(folder, Grinder)
    assert run.verdicts(1) == [OK, Reason.WITHHELD, OK, OK]
    verified(folder)


def test_who_was_chosen_and_is_silent_has_no_proof(folder: Path) -> None:
    class Silent(LocalMember):
        def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
            raise RuntimeError("no")

    run = one_cheater(folder, Silent)
    assert run.verdicts(1) == [OK, Reason.NO_PROOF, OK, OK]
    run.check()
    assert "1 rejections are the server's word" in " ".join(verified(folder).notes)


def test_a_run_that_ends_between_contributions_and_proofs(folder: Path) -> None:
    """Whoever runs the server may stop it when the choice displeases: no model follows from it, and the audit says so."""
    stop = Event()

    class Stopping(LocalMember):
        def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
            stop.set()
            return super().prove(request, view, weights, trainer)

    run = Federation(folder, [client(i, Stopping) for i in range(CLIENTS)], agreed(), stop=stop).run()
    run.check()
    assert [entry.kind for entry in run.entries[1 + CLIENTS :]] == ["commitments", "closing"]
    assert "4 contributions have no verdict" in " ".join(verified(folder).notes)


def forged(member: LocalMember, reply: ProveReply, proof: bytes | None = None, **claims: object) -> ProveReply:
    """Sign other claims about a proof, or about another one."""
    said = decode_proof(reply.statement).statement
    sent = reply.proof if proof is None else proof
    fields = {**dict(said), "proof": Reference.of(sent, TRAINING_PROOF), **claims}
    signed = SignedProof.sign(ProofStatement.model_validate(fields), signing_key(member.secret))
    return ProveReply(signed.encode(), sent)


Change = Callable[[LocalMember, ProveReply], ProveReply]
NOT_PROVED: dict[str, Change] = {
    "unsigned": lambda member, reply: ProveReply(b"{}", reply.proof),
    "another proof than the signed one": lambda member, reply: ProveReply(reply.statement, reply.proof[:-1] + b"\0"),
    "for another contribution": lambda member, reply: forged(member, reply, contribution="00" * 32),
    "for another round": lambda member, reply: forged(member, reply, round=2),
    "for another run": lambda member, reply: forged(member, reply, run="00" * 32),
    "in another name": lambda member, reply: forged(member, reply, client="00" * 32),
    "too large": lambda member, reply: forged(member, reply, bytes(2**22 + 1)),
}
FALSE: dict[str, Change] = {
    "changed": lambda member, reply: forged(member, reply, reply.proof[:-1] + bytes([reply.proof[-1] ^ 1])),
    "empty": lambda member, reply: forged(member, reply, b""),
    "truncated": lambda member, reply: forged(member, reply, reply.proof[:-1]),
}


@pytest.mark.parametrize("case", [*NOT_PROVED, *FALSE])
def test_a_proof_that_is_none(folder: Path, case: str) -> None:
    change = {**NOT_PROVED, **FALSE}[case]

    class Cheater(LocalMember):
        def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
            return change(self, super().prove(request, view, weights, trainer))

    run = one_cheater(folder, Cheater)
    assert run.verdicts(1) == [OK, Reason.NO_PROOF if case in NOT_PROVED else Reason.BAD_PROOF, OK, OK]
    run.check()
    verified(folder)


def test_a_proof_that_nobody_asked_for_yet(folder: Path) -> None:
    """A contribution brings no proof where the choice comes later: whoever sends one has not followed the agreement."""

    class Eager(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            made = self.resign(reply, proof=Reference.of(b"proof", TRAINING_PROOF))
            return update, samples, type(reply)(made.statement, reply.commitment, reply.blinds, b"proof")

    run = one_cheater(folder, Eager)
    assert run.verdicts(1) == [OK, Reason.BAD_PROOF, OK, OK]
    run.check()
    verified(folder)


class TestState:
    """Each line of a round's entry that does not follow from the contributions and the choice is refused."""

    @pytest.fixture
    def honest(self, folder: Path) -> Run:
        return Federation(folder, [client(i) for i in range(CLIENTS)], agreed(0.5, 1)).run()

    def replay(self, run: Run, change: dict[int, Entry]) -> None:
        state = RunState.begin(run.entries[0])  # type: ignore[arg-type]
        for position, entry in enumerate(run.entries[1:], 1):
            used = change.get(position, entry)
            said = {}
            if isinstance(entry, CommitmentsEntry):
                said = {item.client: self.said(run, item.contribution) for item in entry.contributions}
            state.apply(used, said)

    def said(self, run: Run, reference: Reference) -> ContributionStatement:
        return SignedContribution.model_validate_json(run.evidence.get(reference.digest, reference.size)).statement

    def refused(self, run: Run, position: int, message: str, **fields: object) -> None:
        entry = run.entries[position]
        changed = type(entry).model_validate({**dict(entry), **fields})
        with pytest.raises(VerificationError, match=message):
            self.replay(run, {position: changed})

    def test_the_choice_binds(self, honest: Run) -> None:
        self.replay(honest, {})
        place = 1 + CLIENTS
        standing, entry = commitments(honest)[0], honest.rounds[0]
        proved = next(i for i, verdict in enumerate(entry.verdicts) if verdict.proof is not None)
        spared = next(i for i, verdict in enumerate(entry.verdicts) if verdict.proof is None)
        other = Reference(digest="00" * 32, size=1, media_type=STATEMENT)

        def verdicts(index: int, **fields: object) -> tuple[object, ...]:
            changed = entry.verdicts[index].model_copy(update=fields)
            return (*entry.verdicts[:index], changed, *entry.verdicts[index + 1 :])

        self.refused(honest, place + 1, "without a proof", verdicts=verdicts(proved, proof=None))
        self.refused(honest, place + 1, "with a proof", verdicts=verdicts(spared, proof=other))
        self.refused(honest, place + 1, "with a proof", verdicts=verdicts(proved, reason=Reason.NO_PROOF))
        self.refused(honest, place + 1, "does not follow from the choice", verdicts=verdicts(spared, reason=Reason.NO_PROOF))
        self.refused(honest, place + 1, "does not follow from the choice", verdicts=verdicts(spared, reason=Reason.WITHHELD))
        self.refused(honest, place + 1, "does not follow from the choice", verdicts=verdicts(proved, reason=Reason.NO_REPLY, proof=None))
        self.refused(honest, place + 1, "another contribution than the one", verdicts=verdicts(proved, contribution=other))
        self.refused(honest, place + 1, "another contribution than the one", verdicts=verdicts(spared, contribution=None))
        gone = entry.reveals[0].client
        self.refused(honest, place + 1, "judged", reveals=entry.reveals[1:], withheld=(gone,))
        self.refused(honest, place, "no contribution of it stands|nonces are not those", contributions=standing.contributions[1:])
        self.refused(honest, place, "ascending order", contributions=standing.contributions[::-1])
        self.refused(honest, place, "round 2 follows round 0", round=2)
        with pytest.raises(VerificationError, match="before a round does"):
            self.replay(honest, {place: entry})
        with pytest.raises(VerificationError, match="contributions follow contributions"):
            self.replay(honest, {place + 1: standing})

    def test_a_run_with_all_proofs_has_no_such_entry(self, honest: Run, tmp_path: Path) -> None:
        run = Federation(tmp_path / "all", [client(i) for i in range(2)], terms(2, 1)).run()
        with pytest.raises(VerificationError, match="stand alone only where"):
            self.replay(run, {3: commitments(honest)[0]})
