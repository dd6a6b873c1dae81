"""What a client refuses: a server that cheats gets no signature, no nonce and no update, and the client's memory stays as it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from clients.errors import ClientError, MemberError
from clients.member import IntArray, Member
from ledger import merkle
from ledger.agreement import Agreement
from ledger.beacon import batch_digest, batch_indices, beacon, commit_nonce
from ledger.canonical import digest, dump_vector
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.entries import (
    SCALARS,
    STATEMENT,
    TENSOR,
    Aggregate,
    AgreementEntry,
    ClosingEntry,
    CommitmentsEntry,
    Contributed,
    ContributionStatement,
    EnrolmentEntry,
    Reference,
    Reveal,
    RoundEntry,
    Verdict,
    decode_contribution,
    decode_enrolment,
    decode_proof,
    encode_entry,
)
from ledger.errors import LedgerError, VerificationError
from ledger.log import Log
from ledger.messages import EnrolReply, LedgerView, ProveReply, ProveRequest, RevealReply, RevealRequest, TrainReply, TrainRequest
from ledger.note import Ed25519Signer
from ledger.verdicts import Reason
from strategies.recorder import Recorder
from tests.federation import SIGNER, NumpyTrainer, data_of, key_of, opening_of, samples_of, secret, terms
from zk.errors import ZkError
from zk.rule import Loss, Rule
from zk.sgd import flatten, initial_weights, unflatten

OTHER = Ed25519Signer(SIGNER.verifier.key.name, b"\1" * 32)  # the same name, another key


@dataclass
class Host:
    """A server that follows the protocol with two clients, member 0 and member 1; tests make it stray."""

    folder: Path
    agreement: Agreement = field(default_factory=lambda: terms(2, 3))
    opening: AgreementEntry | None = None
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rule = self.agreement.rule
        self.opening = self.opening or opening_of(self.agreement)
        self.model = flatten(initial_weights(self.rule, bytes(32)))
        self.recorder = Recorder(Log.open(self.folder, SIGNER, create=True), self.opening, self.model)
        numbers = sorted((0, 1), key=key_of)
        self.members = [Member(secret(i), partial(data_of, i), deterministic=True) for i in numbers]

    def view(self, node: int, index: int | None = None) -> LedgerView:
        return self.recorder.view(node, index)

    def enrol(self, node: int) -> EnrolReply:
        view, size = self.view(node, 0), self.recorder.log.size
        reply = self.members[node].enrol(view)
        self.recorder.append(EnrolmentEntry(enrolment=decode_enrolment(reply.statement)))
        self.recorder.seen(node, size)
        return reply

    def enrolled(self) -> "Host":
        for node in (0, 1):
            self.enrol(node)
        return self

    def index(self, node: int) -> int:
        """Return the entry that commits to the nonce of this member."""
        return self.recorder.log.size - 1 if self.recorder.state.rounds else 1 + node

    def reveal(self, node: int) -> RevealReply:
        reply = self.members[node].reveal(RevealRequest(self.number), self.view(node, self.index(node)))
        self.recorder.seen(node, self.recorder.log.size)
        return reply

    @property
    def number(self) -> int:
        """The round that comes next."""
        return self.recorder.state.rounds + 1

    def nonces(self) -> list[bytes]:
        """Return what the members would reveal next."""
        return [member.state.nonce for member in self.members if member.state]

    def revealed(self) -> "Host":
        for node in (0, 1):
            self.reveal(node)
        return self

    def request(self) -> TrainRequest:
        return TrainRequest(self.number, [0, 1], self.nonces())

    def weights(self) -> list[IntArray]:
        return unflatten(self.rule, self.model)

    def train(
        self, node: int, request: TrainRequest | None = None, view: LedgerView | None = None, weights: Sequence[IntArray] | None = None
    ) -> tuple[list[IntArray], TrainReply]:
        member = self.members[node]
        request, view = request or self.request(), view or self.view(node)
        update, _, reply = member.contribute(request, view, self.weights() if weights is None else weights, NumpyTrainer(self.rule))
        self.recorder.seen(node, self.recorder.log.size)
        return update, reply

    def drawn(self) -> tuple[str, tuple[Reveal, ...]]:
        """Return the beacon of the next round, with the nonces behind it."""
        nonces = {node: nonce.hex() for node, nonce in enumerate(self.nonces())}
        made = beacon(self.recorder.state.run, self.number, self.recorder.checkpoint(), nonces)
        return made, tuple(Reveal(client=node, nonce=nonce) for node, nonce in nonces.items())

    def round(self, accepted: Sequence[int] = (0, 1)) -> "Host":
        """Do a whole round; only some contributions are accepted."""
        self.revealed()
        made, reveals = self.drawn()
        request = self.request()
        results = [self.train(node, request) for node in (0, 1)]
        said = {node: decode_contribution(results[node][1].statement).statement for node in accepted}
        total = np.asarray(sum(flatten(results[node][0]) * 6 for node in accepted), np.int64)
        after = self.model + total // (6 * len(accepted))
        verdicts = tuple(
            Verdict(
                client=node,
                reason=Reason.ACCEPTED if node in accepted else Reason.NO_REPLY,
                contribution=Reference.of(results[node][1].statement, STATEMENT) if node in accepted else None,
            )
            for node in (0, 1)
        )
        entry = RoundEntry(
            round=self.number,
            reveals=reveals,
            withheld=(),
            beacon=made,
            model_before=digest(dump_vector(self.model)),
            model_after=Reference.of(dump_vector(after), TENSOR),
            verdicts=verdicts,
            aggregate=Aggregate(samples=6 * len(accepted), sum=Reference.of(b"", TENSOR), blinds=Reference.of(b"", SCALARS)),
            test=None,
        )
        self.recorder.append(entry, said)
        self.model = after
        return self


@pytest.fixture
def host(folder: Path) -> Host:
    return Host(folder)


def refuses(member: Member, call: Callable[[], object], line: str) -> None:
    """Assert that the member refuses in one line, and remembers what it remembered."""
    before = member.state
    with pytest.raises((MemberError, VerificationError)) as error:
        call()
    assert line in str(error.value)
    assert str(error.value).isprintable()
    assert member.state == before


def signed(size: int, root: bytes, signer: Ed25519Signer = SIGNER) -> bytes:
    return sign_checkpoint(Checkpoint(signer.verifier.key.name, size, root), signer)


def test_members_take_part_in_round_after_round(host: Host) -> None:
    host.enrolled().round().round().round()
    assert host.recorder.state.rounds == 3


def test_contribution_says_what_was_done(host: Host) -> None:
    host.enrolled().revealed()
    made, _ = host.drawn()
    state = host.recorder.state
    update, reply = host.train(0)
    said = decode_contribution(reply.statement)
    said.check()
    indices = batch_indices(made, state.keys[0], 6, host.rule.samples)
    x, y = host.members[0].data(host.agreement)
    trained = NumpyTrainer(host.rule).train(host.weights(), np.asarray(x[indices]), np.asarray(y[indices]))
    assert (flatten(update) == flatten(trained) - host.model).all()
    assert (said.statement.batch, said.statement.model) == (batch_digest(indices), state.model.digest)
    assert said.statement.update == Reference.of(dump_vector(flatten(update)), TENSOR)
    assert (said.statement.run, said.statement.round, said.statement.samples) == (state.run, 1, 6)


def test_nothing_is_possible_before_enrolment(host: Host) -> None:
    member = host.members[0]
    refuses(member, lambda: member.reveal(RevealRequest(1), host.view(0)), "has not enrolled")
    refuses(member, lambda: host.train(0, TrainRequest(1, [], [])), "has not enrolled")
    refuses(member, member.rule, "has not enrolled")


# Enrolment


def test_agreement_other_than_the_owner_gave(host: Host) -> None:
    member = host.members[0]
    member.agreement = terms(2, 3, training={"local-steps": 3})
    refuses(member, lambda: member.enrol(host.view(0, 0)), "the server's agreement is not the one this client was given")
    member.agreement = host.agreement
    member.enrol(host.view(0, 0))


def test_agreement_that_is_not_entry_0(host: Host) -> None:
    """The ledger begins with one agreement; another one stands further below."""
    other = opening_of(terms(2, 3, training={"local-steps": 3}))
    host.recorder.log.append(encode_entry(other))
    member = host.members[0]
    refuses(member, lambda: member.enrol(host.view(0, 1)), "is not entry 0")


@pytest.mark.parametrize("index", [1, 2])
def test_entry_of_another_kind_for_the_agreement(host: Host, index: int) -> None:
    host.enrolled()
    fresh = Member(secret(5), partial(data_of, 5))
    refuses(fresh, lambda: fresh.enrol(host.view(5, index)), "an entry of kind enrolment where the agreement should be")


def test_agreement_that_is_not_in_the_ledger(host: Host) -> None:
    """The client is shown an agreement that nobody else sees."""
    other = encode_entry(opening_of(terms(2, 3, training={"local-steps": 3})))
    member = host.members[0]
    refuses(member, lambda: member.enrol(replace(host.view(0, 0), entry=other)), "")


def test_agreement_of_another_run(host: Host, tmp_path: Path) -> None:
    host.enrolled()
    other = Host(tmp_path / "other", opening=opening_of(host.agreement, run=1))
    member = host.members[0]
    refuses(member, lambda: member.enrol(other.view(0, 0)), "")
    refuses(member, lambda: member.enrol(replace(other.view(0, 0), old_size=1)), "")


def test_other_tables_than_those_of_this_version(folder: Path) -> None:
    agreement = terms(2, 3)
    host = Host(folder, agreement, opening_of(agreement).model_copy(update={"tables": "00" * 32}))
    member = host.members[0]
    refuses(member, lambda: member.enrol(host.view(0, 0)), "tables of this version are not the agreed ones")


@pytest.mark.parametrize("stated", ["seed", "digest"])
def test_first_model_of_the_servers_choice(folder: Path, stated: str) -> None:
    """The agreement says that nobody chooses it: it is expanded from a seed, or has a digest."""
    chosen = np.ones(75, np.int64)
    reference = Reference.of(dump_vector(chosen), TENSOR)
    model: dict[str, object] = {} if stated == "seed" else {"seed": None, "initial": digest(b"the agreed model")}
    agreement = terms(2, 3, model=model)
    opening = opening_of(terms(2, 3)).model_copy(update={"agreement": agreement, "model": reference})
    with Log.open(folder, SIGNER, create=True) as log:
        log.append(encode_entry(opening))
        view = LedgerView(log.checkpoint_note(), 0, [], log.entry(0), 0, log.inclusion(0))
    member = Member(secret(0), partial(data_of, 0))
    refuses(member, lambda: member.enrol(view), "first model")


@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_data_that_does_not_fit_the_model(host: Host, shape: tuple[int, int]) -> None:
    member = host.members[0]
    member.data = lambda agreement: (np.zeros((6, shape[0]), np.int64), np.zeros((6, shape[1]), np.int64))
    refuses(member, lambda: member.enrol(host.view(0, 0)), "the agreed model takes 5 and 3")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(np.zeros((0, 5)), np.zeros((0, 3)), id="no sample"),
        pytest.param(np.zeros((6, 5)), np.zeros((5, 3)), id="a label short"),
        pytest.param(np.full((6, 5), 256), np.eye(3)[[0] * 6], id="features off the grid"),
        pytest.param(np.zeros((6, 5)), np.ones((6, 3)), id="labels not one-hot"),
    ],
)
def test_data_that_cannot_be_trained_on(host: Host, x: IntArray, y: IntArray) -> None:
    member = host.members[0]
    member.data = lambda agreement: (x.astype(np.int64), y.astype(np.int64))
    with pytest.raises((ClientError, LedgerError, ZkError)):
        member.enrol(host.view(0, 0))
    assert member.state is None


def test_enrolment_may_be_asked_for_again(host: Host) -> None:
    """A request whose reply got lost is repeated, as long as the client has not taken part."""
    member = host.members[0]
    first = member.enrol(host.view(0, 0))
    assert member.enrol(replace(host.view(0, 0), old_size=1)).rows == first.rows


def test_enrolment_after_a_nonce_is_out(host: Host) -> None:
    """Else the server learns all nonces, appends what makes the beacon it wants, and lets the client forget."""
    host.enrolled().revealed()
    member = host.members[0]
    refuses(member, lambda: member.enrol(replace(host.view(0, 0), old_size=3)), "enrolled already")


# The ledger


Call = Callable[[Host, LedgerView], object]


def reveal(host: Host, view: LedgerView) -> object:
    return host.members[0].reveal(RevealRequest(host.number), view)


def train(host: Host, view: LedgerView) -> object:
    return host.train(0, view=view)


def prepared(host: Host, call: Call) -> LedgerView:
    """Bring the host to the point where this call comes next in round 2, and return the true view for it."""
    host.enrolled().round()
    if call is train:
        host.revealed()
    return host.view(0, host.index(0))


@pytest.fixture(params=[reveal, train])
def call(request: pytest.FixtureRequest) -> Call:
    made: Call = request.param
    return made


def test_true_view_is_followed(host: Host, call: Call) -> None:
    call(host, prepared(host, call))


def test_checkpoint_signed_by_another_key(host: Host, call: Call) -> None:
    view = prepared(host, call)
    checkpoint = host.recorder.checkpoint()
    forged = signed(checkpoint.size, checkpoint.root, OTHER)
    refuses(host.members[0], lambda: call(host, replace(view, checkpoint=forged)), "")


@pytest.mark.parametrize("position", [0, 30, -3])
def test_checkpoint_with_a_changed_byte(host: Host, call: Call, position: int) -> None:
    view = prepared(host, call)
    data = bytearray(view.checkpoint)
    data[position] ^= 1
    member = host.members[0]
    before = member.state
    with pytest.raises(LedgerError) as error:
        call(host, replace(view, checkpoint=bytes(data)))
    assert str(error.value).isprintable()
    assert member.state == before


def test_checkpoint_of_another_log(host: Host, call: Call, tmp_path: Path) -> None:
    """A log of the same server, with the same key and other entries."""
    prepared(host, call)
    other = Host(tmp_path / "other", opening=opening_of(host.agreement, run=1))
    other.enrolled().round()
    size = 4 if call is train else 3
    view = replace(other.recorder.view(0), old_size=size, consistency=other.recorder.log.consistency(size))
    refuses(host.members[0], lambda: call(host, view), "the ledger shows another history")


def test_history_with_another_last_entry(host: Host, call: Call, tmp_path: Path) -> None:
    """A fork: the same beginning, and another round 1 for this client."""
    prepared(host, call)
    fork = Host(tmp_path / "fork")
    fork.enrolled().round(accepted=[0])
    size = 4 if call is train else 3
    view = replace(fork.recorder.view(0), old_size=size, consistency=fork.recorder.log.consistency(size))
    if call is reveal:  # nothing of round 1 was shown to it yet: this is its history, for whoever compares checkpoints
        call(host, view)
    else:
        refuses(host.members[0], lambda: call(host, view), "the ledger shows another history")


def test_ledger_that_shrank(host: Host, call: Call) -> None:
    view = prepared(host, call)
    log = host.recorder.log
    if call is reveal:
        host.reveal(0)
    smaller = merkle.root_of([merkle.leaf_hash(log.entry(index)) for index in range(2)])
    forged = replace(view, checkpoint=signed(2, smaller), old_size=4, consistency=[])
    refuses(host.members[0], lambda: call(host, forged), "the ledger shrank from 4 to 2 entries")


def test_consistency_with_another_size_than_was_seen(host: Host, call: Call) -> None:
    view = prepared(host, call)
    proof = host.recorder.log.consistency(1)
    refuses(host.members[0], lambda: call(host, replace(view, old_size=1, consistency=proof)), "but size")


def test_consistency_proof_left_out_or_changed(host: Host) -> None:
    host.enrolled().round()
    view = host.view(0, host.index(0))
    assert view.consistency
    for proof in ([], view.consistency[:-1], [*view.consistency, bytes(32)], [bytes(32), *view.consistency[1:]]):
        forged = replace(view, consistency=proof)
        refuses(host.members[0], lambda forged=forged: reveal(host, forged), "another history")  # type: ignore[misc]


def test_entry_that_is_not_in_the_ledger(host: Host, call: Call) -> None:
    """An entry made for this client, under the true checkpoint."""
    view = prepared(host, call)
    entry = host.recorder.log.entry(view.entry_index)
    changed = entry.replace(b'"withheld":[]', b'"withheld":[1]')
    assert changed != entry
    refuses(host.members[0], lambda: call(host, replace(view, entry=changed)), "")


def test_entry_in_another_place(host: Host, call: Call) -> None:
    view = prepared(host, call)
    refuses(host.members[0], lambda: call(host, replace(view, entry_index=2)), "")
    refuses(host.members[0], lambda: call(host, replace(view, entry_index=view.entry_index + 1)), "")
    refuses(host.members[0], lambda: call(host, replace(view, entry_index=-1)), "")
    refuses(host.members[0], lambda: call(host, replace(view, inclusion=[*view.inclusion, bytes(32)])), "")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda request, view: (request, replace(view, consistency=["x"])), id="consistency"),
        pytest.param(lambda request, view: (request, replace(view, inclusion=[1] * len(view.inclusion))), id="inclusion"),
        pytest.param(lambda request, view: (replace(request, nonces=["x", "y"]), view), id="nonces"),
        pytest.param(lambda request, view: (replace(request, clients=["0", "1"]), view), id="clients"),
        pytest.param(lambda request, view: (replace(request, clients=[-1, 1]), view), id="negative client"),
        pytest.param(lambda request, view: (replace(request, clients=[2**40, 1]), view), id="large client"),
    ],
)
def test_lists_of_something_else(host: Host, change: Callable[[TrainRequest, LedgerView], tuple[TrainRequest, LedgerView]]) -> None:
    """As they come out of a Flower record, whose lists may hold any one type."""
    host.enrolled().round().revealed()
    request, view = change(host.request(), host.view(0))
    before = host.members[0].state

    def received() -> object:
        return host.train(0, TrainRequest.from_fields(request.to_fields()), LedgerView.from_fields(view.to_fields()))

    with pytest.raises((ClientError, LedgerError)):
        received()
    assert host.members[0].state == before


# The nonce


def test_nonce_before_its_commitment_is_in_the_ledger(host: Host) -> None:
    """Member 1 has enrolled, member 0 has not: it is shown its neighbour's entry."""
    host.enrol(1)
    member = host.members[0]
    member.enrol(replace(host.view(0, 0), old_size=0))
    host.recorder.seen(0, host.recorder.log.size)
    refuses(member, lambda: member.reveal(RevealRequest(1), host.view(0, 1)), "it keeps its nonce")
    refuses(member, lambda: member.reveal(RevealRequest(1), host.view(0, 0)), "it keeps its nonce")


