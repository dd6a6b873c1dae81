"""Flower's ServerApp: what ``flwr run .`` starts. The run itself is in :mod:`server.run`."""

import os
import threading
from collections.abc import Sequence
from logging import INFO, WARNING
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import log

from ledger.state import RunState
from server.planning import Options, prepare
from server.run import new_folder, run_federation
from server.verdict_text import verdict_text
from strategies.observer import Observer, RoundReport

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a federation as the run configuration says (see ``[tool.flwr.app.config]`` in pyproject.toml)."""
    config = {key: value for key, value in context.run_config.items() if value not in ("", 0)}
    options = Options(
        agreement=Path(str(config["agreement"])) if "agreement" in config else None,
        clients=_number(config.get("clients", None if "agreement" in config else len(list(grid.get_node_ids())))),
        participants=_number(config.get("participants")),
        rounds=_number(config.get("rounds")),
        samples=_number(config.get("samples-per-client")),
        model=str(config["model"]) if "model" in config else None,
        data=str(config.get("data", "auto")),
        partition=str(config.get("partition", "iid")),
        seed=_number(config.get("seed")),
        proof=str(config["proof"]) if "proof" in config else None,
        evaluation=Path(str(config["evaluation-set"])) if "evaluation-set" in config else None,
        witnesses=tuple(str(config.get("witnesses", "")).split()),
    )
    home = Path(os.environ.get("LUNARIA_HOME") or Path.home() / ".lunaria")
    folder = Path(str(config["out"])) if "out" in config else home / "runs" / str(context.run_id)
    new_folder(folder)
    log(INFO, "Lunaria keeps this run in %s", folder)
    run_federation(prepare(options), folder, grid, LogObserver(), threading.Event(), str(config.get("verify-backend", "py_ecc")))


class LogObserver(Observer):
    """Writes how a run goes on to Flower's log."""

    def enrolled(self, state: RunState, refused: Sequence[str]) -> None:
        """Log who is in, and why others are not."""
        log(INFO, "%d clients enrolled", len(state.members))
        for line in refused:
            log(WARNING, "not enrolled: %s", line)

    def delayed(self, reason: str) -> None:
        """Log what the run waits for."""
        log(WARNING, "%s", reason)

    def round_done(self, report: RoundReport) -> None:
        """Log the verdicts."""
        log(INFO, "round %d: %s", report.entry.round, verdict_text(report.entry))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
