"""``flower-client``: the long-running client of one data owner, on Flower's SuperNode."""

import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clients.address import free_port, is_loopback, parse_address, reach
from clients.console import Console, LogFormat, shows_failures
from clients.errors import EXPECTED, UNUSABLE, MemberError
from clients.event_log import Events, Tail
from clients.home import VARIABLE, ClientHome, Settings
from clients.invitation import Invitation
from clients.metrics import ClientMetrics
from clients.monitoring import monitoring
from clients.node_process import write_launcher
from clients.notify import Notifier
from clients.private import only_user, secret_file
from clients.supervise import child, flower_environment
from ledger.agreement import read

RETRY_SECONDS, POLL_SECONDS, STOP_SECONDS = 3.0, 0.25, 120.0
FETCHED_SECONDS = 5.0
"""Until the server has surely fetched a reply: the SuperLink drops one whose node has gone by then."""

CONNECTED = "SuperNode ID: "
"""What Flower's SuperNode prints once the server has accepted its key."""

RECEIVED, ANSWERED = "Receiving: ", ("Sent successfully", "Failed to send message", "Ignoring reply message")
"""What it prints when it takes a message, and when it is done with one."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Connection:
    """How the server is reached."""

    host: str
    port: int
    ca: Path | None
    key: Path | None


@app.command()
@shows_failures(EXPECTED, lambda error: UNUSABLE)
def flower_client(
    data: Annotated[str, typer.Option(help="Your data: a file (.csv, .csv:COLUMN, .npz, .parquet) or module:function. It stays here.")],
    state: Annotated[Path, typer.Option(help="The folder with your identity and memory: secret. Never bring an old copy back.")],
    invitation: Annotated[Path | None, typer.Option(help="The file that the organiser sent you; needed once.")] = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT of the server. [default: the invitation's]")] = None,
    ca: Annotated[Path | None, typer.Option(help="ca.crt of the organiser. [default: the invitation's]")] = None,
    key: Annotated[Path | None, typer.Option(help="Your node key, made by 'lunaria keygen'. [default: the invitation's]")] = None,
    agreement: Annotated[
        Path | None, typer.Option(help="The agreement.toml that you accept; any other is refused. [default: the invitation's]")
    ] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT for GET /metrics, /health and /ready. [default: none]")] = "",
    account: Annotated[
        str | None, typer.Option(help="Where settlements pay you: an address of Ethereum, 0x and 40 hexadecimal digits.")
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="What happens, on standard error: text, or json with an object a line.")
    ] = LogFormat.TEXT,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and node key: only for a server on this machine.")] = False,
) -> None:
    """Take part in a federation until you stop it (Ctrl-C, SIGTERM); the data never leaves this machine."""
    with only_user(state):
        home = ClientHome(state)
        accepted = _files(home, invitation, server, ca, key, agreement)
        home.prepare(Settings(data, str(accepted.resolve()) if accepted else "", _account(home, account)))
        where = _connection(home, insecure)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        counted, notifier = ClientMetrics(), Notifier()
        events = Events(home.folder / "client.log", Console(log_format), counted, notifier.show)
        events.info("started", f"identity {home.identity()}", identity=home.identity())
        if insecure:
            events.warning("insecure", "INSECURE: without TLS and node keys, whoever can log into this machine may read your updates")

        def beat() -> None:
            counted.beat()
            notifier.alive(lives=True)

        with monitoring(metrics, counted.monitored(), events):
            notifier.ready()
            while not stop.is_set():
                if _wait_for_server(where, stop, events, beat):
                    _take_part(home, where, stop, events, beat)
        events.info("stopped", "stopped; start again with the same --state to go on")


def _files(
    home: ClientHome, invitation: Path | None, server: str | None, ca: Path | None, key: Path | None, agreement: Path | None
) -> Path | None:
    """Bring what came by option into the state folder; return the agreement that the owner accepts."""
    folder = home.folder
    try:
        if invitation is not None:
            invited = Invitation.read(invitation)
            parse_address(invited.server)
            fresh = secret_file(folder / "node.key", invited.node_key)
            if not fresh and (folder / "node.key").read_text(encoding="utf-8") != invited.node_key:
                raise MemberError(f"{folder} belongs to another invitation: give this one a --state of its own")
            for name, text in (("server", invited.server), ("ca.crt", invited.ca), ("agreement.toml", invited.agreement)):
                (folder / name).write_text(text, encoding="utf-8")
        if server is not None:
            parse_address(server)
            (folder / "server").write_text(server, encoding="utf-8")
        for name, source in (("ca.crt", ca), ("node.key", key), ("agreement.toml", agreement)):
            if source is not None and source.resolve() != (folder / name).resolve():
                shutil.copyfile(source, folder / name)
                (folder / name).chmod(0o600)
    except OSError as error:
        raise MemberError(f"cannot use {error.filename}: {error.strerror}") from error
    accepted = folder / "agreement.toml"
    if not accepted.exists():
        return None
    read(accepted)
    return accepted


def _account(home: ClientHome, account: str | None) -> str:
    """Return where the client wants to be paid, as it was given now or at an earlier start; empty for nowhere."""
    kept = home.folder / "account"
    try:
        if account is not None:
            if not _ADDRESS.fullmatch(account):
                raise MemberError(f"--account {account} is no address: give 0x and 40 hexadecimal digits")
            kept.write_text(account.lower(), encoding="ascii")
        return kept.read_text(encoding="ascii") if kept.exists() else ""
    except OSError as error:
        raise MemberError(f"cannot use {kept}: {error.strerror}") from error


def _connection(home: ClientHome, insecure: bool) -> Connection:
    """Work out how the server is reached from what lies in the state folder."""
    try:
        host, port = parse_address((home.folder / "server").read_text(encoding="utf-8"))
    except OSError as error:
        raise MemberError("no server is known: give --invitation FILE, or --server HOST:PORT") from error
    ca, key = home.folder / "ca.crt", home.folder / "node.key"
    if insecure:
        if not is_loopback(host):
            raise MemberError(f"--insecure is for a server on this machine only, not {host}: leave it out")
        return Connection(host, port, None, None)  # Flower takes node keys under TLS only
    if not key.exists():
        raise MemberError("there is no node key: give --invitation FILE, or --key FILE made by 'lunaria keygen'")
    if not ca.exists():
        raise MemberError("nothing says whom to trust: give --invitation FILE, or --ca FILE from the organiser")
    return Connection(host, port, ca, key)


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


def _take_part(home: ClientHome, where: Connection, stop: threading.Event, events: Events, beat: Callable[[], None]) -> None:
    """Run a SuperNode until it ends or is to stop; returns when the server may be tried again.

    Raises
    ------
    MemberError
        The server does not accept this client.
    """
    folder = home.folder.resolve()
    launcher = folder / "bin"
    write_launcher(launcher, folder)
    environment = flower_environment(folder / "flower", {VARIABLE: str(folder)}, launcher)
    command = ["flower-supernode", "--superlink", f"{where.host}:{where.port}", "--port", str(free_port())]
    if where.key is None or where.ca is None:
        command += ["--insecure"]
    else:
        command += ["--auth-supernode-private-key", str(where.key.resolve()), "--root-certificates", str(where.ca.resolve())]
    log = Tail(folder / "supernode.log")
    connected, busy, answered, deadline = False, False, -FETCHED_SECONDS, None
    prepared = [sys.executable, "-m", "clients.prepared", str(folder)]
    output = folder / "supernode.log"
    with child(prepared, environment, output), child(command, environment, output) as process:
        while True:
            beat()
            ended = process.poll() is not None
            for line in log.lines():
                if CONNECTED in line and not connected:
                    connected = True
                    events.info("connected", f"connected to {where.host}:{where.port}", server=f"{where.host}:{where.port}")
                if any(text in line for text in ANSWERED):
                    busy, answered = False, time.monotonic()
                elif RECEIVED in line:
                    busy = True
            events.follow()
            if stop.is_set() and deadline is None:
                deadline = time.monotonic() + STOP_SECONDS
                events.info("stopping", "stopping" + (": the message in hand is answered first" if busy else ""))
            unfetched = busy or time.monotonic() < answered + FETCHED_SECONDS
            if ended or (deadline is not None and (not unfetched or time.monotonic() > deadline)):
                break
            time.sleep(POLL_SECONDS)
    if stop.is_set():
        return
    if not connected:
        log_file = folder / "supernode.log"
        raise MemberError(f"the server did not let this client in: does it know the node key? Flower's reasons are in {log_file}")
    events.warning("connection-lost", "the connection was lost: trying again")
    stop.wait(RETRY_SECONDS)
