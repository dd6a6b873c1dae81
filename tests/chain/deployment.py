"""A federation on a real node, driven by the commands that people type: an operator, three clients, three witnesses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from clients.address import free_port
from ledger.witness import Witness
from server.chain.config import KEY, ChainConfig
from server.chain.federation import Federation
from server.chain.node import Node
from server.chain.witness import AnchorWitness, anchor_witness_app
from server.cli import app
from tests.chain.anvil import CHAIN, Anvil
from tests.chain.evm import account
from tests.chain.run import GrowingRun

OPERATOR, CLIENTS, WITNESSES = account(1), [account(11), account(12), account(13)], [account(4), account(5), account(6)]
TERMS = {
    "beneficiary": account(2).address,
    "minimum-stake": "1000",
    "operator-stake": "5000",
    "witness-stake": "2000",
    "challenge-bond": "300",
    "seats": 3,
    "quorum": 2,
    "term": 86_400,
    "anchor-window": 60,
    "settlement-window": 60,
    "resolution": 60,
    "claim-period": 86_400,
    "unbonding": 3_600,
    "silence": 86_400,
}


class Deployment:
    """Commands on one ``chain.toml``, by several accounts."""

    def __init__(self, folder: Path, anvil: Anvil, run: GrowingRun, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
        self.anvil, self.run, self.file, self._env = anvil, run, folder / "chain.toml", monkeypatch
        self._servers: list[uvicorn.Server] = []
        self.folder = folder
        urls = [f"http://127.0.0.1:{free_port()}" for _ in WITNESSES]
        fields = {"rpc": anvil.url, "chain-id": CHAIN, "confirmations": 1, "patience": 20.0, "witnesses": urls, "terms": TERMS}
        self.file.write_text(tomli_w.dumps(fields | settings), encoding="utf-8")

    def do(self, *arguments: str, who: int = 1) -> Result:
        """Run a command of ``lunaria chain`` with an account's key in the environment."""
        self._env.setenv(KEY, bytes(account(who).key).hex())
        return CliRunner().invoke(app, ["chain", *arguments, "--chain", str(self.file)])

    def must(self, *arguments: str, who: int = 1) -> str:
        """Run a command that has to succeed."""
        result = self.do(*arguments, who=who)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    def federation(self) -> Federation:
        """Return the contract."""
        return Federation(Node(ChainConfig.read(self.file), self.folder / "reader.json"))

    def begin(self) -> None:
        """Deploy, join, elect, serve the witnesses."""
        self.must("deploy", str(self.run.folder))
        for who, stake, stand in [(1, 5000, False), (4, 2000, True), (5, 2000, True), (6, 2000, True)]:
            self.must("join", "--stake", str(stake), "--identity", f"{who:064x}", *(["--stand"] if stand else []), who=who)
        for who, member in zip((11, 12, 13), self.run.state.members, strict=True):
            self.must("join", "--stake", "1000", "--identity", member.client, who=who)
        self.must("elect", who=2)
        self.must("fund", "--total", "10000", who=2)
        self.serve()

    def serve(self) -> None:
        """Start the witnesses."""
        config, federation = ChainConfig.read(self.file), self.federation()
        for number, (who, url) in enumerate(zip(WITNESSES, config.witnesses, strict=True)):
            state = self.folder / f"witness-{number}.db"
            remembered = Witness(state, [], [self.run.log_key])
            signing = AnchorWitness(remembered, who, federation.domain, OPERATOR.address, state.with_suffix(".jsonl"))
            port = int(url.rpartition(":")[2])
            server = uvicorn.Server(uvicorn.Config(anchor_witness_app(signing), port=port, log_level="error", lifespan="off"))
            threading.Thread(target=server.run, daemon=True).start()
            self._servers.append(server)

    def stop(self) -> None:
        """Stop the witnesses."""
        for server in self._servers:
            server.should_exit = True


@contextmanager
def deployment(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Iterator[Deployment]:
    """Start a node and a run; nothing is deployed yet."""
    with Anvil(folder) as anvil, GrowingRun(folder / "run") as run:
        found = Deployment(folder, anvil, run, monkeypatch, **settings)
        yield found
        found.stop()
