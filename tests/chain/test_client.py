"""The commands and the anchoring against a real node that is killed, restarted and rolled back: nothing lost, nothing done twice."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from server.chain.anchoring import Anchorer, follow
from server.chain.artifacts import artifact
from server.chain.config import KEY, ChainConfig
from server.chain.errors import Disagreement, Refused, Unreachable
from server.chain.federation import Federation
from server.chain.node import Node
from server.chain.statements import log_digest, sign
from server.chain.witness import to_hex
from server.errors import ServerError
from tests.chain.anvil import CHAIN, MISSING, Anvil, binary
from tests.chain.deployment import CLIENTS, OPERATOR, Deployment
from tests.chain.evm import account
from tests.chain.world import ZERO

pytestmark = pytest.mark.skipif(binary() is None, reason=MISSING)


def anchorer(begun: Deployment, journal: str = "chain.journal.json") -> Anchorer:
    config = ChainConfig.read(begun.file)
    return Anchorer(begun.run.folder, Federation(Node(config, begun.folder / journal)), OPERATOR)


def anchored(begun: Deployment) -> list[int]:
    return [anchor.size for anchor in begun.federation().anchors()]


def test_commands_settle_an_epoch_from_the_ledger_to_the_last_claim(begun: Deployment) -> None:
    run, federation = str(begun.run.folder), begun.federation()
    if not begun.run.state.epochs:
        begun.run.rounds(2)
    assert "is not anchored yet" in str(begun.do("settle", run, "--epoch", "1").exception)
    begun.must("anchor", run)
    assert "is final in" in str(begun.do("settle", run, "--epoch", "1").exception)
    begun.anvil.wait(60)
    begun.must("settle", run, "--epoch", "1")
    begun.anvil.wait(60)
    begun.must("settle", run, "--epoch", "1")
    begun.must("settle", run, "--epoch", "1")
    assert federation.get("stake", CLIENTS[2].address) == 900, "the cheater was fined once"
    before = begun.anvil.rpc("eth_getBalance", CLIENTS[0].address, "latest")
    begun.must("claim", run, "--epoch", "1", who=2)
    assert "done already" in begun.must("claim", run, "--epoch", "1", who=2)
    assert int(begun.anvil.rpc("eth_getBalance", CLIENTS[0].address, "latest"), 16) - int(before, 16) == 1500
    assert "2,000 of 2,000 paid" in begun.must("status", run)
    found = json.loads(begun.must("claim", run, "--epoch", "1", "--proof"))
    assert [one["amount"] for one in found] == ["1500", "500"]


def test_a_settlement_that_is_not_the_ledgers_is_seen_and_challenged(begun: Deployment) -> None:
    run, federation = str(begun.run.folder), begun.federation()
    if not begun.run.state.epochs:
        begun.run.rounds(2)
    begun.must("anchor", run)
    begun.anvil.wait(60)
    begun.must("settle", run, "--epoch", "1")
    assert "is the ledger's" in str(begun.do("challenge", run, "--epoch", "1", who=3).exception)
    from ledger import merkle
    from server.chain.ledger_view import published

    with published(begun.run.folder) as ledger:
        place, anchor = ledger.settlement(1)[0], federation.anchors()[-1]
        leaf, path = merkle.leaf_hash(ledger.store.entry(place)), ledger.inclusion(place, anchor.size)
    call = federation.call("propose", (9, b"\xbb" * 32, bytes(32), 5, 1), anchor.to_abi(), leaf, place, path)
    federation.node.send("false", call, OPERATOR)
    result = begun.do("status", run)
    assert result.exit_code == 5
    assert "no settlement of epoch 9" in result.output


def test_status_and_dry_runs_send_nothing(begun: Deployment) -> None:
    nonce = begun.anvil.rpc("eth_getTransactionCount", OPERATOR.address, "latest")
    output = begun.must("anchor", str(begun.run.folder), "--dry-run")
    assert "anchor(" in output
    assert "gas at most" in output
    assert "open" in begun.must("status")
    assert begun.anvil.rpc("eth_getTransactionCount", OPERATOR.address, "latest") == nonce
    assert begun.do("elect", "--dry-run").exception.args[0] == "the contract refuses: the term is not over"  # type: ignore[union-attr]


def test_what_is_done_already_is_not_done_twice(begun: Deployment) -> None:
    assert "done already" in begun.must("join", "--stake", "5000", "--identity", f"{1:064x}")
    assert "deployed already" in begun.must("deploy", str(begun.run.folder))
    begun.must("anchor", str(begun.run.folder))
    count = len(anchored(begun))
    begun.must("anchor", str(begun.run.folder))
    assert len(anchored(begun)) == count


def test_a_process_killed_after_sending_goes_on_with_the_same_transaction(begun: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    first = anchorer(begun)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Node, "_receipt", die)
    with pytest.raises(Killed):
        first.step()
    monkeypatch.undo()
    begun.run.rounds(1)
    found = anchorer(begun).step()
    assert found is not None
    sizes = anchored(begun)
    assert sizes == sorted(set(sizes))
    assert not json.loads((begun.folder / "chain.journal.json").read_bytes())


def test_a_chain_that_was_rolled_back_is_told_again(begun: Deployment) -> None:
    first = anchorer(begun)
    first.step()
    sizes = anchored(begun)
    snapshot = begun.anvil.rpc("evm_snapshot")
    begun.run.rounds(1)
    first.step()
    assert len(anchored(begun)) == len(sizes) + 1
    begun.anvil.rpc("evm_revert", snapshot)
    assert anchored(begun) == sizes
    first.step()
    assert anchored(begun) == [*sizes, begun.run.log.size]


def test_a_reorganisation_under_a_waiting_transaction_loses_nothing(begun: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = anchorer(begun)
    confirmed, turns = Node._confirmed, [0]

    def reorganised(node: Node, receipt: Any) -> bool:  # noqa: ANN401
        turns[0] += 1
        if turns[0] == 1:  # the block with our transaction, and all on it, are replaced by empty ones
            begun.anvil.rpc("evm_setIntervalMining", 0)
            head = int(begun.anvil.rpc("eth_blockNumber"), 16)
            begun.anvil.rpc("anvil_reorg", head - receipt["blockNumber"] + 1, [])
            begun.anvil.rpc("evm_setIntervalMining", 1)
        return confirmed(node, receipt)

    monkeypatch.setattr(Node, "_confirmed", reorganised)
    begun.run.rounds(1)
    waiting.step()
    assert anchored(begun)[-1] == begun.run.log.size
    assert turns[0] > 1


def test_a_nonce_that_somebody_else_used_is_replaced(begun: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    begun.run.rounds(1)
    broadcast, turns = Node._broadcast, [0]

    def clash(node: Node, sent: object) -> None:
        turns[0] += 1
        if turns[0] == 1:  # the operator's other program was faster
            other = begun.federation()
            other.node.send("other", other.call("vote", OPERATOR.address), OPERATOR)
        broadcast(node, sent)  # type: ignore[arg-type]

    monkeypatch.setattr(Node, "_broadcast", clash)
    anchorer(begun).step()
    sizes = anchored(begun)
    assert sizes[-1] == begun.run.log.size
    assert sizes == sorted(set(sizes))


def test_gas_above_the_cap_waits(begun: Deployment) -> None:
    begun.run.rounds(1)
    expensive = anchorer(begun)
    object.__setattr__(expensive._federation.node.config, "max_fee_gwei", 1e-9)
    begun.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**10))
    begun.anvil.mine()
    with pytest.raises(Unreachable, match="above max-fee-gwei"):
        expensive.step()
    anchorer(begun).step()
    assert anchored(begun)[-1] == begun.run.log.size


def test_two_processes_that_anchor_at_once_anchor_once(begun: Deployment) -> None:
    begun.run.rounds(1)
    both = [anchorer(begun, f"{n}.journal.json") for n in range(2)]
    failed: list[BaseException] = []

    def step(one: Anchorer) -> None:
        try:
            one.step()
        except (ServerError, Refused) as error:
            failed.append(error)

    threads = [threading.Thread(target=step, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = anchored(begun)
    assert sizes[-1] == begun.run.log.size
    assert sizes == sorted(set(sizes))
    assert len(failed) < 2


def test_an_old_copy_of_the_ledger_is_not_anchored(begun: Deployment) -> None:
    anchorer(begun).step()
    note = (begun.run.folder / "checkpoint").read_bytes()
    begun.run.rounds(1)
    anchorer(begun).step()
    newest = (begun.run.folder / "checkpoint").read_bytes()
    (begun.run.folder / "checkpoint").write_bytes(note)  # an old copy was put back
    with pytest.raises(Disagreement, match="old copy"):
        anchorer(begun).step()
    assert begun.do("status", str(begun.run.folder)).exit_code == 5
    (begun.run.folder / "checkpoint").write_bytes(newest)


def test_witnesses_sign_no_second_history_and_their_files_convict_the_operator(begun: Deployment, tmp_path: Path) -> None:
    federation = begun.federation()
    log = log_digest("example.com/log")
    lines = []
    for root in (b"\xaa" * 32, b"\xbb" * 32):
        signature = sign(federation.domain.anchor(log, 5, root), OPERATOR)
        lines.append(json.dumps({"size": 5, "root": root.hex(), "signature": to_hex(signature)}))
    kept = tmp_path / "kept.jsonl"
    kept.write_text(lines[0] + "\n")
    assert "no two of these" in str(begun.do("challenge", str(begun.run.folder), "--statements", str(kept), who=3).exception)
    kept.write_text("\n".join(lines) + "\n")
    begun.must("challenge", str(begun.run.folder), "--statements", str(kept), who=3)
    assert federation.get("halted_at") > 0
    assert federation.get("credit", account(3).address) == 500
    assert "halted" in begun.must("status")


def test_a_node_that_is_killed_and_restarted_loses_and_doubles_nothing(begun: Deployment) -> None:
    begun.run.rounds(1)
    stop, said = threading.Event(), list[str]()
    thread = threading.Thread(target=follow, args=(anchorer(begun), stop, said.append, 0.2))
    thread.start()
    try:
        wait_for(lambda: begun.run.log.size in anchored(begun))
        begun.anvil.stop()
        begun.run.rounds(1)
        wait_for(lambda: any("does not answer" in line for line in said))
        begun.anvil.start()
        wait_for(lambda: begun.run.log.size in anchored(begun))
    finally:
        stop.set()
        thread.join()
    sizes = anchored(begun)
    assert sizes == sorted(set(sizes))


def wait_for(what: object) -> None:
    import time

    assert callable(what)
    ends = time.monotonic() + 60
    while True:
        try:
            if what():
                return
        except Unreachable:
            pass
        assert time.monotonic() < ends
        time.sleep(0.2)


def test_keys_come_from_a_keystore_or_the_environment(begun: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    from eth_account import Account

    monkeypatch.delenv(KEY, raising=False)
    config = ChainConfig.read(begun.file)
    with pytest.raises(ServerError, match="no key"):
        config.account(begun.folder)
    (begun.folder / "operator.json").write_text(json.dumps(Account.encrypt(bytes(OPERATOR.key), "secret", kdf="pbkdf2", iterations=2)))
    named = config.model_copy(update={"keystore": "operator.json"})
    monkeypatch.setenv("LUNARIA_CHAIN_PASSPHRASE", "secret")
    assert named.account(begun.folder).address == OPERATOR.address
    monkeypatch.setenv("LUNARIA_CHAIN_PASSPHRASE", "wrong")
    with pytest.raises(ServerError, match="no private key"):
        named.account(begun.folder)


def test_a_chain_that_was_started_anew_has_no_contract(tmp_path: Path, begun: Deployment) -> None:
    with Anvil(tmp_path) as other:
        config = ChainConfig.read(begun.file).model_copy(update={"rpc": other.url})
        with pytest.raises(ServerError, match="started anew"):
            Federation(Node(config, tmp_path / "journal.json"))
        with pytest.raises(ServerError, match="is on chain 31337, not 1"):
            Node(config.model_copy(update={"chain_id": 1}), tmp_path / "journal.json")
    with pytest.raises(Unreachable, match="does not answer"):
        Node(config, tmp_path / "journal.json")


def test_a_transaction_that_nobody_mines_is_offered_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.chain.node._BUMP_SECONDS", 0.5)
    with Anvil(tmp_path, instant=False) as anvil:
        config = ChainConfig(rpc=anvil.url, chain_id=CHAIN, confirmations=0, patience=2.0)
        node = Node(config, tmp_path / "journal.json")
        found = artifact("federation")
        world_terms = [
            ZERO,
            OPERATOR.address,
            OPERATOR.address,
            *[b"\x01" * 32] * 5,
            *[1_000, 5_000, 2_000, 300, 3, 2],
            *[60] * 5,
            600,
            600,
        ]
        call = node.web3.eth.contract(abi=found["abi"], bytecode=found["bytecode"]).constructor(tuple(world_terms))
        with pytest.raises(Unreachable, match="on its way"):
            node.send("deploy", call, OPERATOR)
        sent = node.journal.open()["deploy"]
        assert len(sent.raws) > 1
        assert anvil.rpc("txpool_status")["pending"] == "0x1", "one nonce, one transaction"
        anvil.mine()
        again = Node(config, tmp_path / "journal.json")
        receipt = again.send("deploy", call, OPERATOR)
        assert receipt["transactionHash"].hex() in sent.hashes
        assert again._count(OPERATOR.address) == 1
