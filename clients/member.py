"""A data owner in a federation: follows the ledger, enrols, reveals its nonces, trains and commits.

The protocol of one client, without Flower and without I/O. Before it does anything it checks what it was shown: that the ledger
extends what it saw before, that the model it is to train is the one in the ledger, that the batch is the one the beacon chose and that
the beacon was made after its own nonce was committed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clients.checks import (
    agreement_entry,
    commits_to,
    enrolment_over,
    first_model,
    model_in,
    nonces_by_client,
    round_after,
    settlements_after,
)
from clients.commitments import client_key, commit_data, data_blinds, prove_enrolment
from clients.errors import MemberError
from clients.memory import MemberState, question
from ledger.agreement import Agreement
from ledger.beacon import NONCE_BYTES, batch_digest, batch_indices, beacon, commit_nonce, first_link, provers
from ledger.canonical import digest, dump_vector, load_vector
from ledger.enrolment import enrolment_claims
from ledger.entries import (
    ENROLMENT_PROOF,
    POINTS,
    SCALARS,
    TENSOR,
    TRAINING_PROOF,
    CommitmentsEntry,
    ContributionStatement,
    EnrolmentEntry,
    EnrolmentStatement,
    ProofStatement,
    Reference,
    RoundEntry,
    SignedContribution,
    SignedEnrolment,
    SignedProof,
    decode_contribution,
    decode_enrolment,
    decode_entry,
)
from ledger.identity import public_key, signing_key
from ledger.judge import Expected, training_statement
from ledger.messages import (
    EnrolReply,
    IdentifyReply,
    IdentifyRequest,
    LedgerView,
    ProveReply,
    ProveRequest,
    RevealReply,
    RevealRequest,
    TrainReply,
    TrainRequest,
    identity_claim,
)
from ledger.quorum import Policy
from zk.blinding import BlindingSource
from zk.dropout import dropped_units
from zk.field import encode_scalars
from zk.hashing import frame, unframe
from zk.rule import Rule
from zk.sgd import check_features, check_labels, check_norm, flatten, unflatten, update_of
from zk.tables import tables_digest
from zk.training import proof as training
from zk.training.shape import Shape
from zk.training.witness import sample_rows

IntArray = npt.NDArray[np.int64]
Samples = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]


class Trainer(Protocol):
    """Whatever trains exactly: :class:`clients.exact.ExactTrainer`, or the NumPy specification."""

    def train(self, weights: Sequence[IntArray], x: IntArray, y: IntArray, dropped: Sequence[IntArray]) -> list[IntArray]:
        """Return the weights after the rule's steps on these samples, in their order, without the hidden units that are dropped."""


