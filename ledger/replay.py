"""Replaying a run entry by entry: the part of an audit that follows what happened.

Group equations and proofs are collected and checked many at a time; when a batch fails, the false ones are found and named.
"""

from collections.abc import Callable
from copy import copy

from ledger.aggregation import IntVector, ServerOptimizer, weighted_sum
from ledger.archive import ArchiveReader
from ledger.beacon import beacon, commit_nonce
from ledger.canonical import digest, dump_vector, load_vector
from ledger.changes import describe
from ledger.checkpoint import Checkpoint
from ledger.collected import MAX_EVIDENCE_BYTES, Collected, Evidence
from ledger.contribution import Round
from ledger.enrolment import UNPROVED, enrolment_proof_bytes, judge_enrolment
from ledger.entries import (
    MAX_ENTRY_BYTES,
    SCALARS,
    STATEMENT,
    TENSOR,
    TRAINING_PROOF,
    Aggregate,
    AgreementEntry,
    ClosingEntry,
    CommitmentsEntry,
    ContributionStatement,
    EnrolmentEntry,
    Entry,
    RoundEntry,
    SettlementEntry,
    Verdict,
    decode_proof,
)
from ledger.errors import FormatError, LedgerError, VerificationError
from ledger.evaluation import Evaluation
from ledger.judge import Expected, Opened, Parts, equations, judge_proof, judge_statement, open_parts, sum_equation
from ledger.report import Check, Halt, Report
from ledger.rescoring import Rescoring
from ledger.resume import Resume
from ledger.state import RunState
from ledger.verdicts import EXPLANATIONS, FROM_STATEMENT, KEPT, Reason
from zk import batch
from zk.errors import EncodingError, ZkError
from zk.field import SCALAR_BYTES, decode_scalars
from zk.group import POINT_BYTES, Group, Point
from zk.pedersen import commitment_key
from zk.sgd import flatten, initial_weights
from zk.tables import tables_digest

MAX_PROOF_BYTES = 2**24
TENSOR_HEADER_BYTES = 128