def test_nonce_for_another_round(host: Host) -> None:
    host.enrolled()
    for number in (0, 2, 7, -1):
        refuses(
            host.members[0],
            lambda number=number: host.members[0].reveal(RevealRequest(number), host.view(0, 1)),  # type: ignore[misc]
            "it keeps its nonce",
        )


def test_nonce_after_a_contribution_that_was_not_accepted(host: Host) -> None:
    """Its new nonce is not in the ledger; the old one is out already."""
    host.enrolled().round(accepted=[1])
    refuses(host.members[0], lambda: host.reveal(0), "it keeps its nonce")
    host.reveal(1)


def test_nonce_again_for_another_checkpoint(host: Host) -> None:
    """Round 1 is drawn; then one more entry would draw it anew."""
    host.enrolled()
    nonce = host.reveal(0)
    assert host.reveal(0) == nonce  # the request may be repeated as it was
    host.recorder.log.append(b"one more entry")
    refuses(host.members[0], lambda: host.reveal(0), "the nonce of round 1 is out already, for another checkpoint")


def test_training_for_another_checkpoint_than_the_nonce(host: Host) -> None:
    host.enrolled().revealed()
    host.recorder.log.append(b"one more entry")
    refuses(host.members[0], lambda: host.train(0), "the checkpoint changed after the nonces of round 1 were revealed")


