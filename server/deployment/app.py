"""The ServerApp of a deployment: one run, in the state folder that ``flower-server`` prepared."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.datasets import DataSet, load
from clients.errors import ClientError
from clients.keras_models import to_fixed
from clients.quantise import Range, Scaling
from clients.settings import TASKS
from ledger.agreement import Agreement, read
from ledger.canonical import digest, dump_vector
from ledger.errors import LedgerError
from ledger.judge import IntVector
from ledger.state import RunState
from server.cosigner import check_addresses
from server.deployment.home import VARIABLE, Deployment, ServerHome
from server.errors import ExitCode, ServerError
from server.evaluation_set import read_evaluation
from server.planning import Plan, read_model
from server.run import run_federation
from server.verdict_text import verdict_text
from strategies.observer import Observer, RoundReport
from zk.errors import ZkError
from zk.sgd import flatten, initial_weights

_POLL_SECONDS = 0.5

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation of the state folder and note how it ended."""
    home = ServerHome(Path(os.environ[VARIABLE]))
    stop, done = threading.Event(), threading.Event()
    threading.Thread(target=_watch, args=(home, stop, done), daemon=True).start()
    try:
        deployment = home.deployment()
        plan = plan_of(deployment)
        state = run_federation(plan, home.folder, grid, EventLog(home), stop, deployment.verify_backend)
        home.end(*outcome_of(state))
    except ServerError as error:
        home.end(error.exit_code, str(error))
    except (ClientError, LedgerError, ZkError) as error:
        home.end(ExitCode.UNUSABLE, str(error))
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
    """Return the exit code of a closed run, and a line that says how it ended."""
    rounds = state.opening.agreement.rounds
    if state.rounds == rounds.count and state.accepted >= rounds.minimum_accepted:
        return ExitCode.OK, f"the run is complete: {state.rounds} rounds"
    if state.rounds and state.accepted < rounds.minimum_accepted:
        return ExitCode.FAILED, (
            f"the run ended after round {state.rounds}: {state.accepted} updates were accepted, "
            f"the agreement needs {rounds.minimum_accepted}"
        )
    return ExitCode.INTERRUPTED, f"the run was stopped after {state.rounds} of {rounds.count} rounds; the ledger is closed"


class EventLog(Observer):
    """Writes how a run goes on, a line an event."""

    def __init__(self, home: ServerHome) -> None:
        self._log = home.log()
        self._waiting = -1

    def waiting(self, connected: int, wanted: int) -> None:
        """Note each change of who is connected."""
        if connected != self._waiting:
            self._waiting = connected
            self._log.info("waiting for clients: %d of %d are connected", connected, wanted)

    def enrolling(self, clients: int) -> None:
        """Note who is asked."""
        self._log.info("%d clients are asked to enrol", clients)

    def enrolled(self, state: RunState, refused: Sequence[str]) -> None:
        """Note who is in, and why others are not."""
        self._log.info("%d clients enrolled", len(state.members))
        for line in refused:
            self._log.warning("not enrolled: %s", line)

    def round_begins(self, number: int, participants: int) -> None:
        """Note who was asked to train."""
        self._log.info("round %d: %d clients are asked to train", number, participants)

    def delayed(self, reason: str) -> None:
        """Note what the run waits for."""
        self._log.warning("%s", reason)

    def round_done(self, report: RoundReport) -> None:
        """Note the verdicts, and where the time went."""
        test = report.entry.test
        result = f", {test.correct} of {test.total} test samples right" if test is not None and test.correct is not None else ""
        self._log.info(
            "round %d: %s%s (waited %.1f s, verified in %.1f s)",
            report.entry.round,
            verdict_text(report.entry),
            result,
            report.waiting_s,
            report.verifying_s,
        )


def _watch(home: ServerHome, stop: threading.Event, done: threading.Event) -> None:
    while not done.wait(_POLL_SECONDS):
        if home.asked_to_stop():
            stop.set()
            return


def _test_data(agreement: Agreement, spec: str) -> DataSet:
    """Return the server's test data; empty where it has none: it then states no test results."""
    rule = agreement.rule
    features, outputs = rule.layers[0], rule.layers[-1]
    if not spec:
        x, y = (np.zeros((0, width), np.uint8) for width in (features, outputs))
        scaling = Scaling(Range((0.0,), (1.0,), rule.plan.feature_bits))
        return DataSet("no test data", "", TASKS[rule.loss], x, y, x, y, (), scaling, ())
    data = load(spec, task=TASKS[rule.loss], feature_bits=rule.plan.feature_bits, target_bits=rule.plan.logit_bits)
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
