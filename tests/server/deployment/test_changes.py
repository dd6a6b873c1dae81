"""Changes that wait in a server's folder, and the commands that put them there: what is let through, and what is refused."""

from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from clients.change_requests import ChangeRequest
from clients.event_log import EventFile, Events
from clients.node_keys import public_text
from ledger.changes import (
    Revocation,
    RevocationReason,
    Rotation,
    RotationStatement,
    SignedRotation,
    SignedWithdrawal,
    WithdrawalStatement,
    numbered,
)
from ledger.identity import node_digest, signing_key
from server.cli import main as lunaria
from server.deployment.admission import Admission
from server.deployment.changes import Changes, barred, membership_in
from server.deployment.desk import FolderDesk
from server.deployment.home import ServerHome
from server.deployment.superlink import SuperLink
from tests.attacks.test_memberships import DIGESTS, PUBLIC, KeyedGrid, clients, number_of, revoke
from tests.federation import Federation, Run, key_of, secret, terms
from tests.server.deployment.test_commands import run as command

REVOKED = Revocation(client=1, reason=RevocationReason.UNREACHABLE)


@pytest.fixture
def state(tmp_path: Path) -> tuple[Path, Run]:
    """Return a folder with a run of three members after one round, each with a node key, and the run."""
    agreement = terms(3, 1)
    done = Federation(tmp_path / "run", [], agreement, grid=KeyedGrid(clients())).run()
    (tmp_path / "members").mkdir()
    for number, key in enumerate(PUBLIC[:3]):
        (tmp_path / "members" / f"{number}.pub").write_text(f"{public_text(key)} {number}\n", encoding="utf-8")
    return tmp_path / "run", done


def rotated(run: Run, client: int, node: ec.EllipticCurvePublicKey, **claims: str) -> SignedRotation:
    said = RotationStatement(
        **{"run": run.state.run, "client": key_of(client), "previous": DIGESTS[client], "node": node_digest(node), **claims}
    )
    return SignedRotation.sign(said, signing_key(secret(client)))


def request(folder: Path, signed: SignedRotation | SignedWithdrawal, key: ec.EllipticCurvePublicKey | None = None) -> Path:
    path = folder / "request.json"
    path.write_bytes(ChangeRequest(signed=signed, node_key=None if key is None else public_text(key)).encode())
    return path


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert command(folder, lunaria, *options) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not (folder / "run" / "changes").exists()
    return line


def test_the_membership_is_what_the_ledger_says(tmp_path: Path) -> None:
    done = Federation(tmp_path / "run", [], terms(3, 2), grid=KeyedGrid(clients()), desk=revoke(1)).run()
    name, membership = membership_in(tmp_path / "run")
    assert (name, membership) == (done.state.run, done.state.membership)
    assert list(membership.ended) == [number_of(done.state, 1)]


@pytest.mark.parametrize("how", ["name", "identity"])
def test_a_revocation_waits_for_the_server(state: tuple[Path, Run], how: str) -> None:
    folder, run = state
    member = "1" if how == "name" else key_of(1)[:8].upper()
    assert command(folder.parent, lunaria, "revoke", "run", member, "--reason", "legal-order") == 0
    expected = Revocation(client=number_of(run.state, 1), reason=RevocationReason.LEGAL_ORDER)
    assert Changes(folder).waiting() == [expected]
    assert barred(run.state.membership, [expected]) == {DIGESTS[1]}


def test_a_rotation_waits_with_its_key(state: tuple[Path, Run]) -> None:
    folder, run = state
    signed = rotated(run, 2, PUBLIC[3])
    assert command(folder.parent, lunaria, "change", "run", str(request(folder.parent, signed, PUBLIC[3]))) == 0
    change = numbered(signed, number_of(run.state, 2))
    assert Changes(folder).waiting() == [change]
    assert list(Changes(folder).node_keys()) == [DIGESTS[3]]
    assert barred(run.state.membership, [change]) == {DIGESTS[2]}


def test_a_rotation_that_is_asked_for_again_replaces_the_first(state: tuple[Path, Run]) -> None:
    folder, run = state
    for key in PUBLIC[3:5]:
        assert command(folder.parent, lunaria, "change", "run", str(request(folder.parent, rotated(run, 2, key), key))) == 0
    (waiting,) = Changes(folder).waiting()
    assert isinstance(waiting, Rotation)
    assert waiting.statement.node == DIGESTS[4]


