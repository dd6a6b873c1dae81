"""``flower-server``: the long-running server of a deployment."""

import resource
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric import ec

from clients.address import is_loopback
from clients.console import LogFormat, shows_failures
from clients.keras_models import has_tensorflow
from server.deployment.admission import Admission
from server.deployment.anchoring import anchoring
from server.deployment.door import Door
from server.deployment.gate import CALLS, SELF_REGISTRATION, check_pair, gate_app, serving
from server.deployment.health import Health
from server.deployment.home import Deployment, ServerHome
from server.deployment.node_keys import read_members
from server.deployment.superlink import SuperLink, superlink
from server.deployment.telling import Telling
from server.errors import EXPECTED, CutOff, ExitCode, ServerError, exit_code
from server.evaluation_set import FILE as EVALUATION_FILE
from server.evaluation_set import read_evaluation

_POLL_SECONDS, _FLOWER_EVERY, _STOP_SECONDS = 0.5, 10, 120.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@shows_failures(EXPECTED, exit_code)
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
    metrics: Annotated[
        str, typer.Option(help="HOST:PORT for GET /metrics, /health and /ready; never the port of the clients. [default: none]")
    ] = "",
    database: Annotated[str | None, typer.Option(help="Keep the ledger in PostgreSQL: postgresql://user@host/database.")] = None,
    evidence: Annotated[str | None, typer.Option(help="Keep evidence elsewhere: s3://bucket/folder.")] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="What happens, on standard error: text, or json with an object a line.")
    ] = LogFormat.TEXT,
    chain: Annotated[
        Path | None, typer.Option(help="chain.toml: anchor the ledger there, beside the training; it may be written later.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and node keys: only on this machine.")] = False,
    close: Annotated[bool, typer.Option("--close", help="Close the ledger of a run that is not to go on, and end.")] = False,
) -> None:
    """Run a federation with clients on other machines, from enrolment to the closed ledger.

    Stopped or killed, it goes on where it was when it is started with the same command again.
    """
    from ledger.agreement import read
    from ledger.storage import Storage
    from zk.group import GROUPS

    if (test_data or model) and not has_tensorflow():
        raise ServerError("--test-data and --model need TensorFlow: pip install 'lunaria[federation]', or leave them out")
    if verify_backend not in GROUPS:
        raise ServerError(f"--verify-backend {verify_backend} is unknown: choose {' or '.join(GROUPS)}")
    if not close:
        _check_door(host, certs, key, insecure)
    accepted, home, kept = read(agreement), ServerHome(state), state / EVALUATION_FILE
    wanted, evaluated = accepted.federation.clients, evaluation_set or (kept if kept.exists() else None)
    read_evaluation(evaluated, accepted)
    evaluation = str(evaluated.resolve()) if evaluated else ""
    deployment = Deployment(str(agreement.resolve()), test_data, model, tuple(witness or ()), verify_backend, evaluation)
    known = {} if insecure or close else read_members(members)  # Flower takes node keys under TLS only
    if not insecure and not close and len(known) < wanted and home.standing() is None:
        raise ServerError(f"the agreement waits for {wanted} clients, {members} holds {len(known)} node keys: invite the others")
    with home.held():
        stands = home.prepare(deployment, Storage.parse(database=database, evidence=evidence))
        telling = Telling(home, log_format, metrics)
        if stands is not None and stands.ended(state):
            code, message = stands.outcome()
        elif close:
            home.wait_until_free()
            code, message = _close(home, deployment)
        else:
            home.wait_until_free()
            with anchoring(state, chain) as finish:
                code, message = _run(home, known, (host, port), certs, key, telling)
                if code is ExitCode.OK and not finish():
                    telling.events.warning("not-anchored", f"the ledger's end is not anchored yet: 'lunaria chain anchor {state}' does it")
    if code not in (ExitCode.OK, ExitCode.INTERRUPTED):
        raise _EndedError(message, code)
    telling.events.info("ended", f"{message}; 'lunaria export {state} -o export.tar' makes what an auditor needs", exit_code=int(code))
    raise typer.Exit(code)


