"""A whole federation in one process, tiny and synthetic, with clients that follow the protocol or cheat.

Clients are Flower ClientApps on a :class:`tests.local_grid.LocalGrid`; the server is ``Verified(ExactFedAvg)`` on a real log. A client
cheats in one of two ways: as a subclass of :class:`LocalMember`, which may say anything that it can sign, or behind :class:`Tampered`,
which edits Flower messages. :meth:`Run.check` repeats the run from the clients' own data, so that nothing but honest training may have
entered the model.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from clients.app import client_app
from clients.member import IntArray, Member, Samples, Trainer
from clients.memory import MemberState
from clients.state import recall
from ledger import merkle
from ledger.agreement import Agreement, complete
from ledger.beacon import batch_indices, beacon
from ledger.canonical import dump_vector, load_vector
from ledger.checkpoint import Checkpoint
from ledger.entries import (
    POINTS,
    SCALARS,
    TENSOR,
    AgreementEntry,
    ClosingEntry,
    CommitmentsEntry,
    ContributionStatement,
    Entry,
    Reference,
    RoundEntry,
    SignedContribution,
    decode_contribution,
    decode_entry,
)
from ledger.evaluation import Evaluation
from ledger.evidence import EvidenceStore
from ledger.identity import public_key, signing_key
from ledger.log import Cosign, Log
from ledger.messages import RECORD, LedgerView, ProveReply, ProveRequest, TrainReply, TrainRequest
from ledger.note import Ed25519Signer
from ledger.state import RunState
from ledger.verdicts import Reason
from strategies.desk import Desk
from strategies.exact_fedavg import ExactFedAvg, server_optimizer
from strategies.journal import Journal
from strategies.observer import Observer
from strategies.verified import Evaluate, Verified
from tests.local_grid import LocalGrid, Shuffle
from zk.dropout import dropped_units
from zk.field import encode_scalars
from zk.group import GROUPS
from zk.hashing import expand
from zk.pedersen import commitment_key
from zk.rule import Loss, Rule
from zk.sgd import flatten, initial_weights, train, unflatten, update_of
from zk.tables import tables_digest

SIGNER = Ed25519Signer("lunaria.local/attacks", bytes(32))
SAMPLES = 6
OK = Reason.ACCEPTED
Contribution = tuple[list[IntArray], int, TrainReply]
Content = RecordDict
Factory = Callable[..., Member]


def terms(clients: int = 3, count: int = 2, *, layers: tuple[int, ...] = (5, 8, 3), **sections: Mapping[str, object]) -> Agreement:
    """Return an agreement on 75 weights in two commitment rows of 64; ``sections`` override single fields."""
    fields: dict[str, dict[str, object]] = {
        "federation": {"name": "attacks", "clients": clients},
        "model": {"layers": layers, "seed": bytes(32).hex()},
        "training": {"batch": 2, "local-steps": 2, "learning-rate": 0.125},
        "rounds": {"count": count, "participants": clients, "reply-timeout": 5},
    }
    for name, changes in sections.items():
        fields.setdefault(name, {}).update(changes)
    fields.setdefault("proof", {"kind": "none"})  # the proof of training has attacks of its own
    return complete(fields)


def secret(number: int) -> bytes:
    """Return the secret of a client: the only thing that its identity depends on."""
    return expand("tests/federation/secret", number.to_bytes(4, "big"), length=32)


def key_of(number: int) -> str:
    """Return a client's public key."""
    return public_key(signing_key(secret(number)))


def samples_of(number: int, rule: Rule, count: int = SAMPLES) -> Samples:
    """Return a client's data: random features, and labels as the loss wants them."""
    rng = np.random.default_rng(number)
    x = rng.integers(0, 1 << rule.plan.feature_bits, (count, rule.layers[0]), dtype=np.int64)
    outputs = rule.layers[-1]
    if rule.loss == Loss.SOFTMAX:
        return x, np.eye(outputs, dtype=np.int64)[rng.integers(0, outputs, count)]
    return x, rng.integers(0, rule.label_bound.allowed.stop, (count, outputs), dtype=np.int64)


def data_of(number: int, agreement: Agreement, count: int = SAMPLES) -> Samples:
    """Return a client's data as a member loads it."""
    return samples_of(number, agreement.rule, count)


