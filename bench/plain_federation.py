"""The federation with plain Flower: FedAvg over float32 Keras models, written as Flower's TensorFlow quickstart writes it.

The quickstart builds and compiles its model anew for every message, which takes longer than 16 steps of training. ``rebuild_model``
does the same; otherwise a process keeps its compiled model, and verification is compared with the fastest ordinary client.
Partition, first model, batches, steps and learning rate are those of a Lunaria run; what differs is what Lunaria adds: exact arithmetic,
enrolment, commitments, signatures, verdicts and the ledger.
"""

import sys
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from bench.federation import SEED, BenchError, Federation, Outcome, Round, orders
from bench.ray_watch import RayWatch
from clients.datasets import DataSet, load
from clients.partition import indices, parse_partition
from server.simulate import RAY_OBJECT_STORE_BYTES

Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def data_set(spec: str) -> DataSet:
    """Load the data set once a process."""
    return load(spec, task="classification")


def scaled(federation: Federation, x: npt.NDArray[np.generic], y: npt.NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Return features in [0, 1) and one-hot labels, the same real numbers that the fixed-point grid stands for."""
    return x.astype(np.float32) / 2.0**federation.feature_bits, y.astype(np.float32)


def model_for(federation: Federation) -> keras.Model:
    """Return the process's model, or a new one where the federation says so."""
    if federation.rebuild_model:
        keras.backend.clear_session()
        return build_model(federation)
    return _kept_model(federation)


@lru_cache(maxsize=1)
def _kept_model(federation: Federation) -> keras.Model:
    return build_model(federation)


def build_model(federation: Federation) -> keras.Model:
    """Return a compiled network with ReLU between its layers and plain SGD."""
    *hidden, outputs = federation.layers[1:]
    model = keras.Sequential([keras.Input((federation.layers[0],))])
    for width in hidden:
        model.add(keras.layers.Dense(width, activation="relu"))
    model.add(keras.layers.Dense(outputs, activation="softmax"))
    model.compile(keras.optimizers.SGD(federation.learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


@lru_cache(maxsize=1)
def batches(path: Path) -> npt.NDArray[np.int64]:
    """Load the batches (:mod:`bench.batches`) once a process."""
    positions: npt.NDArray[np.int64] = np.load(path)
    return positions


def client_app(federation: Federation, batches_path: Path) -> ClientApp:
    """Return the ordinary client: receive weights, fit, send weights."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        data = data_set(federation.data)
        number, shares = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
        mine = indices(parse_partition("iid"), data.y_train, shares, federation.samples, SEED)[number]
        x, y = scaled(federation, data.x_train[mine], data.y_train[mine])
        chosen = batches(batches_path)[round_of(message) - 1, number]
        model = model_for(federation)
        model.set_weights(message.content.array_records["arrays"].to_numpy_ndarrays())
        model.fit(x[chosen], y[chosen], batch_size=federation.batch, shuffle=False, verbose=0)
        metrics = MetricRecord({"num-examples": len(x)})
        return Message(RecordDict({"arrays": ArrayRecord(model.get_weights()), "metrics": metrics}), reply_to=message)

    return app


def round_of(message: Message) -> int:
    """Return the round that FedAvg wrote into its configuration."""
    number = message.content.config_records["config"]["server-round"]
    if not isinstance(number, int):
        raise BenchError(f"the round is {number!r}, not a number")
    return number


def run(federation: Federation, first: list[Floats], batches_path: Path) -> Outcome:
    """Run the federation on Ray; returns when what happened."""
    imported = federation.elapsed()
    data = data_set(federation.data)
    x_test, y_test = scaled(federation, data.x_test, data.y_test)
    prepared = federation.elapsed()
    evaluated: list[tuple[float, float]] = []  # instant, accuracy: of the first model, then after each round

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        model = model_for(federation)
        model.set_weights(arrays.to_numpy_ndarrays())
        _, accuracy = model.evaluate(x_test, y_test, batch_size=1024, verbose=0)
        evaluated.append((federation.elapsed(), float(accuracy)))
        return MetricRecord({"accuracy": float(accuracy)})

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        share = federation.participants / federation.clients
        strategy = FedAvg(fraction_train=share, fraction_evaluate=0.0, min_available_nodes=federation.clients)
        strategy.start(grid, ArrayRecord(first), num_rounds=federation.rounds, evaluate_fn=evaluate)

    watch = RayWatch(federation.elapsed)
    run_simulation(
        server_app=server,
        client_app=client_app(federation, batches_path),
        num_supernodes=federation.clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"object_store_memory": RAY_OBJECT_STORE_BYTES, "log_to_driver": False, "logging_level": 40},
        },
    )
    began = max(watch.ready, evaluated[0][0])
    starts = [began, *(instant for instant, _ in evaluated[1:-1])]
    rounds = [Round(total_s=end - start, accuracy=accuracy) for start, (end, accuracy) in zip(starts, evaluated[1:], strict=True)]
    return Outcome(
        imported_s=imported,
        prepared_s=prepared,
        ray_ready_s=watch.ready,
        first_round_s=began,
        ended_s=federation.elapsed(),
        rounds=tuple(rounds),
    )


def main(folder: Path) -> None:
    """Do what ``federation.json`` in ``folder`` says, with ``first.npz`` and ``batches.npy`` from the folder above."""
    with np.load(folder.parent / "first.npz") as arrays:
        first = [arrays[name] for name in arrays.files]
    outcome = run(orders(folder), first, folder.parent / "batches.npy")
    (folder / "outcome.json").write_text(outcome.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    # not as __main__: Ray's workers find this module's functions by its name
    from bench.plain_federation import main as run_worker

    run_worker(Path(sys.argv[1]))
