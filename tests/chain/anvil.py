"""A real node (anvil of Foundry) for the tests of the client: started, killed, restarted with its state, rolled back."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from clients.address import free_port
from tests.chain.evm import account

ROOT = Path(__file__).parents[2]
CHAIN = 31_337
MISSING = "anvil is not installed: npm install --prefix .anvil @foundry-rs/anvil@1.7.1"


def binary() -> Path | None:
    """Return where anvil is: in the path, named by LUNARIA_ANVIL, or installed by make in .anvil."""
    named = os.environ.get("LUNARIA_ANVIL") or shutil.which("anvil")
    if named:
        return Path(named)
    return next(iter(sorted(ROOT.glob(".anvil/node_modules/@foundry-rs/anvil-*/bin/anvil"))), None)


class Anvil:
    """A node whose state is in a folder. Blocks are mined every second, and at once where there is a transaction.

    Parameters
    ----------
    folder : Path
        Where its state goes when it is stopped.
    instant : bool
        Whether a transaction is mined at once; otherwise when :meth:`mine` is called.
    """

    def __init__(self, folder: Path, *, instant: bool = True) -> None:
        self._state, self._instant, self.port = folder / "anvil.json", instant, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        for number in range(1, 16):
            self.rpc("anvil_setBalance", account(number).address, hex(10**24))

    def start(self) -> None:
        """Start it, from the state in its folder if it has one there."""
        found = binary()
        if found is None:
            raise FileNotFoundError(MISSING)
        mining = ["--block-time", "1", "--mixed-mining"] if self._instant else ["--no-mining"]
        command = [str(found), "--port", str(self.port), "--chain-id", str(CHAIN), "--silent", "--state", str(self._state), *mining]
        self._process = subprocess.Popen(command)  # noqa: S603 - a program of ours to test with
        ends = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.HTTPError):
                self.rpc("eth_chainId")
                return
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError("anvil does not start")
            time.sleep(0.1)

    def stop(self, *, keep: bool = True) -> None:
        """Stop it; without ``keep`` as a crash does, and what it did since it was started is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if keep else signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def rpc(self, method: str, *parameters: Any) -> Any:  # noqa: ANN401
        """Call a method of the node."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = httpx.post(self.url, json=body, timeout=10).json()
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks."""
        self.rpc("anvil_mine", hex(blocks))

    def wait(self, seconds: int) -> None:
        """Let time pass on the chain."""
        self.rpc("evm_increaseTime", seconds)
        self.mine()

    def __enter__(self) -> "Anvil":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(keep=False)
