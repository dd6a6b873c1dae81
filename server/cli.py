"""The ``lunaria`` command line. Each command is a few lines here; what it does is in the rooms.

Exit codes are those of :mod:`server.errors`. An error is one line on standard error.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.console import Console

from clients.help import Lesson, teach
from server.chain.command import chain_app
from server.crate_command import crate
from server.deployment.member_commands import member_app
from server.deployment.pki_commands import pki_app
from server.deployment.scale_command import scale
from server.errors import EXPECTED, ExitCode, ServerError, exit_code
from server.evaluation_set import evaluation_set as make_evaluation_set
from server.explorer_command import explorer
from server.fork_command import fork_app
from server.lessons import LUNARIA, SERVER
from server.model_command import model
from server.monitor_command import monitor
from server.proof_command import verify_proof
from server.publish_command import publish
from server.serve_command import serve_ledger
from server.storage_commands import storage_app
from server.witness_command import witness as witness_command

if TYPE_CHECKING:
    from ledger.store import Store

app = typer.Typer(
    name="lunaria",
    help="Federated learning that people who do not trust each other can check.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
log_app = typer.Typer(help="Look into a run's ledger.", no_args_is_help=True)
app.add_typer(log_app, name="log")
app.add_typer(storage_app)
app.add_typer(pki_app)
app.add_typer(member_app)
app.add_typer(chain_app, name="chain")
app.command()(scale)

Backend = Annotated[str, typer.Option("--verify-backend", help="py_ecc or arkworks: both give the same verdict, arkworks is faster.")]


@app.command()
def simulate(
    agreement: Annotated[Path | None, typer.Option(help="An agreement.toml; otherwise one is made from the other options.")] = None,
    clients: Annotated[int | None, typer.Option(help="Clients in the federation. [default: 10]")] = None,
    participants: Annotated[int | None, typer.Option(help="Clients that take part in each round. [default: all]")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds. [default: 5]")] = None,
    samples: Annotated[int | None, typer.Option(help="Samples of each client. [default: 512, or what there is]")] = None,
    data: Annotated[str, typer.Option(help="auto, fashion-mnist, digits, breast-cancer, diabetes, a file, or module:function.")] = "auto",
    partition: Annotated[str, typer.Option(help="iid, or dirichlet:ALPHA.")] = "iid",
    model: Annotated[str | None, typer.Option(help="784-128-10, a .keras file, or module:function.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the run. [default: runs/DATE-TIME]")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes everything repeatable, keys included: for experiments only.")] = None,
    proof: Annotated[str | None, typer.Option(help="training, or none: what each update must prove. [default: training]")] = None,
    proof_rate: Annotated[
        float | None, typer.Option(help="The share of the updates that must be proved, chosen afterwards. [default: 1]")
    ] = None,
    witness: Annotated[list[str] | None, typer.Option(help="Where a witness of the agreement is reached; once for each.")] = None,
    pot: Annotated[
        int | None, typer.Option(min=0, help="Pay this much for the contributions of each round, settled after it. [default: nothing]")
    ] = None,
    evaluation_set: Annotated[Path | None, typer.Option(help="The evaluation set that the agreement names.")] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Where clients want to be paid: once for each, the first is client 0's.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="Keep the ledger in PostgreSQL: postgresql://... [default: a file in the folder]")
    ] = None,
    evidence: Annotated[str | None, typer.Option(help="Keep evidence elsewhere: s3://bucket/folder. [default: in the folder]")] = None,
    verify_backend: Backend = "py_ecc",
) -> None:
    """Run a federation on this machine with Ray: the main job, with an audit at its end."""
    from ledger.storage import Storage

    _check_backend(verify_backend)
    with _installed("federation"):
        from server.planning import Options
        from server.session import run_session
    options = Options(
        agreement=agreement,
        clients=clients,
        participants=participants,
        rounds=rounds,
        samples=samples,
        model=model,
        data=data,
        partition=partition,
        seed=seed,
        proof=proof,
        proof_rate=proof_rate,
        witnesses=tuple(witness or ()),
        evaluation=evaluation_set,
        pot=pot,
        accounts=tuple(account or ()),
    )
    folder = out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    raise typer.Exit(run_session(options, folder, Storage.parse(database=database, evidence=evidence), verify_backend))


@app.command()
def audit(
    export: Annotated[Path, typer.Argument(help="A file made by 'lunaria export' or 'lunaria simulate'.")],
    key: Annotated[str | None, typer.Option(help="The log's public key, as you know it from elsewhere.")] = None,
    agreement: Annotated[Path | None, typer.Option(help="The agreement.toml, as you know it from elsewhere.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the report to this file too, as a page to read, print and sign.")
    ] = None,
    auditor: Annotated[str | None, typer.Option(help="Who audits, for that page.")] = None,
    date: Annotated[str | None, typer.Option(help="When, for that page.")] = None,
    require_proofs: Annotated[
        bool, typer.Option("--require-proofs", help="An export without single updates, and so without proofs to check, is not enough.")
    ] = False,
    evaluation_set: Annotated[
        Path | None, typer.Option(help="The evaluation set that the agreement names: recompute the scores in settlements.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Keep progress in this file, and go on from it after an interruption.")] = None,
    verify_backend: Backend = "py_ecc",
) -> None:
    """Verify an export offline: 0 verified, 1 something is false, 2 the file is unusable."""
    from ledger.agreement import read
    from ledger.audit import Trust
    from ledger.audit import audit as audit_export
    from ledger.note import VerifierKey
    from server.audit_display import audit_progress, print_report
    from server.audit_page import Subject

    _check_backend(verify_backend)
    if html is None and (auditor or date):
        raise ServerError("--auditor and --date are for the page that --html FILE writes")
    if key is not None:
        VerifierKey.parse(key)
    trust = Trust(key, read(agreement) if agreement else None, require_proofs, evaluation_set)
    subject = Subject.of(export, trust, verify_backend, auditor, date) if html else None
    if as_json:
        report = audit_export(export, trust, backend=verify_backend, resume=resume)
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        console = Console()
        with audit_progress(console) as progress:
            report = audit_export(export, trust, backend=verify_backend, progress=progress, resume=resume)
        print_report(console, report)
    if html and subject:
        subject.write(html, report)
    raise typer.Exit(ExitCode.OK if report.verified else ExitCode.FALSE)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    updates: Annotated[bool, typer.Option(help="Include single updates; without them the audit checks the sums only.")] = True,
) -> None:
    """Write one file with everything an auditor needs."""
    from ledger.export import write_export

    count = write_export(run, output, updates=updates)
    typer.echo(f"{output}: {count} entries, {output.stat().st_size:,} bytes")


@log_app.command("list")
def log_list(run: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """List the entries of a ledger, a line each."""
    from server.log_view import entry_line

    with _store(run) as store:
        for index, data in enumerate(store.entries(0, store.size())):
            typer.echo(entry_line(index, data))


@log_app.command("show")
def log_show(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    index: Annotated[int, typer.Argument(min=0, help="The entry's number.")],
) -> None:
    """Print one entry as JSON."""
    from ledger.canonical import load_json

    with _store(run) as store:
        typer.echo(json.dumps(load_json(store.entry(index), f"entry {index}"), indent=2, ensure_ascii=False))


@log_app.command("proof")
def log_proof(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    index: Annotated[int | None, typer.Argument(min=0, help="The entry's number.")] = None,
    round_: Annotated[int | None, typer.Option("--round", min=1, help="A round, in place of the entry's number.")] = None,
    entry: Annotated[bool, typer.Option(help="Put the entry itself into the proof.")] = True,
) -> None:
    """Print a proof that an entry is in the ledger (C2SP tlog-proof)."""
    from server.log_view import inclusion_proof, round_index

    if (index is None) == (round_ is None):
        raise ServerError("say which entry: either its number, or --round N")
    with _store(run) as store:
        place = index if index is not None else round_index(store, round_ or 0)
        typer.echo(inclusion_proof(store, place, entry=entry).encode(), nl=False)


log_app.command("verify")(verify_proof)
app.command()(crate)
app.command("evaluation-set")(make_evaluation_set)
app.command()(explorer)
app.command()(model)
app.command()(monitor)
app.command()(publish)
app.command("serve")(serve_ledger)
app.add_typer(fork_app, name="fork")
app.command("witness")(witness_command)


def main() -> None:
    """Run ``lunaria``."""
    run_app(app, "lunaria", LUNARIA)


def flower_server() -> None:
    """Run ``flower-server``."""
    try:
        with _installed("federation"):
            from server.deployment.command import app as server
    except typer.Exit as error:
        sys.exit(error.exit_code)
    os.umask(0o077)  # keys, ledger and logs are for their owner
    run_app(server, "flower-server", SERVER)


def run_app(application: typer.Typer, name: str, lessons: Mapping[str, Lesson]) -> None:
    """Run a command line; every expected error becomes one line and its exit code."""
    try:
        code = teach(typer.main.get_command(application), lessons)(prog_name=name, standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that went away can still be dealt with
        sys.exit(code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.UNUSABLE)
    except click.ClickException as error:
        sys.stderr.write(f"error: {' '.join(error.format_message().split())} See '{name} --help'.\n")
        sys.exit(ExitCode.UNUSABLE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except EXPECTED as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(exit_code(error))
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(ExitCode.OK)


@contextmanager
def _installed(extra: str) -> Iterator[None]:
    """Say how to install what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'lunaria[{extra}]'\n")
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error


@contextmanager
def _store(run: Path) -> "Iterator[Store]":
    from ledger.storage import ledger_of

    with ledger_of(run)[0] as store:
        yield store


def _check_backend(name: str) -> None:
    from zk.group import GROUPS

    if name not in GROUPS:
        raise ServerError(f"--verify-backend {name} is unknown: choose {' or '.join(GROUPS)}")
