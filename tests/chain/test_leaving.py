"""Deciding challenges and getting everything out, with the commands that people type, on a real node."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import merkle
from server.chain.config import ChainConfig
from server.chain.federation import Federation
from server.chain.ledger_view import published
from server.chain.node import Node
from tests.chain.anvil import MISSING, binary
from tests.chain.deployment import OPERATOR, Deployment
from tests.chain.evm import account

pytestmark = pytest.mark.skipif(binary() is None, reason=MISSING)


def propose(begun: Deployment, epoch: int, **changed: Any) -> Federation:  # noqa: ANN401
    """Anchor the ledger and propose an epoch with the entry of epoch 1, some of it changed."""
    from ledger.settlement import claims
    from server.chain.ledger_view import roots_of

    if not begun.run.state.epochs:
        begun.run.rounds(2)
    begun.must("anchor", str(begun.run.folder))
    begun.anvil.wait(60)
    federation = begun.federation()
    with published(begun.run.folder) as ledger:
        (place, entry), anchor = ledger.settlement(1), federation.anchors()[-1]
        root, fined = roots_of(entry)
        what = {"root": root, "penalties": fined, "total": int(entry.total), "claims": len(claims(entry))} | changed
        leaf, path = merkle.leaf_hash(ledger.store.entry(place)), ledger.inclusion(place, anchor.size)
    call = federation.call("propose", (epoch, *what.values()), anchor.to_abi(), leaf, place, path)
    federation.node.send(f"propose/{epoch}", call, OPERATOR)
    return federation


def decided(begun: Deployment, folder: Path, epoch: int) -> list[str]:
    """Return the files of two witnesses' decisions."""
    files = []
    for who in (4, 5):
        file = folder / f"{who}.json"
        file.write_text(begun.must("decide", str(begun.run.folder), "--epoch", str(epoch), who=who))
        files.append(str(file))
    return files


@pytest.mark.parametrize(
    ("epoch", "changed"), [(9, {}), (1, {"total": 9_000}), (1, {"root": b"\xbb" * 32})], ids=["epoch", "total", "root"]
)
def test_the_quorum_undoes_a_settlement_that_is_not_the_ledgers(
    begun: Deployment, tmp_path: Path, epoch: int, changed: dict[str, Any]
) -> None:
    run, number = str(begun.run.folder), str(epoch)
    federation = propose(begun, epoch, **changed)
    assert begun.do("status", run).exit_code == 5
    assert "is not challenged" in str(begun.do("decide", run, "--epoch", number, who=4).exception)
    begun.must("challenge", run, "--epoch", number, who=3)
    assert "done already" in begun.must("challenge", run, "--epoch", number, who=3)
    assert "not a seated witness" in str(begun.do("decide", run, "--epoch", number, who=3).exception)
    files = decided(begun, tmp_path, epoch)
    assert "1 seated witnesses signed, 2 must" in str(begun.do("resolve", "--epoch", number, files[0], who=3).exception)
    assert "resolve(" in begun.must("resolve", "--epoch", number, *files, "--dry-run", who=3)
    assert "is void" in begun.must("resolve", "--epoch", number, *files, who=3)
    assert federation.get("due", epoch) == 0
    assert "no challenge is open" in begun.must("resolve", "--epoch", number, *files, who=3)
    assert federation.get("credit", account(3).address) == 600, "the bond, and as much from the operator"
    begun.must("withdraw", who=3)
    assert federation.get("credit", account(3).address) == 0
    assert begun.do("status", run).exit_code == 0


def test_the_quorum_upholds_the_ledgers_settlement(begun: Deployment, tmp_path: Path) -> None:
    federation = propose(begun, 1)
    federation.node.send("challenge", federation.call("challenge", 1), account(3), 300)
    files = decided(begun, tmp_path, 1)
    said = json.loads(Path(files[0]).read_text())
    lie = tmp_path / "lie.json"
    lie.write_text(json.dumps(said | {"stands": False}))  # its signature is over the other decision
    assert "0 seated witnesses signed" in str(begun.do("resolve", "--epoch", "1", str(lie)).exception)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(said | {"attempt": 0}))
    assert "none of these files" in str(begun.do("resolve", "--epoch", "1", str(old)).exception)
    assert "is not what a witness signed" in str(begun.do("resolve", "--epoch", "1", str(begun.file)).exception)
    assert "stands and is final" in begun.must("resolve", "--epoch", "1", *files)
    assert federation.get("bond", 1) == 0
    begun.must("claim", str(begun.run.folder), "--epoch", "1", who=2)


def test_nobody_decides_and_the_challenger_gets_the_bond_back(begun: Deployment) -> None:
    federation = propose(begun, 9)
    begun.must("challenge", str(begun.run.folder), "--epoch", "9", who=3)
    begun.must("withdraw", who=3)
    assert federation.get("credit", account(3).address) == 0
    begun.anvil.wait(61)
    output = begun.must("withdraw", who=3)
    assert "lapse" in output
    assert "collect" in output
    assert federation.get("due", 9) == 0
    assert "has nothing" in begun.must("withdraw", who=3)


def test_totals_are_reached_and_not_passed(begun: Deployment) -> None:
    federation, sponsor, member = begun.federation(), account(2).address, account(11).address
    assert "done already" in begun.must("fund", "--total", "10000", who=2)
    assert "done already" in begun.must("fund", "--total", "10000", "--dry-run", who=2)
    begun.must("fund", "--total", "10500", who=2)
    assert federation.get("paid_in", sponsor) == 10_500
    assert "below the minimum stake" in str(begun.do("unbond", "--keep", "1", who=11).exception)
    begun.must("unbond", who=11)
    assert "done already" in begun.must("unbond", who=11)
    assert federation.get("unbonding", member) == 1_000
    assert "s to wait" in begun.must("withdraw", who=11)
    assert federation.get("unbonding", member) == 1_000


def test_an_amount_on_its_way_counts(begun: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a payment that was sent when the command was killed is part of the total that the next command names."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Node, "_receipt", die)
    with pytest.raises(Killed):
        begun.do("fund", "--total", "10100", who=2)
    monkeypatch.undo()
    begun.must("fund", "--total", "10300", who=2)
    assert begun.federation().get("paid_in", account(2).address) == 10_300


def test_everybody_gets_everything_out(begun: Deployment) -> None:
    federation = propose(begun, 1)
    begun.anvil.wait(60)
    assert "seated until the next election" in str(begun.do("unbond", who=4).exception)
    assert account(4).address not in federation.candidates()
    assert "bond stays" in str(begun.do("unbond").exception)
    assert "not silent" in str(begun.do("close", who=3).exception)
    begun.must("close")
    assert "done already" in begun.must("close")
    assert "settlements are claimed or expire" in begun.must("withdraw", who=2)
    members = (1, 4, 5, 6, 11, 12, 13)
    for who in members:
        begun.must("unbond", who=who)
    begun.anvil.wait(86_401)
    other = account(15).address
    before = int(begun.anvil.rpc("eth_getBalance", other, "latest"), 16)
    begun.must("withdraw", "--to", other, who=11)
    assert int(begun.anvil.rpc("eth_getBalance", other, "latest"), 16) - before == 1_000
    for who in members:
        begun.must("withdraw", who=who)
    begun.must("withdraw", who=2)
    assert int(begun.anvil.rpc("eth_getBalance", federation.address, "latest"), 16) == 0
    assert ChainConfig.read(begun.file).contract == federation.address
