"""Flower's SuperLink as a child process on loopback, and what the organiser asks of it: known node keys, and the run."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest, StartRunRequest, UnregisterNodeRequest
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from clients.address import free_port
from clients.supervise import child, flower_environment
from server.deployment.certificates import make_ca, make_server, write_issued
from server.deployment.home import VARIABLE, ServerHome
from server.errors import CutOff
from zk.hashing import sha256

START_SECONDS = 60.0
_POLL_SECONDS = 0.2


class SuperLink:
    """A SuperLink that runs.

    Attributes
    ----------
    address : str
        HOST:PORT on loopback.
    ca : Path
        The certificate that its own is signed with.
    """

    def __init__(self, address: str, ca: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.address, self.ca = address, ca
        self._process, self._log = process, log
        versions = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
        self._control = ControlHttpClient.from_server_address(address, False, ca.read_bytes(), [versions])

    def wait_until_ready(self) -> None:
        """Return once it answers.

        Raises
        ------
        CutOff
            It ended, or does not answer within a minute.
        """
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS and self.alive():
            try:
                self._control.ListNodes(ListNodesRequest())
            except httpx.HTTPError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise CutOff(f"Flower's SuperLink did not start: see {self._log}")

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def admit(self, name: str, key: ec.EllipticCurvePublicKey) -> int:
        """Let the holder of a node key in; returns Flower's id for the node."""
        return int(self._control.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(key), name=name)).node_id)

    def cut(self, node: int) -> None:
        """Let a node in no more; what it says from now on is refused."""
        self._control.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def clients(self) -> dict[str, bool]:
        """Return whether each client that is known is connected, by the name of its node key; by its node's number without keys.

        Raises
        ------
        httpx.HTTPError
            The SuperLink does not answer.
        """
        nodes = self._control.ListNodes(ListNodesRequest()).nodes_info
        return {
            node.name or str(node.node_id): node.status == NodeStatus.ONLINE for node in nodes if node.status != NodeStatus.UNREGISTERED
        }

    def start_run(self) -> int:
        """Submit the run of the state folder; returns Flower's number for it."""
        content = bundle()
        fab = Fab(sha256(content).hex(), content, {})
        answer = self._control.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
        if not answer.HasField("run_id"):
            raise CutOff(f"Flower's SuperLink does not take the run: see {self._log}")
        return int(answer.run_id)

    def finished(self, run: int) -> bool:
        """Whether Flower takes the run for ended; False where it does not answer now."""
        try:
            runs = self._control.ListRuns(ListRunsRequest(run_id=run)).run_dict
        except httpx.HTTPError:
            return False
        return run in runs and runs[run].status.status == "finished"


@contextmanager
def superlink(home: ServerHome, *, node_keys: bool) -> Iterator[SuperLink]:
    """Run a SuperLink with fresh TLS of its own, its queue in memory: the history is the ledger.

    Without ``node_keys`` whoever reaches it is let in.

    Raises
    ------
    CutOff
        It does not start.
    """
    folder = home.folder.resolve() / "superlink"
    ca, certificate, key = folder / "ca.crt", folder / "server.crt", folder / "server.key"
    for path in (ca, certificate, key, folder / "ca.key"):
        path.unlink(missing_ok=True)
    authority = make_ca("superlink on loopback", days=365)
    ca.write_bytes(authority.certificate)
    write_issued(make_server(authority, ["127.0.0.1"], days=365), certificate, key)
    port = free_port()
    command = ["flower-superlink", "--host", "127.0.0.1", "--port", str(port), *(["--enable-supernode-auth"] if node_keys else [])]
    command += ["--ssl-ca-certfile", str(ca), "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    command += ["--disable-runtime-dependency-installation"]
    environment = flower_environment(folder / "flower", {VARIABLE: str(home.folder.resolve())})
    log = home.folder / "superlink.log"
    with child(command, environment, log) as process:
        link = SuperLink(f"127.0.0.1:{port}", ca, process, log)
        link.wait_until_ready()
        yield link


def bundle() -> bytes:
    """Return Flower's bundle of this app: which objects to run, and no code; each side runs the code installed there."""
    project = {
        "project": {"name": "lunaria", "version": version("lunaria"), "description": "", "dependencies": []},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "lunaria",
                    "components": {"serverapp": "server.deployment.app:app", "clientapp": "clients.app:app"},
                    "config": {},
                }
            }
        },
    }
    return build_fab_from_files({"pyproject.toml": tomli_w.dumps(project).encode(), "README.md": b"Lunaria\n"})[0]
