"""``make deployment-demo``: a server, a witness and three clients as processes of their own, with TLS and node keys, on this machine.

They are started with the commands that ``docs/deployment.md`` gives, each in its own state folder; only the data is made up: each
client gets a part of scikit-learn's digits. A witness cosigns. In the middle a client is stopped and started again, and the server is
killed and started again. At the end the ledger is exported and audited.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import tomli_w
from sklearn.datasets import load_digits

from clients.address import free_port
from server.errors import ExitCode

CLIENTS = ("hospital-a", "hospital-b", "hospital-c")
SAMPLES, SECONDS = 100, 600.0
LUNARIA, SERVER, CLIENT = "server.cli:main", "server.cli:flower_server", "clients.entry:main"


def agreement(rounds: int, **sections: Mapping[str, object]) -> str:
    """Return the text of the demo's agreement: a 64-10 softmax, every update proved; ``sections`` stand in the place of its own."""
    own: dict[str, Mapping[str, object]] = {
        "federation": {"name": "deployment demo", "clients": len(CLIENTS), "minimum-clients": len(CLIENTS)},
        "model": {"layers": [64, 10], "seed": "11" * 32},
        "training": {"loss": "softmax-cross-entropy", "batch": 16, "local-steps": 4},
        "rounds": {"count": rounds, "participants": len(CLIENTS), "reply-timeout": 300},
    }
    return tomli_w.dumps({**own, **sections})


def command(entry: str, *options: str) -> list[str]:
    """Return the command line of one of our programs (``[project.scripts]``), whether or not it is installed."""
    module, _, function = entry.partition(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}()", *options]


def write_data(folder: Path) -> None:
    """Give each client a part of the digits, as images of 8-bit pixels."""
    x, y = load_digits(return_X_y=True)
    images = (x * 15).astype(np.uint8).reshape(-1, 8, 8)
    for i, name in enumerate(CLIENTS):
        part = slice(i * SAMPLES, (i + 1) * SAMPLES)
        np.savez(folder / f"{name}.npz", x=images[part], y=y[part])


def witnesses(folder: Path) -> Mapping[str, object]:
    """Make the key of a witness in ``folder``, and return the section of the agreement that demands its cosignature."""
    folder.mkdir(parents=True, exist_ok=True)
    make = command(LUNARIA, "witness", "--key", str(folder / "witness.key"), "--name", "witness.example/demo")
    key = subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - our own program
    return {"keys": [key], "quorum": 1}


class Demo:
    """Three clients and a server in a folder.

    Parameters
    ----------
    folder : Path
        New or empty.
    rounds : int
    sections : mapping of str to object
        What the agreement says besides (see :func:`agreement`).
    """

    def __init__(self, folder: Path, rounds: int, **sections: Mapping[str, object]) -> None:
        self.folder, self.port = folder, free_port()
        self.witness_port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "agreement.toml").write_text(agreement(rounds, **sections), encoding="utf-8")
        write_data(folder)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop whatever still runs."""
        for name in list(self._processes):
            self.stop(name)

    def run(self, entry: str, *options: str) -> None:
        """Run a command to its end; raises CalledProcessError if it fails."""
        subprocess.run(command(entry, *options), cwd=self.folder, check=True)  # noqa: S603 - our own program

    def start(self, name: str, entry: str, *options: str) -> None:
        """Start a process that stays; what it says goes to ``NAME.out``."""
        with (self.folder / f"{name}.out").open("ab") as file:
            self._processes[name] = subprocess.Popen(command(entry, *options), cwd=self.folder, stdout=file, stderr=file)  # noqa: S603

    def stop(self, name: str) -> int:
        """Stop a process as systemd would; returns its exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(60)

    def kill(self, name: str) -> None:
        """End a process as a power cut would (SIGKILL)."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def process_id(self, name: str) -> int:
        """Return the id of a process."""
        return self._processes[name].pid

    def invite(self) -> None:
        """Make certificates and invitations."""
        self.run(LUNARIA, "certs", "--host", "127.0.0.1")
        address = f"127.0.0.1:{self.port}"
        for name in CLIENTS:
            self.run(LUNARIA, "invite", name, "--server", address, "--ca", "certs/ca.crt", "--agreement", "agreement.toml")

    def start_server(self, *more: str) -> None:
        """Start the server."""
        tls = ("--certs", "certs/server.crt", "--key", "certs/server.key")
        if (self.folder / "witness.key").exists():
            more = (*more, "--witness", f"http://127.0.0.1:{self.witness_port}")
        self.start("server", SERVER, "--agreement", "agreement.toml", "--state", "run", *tls, "--port", str(self.port), *more)

    def start_witness(self) -> None:
        """Start the witness, for the first time or again: the first time the server says which log waits for it."""
        path = self.folder / "witness.log-key"
        if not path.exists():
            path.write_text(self.wait_for("server", "waiting for witnesses of the log ").split(": ")[0], encoding="utf-8")
        options = ("--key", "witness.key", "--log", path.read_text(encoding="utf-8"), "--port", str(self.witness_port))
        self.start("witness", LUNARIA, "witness", *options)

    def start_client(self, name: str) -> None:
        """Start a client, for the first time or again."""
        first = () if (self.folder / f"state-{name}").exists() else ("--invitation", f"{name}.invitation.toml")
        self.start(name, CLIENT, *first, "--data", f"{name}.npz", "--state", f"state-{name}")

    def wait_for(self, name: str, text: str) -> str:
        """Return once a process has said ``text``, with what it said behind it on the line.

        Raises
        ------
        RuntimeError
            It ended before, or took too long.
        """
        began, path = time.monotonic(), self.folder / f"{name}.out"
        while text not in (said := path.read_text(encoding="utf-8")):
            if self._processes[name].poll() is not None or time.monotonic() - began > SECONDS:
                raise RuntimeError(f"{name} did not say {text!r}: {said[-500:]}")
            time.sleep(0.2)
        return said.split(text, 1)[1].split("\n", 1)[0]

    def wait_for_end(self) -> int:
        """Return the server's exit code."""
        return self._processes.pop("server").wait(SECONDS)


def main(arguments: Sequence[str]) -> int:
    """Run the demo in a new folder; returns an exit code."""
    folder = Path(arguments[0]) if arguments else Path("runs") / f"deployment-{time.strftime('%Y%m%d-%H%M%S')}"
    began = time.monotonic()
    with Demo(folder, 3, witnesses=witnesses(folder)) as demo:
        demo.invite()
        demo.start_server()
        demo.start_witness()
        for name in CLIENTS:
            demo.start_client(name)
        print(f"server and clients run; follow them with: tail -f {folder}/*.out", flush=True)
        demo.wait_for("server", "round 1: 3 accepted")
        print("round 1 is done: hospital-a is stopped and started again", flush=True)
        demo.stop(CLIENTS[0])
        demo.start_client(CLIENTS[0])
        demo.wait_for("server", "round 2: 3 clients are asked to train")
        print("round 2 has begun: the server is killed (SIGKILL) and started again", flush=True)
        demo.kill("server")
        demo.start_server()
        code = demo.wait_for_end()
        print((folder / "server.out").read_text(encoding="utf-8"), end="", flush=True)
        if code != ExitCode.OK:
            return code
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
        demo.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")
    print(f"{folder}: server and clients as separate processes, {time.monotonic() - began:.0f} s")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
