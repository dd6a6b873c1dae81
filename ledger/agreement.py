"""The agreement: who takes part, what is trained, by which rule, and what is done with the results.

People write it as TOML (``agreement.toml``); :func:`read` validates it and fills in what was left out, so that nothing is implicit; its
canonical JSON is entry 0 of the ledger, and every later message names that entry's digest. An agreement that contradicts itself is
refused with one line that names the field.
"""

import json
import math
import tomllib
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from ledger.cosignature import CosignatureVerifier
from ledger.data_terms import DataTerms
from ledger.errors import FormatError
from ledger.note import VerifierKey
from ledger.schema import Hex32, Name, Section, absent, explain, kebab
from ledger.settlement_terms import MAX_EXACT_SHAPLEY, Settlement
from zk.errors import RuleError
from zk.rule import Loss, Plan, Rule

LABEL_SLOTS = 16
MAX_PARTICIPANTS = 200  # a round entry stays below 65,535 bytes
MIN_ROW_WIDTH = 64  # what a proof about a large data set takes
MAX_ROW_WIDTH = 16_384  # py_ecc derives a generator in 6 ms
MAX_LOCAL_SAMPLES = 65_536  # of one client in one round, batch times steps
MAX_WEIGHTS = 1 << 26  # an update of so many is as much as an audit reads of one file
MAX_PROVED_VALUES = 1 << 24  # hidden values of a round: whoever proves or verifies holds as many at a time
DROPOUTS = {0.0: 0, 0.2: 5, 0.5: 2}  # a rate, and one of how many units that is
MAX_WITNESSES = 16  # the signatures that every reader of notes accepts


class Federation(Section):
    """Who takes part.

    ``clients`` enrolments are waited for; the run starts with ``minimum_clients`` good ones. ``members`` lists the Ed25519 public keys
    that may enrol (hexadecimal); empty means anybody may. With ``node_keys`` an enrolment has to bind the node key that its client
    connects with.
    """

    name: Name
    clients: int = Field(ge=1, le=10_000)
    minimum_clients: int = Field(default=1, ge=1)
    minimum_samples: int = Field(default=1, ge=1)
    maximum_samples: int = Field(default=65_536, ge=1, le=1_048_576)
    members: tuple[Hex32, ...] = ()
    node_keys: bool = Field(default=False, exclude_if=lambda value: not value)


class Model(Section):
    """Dense layers, ReLU between them: ``layers`` lists the widths from features to outputs.

    The first model is public and nobody's choice: Glorot-uniform integers expanded from ``seed``, or the model whose digest is given.
    """

    layers: tuple[int, ...] = Field(min_length=2, max_length=16)
    seed: Hex32 | None = None
    initial: Hex32 | None = None


class Training(Section):
    """The rule of one round's local training; ``learning_rate / batch`` must be ``m·2^-l``.

    ``momentum`` and ``weight_decay`` (decoupled: a step takes ``learning_rate·weight_decay`` of each weight away) are those of Keras'
    SGD; each stands for the shortest decimal that reads as its float. ``dropout`` is the rate in each hidden layer.
    """

    loss: Loss = Field(default=Loss.SOFTMAX)
    batch: int = Field(default=32, ge=1, le=65_536)
    local_steps: int = Field(default=16, ge=1, le=65_536)
    learning_rate: float = Field(default=0.125, gt=0, le=1024, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, le=1024, allow_inf_nan=False)
    dropout: float = Field(default=0.0, allow_inf_nan=False)

    @field_validator("dropout")
    @classmethod
    def _exact_rate(cls, rate: float) -> float:
        _require(rate in DROPOUTS, f"the rates that can be scaled exactly are {', '.join(map(str, DROPOUTS))}")
        return rate


class FixedPoint(Section):
    """The fixed-point plan (see :class:`zk.rule.Plan`).

    Bits after the binary point, limb width of range checks, range of a weight, and the learning rate divided by the batch size as
    ``rate_numerator·2^-rate_shift``.
    """

    feature_bits: int
    activation_bits: int
    logit_bits: int
    output_error_bits: int
    error_bits: int
    limb_bits: int
    weight_range_bits: int
    rate_numerator: int
    rate_shift: int
    coefficient_bits: int = 0


class Rounds(Section):
    """How many rounds, how many clients in each, and when too few good replies end the run."""

    count: int = Field(default=5, ge=1, le=100_000)
    participants: int = Field(default=10, ge=1, le=MAX_PARTICIPANTS)
    minimum_accepted: int = Field(default=1, ge=0)
    reply_timeout: int = Field(default=600, ge=1, le=86_400)


class Optimizer(StrEnum):
    """What the server does with the weighted mean of the updates."""

    AVERAGE = "average"
    MOMENTUM = "momentum"
    ADAM = "adam"
    YOGI = "yogi"


