"""A client's connection: a SuperNode that is started again whenever it ends, until the client is stopped."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from clients.address import free_port, reach
from clients.errors import MemberError
from clients.event_log import Events, Tail
from clients.home import NEXT, VARIABLE, ClientHome
from clients.node_process import write_launcher
from clients.supervise import child, flower_environment
from clients.vault import VARIABLE as VAULT_VARIABLE
from clients.vault import in_memory

RETRY_SECONDS, POLL_SECONDS, STOP_SECONDS = 3.0, 0.25, 120.0
FETCHED_SECONDS = 5.0
"""Until the server has surely fetched a reply: the SuperLink drops one whose node has gone by then."""

LOOK_SECONDS = 5.0
"""How often a client that is to stop, with a message in hand, looks whether the server is still there."""

CONNECTED = "SuperNode ID: "
"""What Flower's SuperNode prints once the server has accepted its key."""

NOT_ACTIVATED = "[code: 2004]"
"""How it prints Flower's FLEET_NODE_ACTIVATION_FAILED: the server does not know its key, or has not noticed that an earlier SuperNode with
this key has ended, which may take it a minute."""

NOTICED_SECONDS = 90.0

RECEIVED, ANSWERED = "Receiving: ", ("Sent successfully", "Failed to send message", "Ignoring reply message")
"""What it prints when it takes a message, and when it is done with one."""


class _End(Enum):
    """How a SuperNode ended: after it was let in, not activated, or not let in for another reason."""

    TOOK_PART = auto()
    NOT_ACTIVATED = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Connection:
    """How the server is reached."""

    host: str
    port: int
    ca: Path | None


class _Hand:
    """The message in hand, as the SuperNode's log tells of it."""

    def __init__(self) -> None:
        self.busy = False
        self._answered, self._look = -FETCHED_SECONDS, 0.0

    def see(self, line: str) -> None:
        """Take a line of the log into account."""
        if any(text in line for text in ANSWERED):
            self.busy, self._answered = False, time.monotonic()
        elif RECEIVED in line:
            self.busy = True

    def empty(self, where: Connection) -> bool:
        """Whether the client may leave: nothing is in hand, the last reply was fetched, or nobody is there to take it."""
        now = time.monotonic()
        if not self.busy:
            return now >= self._answered + FETCHED_SECONDS
        if now < self._look:
            return False
        self._look = now + LOOK_SECONDS
        try:
            return not reach(where.host, where.port, where.ca)
        except MemberError:
            return True


def follow(home: ClientHome, where: Connection, stop: threading.Event, events: Events, beat: Callable[[], None]) -> None:
    """Take part until ``stop`` is set; ``beat`` is called again and again meanwhile.

    Raises
    ------
    MemberError
        The server does not accept this client.
    """
    admitted = time.monotonic()
    while not stop.is_set():
        if not _wait_for_server(where, stop, events, beat):
            return
        end = _connect(home, where, stop, events, beat)
        if stop.is_set():
            return
        if end is _End.TOOK_PART:
            admitted = time.monotonic()
            events.warning("connection-lost", "the connection was lost: trying again")
        elif end is _End.NOT_ACTIVATED and (home.folder / "admitted").exists() and time.monotonic() - admitted < NOTICED_SECONDS:
            events.warning("still-connected", "the server takes this client for connected since before it started again: trying again")
        else:
            log = home.folder / "supernode.log"
            raise MemberError(f"the server did not let this client in: does it know the node key? Flower's reasons are in {log}")
        stop.wait(RETRY_SECONDS)


def _wait_for_server(where: Connection, stop: threading.Event, events: Events, beat: Callable[[], None]) -> bool:
    """Return True as soon as the server answers, False when stopped before."""
    said = False
    while not stop.is_set():
        beat()
        if reach(where.host, where.port, where.ca):
            return True
        if not said:
            events.info("waiting-for-server", f"nobody answers at {where.host}:{where.port}: waiting", server=f"{where.host}:{where.port}")
            said = True
        stop.wait(RETRY_SECONDS)
    return False


def _connect(home: ClientHome, where: Connection, stop: threading.Event, events: Events, beat: Callable[[], None]) -> _End:
    """Take part with the next node key where the server accepts it, and with the present one where it does not yet."""
    if where.ca and (home.folder / NEXT).exists():
        end = _take_part(home, where, NEXT, stop, events, beat)
        if end is _End.TOOK_PART or stop.is_set():
            return end
    return _take_part(home, where, "node.key", stop, events, beat)


def _take_part(home: ClientHome, where: Connection, name: str, stop: threading.Event, events: Events, beat: Callable[[], None]) -> _End:
    """Run a SuperNode with the node key ``name`` until it ends or is to stop."""
    folder = home.folder.resolve()
    launcher = folder / "bin"
    write_launcher(launcher, folder)
    extra = {VARIABLE: str(folder)}
    command = ["flower-supernode", "--superlink", f"{where.host}:{where.port}", "--port", str(free_port())]
    log = Tail(folder / "supernode.log")
    connected, refused, hand, deadline = False, False, _Hand(), None
    prepared = [sys.executable, "-m", "clients.prepared", str(folder)]
    output = folder / "supernode.log"
    with ExitStack() as held:
        if where.ca is None:
            command += ["--insecure"]
        else:
            node_key = held.enter_context(in_memory(home.read(name))) if home.vault else str(folder / name)
            command += ["--auth-supernode-private-key", node_key, "--root-certificates", str(where.ca.resolve())]
        if home.vault:
            extra[VAULT_VARIABLE] = held.enter_context(in_memory(home.vault.key))
        environment = flower_environment(folder / "flower", extra, launcher)
        held.enter_context(child(prepared, environment, output))
        process = held.enter_context(child(command, environment, output))
        while True:
            beat()
            ended = process.poll() is not None
            for line in log.lines():
                if CONNECTED in line and not connected:
                    connected = True
                    if name == NEXT:
                        home.adopt_next()
                        events.info("node-key", "the server accepts the new node key: the old one is gone")
                    (folder / "admitted").touch()
                    events.info("connected", f"connected to {where.host}:{where.port}", server=f"{where.host}:{where.port}")
                refused = refused or NOT_ACTIVATED in line
                hand.see(line)
            events.follow()
            if stop.is_set() and deadline is None:
                deadline = time.monotonic() + STOP_SECONDS
                events.info("stopping", "stopping" + (": the message in hand is answered first" if hand.busy else ""))
            if ended or (deadline is not None and (hand.empty(where) or time.monotonic() > deadline)):
                break
            time.sleep(POLL_SECONDS)
    if connected or process.returncode == -signal.SIGKILL:
        return _End.TOOK_PART
    return _End.NOT_ACTIVATED if refused else _End.REFUSED
