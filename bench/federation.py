"""A federation to measure, and one measurement of it: a process of its own runs it, so that start-up counts in full.

A worker (:mod:`bench.plain_federation`, :mod:`bench.verified_federation`) is started as ``python -m WORKER FOLDER``. It finds its orders
in ``federation.json`` and leaves ``outcome.json``; instants are seconds since the launch, on the system's monotonic clock.
"""

import os
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.process_tree import run_watched
from server.planning import Options

SEED = 1
TIMEOUT_S = 1800.0
# The same for both: no network, no advertisement.
ENVIRONMENT = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


class Value(BaseModel):
    """An immutable value that travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Federation(Value):
    """What both sides run: a softmax network, trained from the same first model on the same partition.

    With ``rebuild_model`` the plain client builds and compiles its Keras model for every message, as Flower's quickstart does; without,
    once a process.
    """

    data: str
    clients: int
    participants: int
    samples: int
    rounds: int
    layers: tuple[int, ...]
    batch: int
    local_steps: int
    learning_rate: float
    feature_bits: int
    proof: str
    verify_backend: str
    rebuild_model: bool = False
    launched: float = 0.0

    def options(self) -> Options:
        """Return the same federation as ``lunaria simulate`` would be told of it."""
        return Options(
            clients=self.clients,
            participants=self.participants,
            rounds=self.rounds,
            samples=self.samples,
            model="-".join(map(str, self.layers)),
            data=self.data,
            seed=SEED,
            proof=self.proof,
        )

    def elapsed(self) -> float:
        """Return the seconds since the launch."""
        return time.monotonic() - self.launched


class Round(Value):
    """One round: its seconds, the accuracy after it, and what it left.

    ``reveal_s`` and ``training_s`` are spent waiting for clients, ``verifying_s`` judges and aggregates, ``appending_s`` evaluates the
    model and appends the entry. A plain round has a total only.
    """

    total_s: float
    accuracy: float
    reveal_s: float = 0.0
    training_s: float = 0.0
    verifying_s: float = 0.0
    appending_s: float = 0.0
    entry_bytes: int = 0
    evidence_bytes: int = 0


class Outcome(Value):
    """What a worker says about its run; instants in seconds since the launch.

    ``ray_ready_s`` is when Ray accepted work (its workers start after that), ``first_round_s`` when the first round began (for
    Lunaria: after enrolment), ``ended_s`` when the federation was over and only the interpreter's end was left.
    """

    imported_s: float
    prepared_s: float
    ray_ready_s: float
    first_round_s: float
    ended_s: float
    rounds: tuple[Round, ...]


class Measurement(Value):
    """One run as seen from outside: wall and processor seconds, and the greatest sum of resident sets with its number of processes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    processes: int
    outcome: Outcome

    @property
    def rounds_s(self) -> float:
        """Seconds of all rounds."""
        return sum(item.total_s for item in self.outcome.rounds)

    @property
    def accuracy(self) -> float:
        """Test accuracy at the end."""
        return self.outcome.rounds[-1].accuracy


def measure(worker: str, federation: Federation, folder: Path) -> Measurement:
    """Run ``worker`` in a new process with ``folder`` for its files.

    Raises
    ------
    BenchError
        It failed.
    """
    folder.mkdir(parents=True)
    log = folder / "worker.log"
    orders = federation.model_copy(update={"launched": time.monotonic()})
    (folder / "federation.json").write_text(orders.model_dump_json(), encoding="utf-8")
    environment = {**os.environ, **ENVIRONMENT}
    usage = run_watched([sys.executable, "-m", worker, str(folder)], log, environment, TIMEOUT_S)
    result = folder / "outcome.json"
    if usage.exit_code or not result.is_file():
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise BenchError(f"{worker} ended with exit code {usage.exit_code}; the end of {log}:\n{tail}")
    outcome = Outcome.model_validate_json(result.read_bytes())
    return Measurement(wall_s=usage.wall_s, cpu_s=usage.cpu_s, peak_bytes=usage.peak_bytes, processes=usage.processes, outcome=outcome)


def orders(folder: Path) -> Federation:
    """Return what the worker in ``folder`` is to run."""
    return Federation.model_validate_json((folder / "federation.json").read_bytes())


def warm_up() -> None:
    """Read the libraries from disk once, so that whoever is measured first does not pay for it."""
    code = "import flwr.simulation, keras, ray, tensorflow"
    run_watched([sys.executable, "-c", code], Path(os.devnull), {**os.environ, **ENVIRONMENT}, TIMEOUT_S)
