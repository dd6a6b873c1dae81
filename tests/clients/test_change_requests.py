"""What a member asks of the operator: it says what it should, it can be repeated, and nobody else's passes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clients.change_requests import MAX_SIZE, ChangeRequest, leave, rotate
from clients.errors import MemberError
from clients.home import NEXT, ClientHome, Settings
from clients.node_keys import make_node_key, public_of
from clients.vault import Vault
from ledger.canonical import dump_json
from ledger.changes import SignedRotation, SignedWithdrawal
from ledger.entries import SignedEnrolment
from ledger.errors import VerificationError
from ledger.identity import node_digest, public_key, signing_key
from tests.clients.test_home import state_of
from tests.ledger.test_entries import enrolment


@pytest.fixture(params=["in clear", "sealed"])
def home(tmp_path: Path, request: pytest.FixtureRequest) -> ClientHome:
    """Return a client that has enrolled with a node key."""
    home = ClientHome(tmp_path / "state", Vault(bytes(32)) if request.param == "sealed" else None)
    home.prepare(Settings("digits"))
    home.create("node.key", make_node_key("a")[0].encode())
    return enrolled(home, node_digest(public_of(home.read("node.key"))))


def enrolled(home: ClientHome, node: str | None) -> ClientHome:
    member = home.member()
    key = signing_key(member.secret)
    statement = enrolment("a5" * 32, 0, client=public_key(key), node=node)
    member.state = replace(state_of(), enrolment=SignedEnrolment.sign(statement, key).encode())
    home.keep(member)
    return home


def test_a_rotation_names_the_old_and_the_new_key_and_carries_no_secret(home: ClientHome) -> None:
    old = public_of(home.read("node.key"))
    path = rotate(home)
    request = ChangeRequest.read(path)
    assert isinstance(request.signed, SignedRotation)
    request.signed.check()
    said, member = request.signed.statement, home.member()
    assert member.state is not None
    assert (said.client, said.run) == (home.identity(), member.state.run)
    assert (said.previous, said.node) == (node_digest(old), node_digest(public_of(home.read(NEXT))))
    assert said.node == request.node() != said.previous
    assert b"PRIVATE" not in path.read_bytes()
    assert public_of(home.read("node.key")) == old  # until the server accepts the new one


def test_a_rotation_that_is_asked_for_again_is_the_same(home: ClientHome) -> None:
    first = rotate(home).read_bytes()
    assert rotate(home).read_bytes() == first


def test_the_next_key_takes_the_place_of_the_old_one(home: ClientHome) -> None:
    rotate(home)
    new = public_of(home.read(NEXT))
    home.adopt_next()
    assert public_of(home.read("node.key")) == new
    assert not (home.folder / NEXT).exists()
    rotate(home)
    assert json.loads((home.folder / "rotation.json").read_bytes())["signed"]["statement"]["previous"] == node_digest(new)


def test_a_withdrawal(home: ClientHome) -> None:
    request = ChangeRequest.read(leave(home))
    assert isinstance(request.signed, SignedWithdrawal)
    request.signed.check()
    assert request.signed.statement.client == home.identity()
    assert request.node_key is None


def test_who_has_not_enrolled_has_nothing_to_change(tmp_path: Path) -> None:
    home = ClientHome(tmp_path / "state")
    home.prepare(Settings("digits"))
    for ask in (rotate, leave):
        with pytest.raises(MemberError, match="has not enrolled in a run"):
            ask(home)
    enrolled(home, None)
    with pytest.raises(MemberError, match="enrolled without a node key"):
        rotate(home)
    leave(home)


def other_key() -> str:
    return make_node_key("b")[1].strip()


def test_a_request_that_contradicts_itself_is_refused(home: ClientHome, tmp_path: Path) -> None:
    rotation, withdrawal = (json.loads(path.read_bytes()) for path in (rotate(home), leave(home)))
    path = tmp_path / "request.json"
    for value, message in (
        (rotation | {"node-key": other_key()}, "the node key in it is not the one that was signed"),
        ({name: value for name, value in rotation.items() if name != "node-key"}, "a rotation comes with the new node key"),
        (withdrawal | {"node-key": other_key()}, "a withdrawal with none"),
        (rotation | {"node-key": "ssh-ed25519 AAAA"}, "no public node key"),
        (rotation | {"note": "please"}, "unknown field"),
        (rotation | {"format": "lunaria-change/v2"}, "is no request of a member"),
        ([], "is no request of a member"),
    ):
        path.write_bytes(dump_json(value))
        with pytest.raises(MemberError, match=message):
            ChangeRequest.read(path)
    for data in (b"", b"{", b"\xff", b"x" * (MAX_SIZE + 1)):
        path.write_bytes(data)
        with pytest.raises(MemberError):
            ChangeRequest.read(path)
    with pytest.raises(MemberError, match="cannot read"):
        ChangeRequest.read(tmp_path / "missing")


def test_nobody_else_can_sign_it(home: ClientHome) -> None:
    request = ChangeRequest.read(leave(home))
    stranger = signing_key(bytes(32))
    assert isinstance(request.signed, SignedWithdrawal)
    with pytest.raises(VerificationError):
        SignedWithdrawal.sign(request.signed.statement, stranger).check()
