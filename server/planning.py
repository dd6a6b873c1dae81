"""From a few options to a run: the data set, the agreement, the first model and the ledger's first entry."""

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clients.agreed import TASKS, load_agreed, terms_of
from clients.datasets import DataSet, load
from clients.errors import ClientError
from clients.keras_models import layers_of, to_fixed
from clients.partition import indices, parse_partition
from clients.settings import parse_account
from ledger.agreement import MAX_PARTICIPANTS, Agreement, Model, complete, read
from ledger.canonical import digest, dump_vector
from ledger.entries import TENSOR, AgreementEntry, Reference, encode_entry
from ledger.errors import LedgerError
from ledger.evaluation import encode_evaluation
from ledger.judge import IntVector
from ledger.note import Ed25519Signer
from server.cosigner import check_addresses
from server.errors import ServerError
from server.evaluation_set import read_evaluation
from zk.errors import ZkError
from zk.hashing import expand
from zk.sgd import flatten, initial_weights
from zk.tables import tables_digest

if TYPE_CHECKING:
    import keras

MAX_SCALED_FEATURES = 256
DEFAULT_CLIENTS, DEFAULT_ROUNDS, DEFAULT_SAMPLES = 10, 5, 512
LOSSES = {task: loss for loss, task in TASKS.items()}
_WIDTHS = re.compile(r"[0-9]{1,7}(-[0-9]{1,7})+")
DEFAULT_HIDDEN: dict[str, tuple[int, ...]] = {"classification": (128,), "binary": (), "regression": ()}


@dataclass(frozen=True)
class Options:
    """What a user can say about a run; ``None`` leaves it to the agreement or to the defaults.

    Attributes
    ----------
    agreement : Path or None
        An ``agreement.toml``; what it says cannot be said a second time by another option.
    clients, participants, rounds, samples : int or None
        Clients in the federation, participants and count of rounds, samples of each client.
    model : str or None
        ``784-128-10``, a ``.keras`` file, or ``module:function`` that returns a Keras model.
    data, partition : str
        See :mod:`clients.datasets` and :mod:`clients.partition`.
    seed : int or None
        Makes everything repeatable, keys included: for experiments only.
    proof : str or None
        ``training`` or ``none``: what each update must prove.
    proof_rate : float or None
        The share of the updates that must be proved, chosen afterwards; above 0 and at most 1.
    witnesses : tuple of str
        Where the agreement's witnesses are reached.
    evaluation : Path or None
        The evaluation set that the agreement names.
    pot : int or None
        What contributions are paid for each round, where no agreement is given; the evaluation set is then of the data's test part.
    accounts : tuple of str
        Where the clients of a simulation want to be paid.
    """

    agreement: Path | None = None
    clients: int | None = None
    participants: int | None = None
    rounds: int | None = None
    samples: int | None = None
    model: str | None = None
    data: str = "auto"
    partition: str = "iid"
    seed: int | None = None
    proof: str | None = None
    proof_rate: float | None = None
    witnesses: tuple[str, ...] = ()
    evaluation: Path | None = None
    pot: int | None = None
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start."""

    agreement: Agreement
    data: DataSet
    samples: int
    partition: str
    seed: int
    model: IntVector
    notes: tuple[str, ...]
    witnesses: tuple[str, ...] = ()
    evaluation: bytes = b""
    accounts: tuple[str, ...] = ()

    def opening(self, signer: Ed25519Signer) -> AgreementEntry:
        """Return entry 0 for a log with this key."""
        nonce = expand("lunaria/v1/run", self.seed.to_bytes(8, "big"), length=32) if self.seed else os.urandom(32)
        return AgreementEntry(
            run=nonce.hex(),
            origin=signer.verifier.key.name,
            log_key=str(signer.verifier.key),
            model=Reference.of(dump_vector(self.model), TENSOR),
            tables=tables_digest(self.agreement.rule),
            agreement=self.agreement,
        )

    def log_seed(self) -> bytes:
        """Return 32 fresh secret bytes for the log's key (repeatable ones when there is a seed)."""
        return expand("lunaria/v1/log key", self.seed.to_bytes(8, "big"), length=32) if self.seed else os.urandom(32)

    def signer(self, log_seed: bytes) -> Ed25519Signer:
        """Return the log's key, named after the federation and the key: two runs are two logs, also to a witness of both."""
        name = "-".join(self.agreement.federation.name.lower().split())
        unnamed = Ed25519Signer("lunaria.local", log_seed).verifier.key
        return Ed25519Signer(f"lunaria.local/{name}/{digest(unnamed.public)[:16]}", log_seed)