@dataclass(frozen=True)
class NumpyTrainer:
    """The specification as a trainer: no TensorFlow, which a federation of attacks does not need."""

    rule: Rule

    def train(self, weights: Sequence[IntArray], x: IntArray, y: IntArray, dropped: Sequence[IntArray] = ()) -> list[IntArray]:
        return train(self.rule, weights, x, y, dropped)


class LocalMember(Member):
    """A member that follows the protocol and trains in NumPy. Override ``contribute`` or ``enrol`` to cheat."""

    def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
        return super().contribute(request, view, weights, NumpyTrainer(self.rule()))

    def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
        return super().prove(request, view, weights, NumpyTrainer(self.rule()))

    def resign(self, reply: TrainReply, **claims: object) -> TrainReply:
        """Sign other claims in place of those in ``reply``."""
        statement = decode_contribution(reply.statement).statement
        forged = ContributionStatement.model_validate({**dict(statement), **claims})
        signed = SignedContribution.sign(forged, signing_key(self.secret)).encode()
        return TrainReply(signed, reply.commitment, reply.blinds, reply.proof)


@dataclass
class Lasting:
    """A client whose memory outlives its processes, as in :mod:`clients.home`; it notes by round what it has signed."""

    number: int
    kind: Factory = LocalMember
    deterministic: bool = False
    state: MemberState | None = None
    signed: dict[int, set[bytes]] = field(default_factory=dict)

    def app(self) -> ClientApp:
        """Return the client as it starts, for the first time or again."""

        def member_of(context: Context) -> Member:
            return self.kind(secret(self.number), partial(data_of, self.number), self.state, deterministic=self.deterministic)

        def keep(member: Member, context: Context) -> None:
            self.state = member.state
            if member.state is not None:
                self.signed.setdefault(member.state.contributed, set()).add(member.state.statement)

        return client_app(member_of, keep)


def client(number: int, kind: Factory = LocalMember, samples: int = SAMPLES, identity: int | None = None) -> ClientApp:
    """Return a client with its own data; ``identity`` gives it another client's secret."""
    whose = number if identity is None else identity

    def member_of(context: Context) -> Member:
        _, state = recall(context)
        return kind(secret(whose), partial(data_of, number, count=samples), state, deterministic=True)

    return client_app(member_of)


class Tampered(ClientApp):
    """A client whose replies of one kind are edited on their way.

    Parameters
    ----------
    inner : ClientApp
        Who answers.
    edit : callable from RecordDict to RecordDict
        Returns the content that is sent; it may change the one it is given, or raise.
    kind : str
        ``train``, ``query.enrol`` or ``query.reveal``.
    rounds : collection of int
        Which rounds are edited; enrolment counts as round 0.
    """

    def __init__(self, inner: ClientApp, edit: Callable[[Content], Content], kind: str = "train", rounds: Sequence[int] = (1,)) -> None:
        super().__init__()
        self._inner, self._edit, self._kind, self._rounds = inner, edit, kind, rounds

    def __call__(self, message: Message, context: Context) -> Message:
        reply = self._inner(message, context)
        number = message.content.config_records[RECORD].get("round", 0)
        if message.metadata.message_type != self._kind or number not in self._rounds:
            return reply
        return Message(self._edit(reply.content), reply_to=message)