class Replay:
    """The state of an audit while it goes through the entries.

    Parameters
    ----------
    opening : AgreementEntry
        Entry 0.
    root_at : callable from int to bytes
        The root of the tree over the first so many entries.
    archive : ArchiveReader
        The export, for its evidence.
    group : type
        Which implementation of the group checks the equations.
    report : Report
        Takes counts and findings.
    updates : bool
        Whether the export holds single updates.
    resume : Resume, optional
        What was settled before the audit was interrupted.
    evaluation : Evaluation, optional
        The evaluation set, to recompute scores.
    """

    def __init__(
        self,
        opening: AgreementEntry,
        root_at: Callable[[int], bytes],
        archive: ArchiveReader,
        group: type[Group],
        report: Report,
        updates: bool,
        resume: Resume | None = None,
        evaluation: Evaluation | None = None,
    ) -> None:
        self._evidence = Evidence(archive, report)
        self._root_at, self._report, self._updates = root_at, report, updates
        self._rule = opening.agreement.rule
        self._key = commitment_key(group, opening.agreement.row_width)
        plan = self._rule.plan
        self._optimizer = ServerOptimizer(
            opening.agreement.aggregation, plan.weight_range_bits, self._rule.weight_bits, plan.coefficient_bits
        )
        self._collected = Collected(self._key, report, resume)
        self._rescoring = Rescoring(opening.agreement, evaluation, report)
        self._done: Round | None = None  # the round of this entry, scored once the state machine has let it pass
        self._on_trust = 0
        self._unread = False  # whether an accepted statement could not be followed, so that its nonce is unknown
        self._outcome = "still open: no closing entry"
        try:
            self._state = RunState.begin(opening)
            self._model = self._first_model(opening)
        except (FormatError, VerificationError, ZkError) as error:
            report.find(Check.AGREEMENT, 0, str(error))
            raise Halt from error
        report.count(Check.AGREEMENT)
        report.count(Check.SEQUENCE)

    def entry(self, position: int, entry: Entry) -> None:
        """Check the entry at ``position`` and move on.

        Raises
        ------
        Halt
            The entry cannot follow here, so nothing after it can be judged.
        """
        contributions: dict[int, ContributionStatement] = {}
        self._done = None
        try:
            if isinstance(entry, EnrolmentEntry):
                self._enrolment(position, entry)
            elif isinstance(entry, CommitmentsEntry):
                contributions = self._contributions(position, entry)
            elif isinstance(entry, RoundEntry):
                contributions = self._round(position, entry)
            elif isinstance(entry, ClosingEntry):
                self._outcome = entry.outcome
            self._state.apply(entry, contributions)
            if self._done is not None:
                self._rescoring.round(self._done)
            if isinstance(entry, SettlementEntry):
                self._rescoring.settlement(position, entry)
        except (FormatError, VerificationError, ZkError) as error:  # what was found false already may leave nothing to make a statement of
            self._report.find(Check.SEQUENCE, position, str(error))
            raise Halt from error
        if isinstance(entry, RoundEntry):
            self._report.notes += [f"after round {entry.round}, {describe(change)}" for change in entry.changes]
        self._report.count(Check.SEQUENCE)
        self._collected.settle_when_many(position + 1)

    def finish(self) -> None:
        """Check what is pending and say what was seen."""
        self._collected.settle()
        state, report = self._state, self._report
        report.summary |= {"clients": len(state.members), "rounds": state.rounds, "outcome": self._outcome, "model": state.model.digest}
        if self._on_trust:
            report.notes.append(f"{self._on_trust} rejections are the server's word: nothing was left from which to judge them again")
        proof = state.opening.agreement.proof
        if proof.chosen_later:
            report.notes.append(f"proof.rate is {proof.rate}: the other updates were accepted without proof, as agreed")
        self._rescoring.finish()
        if state.standing is not None:
            count = len(state.standing.contributions)
            report.notes.append(f"{count} contributions have no verdict: the run ended before it was drawn which must be proved")
        if any(state.membership.nodes):
            report.notes.append("that clients connected with the node keys that they bound is the server's word")
        if state.rounds:
            report.notes.append("test results are the server's word: recompute them with the test data and the models")

    @property
    def seen(self) -> set[str]:
        """The names of the evidence that was referred to."""
        return self._evidence.seen

    def settle(self) -> None:
        """Check what was collected so far."""
        self._collected.settle()

    @property
    def _tensor_bytes(self) -> int:
        """The most that a tensor of the model's size can take."""
        return TENSOR_HEADER_BYTES + 8 * self._rule.size

    def _first_model(self, opening: AgreementEntry) -> IntVector:
        data = self._evidence.fetch(0, opening.model, "the first model", self._tensor_bytes, TENSOR)
        if data is None:
            raise Halt
        if opening.tables != tables_digest(self._rule):
            raise VerificationError("the digest of the public tables is not that of the agreed loss and plan")
        model = load_vector(data, self._rule.size, "the first model")
        seed = opening.agreement.model.seed
        if seed is not None and (model != flatten(initial_weights(self._rule, bytes.fromhex(seed)))).any():
            raise VerificationError("the first model is not the one that the agreed seed expands to")
        return model

    def _enrolment(self, position: int, entry: EnrolmentEntry) -> None:
        statement = entry.enrolment.statement
        most = min(statement.samples, self._state.opening.agreement.federation.maximum_samples)
        rows = self._evidence.fetch(position, statement.rows, "the commitments to the data", POINT_BYTES * most)
        limit = enrolment_proof_bytes(most, self._rule, self._key.width)
        proof = self._evidence.fetch(position, statement.proof, "the enrolment proof", limit)
        if rows is None or proof is None:
            return
        try:
            _, equations = judge_enrolment(self._state, self._key, entry.enrolment.encode(), rows, proof)
        except LedgerError as error:
            self._report.find(Check.ENROLMENTS, position, str(error))
            return
        reason = f"client {len(self._state.members)}: {UNPROVED}"
        for equation in equations:
            self._collected.add(equation, Check.ENROLMENTS, position, reason)

    def _contributions(self, position: int, entry: CommitmentsEntry) -> dict[int, ContributionStatement]:
        """Check what is known before it is chosen who must prove: each statement, on its own."""
        self._beacon(position, entry)
        expected = Expected.of(self._state, entry.beacon, self._model)
        contributions: dict[int, ContributionStatement] = {}
        for item in entry.contributions:
            who = f"client {item.client}"
            if item.client >= len(self._state.members):
                raise VerificationError(f"a contribution of {who}, but {len(self._state.members)} are enrolled")
            data = self._evidence.fetch(position, item.contribution, f"the contribution of {who}", MAX_ENTRY_BYTES, STATEMENT)
            reason, signed = judge_statement(expected, self._state.members[item.client], data) if data is not None else (None, None)
            if reason is not None:
                self._report.find(Check.VERDICTS, position, f"the contribution of {who} stands, but what it signed is {reason}")
            if signed is None or reason is not None:
                self._unread = True
            else:
                contributions[item.client] = signed.statement
        return contributions

    def _round(self, position: int, entry: RoundEntry) -> dict[int, ContributionStatement]:
        self._beacon(position, entry)
        standing = self._state.standing
        expected = Expected.of(self._state, standing.beacon if standing else entry.beacon, self._model)
        stands = {item.client for item in standing.contributions} if standing else set()
        contributions: dict[int, ContributionStatement] = {}
        commitments: dict[int, list[Point]] = {}
        updates: dict[int, IntVector] = {}
        for verdict in entry.verdicts:
            if verdict.client >= len(self._state.members):
                raise VerificationError(f"a verdict about client {verdict.client}, but {len(self._state.members)} are enrolled")
            # what stands has passed everything but the proof, whatever came later
            before = verdict.model_copy(update={"reason": Reason.ACCEPTED}) if verdict.client in stands else verdict
            statement = self._verdict(position, expected, before)
            if statement is None:
                self._unread |= verdict.accepted
                continue
            opened = self._parts(position, expected, before, statement)
            if verdict.client in stands:
                self._proved_later(position, expected, verdict, opened)
            if verdict.accepted:
                contributions[verdict.client] = statement
                if isinstance(opened, Opened):
                    updates[verdict.client] = opened.update
                    commitments[verdict.client] = opened.commitment
                elif opened is not None:
                    commitments[verdict.client] = opened
        accepted = [verdict.client for verdict in entry.verdicts if verdict.accepted]
        samples = {client: self._state.members[client].samples for client in updates}
        self._done = Round(entry, self._model, copy(self._optimizer), updates, samples)
        if entry.aggregate is not None and accepted:
            self._aggregate(position, entry, entry.aggregate, accepted, commitments, updates)
        else:
            self._evidence.fetch(position, entry.model_after, "the model", self._tensor_bytes, TENSOR)
        return contributions

    def _beacon(self, position: int, entry: CommitmentsEntry | RoundEntry) -> None:
        state = self._state
        if self._unread:
            raise Halt
        if entry.round != state.rounds + 1:  # before a beacon is made of it
            raise VerificationError(f"round {entry.round} follows round {state.rounds}")
        for reveal in entry.reveals:
            committed = state.pending.get(reveal.client)
            if committed is not None and commit_nonce(state.run, state.keys[reveal.client], bytes.fromhex(reveal.nonce)) != committed:
                self._report.find(Check.BEACON, position, f"the nonce of client {reveal.client} is not the one it had committed to")
        checkpoint = Checkpoint(state.opening.origin, position, self._root_at(position))
        drawn = beacon(state.run, entry.round, checkpoint, {reveal.client: reveal.nonce for reveal in entry.reveals})
        if drawn != entry.beacon:
            self._report.find(Check.BEACON, position, "the beacon is not made of the last checkpoint and the revealed nonces")
        self._report.count(Check.BEACON)

    def _verdict(self, position: int, expected: Expected, verdict: Verdict) -> ContributionStatement | None:
        """Judge the statement again; return it when nothing is wrong with it."""
        who = f"client {verdict.client}"
        if verdict.contribution is None:
            if verdict.reason in KEPT | FROM_STATEMENT:
                self._report.find(Check.VERDICTS, position, f"{who} is judged {verdict.reason}, but no contribution is kept")
            self._on_trust += 1
            return None
        if verdict.reason in (Reason.NO_REPLY, Reason.CLIENT_ERROR, Reason.DUPLICATE):
            self._report.find(Check.VERDICTS, position, f"{who} is judged {verdict.reason}, but a contribution of it is kept")
        data = self._evidence.fetch(position, verdict.contribution, f"the contribution of {who}", MAX_ENTRY_BYTES, STATEMENT)
        if data is None:
            return None
        reason, signed = judge_statement(expected, self._state.members[verdict.client], data)
        self._report.count(Check.VERDICTS)
        if signed is None or reason is not None or verdict.reason in FROM_STATEMENT:
            if reason != verdict.reason:
                found = "nothing is wrong with what it signed" if reason is None else f"what it signed is {reason}"
                self._report.find(Check.VERDICTS, position, f"{who} is judged {verdict.reason}, but {found}")
            return None
        return signed.statement

    def _parts(self, position: int, expected: Expected, verdict: Verdict, statement: ContributionStatement) -> Opened | list[Point] | None:
        """Judge the large parts again; return them, or the commitment alone where updates were left out."""
        if verdict.reason not in KEPT:
            self._on_trust += 1
            return None
        who = f"client {verdict.client}"
        height = self._key.rows_for(self._rule.size)
        # a commitment that was rejected for its encoding may have any length
        points, scalars = (height * POINT_BYTES, height * SCALAR_BYTES) if verdict.accepted else (MAX_EVIDENCE_BYTES, MAX_EVIDENCE_BYTES)
        commitment = self._evidence.fetch(position, statement.commitment, f"the commitment of {who}", points)
        if not self._updates:
            self._on_trust += not verdict.accepted
            return self._commitment(position, who, commitment) if verdict.accepted and commitment is not None else None
        update = self._evidence.fetch(position, statement.update, f"the update of {who}", self._tensor_bytes)
        blinds = self._evidence.fetch(position, statement.blinds, f"the blinds of {who}", scalars)
        if commitment is None or update is None or blinds is None:
            return None
        proof = b""
        if statement.proof is not None:
            found = self._evidence.fetch(position, statement.proof, f"the proof of {who}", MAX_PROOF_BYTES)
            if found is None:
                return None
            proof = found
        opened = open_parts(expected, self._key, statement, Parts(update, commitment, blinds, proof))
        if isinstance(opened, Reason):
            if opened is not verdict.reason:
                self._report.find(Check.VERDICTS, position, f"{who} is judged {verdict.reason}, but its contribution is {opened}")
            return None
        member = self._state.members[verdict.client]
        rows = self._evidence.fetch(position, member.rows, f"the data commitments of {who}", POINT_BYTES * member.samples) if proof else b""
        if rows is None:
            return None
        checks = equations(expected, self._key, member, rows, opened, proof)
        if verdict.accepted and not isinstance(checks, Reason):
            for reason, equation in checks:
                check = Check.PROOFS if reason is Reason.BAD_PROOF else Check.OPENINGS
                self._collected.add(equation, check, position, f"{who}: {EXPLANATIONS[reason]}")
            return opened
        if not isinstance(checks, Reason):
            checks = next((reason for reason, equation in checks if batch.false_ones(self._key, [equation])), Reason.ACCEPTED)
        if checks is not verdict.reason:
            found_is = "nothing is wrong with its contribution" if checks is Reason.ACCEPTED else f"its contribution is {checks}"
            self._report.find(Check.VERDICTS, position, f"{who} is judged {verdict.reason}, but {found_is}")
        return opened

    def _proved_later(self, position: int, expected: Expected, verdict: Verdict, opened: Opened | list[Point] | None) -> None:
        """Judge the proof that was asked for when the contribution stood already; who was asked is checked by the state."""
        who = f"client {verdict.client}"
        if verdict.proof is None or verdict.contribution is None:
            self._on_trust += not verdict.accepted
            return
        statement = self._evidence.fetch(position, verdict.proof, f"the proof statement of {who}", MAX_ENTRY_BYTES, STATEMENT)
        if statement is None or not isinstance(opened, Opened):
            return
        member = self._state.members[verdict.client]
        try:
            reference = decode_proof(statement).statement.proof
        except FormatError as error:
            self._report.find(Check.PROOFS, position, f"{who}: {error}")
            return
        proof = self._evidence.fetch(position, reference, f"the proof of {who}", MAX_PROOF_BYTES, TRAINING_PROOF)
        rows = self._evidence.fetch(position, member.rows, f"the data commitments of {who}", POINT_BYTES * member.samples)
        if proof is None or rows is None:
            return
        result = judge_proof(expected, member, rows, verdict.contribution.digest, opened.update, statement, proof)
        if verdict.accepted and not isinstance(result, Reason):
            self._collected.add(result, Check.PROOFS, position, f"{who}: {EXPLANATIONS[Reason.BAD_PROOF]}")
            return
        if not isinstance(result, Reason):
            result = Reason.BAD_PROOF if batch.false_ones(self._key, [result]) else Reason.ACCEPTED
        if result is not verdict.reason:
            self._report.find(Check.PROOFS, position, f"{who} is judged {verdict.reason}, but its proof is {result}")

    def _commitment(self, position: int, who: str, data: bytes) -> list[Point] | None:
        try:
            return self._key.decode(data, self._key.rows_for(self._rule.size))
        except EncodingError as error:
            self._report.find(Check.VERDICTS, position, f"{who} is judged accepted, but its commitment cannot be read: {error}")
            return None

    def _aggregate(
        self,
        position: int,
        entry: RoundEntry,
        aggregate: Aggregate,
        accepted: list[int],
        commitments: dict[int, list[Point]],
        updates: dict[int, IntVector],
    ) -> None:
        rows = self._key.rows_for(self._rule.size)
        sum_data = self._evidence.fetch(position, aggregate.sum, "the aggregate", self._tensor_bytes, TENSOR)
        blind_data = self._evidence.fetch(position, aggregate.blinds, "the aggregate's blinds", rows * SCALAR_BYTES, SCALARS)
        self._evidence.fetch(position, entry.model_after, "the model", self._tensor_bytes, TENSOR)
        if sum_data is None or blind_data is None:
            raise Halt
        try:
            total = load_vector(sum_data, self._rule.size, "the aggregate")
            blinds = decode_scalars(blind_data, rows)
        except (FormatError, EncodingError) as error:
            self._report.find(Check.AGGREGATES, position, str(error))
            raise Halt from error
        samples = [self._state.members[number].samples for number in accepted]
        if len(commitments) == len(accepted):
            equation = sum_equation(self._key, [commitments[number] for number in accepted], samples, total, blinds)
            self._collected.add(equation, Check.SUMS, position, "the accepted commitments do not add up to the aggregate")
        if len(updates) == len(accepted):
            self._report.count(Check.AGGREGATES)
            if (weighted_sum([updates[number] for number in accepted], samples) != total).any():
                self._report.find(Check.AGGREGATES, position, "the aggregate is not the weighted sum of the accepted updates")
        self._model = self._optimizer.step(self._model, total, sum(samples))
        self._report.count(Check.MODELS)
        if digest(dump_vector(self._model)) != entry.model_after.digest:
            self._report.find(Check.MODELS, position, "the model is not what the agreed rule makes of the one before and the aggregate")
            raise Halt