class Aggregation(Section):
    """FedAvg weighted by enrolled samples, then a server optimiser (Reddi et al., ICLR 2021).

    ``average`` applies the mean as it is, exactly; the others use ``learning_rate``, ``momentum`` (or ``beta_1``), ``beta_2``, ``epsilon``.
    An update with a larger L2 norm than ``maximum_update_norm`` is rejected.
    """

    weighting: Literal["samples"] = "samples"
    optimizer: Optimizer = Field(default=Optimizer.AVERAGE)
    learning_rate: float = Field(default=1.0, gt=0, le=1024, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1, allow_inf_nan=False)
    beta_2: float = Field(default=0.99, ge=0, lt=1, allow_inf_nan=False)
    epsilon: float = Field(default=0.001, gt=0, le=1, allow_inf_nan=False)
    maximum_update_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Proof(Section):
    """What an update must prove.

    ``training``: that it is exactly the agreed training on the enrolled data (:mod:`zk.training`). ``none``: nothing; it is committed to
    and signed. With a ``rate`` below 1, that share of the contributions, rounded up, must be proved: which ones a second beacon chooses
    when all of them stand in the ledger.
    """

    kind: Literal["training", "none"] = "training"
    rate: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)

    @property
    def chosen_later(self) -> bool:
        """Whether a second beacon chooses who must prove."""
        return self.kind == "training" and self.rate < 1

    def provers(self, contributions: int) -> int:
        """Return how many of so many contributions must be proved: at least one, as long as there is any."""
        if not contributions:
            return 0
        return math.ceil(Fraction(repr(self.rate)) * contributions)  # as it is written: 0.1 of 10 is 1


class Privacy(Section):
    """``public-updates``: every update is sent in clear, and what it reveals of the data it reveals."""

    mode: Literal["public-updates"] = "public-updates"


class Witnesses(Section):
    """Who cosigns checkpoints (verifier keys), and how many of them must have done so before anybody acts on one.

    Where a witness is reached is no matter of trust and may change: addresses are given to the server, not agreed upon.
    """

    keys: tuple[Annotated[str, Field(max_length=2048)], ...] = Field(default=(), max_length=MAX_WITNESSES)
    quorum: int = Field(default=0, ge=0)