def test_beacon_without_the_own_nonce(host: Host) -> None:
    host.enrolled().revealed()
    own, other = host.nonces()
    for request in (
        TrainRequest(1, [1], [other]),
        TrainRequest(1, [], []),
        TrainRequest(1, [0, 1], [other, other]),
        TrainRequest(1, [0, 1], [own[:-1] + b"x", other]),
    ):
        refuses(host.members[0], lambda request=request: host.train(0, request), "leaves out the nonce")  # type: ignore[misc]


@pytest.mark.parametrize("number", [1, 2])
def test_beacon_of_a_server_that_never_asked(host: Host, number: int) -> None:
    """The commitment stands in the ledger, so the client can tell: the server would write down that it withheld."""
    host.enrolled()
    if number == 2:
        host.round()
    member, (_, other) = host.members[0], host.nonces()
    view = host.view(0)
    refuses(member, lambda: host.train(0, TrainRequest(number, [1], [other]), view), "nonce")


def test_nonces_that_do_not_belong_to_one_client_each(host: Host) -> None:
    host.enrolled().revealed()
    own, other = host.nonces()
    for clients, nonces in (([0], [own, other]), ([0, 0], [own, other]), ([0, 1], [own]), ([0, 1, 1], [own, other, other])):
        request = TrainRequest(1, clients, nonces)
        refuses(host.members[0], lambda request=request: host.train(0, request), "one client each")  # type: ignore[misc]


