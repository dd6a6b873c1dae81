"""``flower-client``: the long-running client of one data owner, on Flower's SuperNode."""

import shutil
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from clients import change_requests
from clients.address import is_loopback, parse_address
from clients.change_requests import LEFT
from clients.console import Console, LogFormat, shows_failures
from clients.errors import EXPECTED, UNUSABLE, MemberError
from clients.event_log import Events
from clients.home import SECRETS, ClientHome, Settings
from clients.invitation import Invitation
from clients.metrics import ClientMetrics
from clients.monitoring import monitoring
from clients.node_keys import public_of
from clients.notify import Notifier
from clients.passphrase import open_vault
from clients.private import only_user
from clients.session import Connection, follow
from clients.settings import parse_account
from ledger.agreement import read
from ledger.identity import node_digest

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@shows_failures(EXPECTED, lambda error: UNUSABLE)
def flower_client(
    state: Annotated[Path, typer.Option(help="The folder with your identity and memory: secret. Never bring an old copy back.")],
    data: Annotated[
        str, typer.Option(help="Your data: a file (.csv, .csv:COLUMN, .npz, .parquet) or module:function. It stays here.")
    ] = "",
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
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt keys and memory in --state with a passphrase, from now on; given once.")
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Holds that passphrase. [default: LUNARIA_PASSPHRASE in the environment, or it is asked for]")
    ] = None,
    rotate_node_key: Annotated[
        bool, typer.Option("--rotate-node-key", help="Make another node key, and the request that the organiser needs to let it in.")
    ] = False,
    leave: Annotated[bool, typer.Option("--leave", help="Withdraw from the run: sign that, and take part no more.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and node key: only for a server on this machine.")] = False,
) -> None:
    """Take part in a federation until you stop it (Ctrl-C, SIGTERM); the data never leaves this machine."""
    with only_user(state):
        home = ClientHome(state, open_vault(state, SECRETS, encrypt=encrypt, file=passphrase_file))
        if rotate_node_key or leave:
            _request(home, leave=leave)
            return
        if not data:
            raise MemberError("give your data with --data")
        if (home.folder / LEFT).exists():
            raise MemberError(f"this client has left its run ({home.folder / LEFT}): take part in another with a new --state")
        accepted = _files(home, invitation, server, ca, key, agreement)
        where = _connection(home, insecure)
        node = node_digest(public_of(home.read("node.key"))) if where.ca else ""
        home.prepare(Settings(data, str(accepted.resolve()) if accepted else "", node, _account(home, account)))
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
            follow(home, where, stop, events, beat)
        events.info("stopped", "stopped; start again with the same --state to go on")


def _request(home: ClientHome, *, leave: bool) -> None:
    """Write what the member asks of the operator, and say what to do with it."""
    path = change_requests.leave(home) if leave else change_requests.rotate(home)
    typer.echo(f"send {path} to the organiser, who hands it to the run with 'lunaria change': it holds no secret")
    if not leave:
        typer.echo("start this client again meanwhile: it connects with the old key until the new one is accepted")


def _files(
    home: ClientHome, invitation: Path | None, server: str | None, ca: Path | None, key: Path | None, agreement: Path | None
) -> Path | None:
    """Bring what came by option into the state folder; return the agreement that the owner accepts."""
    folder = home.folder
    try:
        if invitation is not None:
            invited = Invitation.read(invitation)
            parse_address(invited.server)
            fresh = home.create("node.key", invited.node_key.encode())
            if not fresh and home.read("node.key") != invited.node_key.encode():
                raise MemberError(f"{folder} belongs to another invitation: give this one a --state of its own")
            for name, text in (("server", invited.server), ("ca.crt", invited.ca), ("agreement.toml", invited.agreement)):
                (folder / name).write_text(text, encoding="utf-8")
        if server is not None:
            parse_address(server)
            (folder / "server").write_text(server, encoding="utf-8")
        for name, source in (("ca.crt", ca), ("node.key", key), ("agreement.toml", agreement)):
            if source is not None and source.resolve() != (folder / name).resolve():
                home.write(name, source.read_bytes()) if name in SECRETS else shutil.copyfile(source, folder / name)
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
            kept.write_text(parse_account(account), encoding="ascii")
        return parse_account(kept.read_text(encoding="utf-8").strip()) if kept.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise MemberError(f"cannot use {kept}: give your --account again, or remove the file") from error


def _connection(home: ClientHome, insecure: bool) -> Connection:
    """Work out how the server is reached from what lies in the state folder."""
    try:
        host, port = parse_address((home.folder / "server").read_text(encoding="utf-8"))
    except OSError as error:
        raise MemberError("no server is known: give --invitation FILE, or --server HOST:PORT") from error
    ca = home.folder / "ca.crt"
    if insecure:
        if not is_loopback(host):
            raise MemberError(f"--insecure is for a server on this machine only, not {host}: leave it out")
        return Connection(host, port, None)  # Flower takes node keys under TLS only
    if not (home.folder / "node.key").exists():
        raise MemberError("there is no node key: give --invitation FILE, or --key FILE made by 'lunaria keygen'")
    if not ca.exists():
        raise MemberError("nothing says whom to trust: give --invitation FILE, or --ca FILE from the organiser")
    return Connection(host, port, ca)