@dataclass(frozen=True)
class Run:
    """A run that is over: its ledger, and what is needed to repeat it."""

    agreement: Agreement
    state: RunState
    result: Result
    entries: list[Entry]
    leaves: list[bytes]
    evidence: EvidenceStore
    clients: list[str]

    @property
    def rounds(self) -> list[RoundEntry]:
        return [entry for entry in self.entries if isinstance(entry, RoundEntry)]

    @property
    def outcome(self) -> str:
        """The outcome in the closing entry."""
        closing = self.entries[-1]
        assert isinstance(closing, ClosingEntry)
        return closing.outcome

    def verdicts(self, number: int) -> list[Reason | None]:
        """Return what the ledger says of each client in one round, in the order in which the clients were given."""
        said = {self.state.keys[verdict.client]: verdict.reason for verdict in self.rounds[number - 1].verdicts}
        return [said.get(key) for key in self.clients]

    def statement(self, number: int, position: int) -> SignedContribution | None:
        """Return the statement that the ledger refers to for the client at ``position``."""
        for verdict in self.rounds[number - 1].verdicts:
            if self.state.keys[verdict.client] == self.clients[position] and verdict.contribution is not None:
                return decode_contribution(self._get(verdict.contribution))
        return None

    def models(self) -> list[str]:
        """Return the digests of the models after each round."""
        return [entry.model_after.digest for entry in self.rounds]

    def check(self) -> None:
        """Repeat the run: every accepted update is honest training of its client, and these alone made each model."""
        opening = self.entries[0]
        assert isinstance(opening, AgreementEntry)
        state, rule, optimizer = RunState.begin(opening), self.agreement.rule, server_optimizer(self.agreement)
        model = flatten(initial_weights(rule, bytes.fromhex(str(self.agreement.model.seed))))
        numbers = {key: position for position, key in reversed(list(enumerate(self.clients)))}
        for size, entry in enumerate(self.entries[1:], 1):
            contributions: dict[int, ContributionStatement] = {}
            if isinstance(entry, CommitmentsEntry | RoundEntry):
                root = merkle.root_of([merkle.leaf_hash(leaf) for leaf in self.leaves[:size]])
                nonces = {reveal.client: reveal.nonce for reveal in entry.reveals}
                assert entry.beacon == beacon(state.run, entry.round, Checkpoint(opening.origin, size, root), nonces)
            if isinstance(entry, CommitmentsEntry):
                contributions = {x.client: decode_contribution(self._get(x.contribution)).statement for x in entry.contributions}
            if isinstance(entry, RoundEntry):
                drawn = state.standing.beacon if state.standing else entry.beacon
                total, weight = np.zeros_like(model), 0
                for verdict in entry.verdicts:
                    if not verdict.accepted or verdict.contribution is None:
                        continue
                    member = state.members[verdict.client]
                    said = decode_contribution(self._get(verdict.contribution)).statement
                    x, y = samples_of(numbers[member.client], rule, member.samples)
                    indices = batch_indices(drawn, member.client, member.samples, rule.samples)
                    dropped = dropped_units(rule, bytes.fromhex(drawn), bytes.fromhex(member.client))
                    start = unflatten(rule, model)
                    trained = train(rule, start, x[indices], y[indices], dropped)  # type: ignore[arg-type]
                    update = flatten(update_of(rule, start, trained))
                    assert (load_vector(self._get(said.update), rule.size, "update") == update).all()
                    contributions[verdict.client] = said
                    if entry.aggregate is not None:
                        total, weight = total + member.samples * update, weight + member.samples
                if weight:
                    model = optimizer.step(model, total, weight)
                assert entry.model_after == Reference.of(dump_vector(model), TENSOR)
            state.apply(entry, contributions)
        assert state.closed

    def _get(self, reference: Reference) -> bytes:
        return self.evidence.get(reference.digest, reference.size)


@dataclass
class Federation:
    """What a run is made of; :meth:`run` runs it.

    Parameters
    ----------
    folder : Path
        Where the ledger goes.
    clients : list of ClientApp
        One for each node.
    strategy : callable from Agreement to Strategy
        What ``Verified`` wraps.
    others
        As for ``Verified``, its ``start`` and ``LocalGrid``.
    """

    folder: Path
    clients: Sequence[ClientApp]
    agreement: Agreement | None = None
    backend: str = "arkworks"
    order: Shuffle = list
    timeout: float | None = None
    strategy: Callable[[Agreement], Strategy] = ExactFedAvg
    evaluate: Evaluate | None = None
    evaluation: Evaluation | None = None
    observer: Observer = field(default_factory=Observer)
    stop: threading.Event = field(default_factory=threading.Event)
    grid: Grid | None = None
    cosign: Cosign | None = None
    journal: bool = False
    pause: bool = False
    desk: Desk | None = None

    def run(self) -> Run:
        agreement = self.agreement or terms(len(self.clients))
        model = flatten(initial_weights(agreement.rule, bytes.fromhex(str(agreement.model.seed))))
        with Log.open(self.folder, SIGNER, create=True, cosign=self.cosign) as log:
            strategy = Verified(
                self.strategy(agreement),
                log,
                opening_of(agreement),
                model,
                commitment_key(GROUPS[self.backend], agreement.row_width),
                evaluate=self.evaluate,
                evaluation=self.evaluation,
                observer=self.observer,
                stop=self.stop,
                journal=Journal(self.folder if self.journal else None),
                pause=self.pause,
                desk=self.desk,
            )
            result = strategy.start(self.grid or LocalGrid(list(self.clients), self.order), timeout=self.timeout)
            leaves = [log.entry(index) for index in range(log.size)]
        keys = [key_of(number) for number in range(len(self.clients))]
        entries = [decode_entry(leaf) for leaf in leaves]
        return Run(agreement, strategy.recorder.state, result, entries, leaves, EvidenceStore(self.folder / "evidence"), keys)