def test_commitment_in_a_statement_binds_the_nonce(host: Host) -> None:
    reply = host.enrol(0)
    statement = decode_enrolment(reply.statement).statement
    assert statement.nonce == commit_nonce(statement.run, statement.client, host.nonces()[0])


# Training


@pytest.mark.parametrize("number", [0, 1, 3])
def test_round_other_than_the_ledgers(host: Host, number: int) -> None:
    host.enrolled().round().revealed()
    request = replace(host.request(), round=number)
    refuses(host.members[0], lambda: host.train(0, request), "the model that the server sent is not the one that the ledger has")


def one_more(layers: list[IntArray]) -> list[IntArray]:
    layers[0][0, 0] += 1
    return layers


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(one_more, id="one value"),
        pytest.param(lambda layers: [layer * 0 for layer in layers], id="zeros"),
        pytest.param(lambda layers: layers[:1], id="a layer short"),
        pytest.param(lambda layers: [*layers, layers[0]], id="a layer more"),
        pytest.param(lambda layers: layers[::-1], id="layers swapped"),
    ],
)
def test_model_that_is_not_the_ledgers(host: Host, change: Callable[[list[IntArray]], list[IntArray]]) -> None:
    host.enrolled().round().revealed()
    weights = change(host.weights())
    refuses(host.members[0], lambda: host.train(0, weights=weights), "the model that the server sent is not the one that the ledger has")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda layers: [layer.astype(np.float64) for layer in layers], id="floats"),
        pytest.param(lambda layers: [layer.reshape(layer.shape[::-1]) for layer in layers], id="other shapes"),
    ],
)
def test_model_of_another_type_or_shape(host: Host, change: Callable[[list[IntArray]], list[IntArray]]) -> None:
    """The digest is over the values; shapes and types are the rule's."""
    host.enrolled().revealed()
    before = host.members[0].state
    with pytest.raises(ZkError) as error:
        host.train(0, weights=change(host.weights()))
    assert str(error.value).isprintable()
    assert host.members[0].state == before


