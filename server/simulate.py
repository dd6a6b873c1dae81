"""The main job on one machine: many clients on Ray, through Flower's simulation engine, with the code of a real deployment."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from clients.app import client_app
from clients.settings import member_from
from ledger.state import RunState
from server.errors import RunFailed
from server.planning import Plan
from server.run import run_federation
from strategies.observer import Observer

RAY_OBJECT_STORE_BYTES = 256 * 2**20


def simulate(plan: Plan, folder: Path, observer: Observer, verify_backend: str) -> RunState:
    """Run a federation with simulated clients; Ctrl-C ends it cleanly, with a closed ledger.

    Raises
    ------
    server.errors.ServerError
        The run could not start or be completed.
    """
    config: dict[str, str | int] = {
        "data": plan.data.source,
        "partition": plan.partition,
        "samples-per-client": plan.samples,
        "seed": plan.seed,
        "accounts": " ".join(plan.accounts),
    }
    stop = threading.Event()
    outcome: list[RunState | BaseException] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            outcome.append(run_federation(plan, folder, grid, observer, stop, verify_backend))
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            outcome.append(error)

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for each client
    with _ctrl_c(stop.set):
        run_simulation(
            server_app=server,
            client_app=client_app(partial(member_from, extra=config)),
            num_supernodes=plan.agreement.federation.clients,
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"object_store_memory": RAY_OBJECT_STORE_BYTES, "log_to_driver": False, "logging_level": 40},
            },
        )
    if not outcome:
        raise RunFailed("Flower's simulation engine ended before the run began: see the log file")
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


@contextmanager
def _ctrl_c(stop: Callable[[], None]) -> Iterator[None]:
    """Turn the first Ctrl-C into ``stop``; a second one ends the process, with the ledger as far as it came."""
    asked = threading.Event()

    def handle(number: int, frame: object) -> None:
        if asked.is_set():
            os._exit(130)
        asked.set()
        stop()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
