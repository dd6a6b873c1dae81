"""Data licences with the commands that people type, on a real node: offered, bought, paid by what the ledger shows, reclaimed."""

from pathlib import Path

import pytest
from web3 import Web3

from server.chain.artifacts import artifact
from server.chain.config import ChainConfig
from tests.chain.anvil import MISSING, binary
from tests.chain.deployment import Deployment
from tests.chain.evm import account
from tests.chain.run import DATA

pytestmark = pytest.mark.skipif(binary() is None, reason=MISSING)

OWNER, BUYER = 11, 2


def signed(begun: Deployment, folder: Path, licence: int, name: str = "") -> list[str]:
    """Return the files of two witnesses."""
    files = []
    for who in (4, 5):
        file = folder / f"{who}-{licence}{name}.json"
        file.write_text(begun.must("licence", "proven", str(begun.run.folder), str(licence), who=who))
        files.append(str(file))
    return files


def test_a_data_set_is_offered_bought_paid_by_the_round_and_reclaimed(begun: Deployment, tmp_path: Path) -> None:
    assert "names no market" in str(begun.do("licence", "status").exception)
    begun.must("licence", "deploy")
    assert "deployed already" in begun.must("licence", "deploy")
    config, federation = ChainConfig.read(begun.file), begun.federation()
    assert config.market is not None
    market = federation.node.web3.eth.contract(
        address=Web3.to_checksum_address(config.market), abi=artifact("data_licence")["abi"]
    ).functions
    terms = tmp_path / "terms.txt"
    terms.write_text("for research")
    rule = next(line.split()[-1] for line in begun.must("status").splitlines() if line.startswith("training rule"))
    offer = ["licence", "offer", "--data", DATA[0].digest, "--terms", str(terms), "--price", "10", "--rule", rule]
    assert "gas at most" in begun.must(*offer, "--dry-run", who=OWNER)
    assert "offer 0" in begun.must(*offer, who=OWNER)
    assert "done already" in begun.must(*offer, who=OWNER)
    begun.must(*offer, who=12)  # of data that is not its own

    assert "there is no offer 7" in str(begun.do("licence", "buy", "7", "--rounds", "1", "--days", "1", who=BUYER).exception)
    buy = ["licence", "buy", "0", "--days", "1", "--rounds"]
    begun.must(*buy, "2", who=BUYER)
    assert "done already" in begun.must(*buy, "2", who=BUYER)
    assert "licences of offer 0: 0, 1" in begun.must(*buy, "100", who=BUYER)
    assert market["licences"](1).call()[4] == 98
    begun.must("licence", "buy", "1", "--rounds", "1", "--days", "1", who=BUYER)

    before = begun.run.state.rounds
    begun.run.rounds(max(3 - before, 0))
    total = begun.run.state.rounds
    begun.must("anchor", str(begun.run.folder))
    assert "is not its owner's" in str(begun.do("licence", "proven", str(begun.run.folder), "2", who=4).exception)
    assert "not a seated witness" in str(begun.do("licence", "proven", str(begun.run.folder), "0", who=BUYER).exception)
    first, second = signed(begun, tmp_path, 0), signed(begun, tmp_path, 1)
    assert "not about licence 0" in str(begun.do("licence", "release", "0", *second).exception)
    assert "1 seated witnesses signed" in str(begun.do("licence", "release", "0", first[0]).exception)
    balance = int(begun.anvil.rpc("eth_getBalance", account(OWNER).address, "latest"), 16)
    assert "2 of 2 rounds paid" in begun.must("licence", "release", "0", *first)
    assert f"{total - 2} of 98 rounds paid" in begun.must("licence", "release", "1", *second)
    assert "paid already" in begun.must("licence", "release", "1", *second)
    now = int(begun.anvil.rpc("eth_getBalance", account(OWNER).address, "latest"), 16)
    assert now - balance == 10 * total, "each proved round is paid once, over both licences"

    assert "has not ended" in str(begun.do("licence", "reclaim", "1", who=BUYER).exception)
    begun.anvil.wait(86_401)
    begun.must("licence", "reclaim", "1", who=BUYER)
    assert "done already" in begun.must("licence", "reclaim", "1", who=BUYER)
    begun.must("licence", "retire", "0", who=OWNER)
    assert "done already" in begun.must("licence", "retire", "0", who=OWNER)
    assert "no such offer" in str(begun.do(*buy, "200", who=BUYER).exception)
    shown = begun.must("licence", "status")
    assert "retired" in shown
    assert f"{total - 2} of 98 rounds paid, 0 in escrow, has ended" in shown