def test_first_model_after_round_1(host: Host) -> None:
    """A stale model, with the entry that it stood in."""
    first = host.weights()
    host.enrolled().round().revealed()
    view = host.view(0, 0)
    refuses(host.members[0], lambda: host.train(0, host.request(), view, first), "not the one that the ledger has for round 2")


def test_last_entry_but_one(host: Host) -> None:
    """The model of round 1, and what it was trained from, after round 2."""
    host.enrolled().round()
    weights = host.weights()
    host.round().revealed()
    view, request = host.view(0, 3), replace(host.request(), round=2)
    refuses(host.members[0], lambda: host.train(0, request, view, weights), "does not show the last entry")


def test_entry_after_which_nothing_comes(host: Host) -> None:
    """The run is closed: its last model is trained no further."""
    host.enrolled().round()
    state = host.recorder.state
    host.recorder.append(ClosingEntry(outcome="interrupted", rounds=1, model=state.model.digest))
    refuses(host.members[0], lambda: host.train(0, TrainRequest(2, [], []), host.view(0, 3)), "does not show the last entry")


def test_round_that_is_over(host: Host) -> None:
    """Entry 0 is in the ledger for ever, so it proves nothing about now; the batch would be new, under the present checkpoint."""
    first = host.weights()
    host.enrolled().round().revealed()
    refuses(host.members[0], lambda: host.train(0, TrainRequest(1, [0, 1], [bytes(32)] * 2), host.view(0, 0), first), "round 1")