def prepare(options: Options) -> Plan:
    """Work out a run.

    Raises
    ------
    ServerError
        The options contradict each other, the agreement, or the data.
    """
    if options.seed is not None and not 1 <= options.seed < 2**63:
        raise ServerError(f"--seed is {options.seed}: give a number from 1 to 2^63 - 1, or leave it out for fresh secrets")
    try:
        return _prepare(options)
    except (ClientError, LedgerError, ZkError) as error:
        raise ServerError(str(error)) from error


def _prepare(options: Options) -> Plan:
    seed = options.seed or 0
    if options.agreement is None:
        data = load(options.data)
        rule_fields, keras_model = _stated_model(options.model, data)
        agreement = complete(_fields(options, data, rule_fields))
        evaluation = b""
        if options.pot is not None:
            evaluation = encode_evaluation(data.x_test[:DEFAULT_SAMPLES], data.y_test[:DEFAULT_SAMPLES])
            rules = {"epoch": 1, "evaluation": digest(evaluation), "pot": options.pot}
            agreement = complete({**agreement.to_json(), "settlement": rules})
        elif options.evaluation is not None:
            raise ServerError("--evaluation-set goes with an --agreement that names it; without one, --pot makes it from the data")
        samples, notes = _samples(options, agreement, data)
    else:
        for name in ("clients", "participants", "rounds", "proof", "proof_rate", "pot"):
            if getattr(options, name) is not None:
                raise ServerError(
                    f"--{name.replace('_', '-')} is part of the agreement in {options.agreement}: change it there, or leave the option out"
                )
        agreement, keras_model = read(options.agreement), None
        evaluation = read_evaluation(options.evaluation, agreement)
        rule = agreement.rule
        data = load_agreed(options.data, agreement)
        if options.model is not None:
            if _WIDTHS.fullmatch(options.model):
                raise ServerError(f"the widths of the model are part of the agreement in {options.agreement}: leave --model out")
            keras_model = read_model(options.model)
        samples, notes = _samples(options, agreement, data)
    rule = agreement.rule
    shape = (data.x_train.shape[1], data.y_train.shape[1])
    if shape != (rule.layers[0], rule.layers[-1]):
        raise ServerError(
            f"{data.name} has {shape[0]} features and {shape[1]} outputs, the model takes {rule.layers[0]} and {rule.layers[-1]}: "
            "choose other --data or another model"
        )
    _check_shares(options, agreement, data, samples)
    if keras_model is not None:
        model = flatten(to_fixed(keras_model, rule))
        initial = digest(dump_vector(model))
        if options.agreement is None:
            stated = Model(layers=agreement.model.layers, initial=initial)
            agreement = agreement.model_copy(update={"model": stated})
        elif agreement.model.initial != initial:
            raise ServerError(f"{options.model} is not the first model that the agreement names (its digest is {initial})")
    elif agreement.model.seed is None:
        raise ServerError("the agreement names its first model by digest: give the model itself with --model FILE.keras")
    else:
        model = flatten(initial_weights(rule, bytes.fromhex(agreement.model.seed)))
    check_addresses(agreement.witnesses.quorum, options.witnesses)
    said, accounts = (*data.notes, *notes), tuple(parse_account(account) for account in options.accounts)
    plan = Plan(agreement, data, samples, options.partition, seed, model, said, options.witnesses, evaluation, accounts)
    encode_entry(plan.opening(plan.signer(plan.log_seed())))  # an agreement too long for an entry is refused before anything starts
    return plan