def test_what_may_not_be_made_is_refused_before_the_server_sees_it(state: tuple[Path, Run], capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = state
    there = folder.parent
    said = WithdrawalStatement(run=run.state.run, client=key_of(0))
    cases: list[tuple[SignedRotation | SignedWithdrawal, ec.EllipticCurvePublicKey | None, str]] = [
        (SignedWithdrawal.sign(said, signing_key(secret(1))), None, "the signature is not by client"),
        (SignedWithdrawal.sign(WithdrawalStatement(run="ee" * 32, client=key_of(0)), signing_key(secret(0))), None, "another run"),
        (SignedWithdrawal.sign(WithdrawalStatement(run=run.state.run, client=key_of(7)), signing_key(secret(7))), None, "takes no part"),
        (rotated(run, 0, PUBLIC[1]), PUBLIC[1], "was bound in this run already"),
        (rotated(run, 0, PUBLIC[3], previous=DIGESTS[1]), PUBLIC[3], "replaces another node key"),
        (rotated(run, 0, PUBLIC[3]), PUBLIC[4], "not the one that was signed"),
    ]
    for signed, key, why in cases:
        assert why in refusal(there, capsys, "change", "run", str(request(there, signed, key)))
    for member, why in (("nobody", "does not exist"), ("ab", "8 digits or more"), ("00" * 8, "0 clients that take part")):
        assert why in refusal(there, capsys, "revoke", "run", member, "--reason", "unreachable")
    assert "'too-tall' is not one of" in refusal(there, capsys, "revoke", "run", "1", "--reason", "too-tall")
    assert "is not the folder of a run" in refusal(there, capsys, "revoke", "members", "1", "--reason", "unreachable")


def test_the_desk_grants_one_change_for_a_client_and_drops_what_cannot_stand(state: tuple[Path, Run], tmp_path: Path) -> None:
    folder, run = state
    changes, log = Changes(folder), EventFile(tmp_path / "server.log")
    desk, number = FolderDesk(changes, log), number_of(run.state, 1)
    end = Revocation(client=number, reason=RevocationReason.RULES_BROKEN)
    changes.add(numbered(rotated(run, 1, PUBLIC[3]), number), PUBLIC[3])
    changes.add(end)
    stranger = Revocation(client=7, reason=RevocationReason.RULES_BROKEN)
    changes.add(stranger)
    assert list(desk.changes(run.state)) == [end]
    assert desk.leaving(run.state) == {number}
    assert "not granted: a revocation of client 7, but 3 are enrolled" in (tmp_path / "server.log").read_text(encoding="utf-8")
    assert stranger not in changes.waiting()
    desk.granted([end])
    run.state.membership = run.state.membership.after([end], run.state.run)
    assert not desk.changes(run.state)  # the rotation is one of somebody who left
    assert not changes.waiting()


def test_a_damaged_file_does_not_stop_the_run(state: tuple[Path, Run], tmp_path: Path) -> None:
    folder, run = state
    (folder / "changes").mkdir()
    (folder / "changes" / "0000-end.json").write_bytes(b"{}")
    desk = FolderDesk(Changes(folder), EventFile(tmp_path / "server.log"))
    assert not desk.changes(run.state)
    assert not desk.changes(run.state)
    assert (tmp_path / "server.log").read_text(encoding="utf-8").count("remove it") == 1


class Link:
    """What Admission asks of a SuperLink."""

    def __init__(self) -> None:
        self.nodes: dict[int, bytes] = {}

    def admit(self, name: str, key: ec.EllipticCurvePublicKey) -> int:
        assert public_key_to_bytes(key) not in self.nodes.values()
        self.nodes[len(self.nodes) + 1] = public_key_to_bytes(key)
        return len(self.nodes)

    def cut(self, node: int) -> None:
        self.nodes[node] += b"cut"


def let_in(link: Link) -> set[bytes]:
    return {key for key in link.nodes.values() if not key.endswith(b"cut")}


def test_gate_and_superlink_follow_the_changes(state: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, run = state
    monkeypatch.setattr(ServerHome, "standing", lambda home: object())
    known = {f"member {number}": key for number, key in enumerate(PUBLIC[:3])}
    pem = [public_key_to_bytes(key) for key in PUBLIC]
    events = Events(tmp_path / "server.log", lambda event: None)

    def start() -> tuple[Admission, Link]:
        link = Link()
        return Admission(ServerHome(folder), cast("SuperLink", link), known, events), link

    admission, link = start()
    assert admission.keys == let_in(link) == set(pem[:3])
    Changes(folder).add(Revocation(client=number_of(run.state, 1), reason=RevocationReason.KEY_COMPROMISED))
    admission.look()
    assert admission.keys == let_in(link) == {pem[0], pem[2]}
    Changes(folder).add(numbered(rotated(run, 2, PUBLIC[3]), number_of(run.state, 2)), PUBLIC[3])
    admission.look()
    assert admission.keys == let_in(link) == {pem[0], pem[3]}
    again, link = start()  # a server that starts again lets in the same
    assert again.keys == let_in(link) == {pem[0], pem[3]}
    admission.look()
    assert len(link.nodes) == 2