def test_second_contribution_to_one_round(host: Host) -> None:
    """A client whose nonce does not count in this round is the server's to ask: an update for each beacon it makes up."""
    host.enrolled().round(accepted=[1])
    host.reveal(1)
    other = host.nonces()[1]
    _, first = host.train(0, TrainRequest(2, [1], [other]))
    claim = decode_contribution(first.statement).statement
    assert isinstance(claim, ContributionStatement)
    refuses(host.members[0], lambda: host.train(0, TrainRequest(2, [1], [bytes(32)])), "round 2")


def test_more_rounds_than_agreed(folder: Path) -> None:
    host = Host(folder, terms(2, 1)).enrolled().round()
    host.revealed()
    refuses(host.members[0], lambda: host.train(0), "rounds")


def test_range_error_leaves_the_memory_as_it_was(host: Host) -> None:
    """Data changed since enrolment, beyond what the rule takes."""
    host.enrolled().revealed()
    member = host.members[0]
    x, y = samples_of(0, host.rule)
    member.data = lambda agreement: (x + 256, y)
    before = member.state
    with pytest.raises(ZkError) as error:
        host.train(0)
    assert str(error.value).isprintable()
    assert member.state == before


def test_secrets_differ_between_runs_and_members(host: Host, tmp_path: Path) -> None:
    """Not even a repeatable client uses a nonce or a blind twice."""
    host.enrolled()
    other = Host(tmp_path / "other", opening=opening_of(host.agreement, run=1)).enrolled()
    states = [member.state for member in (*host.members, *other.members)]
    assert len({state.nonce for state in states if state}) == 4
    assert len({state.row_seed for state in states if state}) == 4