def read_model(spec: str) -> "keras.Model":
    """Load a Keras model from a ``.keras`` file or a ``module:function`` that returns one.

    Raises
    ------
    ServerError
        There is none.
    """
    import keras

    path = Path(spec)
    if path.suffix == ".keras" and not path.is_file():
        raise ServerError(f"there is no model file {spec}")
    try:
        if path.suffix == ".keras":
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        module, _, name = spec.partition(":")
        model = getattr(importlib.import_module(module), name)()
    except Exception as error:  # a user's file or function may raise anything
        lines = str(error).splitlines() or [type(error).__name__]
        raise ServerError(f"--model {spec}: {lines[0]}: give widths such as 784-128-10, a .keras file, or module:function") from error
    if not isinstance(model, keras.Model):
        raise ServerError(f"--model {spec}: it returned {type(model).__name__} instead of a Keras model")
    return model


def _stated_model(spec: str | None, data: DataSet) -> tuple[tuple[int, ...], "keras.Model | None"]:
    """Return layer widths, and the Keras model they come from where there is one."""
    if spec is None:
        return (data.x_train.shape[1], *DEFAULT_HIDDEN[data.task], data.y_train.shape[1]), None
    if _WIDTHS.fullmatch(spec):
        return tuple(int(width) for width in spec.split("-")), None
    model = read_model(spec)
    return layers_of(model), model


def _fields(options: Options, data: DataSet, layers: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields of the default agreement: 16 local steps at batch 32, learning rate 1/8, five rounds, everybody takes part."""
    clients = DEFAULT_CLIENTS if options.clients is None else options.clients
    seed = expand("lunaria/v1/model seed", (options.seed or 0).to_bytes(8, "big"), length=32) if options.seed else os.urandom(32)
    return {
        "federation": {"name": data.name, "clients": clients},
        "model": {"layers": list(layers), "seed": seed.hex()},
        "training": {"loss": LOSSES[data.task].value},
        "rounds": {
            "count": DEFAULT_ROUNDS if options.rounds is None else options.rounds,
            "participants": min(clients, MAX_PARTICIPANTS) if options.participants is None else options.participants,
        },
        "proof": {"kind": options.proof or "training", "rate": 1.0 if options.proof_rate is None else options.proof_rate},
        "data": {"description": f"{data.name}: {data.x_train.shape[1]} features, {data.task}", **_scale(data)},
    }


def _scale(data: DataSet) -> dict[str, object]:
    """Return what puts other members' tables on the scale of this one; nothing for pixels, or where it would fill the entry."""
    return terms_of(data) if 1 < len(data.scaling.features.low) <= MAX_SCALED_FEATURES else {}


def _check_shares(options: Options, agreement: Agreement, data: DataSet, samples: int) -> None:
    """Refuse, before anything starts, shares that the clients could not take or the agreement would not."""
    federation = agreement.federation
    indices(parse_partition(options.partition), data.y_train, federation.clients, samples, options.seed or 0)
    if not federation.minimum_samples <= samples <= federation.maximum_samples:
        raise ServerError(
            f"{samples} samples for each client: the agreement takes {federation.minimum_samples} to {federation.maximum_samples}"
        )


def _samples(options: Options, agreement: Agreement, data: DataSet) -> tuple[int, tuple[str, ...]]:
    """Return the samples of each client, and a note where the data set has fewer than wanted."""
    available = len(data.x_train) // agreement.federation.clients
    if options.samples is not None:
        return options.samples, ()
    if available < DEFAULT_SAMPLES:
        return max(1, available), (f"{data.name} has {len(data.x_train)} training samples: each client gets {available}",)
    return DEFAULT_SAMPLES, ()