def opening_of(agreement: Agreement, run: int = 0) -> AgreementEntry:
    """Return entry 0; another ``run`` is another run under the same agreement."""
    model = flatten(initial_weights(agreement.rule, bytes.fromhex(str(agreement.model.seed))))
    return AgreementEntry(
        run=expand("tests/federation/run", run.to_bytes(4, "big"), length=32).hex(),
        origin=SIGNER.verifier.key.name,
        log_key=str(SIGNER.verifier.key),
        model=Reference.of(dump_vector(model), TENSOR),
        tables=tables_digest(agreement.rule),
        agreement=agreement,
    )


def federate(folder: Path, clients: Sequence[ClientApp], **settings: object) -> Run:
    """Run a federation and check that only honest training entered its models."""
    run = Federation(folder, clients, **settings).run()  # type: ignore[arg-type]
    run.check()
    return run


def reply_of(content: Content) -> TrainReply:
    """Return the signed part of a train reply."""
    return TrainReply.from_fields(content.config_records[RECORD])


def with_reply(content: Content, reply: TrainReply) -> Content:
    """Put another signed part in its place."""
    content[RECORD] = ConfigRecord(reply.to_fields())
    return content


def recommit(member: LocalMember, update: list[IntArray], blinds: list[int], reply: TrainReply) -> TrainReply:
    """Return the reply of somebody who commits to ``update`` with these blinds, as the protocol has it."""
    assert member.state is not None
    key = commitment_key(GROUPS["arkworks"], member.state.opening().agreement.row_width)
    return represent(member, key.encode(key.commit_rows(flatten(update), blinds)), encode_scalars(blinds), reply, update)


def represent(member: LocalMember, commitment: bytes, blinds: bytes, reply: TrainReply, update: list[IntArray] | None = None) -> TrainReply:
    """Return a reply with these bytes as commitment and blinds, properly signed."""
    claims: dict[str, object] = {"commitment": Reference.of(commitment, POINTS), "blinds": Reference.of(blinds, SCALARS)}
    if update is not None:
        claims["update"] = Reference.of(dump_vector(flatten(update)), TENSOR)
    signed = member.resign(reply, **claims)
    return TrainReply(signed.statement, commitment, blinds)


Change = Callable[[LocalMember, Contribution], Contribution]


def cheat(number: int, change: Change, rounds: Sequence[int] = (1,)) -> ClientApp:
    """Return a client that alters what it contributes in some rounds; ``change`` may sign again with the client's key."""

    class Cheater(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            contribution = super().contribute(request, view, weights, trainer)
            return change(self, contribution) if request.round in rounds else contribution

    return client(number, Cheater)


def refused(run: Run, reason: Reason, number: int = 1) -> None:
    """Assert that the client at position 1 was refused in one round, that nobody else was, and that the run went on to its end."""
    for position in range(1, len(run.rounds) + 1):
        assert run.verdicts(position) == [OK, reason if position == number else OK, OK]
    assert run.outcome == "completed"


def judged(folder: Path, cases: Mapping[str, Callable[[int], ClientApp]], backend: str = "arkworks") -> dict[str, Reason | None]:
    """Run one federation with a cheater for each case and two honest clients, and return the cheaters' verdicts in round 1.

    The honest ones pass in every round, as do the cheaters in round 2, when they do as agreed.
    """
    clients = [make(number) for number, make in enumerate(cases.values())]
    run = federate(folder, [*clients, client(len(cases)), client(len(cases) + 1)], backend=backend)
    first, second = run.verdicts(1), run.verdicts(2)
    assert first[len(cases) :] == [OK, OK]
    assert second == [OK] * len(second)
    assert run.outcome == "completed"
    return dict(zip(cases, first, strict=False))