def test_fresh_secrets_each_time_without_a_seed(host: Host) -> None:
    members = [Member(secret(0), partial(data_of, 0)) for _ in range(2)]
    replies = [member.enrol(host.view(0, 0)) for member in members]
    assert replies[0].rows != replies[1].rows
    assert members[0].state is not None
    assert members[1].state is not None
    assert members[0].state.nonce != members[1].state.nonce


def test_labels_of_every_loss_are_committed(tmp_path: Path) -> None:
    for loss in Loss:
        host = Host(tmp_path / loss.name, terms(2, 1, training={"loss": loss.value}))
        assert len(host.enrol(0).rows) == 6 * 48


def test_rule_is_the_agreed_one(host: Host) -> None:
    host.enrolled()
    rule: Rule = host.members[0].rule()
    assert rule == host.agreement.rule


# Proofs on demand


@pytest.fixture
def chosen(folder: Path) -> tuple[Host, ProveRequest]:
    """Return a host where both members' contributions stand and both must prove, and the request for it."""
    host = Host(folder, terms(2, 2, layers=(5, 3), proof={"kind": "training", "rate": 0.999})).enrolled().revealed()
    made, reveals = host.drawn()
    replies = [host.train(node)[1] for node in (0, 1)]
    said = {node: decode_contribution(reply.statement).statement for node, reply in enumerate(replies)}
    contributions = tuple(Contributed(client=node, contribution=Reference.of(replies[node].statement, STATEMENT)) for node in (0, 1))
    entry = CommitmentsEntry(round=1, reveals=reveals, withheld=(), beacon=made, contributions=contributions)
    host.recorder.append(entry, said)
    place = host.recorder.log.size - 1
    nonces = []
    for node, member in enumerate(host.members):
        nonces.append(member.reveal(RevealRequest(1), host.view(node, place)).nonce)
        host.recorder.seen(node, place + 1)
    return host, ProveRequest(1, [0, 1], nonces)


def prove(host: Host, request: ProveRequest, view: LedgerView | None = None, weights: Sequence[IntArray] | None = None) -> ProveReply:
    shown = view or host.view(0, host.recorder.log.size - 1)
    return host.members[0].prove(request, shown, weights or host.weights(), NumpyTrainer(host.rule))


def test_the_nonce_for_the_choice_commits_to_the_next_one(chosen: tuple[Host, ProveRequest]) -> None:
    host, request = chosen
    state, run = host.recorder.state, host.recorder.state.run
    for node, member in enumerate(host.members):
        assert member.state is not None
        assert commit_nonce(run, state.keys[node], request.nonces[node]) == state.pending[node]
        assert commit_nonce(run, state.keys[node], member.state.nonce) == request.nonces[node].hex()


def test_proof_of_what_stands(chosen: tuple[Host, ProveRequest]) -> None:
    """It can be asked for twice; it is made of what was agreed and committed to."""
    host, request = chosen
    first, second = prove(host, request), prove(host, request)
    assert first == second
    said = decode_proof(first.statement)
    said.check()
    assert said.statement.contribution == digest(host.members[0].state.statement)  # type: ignore[union-attr]