def _check_door(host: str, certs: Path | None, key: Path | None, insecure: bool) -> None:
    """Refuse to listen without TLS, but for this machine alone."""
    if insecure:
        if not is_loopback(host):
            raise ServerError(f"--insecure is for this machine only, not {host}: make certificates with 'lunaria certs'")
        if certs or key:
            raise ServerError("--insecure goes without --certs and --key: choose one")
    elif certs is None or key is None:
        raise ServerError("a server needs --certs and --key, made by 'lunaria certs'; to try it on this machine alone: --insecure")
    else:
        check_pair(certs, key)


def _run(
    home: ServerHome,
    known: Mapping[str, ec.EllipticCurvePublicKey],
    where: tuple[str, int],
    certs: Path | None,
    key: Path | None,
    telling: Telling,
) -> tuple[ExitCode, str]:
    """Start Flower's processes and follow the run; returns how it ended."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    insecure, (host, port) = certs is None, where
    if insecure:
        telling.events.warning(
            "insecure", "INSECURE: without TLS and node keys, whoever can log into this machine may take part and read the updates"
        )
    _allow_many_files()
    calls, door = CALLS | SELF_REGISTRATION if insecure else CALLS, Door()
    with superlink(home, node_keys=not insecure) as link:
        admission = Admission(home, link, known, telling.events)
        gate = gate_app(link.address, link.ca, None if insecure else admission.keys, calls, door=door)
        telling.count(gate)
        with serving(gate, host, port, certs, key, door), Health(home, link, certs) as health, telling.about(health):
            text = f"listening at {host}:{port}" if insecure else f"{len(admission.keys)} node keys are known; listening at {host}:{port}"
            telling.events.info("listening", text, host=host, port=port, node_keys=len(admission.keys))
            return _watch(home, link, link.start_run(), stop, telling, health, admission)


def _close(home: ServerHome, deployment: Deployment) -> tuple[ExitCode, str]:
    """Close the ledger of a run that is not to go on."""
    from server.deployment.app import plan_of
    from server.deployment.run_log import RunLog
    from server.run import run_federation

    if home.standing() is None:
        raise ServerError(f"{home.folder} holds no run that could be closed")
    plan = plan_of(deployment)
    observer = RunLog(home.log(), plan.agreement.rule.plan.logit_bits)
    run_federation(plan, home.folder, None, observer, threading.Event(), deployment.verify_backend, resumable=True)
    return ExitCode.OK, "the run is closed"


class _EndedError(ServerError):
    """The run ended otherwise than hoped for."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = code


def _watch(
    home: ServerHome, link: SuperLink, run: int, stop: threading.Event, telling: Telling, health: Health, admission: Admission
) -> tuple[ExitCode, str]:
    """Show what happens until the run has ended; returns how.

    Raises
    ------
    CutOff
        Flower's processes ended before the run did.
    """
    asked, turn, began = 0.0, 0, False
    while True:
        runs = home.app_runs()
        outcome, gone, began = home.outcome(), began and not runs, began or runs
        telling.follow(health)
        admission.look()
        if outcome is not None:
            return outcome
        turn += 1
        if gone or not link.alive() or (turn % _FLOWER_EVERY == 0 and link.finished(run) and home.outcome() is None):
            raise CutOff(f"Flower's processes ended before the run did, start it again and it goes on: see {home.folder / 'superlink.log'}")
        if stop.is_set() and not asked:
            asked = time.monotonic()
            home.ask_to_stop()
            telling.events.info("stopping", "stopping: the message in hand is finished; the run stays open")
        if asked and time.monotonic() - asked > _STOP_SECONDS:
            raise CutOff(f"the run did not stop within {_STOP_SECONDS:.0f} s: the same command goes on with it")
        time.sleep(_POLL_SECONDS)


def _allow_many_files() -> None:
    """Take as many open files as may be had: strangers' connections must not use up those that the server needs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
