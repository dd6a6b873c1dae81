"""One run of a federation on the server's side: the ledger in its folder, the strategy, and what is left at the end.

::

    RUN/agreement.toml     what was agreed
    RUN/ledger.db, evidence/, checkpoint
    RUN/keys/log.key       the log's signing key: secret, stays here
    RUN/evaluation.npy     what contributions are measured on, where the agreement has settlements: public
    RUN/journal/           in a deployment: what was promised about the next entry (strategies.journal)
    RUN/model.keras        the last model, where there is TensorFlow ('lunaria model' makes it elsewhere); model.provenance.json beside it
"""

import base64
import json
import threading
from pathlib import Path

import numpy as np
import tomli_w
from flwr.serverapp import Grid

from clients.exact import ExactTrainer
from clients.keras_models import has_tensorflow, save, to_keras
from clients.private import secret_file
from ledger.canonical import load_vector
from ledger.entries import AgreementEntry, TestResult, decode_entry
from ledger.errors import StorageError
from ledger.evaluation import Evaluation as EvaluationSet
from ledger.evidence import write_durably
from ledger.judge import IntVector
from ledger.log import Log
from ledger.quorum import Policy
from ledger.state import RunState
from server.cosigner import Cosigner
from server.errors import CutOff, RunFailed, ServerError
from server.evaluation_set import FILE as EVALUATION_FILE
from server.files import PROVENANCE
from server.planning import Plan
from strategies.desk import Desk
from strategies.errors import StrategyError
from strategies.exact_fedavg import ExactFedAvg
from strategies.journal import Journal
from strategies.observer import Observer
from strategies.verified import Verified
from zk.group import GROUPS
from zk.hashing import frame, sha256
from zk.pedersen import commitment_key
from zk.rule import Loss
from zk.sgd import accuracy_counts, squared_error, unflatten


def run_federation(
    plan: Plan,
    folder: Path,
    grid: Grid | None,
    observer: Observer,
    stop: threading.Event,
    verify_backend: str,
    *,
    resumable: bool = False,
    desk: Desk | None = None,
) -> RunState:
    """Run a federation in ``folder`` (see :func:`new_folder`) and leave ledger, model and provenance there.

    Where the folder holds this run already, it goes on where it was cut off; ``grid`` may then be None: the run is closed as interrupted.
    With ``resumable`` a run that is stopped stays open, to go on later. At ``desk`` memberships are changed.

    Raises
    ------
    RunFailed
        Too few clients enrolled, or the ledger cannot go on (``CutOff`` with ``resumable``); it stands as far as it came.
    ServerError
        The folder holds a run under another agreement.
    """
    seed = _log_seed(folder, plan)
    signer = plan.signer(seed)
    agreement = plan.agreement
    if plan.evaluation:
        write_durably(folder / EVALUATION_FILE, plan.evaluation)
    key = commitment_key(GROUPS[verify_backend], agreement.row_width)
    opening = plan.opening(signer)
    try:
        with (
            Cosigner(Policy.of(opening), plan.witnesses, notify=observer.delayed, stop=stop) as cosigner,
            Log.open(folder, signer, create=True, cosign=cosigner if plan.witnesses else None) as log,
        ):
            strategy = Verified(
                ExactFedAvg(agreement),
                log,
                _opening(log, opening, folder) if log.size else opening,
                plan.model,
                key,
                evaluate=Evaluation(plan),
                observer=observer,
                evaluation=EvaluationSet.decode(plan.evaluation, agreement) if plan.evaluation else None,
                stop=stop,
                journal=Journal(folder if resumable else None),
                desk=desk,
                pause=resumable,
            )
            if grid is None:
                strategy.close()
            else:
                strategy.start(grid)
            state = strategy.recorder.state
            if state.closed:
                save_model(log, state, folder)
    except StrategyError as error:
        raise RunFailed(str(error)) from error
    except StorageError as error:
        raise (CutOff if resumable else RunFailed)(str(error)) from error
    return state


def _opening(log: Log, wanted: AgreementEntry, folder: Path) -> AgreementEntry:
    """Return the entry 0 that stands, if it opens a run like the wanted one."""
    stands = decode_entry(log.entry(0))
    if not isinstance(stands, AgreementEntry) or stands != wanted.model_copy(update={"run": stands.run}):
        raise ServerError(f"{folder} holds a run under another agreement, or of another version: give this one a folder of its own")
    return stands


def new_folder(folder: Path) -> None:
    """Make an empty folder for a run.

    Raises
    ------
    ServerError
        It holds something already, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise ServerError(f"cannot make the folder {folder}: {error.strerror}") from error
    if occupied:
        raise ServerError(f"{folder} is not empty: choose another folder with --out")


def _log_seed(folder: Path, plan: Plan) -> bytes:
    """Return the secret of the log's key, made when there is none; it and what was agreed are then written where the run lies."""
    path = folder / "keys" / "log.key"
    fields = {
        section: {key: value for key, value in content.items() if value is not None} if isinstance(content, dict) else content
        for section, content in plan.agreement.to_json().items()
    }
    try:
        (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        secret_file(path, plan.log_seed().hex().encode() + b"\n")
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ServerError(f"cannot write to {folder}: {error.strerror}") from error
    except ValueError as error:
        raise ServerError(f"{path} holds no key: bring it back from your backup") from error
    if len(seed) != 32:
        raise ServerError(f"{path} should hold 32 bytes in hexadecimal, it holds {len(seed)}: bring it back from your backup")
    write_durably(folder / "agreement.toml", tomli_w.dumps(fields).encode())
    return seed


class Evaluation:
    """Evaluates a model on the test part of the server's data, in exact integers."""

    def __init__(self, plan: Plan) -> None:
        self._rule = plan.agreement.rule
        self._trainer = ExactTrainer(self._rule)
        self._x, self._y = plan.data.x_test.astype(np.int64), plan.data.y_test.astype(np.int64)
        self._digest = sha256(frame(self._x.tobytes(), self._y.tobytes())).hex()

    def __call__(self, model: IntVector) -> TestResult | None:
        """Return correct answers, or the squared error of a regression."""
        if not len(self._x):
            return None
        logits = self._trainer.forward(unflatten(self._rule, model), self._x)
        if self._rule.loss == Loss.SQUARED:
            return TestResult(data=self._digest, total=self._y.size, squared_error=squared_error(self._rule, logits, self._y))
        correct, total = accuracy_counts(self._rule, logits, self._y)
        return TestResult(data=self._digest, total=total, correct=correct)


def save_model(log: Log, state: RunState, folder: Path) -> None:
    """Save the last model as ``model.keras``, where there is TensorFlow, and a statement of where it comes from."""
    rule = state.opening.agreement.rule
    data = log.evidence.get(state.model.digest, state.model.size)
    vector = load_vector(data, rule.size, "the model")
    if has_tensorflow():
        save(to_keras(unflatten(rule, vector), rule), folder / "model.keras")
    index = state.size - 1 - state.closed if state.rounds else 0
    provenance = {
        "origin": state.opening.origin,
        "run": state.run,
        "model": state.model.digest,
        "rounds": state.rounds,
        "entry": log.entry(index).decode(),
        "index": index,
        "inclusion": [base64.b64encode(node).decode() for node in log.inclusion(index)],
        "checkpoint": log.checkpoint_note().decode(),
    }
    text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    write_durably(folder / PROVENANCE, text.encode())  # behind the model: where it is, both are
