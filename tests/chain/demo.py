"""``make chain-demo``: a federation of four clients, one of which cheats, anchored, settled and paid for on a real Ethereum node.

Everything is a process of its own, started with the commands of ``docs/deployment.md`` and ``docs/chain.md``: anvil, three
``lunaria chain witness``, ``flower-server --chain``, four ``flower-client``. Time on the chain is put forward where a window has to pass.
"""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tomli_w
from sklearn.datasets import load_digits

from clients.address import free_port
from ledger.entries import AgreementEntry
from ledger.errors import LedgerError
from server.chain.config import KEY
from server.chain.ledger_view import published
from server.deployment.demo import CLIENT, LUNARIA, SERVER, Demo, agreement, command
from server.errors import ServerError
from server.files import file_digest
from tests.chain.anvil import CHAIN, Anvil
from tests.chain.evm import account

CLIENTS = ("hospital-a", "hospital-b", "hospital-c", "free-rider")
CHEATER, SAMPLES, ROUNDS = CLIENTS[-1], 100, 3
ETHER = 10**18
OPERATOR, SPONSOR, WITNESSES, FIRST_CLIENT = 1, 2, (4, 5, 6), 11
WINDOW = 60
TERMS = {
    "beneficiary": account(SPONSOR).address,
    "minimum-stake": str(ETHER),
    "operator-stake": str(5 * ETHER),
    "witness-stake": str(2 * ETHER),
    "challenge-bond": str(ETHER),
    "seats": 3,
    "quorum": 2,
    "anchor-window": WINDOW,
    "settlement-window": WINDOW,
    "resolution": WINDOW,
    "unbonding": 3600,
}