def test_a_contribution_is_proved_once(chosen: tuple[Host, ProveRequest]) -> None:
    """Whatever other nonces the server says were revealed, and however often it asks for this client's."""
    host, request = chosen
    host.members[0].deterministic = False
    first = prove(host, request)
    alone, line = ProveRequest(1, [0], request.nonces[:1]), "has proved its contribution to round 1 already"
    refuses(host.members[0], partial(prove, host, alone), line)
    host.members[0].reveal(RevealRequest(1), host.view(0, host.recorder.log.size - 1))
    refuses(host.members[0], partial(prove, host, alone), line)
    assert prove(host, request) == first


def test_proof_that_the_beacon_does_not_ask_for(chosen: tuple[Host, ProveRequest]) -> None:
    host, request = chosen
    place = host.recorder.log.size - 1
    alone = ProveRequest(1, [1], request.nonces[1:])
    for ask, line in (
        (replace(request, round=2), "there is nothing to prove"),
        (alone, "leaves out the nonce"),
        (ProveRequest(1, [0, 0], request.nonces), "do not belong to one client each"),
        (ProveRequest(1, [0], request.nonces), "do not belong to one client each"),
    ):
        refuses(host.members[0], partial(prove, host, ask), line)
    refuses(host.members[0], lambda: prove(host, request, host.view(0, 1)), "there is nothing to prove")
    wrong = [layer + 1 for layer in host.weights()]
    refuses(host.members[0], lambda: prove(host, request, weights=wrong), "not the one that this client trained from")
    host.recorder.log.append(b"another entry")
    refuses(host.members[0], lambda: prove(host, request, host.view(0, place)), "the checkpoint changed")


def test_proof_of_somebody_else(folder: Path) -> None:
    """At a low rate one of two is chosen; the other one refuses."""
    host = Host(folder, terms(2, 2, layers=(5, 3), proof={"kind": "training", "rate": 0.1})).enrolled().revealed()
    made, reveals = host.drawn()
    replies = [host.train(node)[1] for node in (0, 1)]
    said = {node: decode_contribution(reply.statement).statement for node, reply in enumerate(replies)}
    contributions = tuple(Contributed(client=node, contribution=Reference.of(replies[node].statement, STATEMENT)) for node in (0, 1))
    host.recorder.append(CommitmentsEntry(round=1, reveals=reveals, withheld=(), beacon=made, contributions=contributions), said)
    place = host.recorder.log.size - 1
    nonces = [member.reveal(RevealRequest(1), host.view(node, place)).nonce for node, member in enumerate(host.members)]
    for node in (0, 1):
        host.recorder.seen(node, place + 1)
    request, results = ProveRequest(1, [0, 1], nonces), []
    for node, member in enumerate(host.members):
        try:
            member.prove(request, host.view(node, place), host.weights(), NumpyTrainer(host.rule))
            results.append("proved")
        except MemberError as error:
            results.append(str(error))
    assert sorted(results) == sorted(["proved", "the beacon did not choose this client to prove its contribution to round 1"])


def test_a_nonce_is_kept_when_the_round_is_not_the_last_entry(folder: Path) -> None:
    """Whoever knows the nonces while an entry can still be added could try entries until the beacon pleases."""
    host = Host(folder).enrolled().round()
    last = host.recorder.log.size - 1
    host.recorder.log.append(host.recorder.log.entry(1))
    with pytest.raises(MemberError, match="the server may still append what the beacon is made of"):
        host.members[0].reveal(RevealRequest(2), host.view(0, last))


def test_a_nonce_is_kept_until_what_is_due_is_settled(folder: Path) -> None:
    """Between a round that ends an epoch and its settlement, whose scores an outsider cannot recompute."""
    settlement = {"epoch": 1, "evaluation": "00" * 32}
    host = Host(folder, terms(2, 3, settlement=settlement)).enrolled().round()
    with pytest.raises(MemberError, match="the server may still append what the beacon is made of"):
        host.members[0].reveal(RevealRequest(2), host.view(0, host.recorder.log.size - 1))


def test_nonce_for_the_choice_is_not_revealed_for_two_checkpoints(chosen: tuple[Host, ProveRequest]) -> None:
    host, _ = chosen
    place = host.recorder.log.size - 1
    assert host.members[0].reveal(RevealRequest(1), host.view(0, place)).nonce
    host.recorder.log.append(b"another entry")
    refuses(host.members[0], lambda: host.members[0].reveal(RevealRequest(1), host.view(0, place)), "is out already")
