"""``lunaria simulate`` from beginning to end: plan, run, show, export, audit."""

import traceback
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ledger.audit import Trust, audit
from ledger.export import write_export
from ledger.storage import Storage, ledger_of
from server.audit_display import audit_progress, print_report
from server.display import Display, draw_curve, rounds_table
from server.errors import ExitCode, RunFailed, ServerError
from server.evaluation_set import FILE as EVALUATION_FILE
from server.planning import Options, prepare
from server.quiet import quiet
from server.run import new_folder
from server.settlements_view import settlements_table


def run_session(options: Options, folder: Path, storage: Storage, verify_backend: str) -> ExitCode:
    """Run a simulation in a new ``folder``, its ledger being kept where ``storage`` says; returns the exit code.

    Raises
    ------
    LedgerError
        The ledger cannot be kept there.
    ServerError
        The run could not start.
    """
    storage.check()
    new_folder(folder)
    log = folder / "lunaria.log"
    with quiet(log) as terminal:
        console = Console(file=terminal)
        try:
            return _run(options, folder, storage, console, verify_backend)
        except ServerError:
            if list(folder.iterdir()) == [log]:  # nothing has begun: leave nothing behind
                log.unlink()
                folder.rmdir()
            raise
        except Exception as error:
            traceback.print_exc()  # into the log
            raise RunFailed(f"{type(error).__name__}: {error}; the details are in {log}") from error


def _run(options: Options, folder: Path, storage: Storage, console: Console, verify_backend: str) -> ExitCode:
    from server.simulate import simulate

    plan = prepare(options)
    for note in plan.notes:
        console.print(f"[yellow]note[/]  {escape(note)}", soft_wrap=True, highlight=False)
    agreement = plan.agreement
    layers = "-".join(map(str, agreement.model.layers))
    console.print(
        f"{escape(plan.data.name)}: {agreement.federation.clients} clients × {plan.samples} samples, {layers}, "
        f"{agreement.rounds.count} rounds of {agreement.training.local_steps} steps at batch {agreement.training.batch}",
        highlight=False,
    )
    display = Display(console, agreement.rounds.count, agreement.rule.plan.logit_bits)
    storage.save(folder)
    with display.progress:
        state = simulate(plan, folder, display, verify_backend)
    scale = 4**agreement.rule.plan.logit_bits
    console.print(rounds_table(display.reports, scale))
    with ledger_of(folder)[0] as store:
        settled = settlements_table(store.entries(0, store.size()))
    if settled is not None:
        console.print(settled)
    curve = draw_curve(display.reports, scale, folder / "learning-curve.png")
    export = folder / "export.tar"
    write_export(folder, export)
    with audit_progress(console) as progress:
        trust = Trust(evaluation=folder / EVALUATION_FILE if plan.evaluation else None)
        report = audit(export, trust, backend=verify_backend, progress=progress)
    print_report(console, report)
    files = ["model.keras", "model.provenance.json", *(["learning-curve.png"] if curve else []), "export.tar", "lunaria.log"]
    files += [EVALUATION_FILE] if plan.evaluation else []
    console.print(f"{escape(str(folder))}: {', '.join(files)}", soft_wrap=True, highlight=False)
    if not report.verified:
        return ExitCode.FALSE
    if state.rounds < agreement.rounds.count:
        few = state.rounds > 0 and state.accepted < agreement.rounds.minimum_accepted
        if few:
            console.print(
                f"[bold red]the run ended[/] after round {state.rounds}: {state.accepted} updates were accepted, "
                f"the agreement needs {agreement.rounds.minimum_accepted}"
            )
        return ExitCode.FAILED if few else ExitCode.INTERRUPTED
    return ExitCode.OK