class Agreement(Section):
    """The whole agreement, with nothing left implicit (build one with :func:`read` or :func:`complete`)."""

    version: Literal[1] = 1
    federation: Federation
    model: Model
    fixed_point: FixedPoint
    training: Training = Training()
    rounds: Rounds = Rounds()
    aggregation: Aggregation = Aggregation()
    proof: Proof = Proof()
    privacy: Privacy = Privacy()
    data: DataTerms = DataTerms()
    witnesses: Witnesses = Witnesses()
    settlement: Settlement | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        federation, rounds = self.federation, self.rounds
        _require(
            federation.minimum_clients <= federation.clients,
            f"federation.minimum-clients is {federation.minimum_clients}, above federation.clients ({federation.clients})",
        )
        _require(
            not federation.members or len(federation.members) >= federation.minimum_clients,
            f"federation.members lists {len(federation.members)} keys, below federation.minimum-clients ({federation.minimum_clients})",
        )
        _require(len(set(federation.members)) == len(federation.members), "federation.members lists a key twice")
        _require(
            federation.minimum_samples <= federation.maximum_samples,
            "federation.minimum-samples is above federation.maximum-samples",
        )
        _require(
            rounds.participants <= federation.clients,
            f"rounds.participants is {rounds.participants}, above federation.clients ({federation.clients})",
        )
        # a round lists a nonce for every client at most, and a verdict for every participant
        _require(
            88 * federation.clients + 223 * rounds.participants <= 62_600,
            f"{federation.clients} clients with {rounds.participants} participants do not fit an entry of 65,535 bytes: lower one of them",
        )
        _require(
            not self.proof.chosen_later or 490 * rounds.participants <= 62_600,
            f"rounds.participants is {rounds.participants}: with proof.rate below 1 a round has room for 127",
        )
        _require(
            rounds.minimum_accepted <= rounds.participants,
            f"rounds.minimum-accepted is {rounds.minimum_accepted}, above rounds.participants ({rounds.participants})",
        )
        _require(
            (self.model.seed is None) != (self.model.initial is None),
            "model needs exactly one of seed (64 hexadecimal digits) and initial (the digest of the first model)",
        )
        _require(
            self.witnesses.quorum <= len(self.witnesses.keys),
            f"witnesses.quorum is {self.witnesses.quorum}, above the number of witnesses ({len(self.witnesses.keys)})",
        )
        _require_witnesses(self.witnesses.keys)
        try:
            rule = self.rule
        except RuleError as error:
            raise ValueError(f"training or fixed-point: {error}") from error
        if self.settlement is not None:
            self.settlement.check(federation.clients, rounds.participants, rule)
        _require(
            self.row_width <= MAX_ROW_WIDTH,
            f"model.layers begins with {self.model.layers[0]} features; a commitment row holds {MAX_ROW_WIDTH - LABEL_SLOTS - 1}",
        )
        _require(
            rule.samples <= MAX_LOCAL_SAMPLES,
            f"training.batch times local-steps is {rule.samples}, above {MAX_LOCAL_SAMPLES} samples in one round",
        )
        self.data.check(rule.layers, rule.loss)
        _require(rule.size <= MAX_WEIGHTS, f"model.layers make {rule.size} weights, above {MAX_WEIGHTS}")
        hidden = rule.samples * sum(rule.layers[1:-1])
        _require(
            self.proof.kind == "none" or hidden <= MAX_PROVED_VALUES,
            f"training.batch times local-steps times the hidden units of model.layers is {hidden}, above {MAX_PROVED_VALUES}",
        )
        stated = Fraction(self.training.learning_rate) / self.training.batch
        planned = Fraction(self.fixed_point.rate_numerator, 1 << self.fixed_point.rate_shift)
        _require(
            stated == planned,
            f"fixed-point.rate-numerator and rate-shift say {planned}, but training.learning-rate / training.batch is {stated}",
        )
        # the weighted sum of all updates must stay an exact 64-bit integer
        _require(
            rounds.participants * federation.maximum_samples << rule.plan.weight_range_bits + rule.plan.coefficient_bits + 1 < 2**63,
            "federation.maximum-samples times rounds.participants is too large for an exact 64-bit sum: lower one of them",
        )
        return self

    @cached_property
    def rule(self) -> Rule:
        """The rule of local training; raises :class:`zk.errors.RuleError` when its parts do not fit."""
        plan = Plan(**self.fixed_point.model_dump(by_alias=False))
        return Rule(
            layers=self.model.layers,
            loss=self.training.loss,
            batch=self.training.batch,
            steps=self.training.local_steps,
            plan=plan,
            momentum=_decimal(self.training.momentum),
            decay=Fraction(self.training.learning_rate) * _decimal(self.training.weight_decay),
            dropout=DROPOUTS[self.training.dropout],
            norm=None if self.aggregation.maximum_update_norm is None else _decimal(self.aggregation.maximum_update_norm),
        )

    @property
    def row_width(self) -> int:
        """Values in a commitment row: features, the constant one and 16 label slots, up to a power of two, 64 at least."""
        return max(MIN_ROW_WIDTH, 1 << (self.model.layers[0] + LABEL_SLOTS).bit_length())

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value whose canonical encoding everybody signs."""
        return self.model_dump(mode="json")


def read(path: Path) -> Agreement:
    """Read and complete an ``agreement.toml``.

    Raises
    ------
    FormatError
        The file cannot be read, is not TOML, or does not state a consistent agreement; one line that names the field.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, numbers or nesting beyond all bounds
        raise FormatError(f"{path} is not TOML: {error}") from error
    try:
        return complete(fields)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def complete(fields: dict[str, Any]) -> Agreement:
    """Fill in what may be left out (the fixed-point plan, the method of scoring) and validate."""
    filled = dict(fields)
    try:
        if "fixed-point" not in filled:
            training = _section(Training, "training", filled)
            model = _section(Model, "model", filled)
            history = bool(training.momentum or training.weight_decay)
            dropout = DROPOUTS[training.dropout]
            plan = Plan.derive(training.learning_rate, training.batch, model.layers, history=history, dropout=dropout)
            filled["fixed-point"] = {name: getattr(plan, name.replace("-", "_")) for name in _plan_fields()}
        if isinstance(filled.get("settlement"), dict):
            few = _section(Rounds, "rounds", filled).participants <= MAX_EXACT_SHAPLEY
            filled["settlement"] = {"method": "shapley" if few else "gtg-shapley", **filled["settlement"]}
        return Agreement.model_validate_json(_json(filled))
    except ValidationError as error:
        raise FormatError(explain(error)) from error
    except RuleError as error:
        raise FormatError(f"training: {error}") from error


S = TypeVar("S", bound=Section)


def _section(kind: type[S], name: str, fields: dict[str, Any]) -> S:
    try:
        return kind.model_validate_json(_json(fields.get(name, {})))
    except ValidationError as error:
        raise FormatError(f"{name}.{explain(error)}") from error


def _json(value: object) -> str:
    return json.dumps(value, default=lambda date: {"date or time": str(date)})  # an object, which no field of a TOML scalar takes


def _decimal(value: float) -> Fraction:
    """Return the shortest decimal that reads as ``value``: what somebody wrote, and what canonical JSON says."""
    return Fraction(repr(value))


def _plan_fields() -> list[str]:
    return [kebab(name) for name in FixedPoint.model_fields]


def _require_witnesses(keys: tuple[str, ...]) -> None:
    publics = []
    for place, key in enumerate(keys):
        try:
            publics.append(CosignatureVerifier(VerifierKey.parse(key)).key.public)
        except FormatError as error:
            raise ValueError(f"witnesses.keys.{place}: {error}") from error
    _require(len(set(publics)) == len(publics), "witnesses.keys lists a key twice: it would count twice")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