@dataclass
class Member:
    """One client.

    Parameters
    ----------
    secret : bytes
        32 bytes that only this client knows; identity, blinds and nonces derive from it.
    data : callable from Agreement to two integer arrays of shapes (n, features) and (n, outputs)
        Loads its data on the agreed grid; the same samples in the same order each time.
    state : MemberState or None
        What it remembers; ``None`` before it has enrolled. Replaced by each call.
    agreement : Agreement or None
        What its owner has agreed to; another agreement is refused. ``None`` accepts what the server shows.
    node : str or None
        The digest of the node key that it connects with, which its enrolment binds; ``None`` without one, as in a simulation.
    deterministic : bool
        For seeded simulations only (see :class:`zk.blinding.BlindingSource`).
    account : str or None
        Where it wants to be paid: an address of Ethereum in lower case.
    seconds : dict of str to float
        What the last contribution took, for the display.
    """

    secret: bytes
    data: Callable[[Agreement], Samples]
    state: MemberState | None = None
    agreement: Agreement | None = None
    node: str | None = None
    deterministic: bool = False
    account: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def enrol(self, view: LedgerView) -> EnrolReply:
        """Accept the agreement that the view shows, commit to the data and sign.

        Raises
        ------
        MemberError
            The agreement is not the owner's, or the data does not fit it.
        """
        opening = agreement_entry(view.entry)
        if opening.agreement.federation.node_keys and self.node is None:
            raise MemberError("the agreement demands that a node key is bound, and this client connects without one")
        if view.entry_index != 0:
            raise MemberError("the agreement that the server shows is not entry 0 of its ledger")
        view.follow(Policy.of(opening), self.state.checkpoint if self.state else None)
        if self.agreement is not None and self.agreement != opening.agreement:
            raise MemberError("the server's agreement is not the one this client was given: compare the two and ask the organiser")
        if self.state is not None and (self.state.agreement != view.entry or self.state.revealed or self.state.contributed):
            raise MemberError(
                "this client has enrolled already, and has taken part since: give it a state folder of its own for another run"
            )
        if self.state is not None and self.state.kept:
            self.state = replace(self.state, checkpoint=view.checkpoint)
            return EnrolReply(self.state.enrolment, self.state.rows, self.state.kept)
        rule = opening.agreement.rule
        if opening.model.digest != first_model(opening.agreement):
            raise MemberError("the first model is not the one that the agreement gives: it would be the server's choice")
        if opening.tables != tables_digest(rule):
            raise MemberError("the public tables of this version are not the agreed ones: install the agreed version")
        x, y = self._checked_data(opening.agreement)
        run, source, key = digest(view.entry), self._source(), signing_key(self.secret)
        rows = sample_rows(Shape(rule), x, y)
        context = bytes.fromhex(run) + bytes.fromhex(digest(rows.tobytes()))
        row_seed = source.secret_bytes("row seed", context, 32)
        nonce = source.secret_bytes("nonce", context, NONCE_BYTES)
        commitment_key = client_key(opening.agreement.row_width)
        blinds = data_blinds(row_seed, len(rows))
        points = commit_data(commitment_key, rows, blinds)
        client = public_key(key)
        proof = prove_enrolment(commitment_key, enrolment_claims(run, client, points, rule), rows, blinds, source)
        statement = EnrolmentStatement(
            run=run,
            client=client,
            samples=len(rows),
            rows=Reference.of(points, POINTS),
            proof=Reference.of(proof, ENROLMENT_PROOF),
            nonce=commit_nonce(run, client, nonce),
            node=self.node,
            account=self.account,
        )
        signed = SignedEnrolment.sign(statement, key).encode()
        self.state = MemberState(view.entry, view.checkpoint, signed, points, row_seed, signed, nonce, kept=proof)
        return EnrolReply(signed, points, proof)

    def identify(self, request: IdentifyRequest, node: int) -> IdentifyReply:
        """Show which member of the run is at this node, and how much of the ledger it has seen.

        Raises
        ------
        MemberError
            This client has enrolled in no run, or in another one.
        """
        state, key = self._enrolled(), signing_key(self.secret)
        if request.run != state.run:
            raise MemberError("the server asks for another run than the one this client takes part in: give that one another state folder")
        client, size = public_key(key), state.last().size
        return IdentifyReply(client, size, key.sign(identity_claim(request, node, client, size)))

    def reveal(self, request: RevealRequest, view: LedgerView) -> RevealReply:
        """Reveal the nonce for a round, or the one that helps to choose its provers, once the ledger holds the commitment to it.

        Raises
        ------
        MemberError
            The entry in the view is not the one that commits to the nonce, so the server could still choose with it.
        """
        state = self._enrolled()
        checkpoint = view.follow(Policy.of(state.opening()), state.checkpoint)
        entry = decode_entry(view.entry)
        if not commits_to(entry, state.statement) or request.round != round_after(entry):
            raise MemberError("the ledger does not hold this client's last statement: it keeps its nonce")
        if isinstance(entry, EnrolmentEntry) and not enrolment_over(request, checkpoint, state.opening().agreement):
            raise MemberError("others may still enrol, and the beacon is made of that: this client keeps its nonce")
        behind = settlements_after(entry, state.opening().agreement)
        if isinstance(entry, RoundEntry) and view.entry_index != checkpoint.size - 1 - behind:
            raise MemberError("the server may still append what the beacon is made of: this client keeps its nonce")
        later = isinstance(entry, CommitmentsEntry)
        again = (state.opened if later else state.revealed) >= request.round
        if again and checkpoint != state.last():
            raise MemberError(f"the nonce of round {request.round} is out already, for another checkpoint")
        if not again:
            state = replace(state, checkpoint=view.checkpoint, asked=b"", kept=b"")  # what was answered before stands in the ledger
        if later:
            self.state = replace(state, opened=request.round)
            return RevealReply(self._first_link())
        self.state = replace(state, revealed=request.round)
        return RevealReply(state.nonce)

    def contribute(
        self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer
    ) -> tuple[list[IntArray], int, TrainReply]:
        """Train from the global model on the batch of the beacon, prove it, commit to the update and sign.

        Returns
        -------
        update : list of int64 arrays
            One for each layer.
        samples : int
            How many samples this client enrolled: its weight in the average.
        reply : TrainReply

        Raises
        ------
        MemberError
            The model, the checkpoint or the beacon is not what the ledger says.
        zk.errors.RangeError
            A value left the agreed ranges: the plan is too narrow for this data; or the update is longer than agreed.
        """
        state = self._enrolled()
        opening, run = state.opening(), state.run
        rule = opening.agreement.rule
        checkpoint = view.follow(Policy.of(opening), state.checkpoint)
        if state.revealed == request.round and checkpoint != state.last():
            raise MemberError(f"the checkpoint changed after the nonces of round {request.round} were revealed")
        entry = decode_entry(view.entry)
        model = digest(dump_vector(flatten(weights)))
        if round_after(entry) != request.round or model_in(entry) != model:
            raise MemberError(f"the model that the server sent is not the one that the ledger has for round {request.round}")
        if isinstance(entry, RoundEntry) and view.entry_index != checkpoint.size - 1 - settlements_after(entry, opening.agreement):
            raise MemberError("the server does not show the last entry of its ledger")
        nonces = nonces_by_client(request, opening.agreement)
        asked = question(b"train", request, checkpoint, model)
        if state.kept and asked == state.asked:
            said = decode_contribution(state.statement).statement
            tensor, *parts = unframe(state.kept)
            self.state, self.seconds = replace(state, checkpoint=view.checkpoint), {}
            return unflatten(rule, load_vector(tensor, rule.size, "the kept update")), said.samples, TrainReply(state.statement, *parts)
        if not state.contributed < request.round <= opening.agreement.rounds.count:
            raise MemberError(
                f"the server asks for round {request.round}: this client has contributed up to round {state.contributed}, "
                f"and there are {opening.agreement.rounds.count} rounds"
            )
        committed = request.round == 1 or commits_to(entry, state.statement)
        if committed and (state.revealed != request.round or state.nonce not in request.nonces):
            raise MemberError("the beacon leaves out the nonce that this client committed to")
        key, x, y = signing_key(self.secret), *self._checked_data(opening.agreement)
        client = public_key(key)
        drawn = beacon(run, request.round, checkpoint, nonces)
        indices = batch_indices(drawn, client, len(x), rule.samples)
        began = time.perf_counter()
        update = _train(trainer, rule, drawn, client, weights, x[indices], y[indices])
        trained_at = time.perf_counter()

        encoded, source = dump_vector(update), self._source()
        expected = Expected(
            opening.agreement.federation.name,
            run,
            request.round,
            model,
            drawn,
            opening.agreement.proof.kind == "training" and not opening.agreement.proof.chosen_later,
            rule,
            flatten(weights),
        )
        proof = self._proof(expected, update, x, y, indices) if expected.proof else b""
        proved_at = time.perf_counter()
        context = bytes.fromhex(run) + request.round.to_bytes(4, "big") + bytes.fromhex(digest(encoded))
        commitment_key = client_key(opening.agreement.row_width)
        blinds = source.scalars("update rows", context, commitment_key.rows_for(len(update)))
        commitment = commitment_key.encode(commitment_key.commit_rows(update, blinds))
        nonce = source.secret_bytes("nonce", context, NONCE_BYTES)
        statement = ContributionStatement(
            run=run,
            round=request.round,
            client=client,
            model=model,
            batch=batch_digest(indices),
            samples=len(x),
            commitment=Reference.of(commitment, POINTS),
            update=Reference.of(encoded, TENSOR),
            blinds=Reference.of(encode_scalars(blinds), SCALARS),
            proof=Reference.of(proof, TRAINING_PROOF) if expected.proof else None,
            nonce=commit_nonce(run, client, first_link(run, client, nonce) if opening.agreement.proof.chosen_later else nonce),
        )
        signed = SignedContribution.sign(statement, key).encode()
        reply = TrainReply(signed, commitment, encode_scalars(blinds), proof)
        kept = frame(encoded, reply.commitment, reply.blinds, reply.proof)
        state = replace(state, checkpoint=view.checkpoint, statement=signed, nonce=nonce, contributed=request.round)
        self.state = replace(state, asked=asked, kept=kept)
        self.seconds = {"training-s": trained_at - began, "proving-s": proved_at - trained_at}
        return unflatten(rule, update), len(x), reply

    def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
        """Prove the contribution that stands in the ledger, when the second beacon chose it.

        Raises
        ------
        MemberError
            The contributions are not those that the last nonce was revealed for, the beacon did not choose this client, or the model is
            not the one that it trained from.
        """
        state = self._enrolled()
        opening, run = state.opening(), state.run
        checkpoint = view.follow(Policy.of(opening), state.checkpoint)
        entry = decode_entry(view.entry)
        if not isinstance(entry, CommitmentsEntry) or entry.round != request.round or not commits_to(entry, state.statement):
            raise MemberError(f"the ledger does not hold this client's contribution to round {request.round}: there is nothing to prove")
        if view.entry_index != checkpoint.size - 1 or state.opened != request.round or checkpoint != state.last():
            raise MemberError(f"the checkpoint changed after the nonces that choose the provers of round {request.round} were revealed")
        nonces = nonces_by_client(request, opening.agreement)
        asked = question(b"prove", request, checkpoint, "")
        if state.kept and asked == state.asked:
            self.seconds = {}
            return ProveReply(*unframe(state.kept))
        if state.kept:  # since the nonce for this choice is out, nothing else was answered
            raise MemberError(f"this client has proved its contribution to round {request.round} already, for another choice of provers")
        if self._first_link().hex() not in nonces.values():
            raise MemberError("the choice of provers leaves out the nonce that this client committed to")
        contributed = {item.client: item.contribution.digest for item in entry.contributions if item.client in nonces}
        drawn = beacon(run, request.round, checkpoint, nonces)
        chosen = provers(drawn, contributed, opening.agreement.proof.provers(len(contributed)))
        said, rule = decode_contribution(state.statement).statement, opening.agreement.rule
        if digest(state.statement) not in [contributed[number] for number in chosen]:
            raise MemberError(f"the beacon did not choose this client to prove its contribution to round {request.round}")
        if digest(dump_vector(flatten(weights))) != said.model:
            raise MemberError("the model that the server sent is not the one that this client trained from")
        x, y = self._checked_data(opening.agreement)
        indices = batch_indices(entry.beacon, said.client, len(x), rule.samples)
        update = _train(trainer, rule, entry.beacon, said.client, weights, x[indices], y[indices])
        expected = Expected(opening.agreement.federation.name, run, request.round, said.model, entry.beacon, False, rule, flatten(weights))
        began = time.perf_counter()
        proof = self._proof(expected, update, x, y, indices)
        self.seconds = {"proving-s": time.perf_counter() - began}
        reference = Reference.of(proof, TRAINING_PROOF)
        statement = ProofStatement(run=run, round=request.round, client=said.client, contribution=digest(state.statement), proof=reference)
        reply = ProveReply(SignedProof.sign(statement, signing_key(self.secret)).encode(), proof)
        self.state = replace(state, checkpoint=view.checkpoint, asked=asked, kept=frame(reply.statement, reply.proof))
        return reply

    def _first_link(self) -> bytes:
        """Return the nonce that helps to choose the provers."""
        state = self._enrolled()
        return first_link(state.run, public_key(signing_key(self.secret)), state.nonce)

    def _proof(self, expected: Expected, update: IntArray, x: IntArray, y: IntArray, indices: IntArray) -> bytes:
        """Prove that ``update`` is the agreed training on the samples at ``indices``."""
        state = self._enrolled()
        enrolled = decode_enrolment(state.enrolment).statement
        statement = training_statement(expected, enrolled, state.rows, update)
        blinds = data_blinds(state.row_seed, len(x))
        samples = training.Samples(x[indices], y[indices], [blinds[index] for index in indices])
        return training.prove(client_key(state.opening().agreement.row_width), statement, samples, self._source())

    def rule(self) -> Rule:
        """Return the agreed rule of training; raises MemberError before enrolment."""
        return self._enrolled().opening().agreement.rule

    def samples(self) -> Samples:
        """Return its data as agreed; raises MemberError before enrolment."""
        return self.data(self._enrolled().opening().agreement)

    def _source(self) -> BlindingSource:
        return BlindingSource(self.secret, deterministic=self.deterministic)

    def _enrolled(self) -> MemberState:
        if self.state is None:
            raise MemberError("this client has not enrolled: it has no agreement to act under")
        return self.state

    def _checked_data(self, agreement: Agreement) -> tuple[IntArray, IntArray]:
        x, y = self.data(agreement)
        rule = agreement.rule
        features, outputs = rule.layers[0], rule.layers[-1]
        if x.shape[1] != features or y.shape[1] != outputs:
            raise MemberError(
                f"the data has {x.shape[1]} features and {y.shape[1]} outputs, the agreed model takes {features} and {outputs}"
            )
        if not len(x):
            raise MemberError("the data has no sample")
        features64, labels64 = x.astype(np.int64), y.astype(np.int64)
        check_features(rule, features64)
        check_labels(rule, features64, labels64)
        return features64, labels64


def _train(trainer: Trainer, rule: Rule, beacon_hex: str, client: str, weights: Sequence[IntArray], x: IntArray, y: IntArray) -> IntArray:
    """Return the update, one flat vector, of a round's training on these samples."""
    dropped = dropped_units(rule, bytes.fromhex(beacon_hex), bytes.fromhex(client))
    update = flatten(update_of(rule, weights, trainer.train(weights, x, y, dropped)))
    check_norm(rule, update)
    return update
