"""Flower's ServerApp: what ``flwr run .`` starts. The run itself is in :mod:`server.run`."""

import os
import threading
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.planning import Options, prepare
from server.run import new_folder, run_federation
from strategies.observer import Observer

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
    )
    home = Path(os.environ.get("LUNARIA_HOME") or Path.home() / ".lunaria")
    folder = Path(str(config["out"])) if "out" in config else home / "runs" / str(context.run_id)
    new_folder(folder)
    run_federation(prepare(options), folder, grid, Observer(), threading.Event(), str(config.get("verify-backend", "py_ecc")))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
