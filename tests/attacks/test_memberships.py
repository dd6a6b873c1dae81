"""Node keys and memberships in a running federation: what is refused at the door, and what a revocation does not do."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from clients.app import client_app
from clients.member import Member
from clients.state import recall
from ledger.changes import (
    AnyChange,
    Revocation,
    RevocationReason,
    Rotation,
    RotationStatement,
    SignedRotation,
    SignedWithdrawal,
    WithdrawalStatement,
    numbered,
)
from ledger.entries import MAX_ENTRY_BYTES, encode_entry
from ledger.errors import VerificationError
from ledger.identity import node_digest, signing_key
from ledger.state import RunState
from ledger.verdicts import Reason
from strategies.desk import Desk, with_changes
from strategies.errors import StrategyError
from tests.federation import OK, Federation, LocalMember, Run, data_of, federate, key_of, secret, terms
from tests.ledger.test_entries import ROUND
from tests.local_grid import LocalGrid

PUBLIC = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(5)]
DIGESTS = [node_digest(key) for key in PUBLIC]


class KeyedGrid(LocalGrid):
    """A grid that knows each node's key, as a SuperLink does; ``shown`` are the keys by place, ``away`` the nodes that are gone."""

    def __init__(self, apps: list[ClientApp], shown: Sequence[int] = (0, 1, 2)) -> None:
        super().__init__(apps)
        self.keys = {node: public_key_to_bytes(PUBLIC[number]) for node, number in zip(self._apps, shown, strict=False)}
        self.away: set[int] = set()

    def get_node_ids(self) -> Iterable[int]:
        return [node for node in self._apps if node not in self.away]

    def get_nodes(self) -> list[NodeInfo]:
        return [NodeInfo(node_id=node, public_key=self.keys.get(node, b"")) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [
            "" if message.metadata.dst_node_id in self.away else next(iter(super(KeyedGrid, self).push_messages([message])))
            for message in messages
        ]

    def move(self, node: int, to: int, key: int) -> None:
        """Let a client come back as another node, with another node key."""
        self._apps[to], self._contexts[to] = self._apps.pop(node), self._contexts.pop(node)
        self._contexts[to].node_id = to
        self.keys[to] = public_key_to_bytes(PUBLIC[key])


def bound(number: int, node: str | None) -> ClientApp:
    """Return a client that binds a node key when it enrols."""

    def member_of(context: Context) -> Member:
        _, state = recall(context)
        return LocalMember(secret(number), partial(data_of, number), state, node=node, deterministic=True)

    return client_app(member_of)


class Paper(Desk):
    """Hands in what ``ask`` returns, once it may stand."""

    def __init__(self, ask: Callable[[RunState], Sequence[AnyChange]]) -> None:
        self.ask = ask
        self.stood: list[AnyChange] = []

    def changes(self, state: RunState) -> Sequence[AnyChange]:
        wanted = [change for change in self.ask(state) if change not in self.stood]
        try:
            state.membership.after(wanted, state.run)
        except VerificationError:
            return ()
        return wanted

    def granted(self, changes: Sequence[AnyChange]) -> None:
        self.stood += changes


def number_of(state: RunState, client: int) -> int:
    return state.keys.index(key_of(client))


def revoke(client: int, after: int = 1) -> Paper:
    """Revoke a client in the entry of round ``after``."""

    def ask(state: RunState) -> Sequence[AnyChange]:
        if state.rounds + 1 != after or len(state.members) < 3:
            return ()
        return [Revocation(client=number_of(state, client), reason=RevocationReason.RULES_BROKEN)]

    return Paper(ask)


def rotation(state: RunState, client: int, previous: int, node: int, signed_by: int | None = None) -> AnyChange:
    said = RotationStatement(run=state.run, client=key_of(client), previous=DIGESTS[previous], node=DIGESTS[node])
    key = signing_key(secret(client if signed_by is None else signed_by))
    return numbered(SignedRotation.sign(said, key), number_of(state, client))


def clients() -> list[ClientApp]:
    return [bound(number, DIGESTS[number]) for number in range(3)]


# ---- the node key at enrolment


def test_members_enrol_with_the_node_keys_that_they_connect_with(folder: Path) -> None:
    run = federate(folder, clients(), grid=KeyedGrid(clients()))
    assert {member.client: member.node for member in run.state.members} == {key_of(i): DIGESTS[i] for i in range(3)}
    assert run.verdicts(2) == [OK, OK, OK]


@pytest.mark.parametrize("shown", [(1, 0, 2), (0, 3, 2), (0,)], ids=["swapped", "another", "none"])
def test_who_connects_with_another_node_key_than_it_binds_does_not_enrol(folder: Path, shown: tuple[int, ...]) -> None:
    grid = KeyedGrid(clients(), shown)
    run = federate(folder, clients(), grid=grid)
    honest = {key_of(i) for i in range(3) if i < len(shown) and shown[i] == i}
    assert set(run.state.keys) == honest


def test_a_grid_that_knows_no_node_keys_takes_no_binding(folder: Path) -> None:
    with pytest.raises(StrategyError, match="binds another node key than the one that it connects with"):
        Federation(folder, clients(), grid=LocalGrid(clients())).run()


def test_two_members_do_not_share_a_node_key(folder: Path) -> None:
    apps = [bound(number, DIGESTS[0]) for number in range(3)]
    run = federate(folder, apps, grid=KeyedGrid(apps, (0, 0, 0)))
    assert len(run.state.members) == 1


def test_a_member_refuses_to_enrol_without_the_node_key_that_the_agreement_demands(folder: Path) -> None:
    agreement = terms(3, federation={"node-keys": True})
    with pytest.raises(StrategyError, match="the agreement demands that a node key is bound"):
        Federation(folder, [], agreement, grid=KeyedGrid([bound(number, None) for number in range(3)])).run()


# ---- changes while it runs


def test_a_revoked_member_is_asked_nothing_more(folder: Path) -> None:
    grid, agreement = KeyedGrid(clients()), terms(3, 3)
    run = federate(folder, clients(), agreement=agreement, grid=grid, desk=revoke(1))
    assert [run.verdicts(number) for number in (1, 2, 3)] == [[OK, Reason.NO_REPLY, OK], [OK, None, OK], [OK, None, OK]]
    assert run.outcome == "completed"
    assert [message.metadata.message_type for message in grid.sent if message.metadata.dst_node_id == 101] == ["query.enrol"]
    assert [len(entry.withheld) for entry in run.rounds] == [1, 0, 0]


def test_a_member_that_is_cut_off_meanwhile_is_not_waited_for(folder: Path) -> None:
    """Its connection ends at once; the round it is in says that it did not reply, and is over when the others have."""
    grid = KeyedGrid(clients())

    def ask(state: RunState) -> Sequence[AnyChange]:
        if len(state.members) < 3 or state.rounds:
            return ()
        grid.away.add(101)
        return [Revocation(client=number_of(state, 1), reason=RevocationReason.KEY_COMPROMISED)]

    run = federate(folder, clients(), agreement=terms(3, 2, rounds={"reply-timeout": 300}), grid=grid, desk=Paper(ask))
    assert run.verdicts(1) == [OK, Reason.NO_REPLY, OK]
    assert run.verdicts(2) == [OK, None, OK]


def test_the_run_ends_when_a_revocation_leaves_too_few(folder: Path) -> None:
    agreement = terms(3, 3, federation={"minimum-clients": 3})
    run = federate(folder, clients(), agreement=agreement, grid=KeyedGrid(clients()), desk=revoke(2))
    assert run.outcome == "too-few-clients"
    assert len(run.rounds) == 1


def test_nobody_is_waited_for_who_is_about_to_leave(folder: Path) -> None:
    """A round that cannot have enough accepted updates without the member is held all the same, and says so."""
    agreement = terms(3, 3, rounds={"minimum-accepted": 3})
    run = federate(folder, clients(), agreement=agreement, grid=KeyedGrid(clients()), desk=revoke(2))
    assert run.verdicts(1) == [OK, OK, Reason.NO_REPLY]
    assert run.outcome == "too-few-accepted"
    assert run.state.membership.active == [number for number in range(3) if run.state.keys[number] != key_of(2)]


def test_a_withdrawal(folder: Path) -> None:
    def ask(state: RunState) -> Sequence[AnyChange]:
        if len(state.members) < 3:
            return ()
        said = WithdrawalStatement(run=state.run, client=key_of(0))
        return [numbered(SignedWithdrawal.sign(said, signing_key(secret(0))), number_of(state, 0))]

    run = federate(folder, clients(), grid=KeyedGrid(clients()), desk=Paper(ask))
    assert [run.verdicts(1), run.verdicts(2)] == [[Reason.NO_REPLY, OK, OK], [None, OK, OK]]


@pytest.mark.parametrize(("key", "comes_back"), [(3, True), (4, False), (1, False)], ids=["rotated to", "another", "old"])
def test_a_member_comes_back_with_the_node_key_that_it_rotated_to_and_no_other(folder: Path, key: int, comes_back: bool) -> None:
    grid = KeyedGrid(clients())

    def ask(state: RunState) -> Sequence[AnyChange]:
        if len(state.members) < 3 or state.rounds > 1:
            return ()
        if state.rounds == 1 and 101 in grid.keys and 101 in grid.get_node_ids():
            grid.move(101, 111, key)
        return [rotation(state, 1, 1, 3)]

    agreement = terms(3, 3, rounds={"reply-timeout": 1})
    run = federate(folder, clients(), agreement=agreement, grid=grid, desk=Paper(ask))
    assert [change.change for change in run.rounds[0].changes] == ["rotation"]
    assert run.state.membership.nodes[number_of(run.state, 1)] == DIGESTS[3]
    assert run.verdicts(3)[1] == (OK if comes_back else Reason.NO_REPLY)
    assert run.outcome == "completed"


def test_a_rotation_that_another_signed_never_reaches_the_ledger(folder: Path) -> None:
    class Careless(Desk):
        def changes(self, state: RunState) -> Sequence[AnyChange]:
            return [rotation(state, 1, 1, 3, signed_by=2)] if len(state.members) == 3 else ()

    with pytest.raises(VerificationError, match="the signature is not by client"):
        Federation(folder, clients(), grid=KeyedGrid(clients()), desk=Careless()).run()


def test_what_does_not_fit_an_entry_waits_for_the_next() -> None:
    changes = [
        Rotation(
            client=number,
            statement=RotationStatement(run="11" * 32, client="22" * 32, previous="33" * 32, node="44" * 32),
            signature="A" * 86 + "==",
        )
        for number in range(64)
    ]
    assert with_changes(ROUND, changes).changes == tuple(changes)
    verdicts = tuple(ROUND.verdicts[0].model_copy(update={"client": number}) for number in range(230))
    entry = with_changes(ROUND.model_copy(update={"verdicts": verdicts}), changes)
    assert 0 < len(entry.changes) < 64
    assert MAX_ENTRY_BYTES - 600 < len(encode_entry(entry)) <= MAX_ENTRY_BYTES
    assert entry.changes == tuple(changes[: len(entry.changes)])


def test_the_clients_numbers_stay(folder: Path) -> None:
    run: Run = federate(folder, clients(), grid=KeyedGrid(clients()), desk=revoke(0))
    assert len(run.state.keys) == 3
    assert run.state.membership.active == [number for number in range(3) if run.state.keys[number] != key_of(0)]
