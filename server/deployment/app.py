"""The ServerApp of a deployment: one run, in the state folder that ``flower-server`` prepared."""

import os
import signal
import threading
from pathlib import Path

import httpx
import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.agreed import TASKS, load_agreed
from clients.datasets import DataSet
from clients.errors import ClientError
from clients.keras_models import to_fixed
from clients.quantise import Range, Scaling
from clients.supervise import end_with_parent
from ledger.agreement import Agreement, read
from ledger.canonical import digest, dump_vector
from ledger.errors import LedgerError
from ledger.judge import IntVector
from ledger.state import RunState
from server.cosigner import check_addresses
from server.deployment.home import VARIABLE, Deployment, ServerHome
from server.deployment.run_log import RunLog, WatchedGrid
from server.errors import ExitCode, ServerError
from server.evaluation_set import read_evaluation
from server.planning import Plan, read_model
from server.run import run_federation
from zk.errors import ZkError
from zk.sgd import flatten, initial_weights

_POLL_SECONDS = 0.5

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation of the state folder and note how it ended."""
    home = ServerHome(Path(os.environ[VARIABLE]))
    end_with_parent(signal.SIGKILL)  # Flower's processes may be killed: nothing goes on writing then
    with home.app_running():
        _run(home, grid)


def _run(home: ServerHome, grid: Grid) -> None:
    log, stop, done = home.log(), threading.Event(), threading.Event()
    threading.Thread(target=_watch, args=(home, stop, done), daemon=True).start()
    try:
        deployment = home.deployment()
        plan = plan_of(deployment)
        watched, observer = WatchedGrid(grid, log), RunLog(log, plan.agreement.rule.plan.logit_bits)
        state = run_federation(plan, home.folder, watched, observer, stop, deployment.verify_backend, resumable=True)
        home.end(*outcome_of(state))
    except ServerError as error:
        home.end(ExitCode.INTERRUPTED if stop.is_set() else error.exit_code, str(error))
    except (ClientError, LedgerError, ZkError) as error:
        home.end(ExitCode.UNUSABLE, str(error))
    except httpx.HTTPError as error:
        home.end(ExitCode.AGAIN, f"Flower's SuperLink does not answer ({error or type(error).__name__}): the same command goes on")
    except Exception as error:
        home.end(ExitCode.FAILED, f"{type(error).__name__}: {error}; the details are in {home.folder / 'superlink.log'}")
        raise
    finally:
        done.set()


def plan_of(deployment: Deployment) -> Plan:
    """Work out a run whose clients bring their own data.

    Raises
    ------
    ServerError, ClientError, LedgerError, ZkError
        Agreement, model, witnesses or test data do not go together.
    """
    agreement = read(Path(deployment.agreement))
    check_addresses(agreement.witnesses.quorum, deployment.witnesses)
    data = _test_data(agreement, deployment.test_data)
    evaluation = read_evaluation(Path(deployment.evaluation) if deployment.evaluation else None, agreement)
    model = _first_model(agreement, deployment.model)
    return Plan(agreement, data, 0, "", 0, model, data.notes, deployment.witnesses, evaluation)


def outcome_of(state: RunState) -> tuple[ExitCode, str]:
    """Return the exit code of a run that has ended or is stopped, and a line that says how."""
    rounds = state.opening.agreement.rounds
    if state.rounds == rounds.count and state.accepted >= rounds.minimum_accepted:
        return ExitCode.OK, f"the run is complete: {state.rounds} rounds"
    if state.rounds and state.accepted < rounds.minimum_accepted:
        return ExitCode.FAILED, (
            f"the run ended after round {state.rounds}: {state.accepted} updates were accepted, "
            f"the agreement needs {rounds.minimum_accepted}"
        )
    if state.closed:
        return ExitCode.INTERRUPTED, f"the run was closed after {state.rounds} of {rounds.count} rounds"
    return ExitCode.INTERRUPTED, (
        f"the run is stopped after {state.rounds} of {rounds.count} rounds: the same command goes on with it, with --close it closes it"
    )


def _watch(home: ServerHome, stop: threading.Event, done: threading.Event) -> None:
    while not done.wait(_POLL_SECONDS):
        home.beat()
        if home.asked_to_stop():
            stop.set()


def _test_data(agreement: Agreement, spec: str) -> DataSet:
    """Return the server's test data; empty where it has none: it then states no test results."""
    rule = agreement.rule
    features, outputs = rule.layers[0], rule.layers[-1]
    if not spec:
        x, y = (np.zeros((0, width), np.uint8) for width in (features, outputs))
        scaling = Scaling(Range((0.0,), (1.0,), rule.plan.feature_bits))
        return DataSet("no test data", "", TASKS[rule.loss], x, y, x, y, (), scaling, ())
    data = load_agreed(spec, agreement)
    shape = (data.x_test.shape[1], data.y_test.shape[1])
    if shape != (features, outputs):
        raise ServerError(f"--test-data has {shape[0]} features and {shape[1]} outputs, the model takes {features} and {outputs}")
    return data


def _first_model(agreement: Agreement, spec: str) -> IntVector:
    rule = agreement.rule
    if agreement.model.seed is not None:
        return flatten(initial_weights(rule, bytes.fromhex(agreement.model.seed)))
    if not spec:
        raise ServerError("the agreement names its first model by digest: give the model itself with --model FILE.keras")
    model = flatten(to_fixed(read_model(spec), rule))
    if digest(dump_vector(model)) != agreement.model.initial:
        raise ServerError(f"{spec} is not the first model that the agreement names (its digest is {digest(dump_vector(model))})")
    return model