class ChainDemo(Demo):
    """Four clients, a server, and a chain, in a folder."""

    def __init__(self, folder: Path) -> None:
        federation = {"name": "chain demo", "clients": len(CLIENTS), "minimum-clients": len(CLIENTS)}
        rounds = {"count": ROUNDS, "participants": len(CLIENTS), "reply-timeout": 300}
        self.settings: dict[str, Mapping[str, object]] = {"federation": federation, "rounds": rounds}
        super().__init__(folder, ROUNDS)
        x, y = load_digits(return_X_y=True)
        images = (x * 15).astype(np.uint8).reshape(-1, 8, 8)
        for i, name in enumerate((*CLIENTS, "evaluation")):
            part = slice(i * SAMPLES, (i + 1) * SAMPLES if name in CLIENTS else None)
            np.savez(folder / f"{name}.npz", x=images[part], y=y[part])

    def prepare(self, rpc: str) -> None:
        """Make the evaluation set, the agreement, chain.toml, certificates and invitations."""
        self.write_agreement()
        self.run(LUNARIA, "evaluation-set", "agreement.toml", "--data", "evaluation.npz", "-o", "evaluation.npy")
        evaluation, _ = file_digest(self.folder / "evaluation.npy")
        settlement = {
            "epoch": ROUNDS,
            "evaluation": evaluation,
            "pot": str(ETHER),
            "penalty": str(ETHER),
            "deviations": 0,
        }
        self.write_agreement(settlement=settlement)
        self.signers = [free_port() for _ in WITNESSES]
        chain = {
            "rpc": rpc,
            "chain-id": CHAIN,
            "confirmations": 1,
            "witnesses": [f"http://127.0.0.1:{port}" for port in self.signers],
            "terms": TERMS,
        }
        (self.folder / "chain.toml").write_text(tomli_w.dumps(chain), encoding="utf-8")
        self.run(LUNARIA, "certs", "--host", "127.0.0.1")
        for name in CLIENTS:
            where = ("--server", f"127.0.0.1:{self.port}", "--ca", "certs/ca.crt", "--agreement", "agreement.toml")
            self.run(LUNARIA, "invite", name, *where)

    def write_agreement(self, **sections: Mapping[str, object]) -> None:
        """Write the agreement, with further sections."""
        own = tomllib.loads(agreement(ROUNDS))
        (self.folder / "agreement.toml").write_text(tomli_w.dumps(own | self.settings | sections), encoding="utf-8")

    def chain(self, *options: str, who: int = OPERATOR) -> None:
        """Run a command of ``lunaria chain`` by an account."""
        print(f"$ lunaria chain {' '.join(options)}", flush=True)
        subprocess.run(command(LUNARIA, "chain", *options), cwd=self.folder, check=True, env=self.environment(who))  # noqa: S603

    def environment(self, who: int) -> dict[str, str]:
        """Return the environment with an account's key."""
        return {**os.environ, KEY: bytes(account(who).key).hex()}

    def start_as(self, who: int, name: str, entry: str, *options: str) -> None:
        """Start a process with an account's key in its environment."""
        before = os.environ.get(KEY)
        os.environ[KEY] = self.environment(who)[KEY]
        try:
            self.start(name, entry, *options)
        finally:
            os.environ.pop(KEY) if before is None else os.environ.update({KEY: before})

    def start_all(self) -> None:
        """Start the server and the clients."""
        tls = ("--certs", "certs/server.crt", "--key", "certs/server.key", "--port", str(self.port))
        chain = ("--evaluation-set", "evaluation.npy", "--chain", "chain.toml")
        self.start_as(OPERATOR, "server", SERVER, "--agreement", "agreement.toml", "--state", "run", *tls, *chain)
        false = self.folder / "false"
        false.mkdir()
        shutil.copy(Path(__file__).parent / "cheat.py", false / "sitecustomize.py")
        path = os.environ.get("PYTHONPATH", "")
        for number, name in enumerate(CLIENTS):
            pays = ("--account", account(FIRST_CLIENT + number).address.lower())
            if name == CHEATER:
                os.environ["PYTHONPATH"] = os.pathsep.join([str(false.resolve()), path or str(Path.cwd())])
            self.start(name, CLIENT, "--invitation", f"{name}.invitation.toml", "--data", f"{name}.npz", "--state", f"state-{name}", *pays)
        os.environ["PYTHONPATH"] = path

    def opening(self) -> AgreementEntry:
        """Wait for the ledger to begin, and return entry 0."""
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            try:
                with published(self.folder / "run") as ledger:
                    return ledger.opening
            except (ServerError, LedgerError):
                time.sleep(0.5)
        raise RuntimeError(f"the ledger did not begin: see {self.folder}/server.out")

    def begin_chain(self) -> None:
        """Deploy, join, elect, fund, and start the witnesses."""
        key = self.opening().log_key
        self.chain("deploy", "run")
        self.chain("join", "--stake", str(5 * ETHER), "--identity", "01" * 32)
        for who in WITNESSES:
            self.chain("join", "--stake", str(2 * ETHER), "--identity", f"{who:064x}", "--stand", who=who)
        self.chain("elect", who=SPONSOR)
        self.chain("fund", "--total", str(10 * ETHER), who=SPONSOR)
        for who, port in zip(WITNESSES, self.signers, strict=True):
            options = ("--log", key, "--port", str(port), "--state", f"witness-{who}.db")
            self.start_as(who, f"witness-{who}", LUNARIA, "chain", "witness", *options)

    def join_clients(self) -> None:
        """Have each client stake, with the identity that its enrolment binds to its account."""
        self.wait_for("server", "round 1: ")
        with published(self.folder / "run") as ledger:
            identities = {name: key for key, name in ledger.accounts().items()}
        for number in range(len(CLIENTS)):
            who = FIRST_CLIENT + number
            self.chain("join", "--stake", str(ETHER), "--identity", identities[account(who).address.lower()], who=who)


def main(arguments: Sequence[str]) -> int:
    """Run the demo in a new folder; returns an exit code."""
    folder = Path(arguments[0]) if arguments else Path("runs") / f"chain-{time.strftime('%Y%m%d-%H%M%S')}"
    began = time.monotonic()
    with ChainDemo(folder) as demo, Anvil(folder) as anvil:
        demo.prepare(anvil.url)
        demo.start_all()
        demo.begin_chain()
        demo.join_clients()
        code = demo.wait_for_end()
        print((folder / "server.out").read_text(encoding="utf-8"), end="")
        print((folder / "run" / "chain.log").read_text(encoding="utf-8"), end="", flush=True)
        if code:
            return code
        demo.chain("anchor", "run")
        anvil.wait(WINDOW)
        demo.chain("settle", "run", "--epoch", "1")
        anvil.wait(WINDOW)
        demo.chain("settle", "run", "--epoch", "1")
        demo.chain("claim", "run", "--epoch", "1", "--dry-run", who=FIRST_CLIENT)
        demo.chain("claim", "run", "--epoch", "1", who=FIRST_CLIENT)
        demo.chain("status", "run")
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml", "--evaluation-set", "evaluation.npy")
    print(f"{folder}: trained, proved, anchored, settled, paid, fined and audited in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
