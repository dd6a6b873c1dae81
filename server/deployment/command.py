"""``flower-server``: the long-running server of a deployment."""

import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from clients.address import is_loopback
from clients.event_log import Tail
from server.deployment.door import Door
from server.deployment.gate import CALLS, SELF_REGISTRATION, check_pair, gate_app, serving
from server.deployment.home import Deployment, ServerHome
from server.deployment.node_keys import read_members
from server.deployment.superlink import SuperLink, superlink
from server.errors import ExitCode, RunFailed, ServerError
from server.evaluation_set import read_evaluation

_POLL_SECONDS, _FLOWER_EVERY, _STOP_SECONDS = 0.5, 10, 120.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def flower_server(
    agreement: Annotated[Path, typer.Option(help="The agreement.toml: who trains what, by which rule.")],
    state: Annotated[Path, typer.Option(help="The run folder: ledger, evidence, keys, logs. Keep it; keys/ is secret.")],
    members: Annotated[Path, typer.Option(help="The folder of the members' node keys, NAME.pub each.")] = Path("members"),
    certs: Annotated[Path | None, typer.Option(help="The server's certificate, PEM ('lunaria certs').")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9443,
    test_data: Annotated[str, typer.Option(help="Your own data set to test each model on. [default: none]")] = "",
    model: Annotated[str, typer.Option(help="FILE.keras, where the agreement names the first model by digest.")] = "",
    witness: Annotated[list[str] | None, typer.Option(help="Where a witness of the agreement is reached; once for each.")] = None,
    evaluation_set: Annotated[
        Path | None, typer.Option(help="The evaluation set that the agreement names, where it has a [settlement].")
    ] = None,
    verify_backend: Annotated[str, typer.Option(help="py_ecc or arkworks: both give the same verdict, arkworks is faster.")] = "py_ecc",
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and node keys: only on this machine.")] = False,
) -> None:
    """Run a federation with clients on other machines, from enrolment to the closed ledger.

    lunaria certs --host federation.example -o certs

    lunaria invite hospital-a --server federation.example:9443 --ca certs/ca.crt --agreement agreement.toml

    flower-server --agreement agreement.toml --state run --certs certs/server.crt --key certs/server.key --host 0.0.0.0
    """
    from ledger.agreement import read
    from zk.group import GROUPS

    if verify_backend not in GROUPS:
        raise ServerError(f"--verify-backend {verify_backend} is unknown: choose {' or '.join(GROUPS)}")
    if insecure:
        if not is_loopback(host):
            raise ServerError(f"--insecure is for this machine only, not {host}: make certificates with 'lunaria certs'")
        if certs or key:
            raise ServerError("--insecure goes without --certs and --key: choose one")
    elif certs is None or key is None:
        raise ServerError("a server needs --certs and --key, made by 'lunaria certs'; to try it on this machine alone: --insecure")
    else:
        check_pair(certs, key)
    accepted = read(agreement)
    read_evaluation(evaluation_set, accepted)
    wanted = accepted.federation.clients
    known = {} if insecure else read_members(members)  # Flower takes node keys under TLS only
    if not insecure and len(known) < wanted:
        raise ServerError(f"the agreement waits for {wanted} clients, {members} holds {len(known)} node keys: invite the others")
    home = ServerHome(state)
    evaluation = str(evaluation_set.resolve()) if evaluation_set else ""
    home.prepare(Deployment(str(agreement.resolve()), test_data, model, tuple(witness or ()), verify_backend, evaluation))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if insecure:
        _say("INSECURE: without TLS and node keys, whoever can log into this machine may take part and read the updates")
    _allow_many_files()
    calls, door = CALLS | SELF_REGISTRATION if insecure else CALLS, Door()
    keys = None if insecure else {public_key_to_bytes(key) for key in known.values()}
    with superlink(home, node_keys=not insecure) as link:
        link.register(known)
        with serving(gate_app(link.address, link.ca, keys, calls, door=door), host, port, certs, key, door):
            _say(f"listening at {host}:{port}" if insecure else f"{len(known)} node keys are known; listening at {host}:{port}")
            run = link.start_run()
            code, message = _watch(home, link, run, stop)
    if code not in (ExitCode.OK, ExitCode.INTERRUPTED):
        raise _EndedError(message, code)
    _say(f"{message}; 'lunaria export {state} -o export.tar' makes what an auditor needs")
    raise typer.Exit(code)


class _EndedError(ServerError):
    """The run ended otherwise than hoped for."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = code


def _watch(home: ServerHome, link: SuperLink, run: int, stop: threading.Event) -> tuple[ExitCode, str]:
    """Show what happens until the run has ended; returns how.

    Raises
    ------
    RunFailed
        Flower's processes ended before the run did.
    """
    events, asked, turn = Tail(home.folder / "server.log"), 0.0, 0
    while True:
        outcome = home.outcome()
        for line in events.lines():
            sys.stderr.write(line + "\n")
        if outcome is not None:
            return outcome
        turn += 1
        if not link.alive() or (turn % _FLOWER_EVERY == 0 and link.finished(run) and home.outcome() is None):
            raise RunFailed(f"Flower's processes ended before the run did: see {home.folder / 'superlink.log'}")
        if stop.is_set() and not asked:
            asked = time.monotonic()
            home.ask_to_stop()
            _say("stopping: the message in hand is finished and the ledger closed")
        if asked and time.monotonic() - asked > _STOP_SECONDS:
            raise RunFailed(f"the run did not stop within {_STOP_SECONDS:.0f} s: its ledger is not closed, and still audits")
        time.sleep(_POLL_SECONDS)


def _allow_many_files() -> None:
    """Take as many open files as may be had: strangers' connections must not use up those that the server needs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
