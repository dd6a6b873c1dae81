"""The agreement: what may be left out, what contradicts itself, and the one encoding that everybody signs."""

import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.agreement import MIN_ROW_WIDTH, Agreement, Optimizer, complete, read
from ledger.canonical import digest, dump_json
from ledger.cosignature import CosignatureSigner
from ledger.errors import FormatError
from ledger.note import Ed25519Signer
from zk.rule import Loss, Plan

SEED = "5e" * 32
MINIMAL = f"""
[federation]
name = "Four clinics"
clients = 10

[model]
layers = [784, 128, 10]
seed = "{SEED}"
"""
PLAN = {  # what is derived for MINIMAL
    "feature-bits": 8,
    "activation-bits": 8,
    "logit-bits": 8,
    "output-error-bits": 12,
    "error-bits": 12,
    "limb-bits": 14,
    "weight-range-bits": 31,
    "rate-numerator": 1,
    "rate-shift": 8,
    "coefficient-bits": 0,
}


def minimal(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of MINIMAL with changes such as ``{"rounds.count": 3}``; ``None`` leaves a field out."""
    fields = tomllib.loads(MINIMAL)
    for path, value in (changes or {}).items():
        *sections, name = path.split(".")
        place = fields
        for section in sections:
            place = place.setdefault(section, {})
        if value is None:
            del place[name]
        else:
            place[name] = value
    return fields


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "agreement.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(FormatError) as caught:
        complete(minimal(changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_left_out_is_filled_in(tmp_path: Path) -> None:
    agreement = read(written(tmp_path, MINIMAL))
    assert agreement.training.loss is Loss.SOFTMAX
    assert (agreement.training.batch, agreement.training.local_steps, agreement.training.learning_rate) == (32, 16, 0.125)
    assert (agreement.rounds.count, agreement.rounds.participants, agreement.rounds.minimum_accepted) == (5, 10, 1)
    assert agreement.aggregation.optimizer is Optimizer.AVERAGE
    assert agreement.to_json()["fixed-point"] == PLAN
    assert agreement.rule.layers == (784, 128, 10)
    assert agreement.rule.plan == Plan.derive(0.125, 32, (784, 128, 10))
    assert agreement.federation.members == ()


def test_optimiser_dropout_and_norm_are_what_was_written() -> None:
    training = {"training.momentum": 0.9, "training.weight-decay": 0.01, "training.dropout": 0.2}
    rule = complete(minimal({**training, "aggregation.maximum-update-norm": 1.1})).rule
    assert (rule.momentum, rule.decay, rule.dropout, rule.norm) == (Fraction(9, 10), Fraction(1, 800), 5, Fraction(11, 10))
    assert rule.plan == Plan.derive(0.125, 32, (784, 128, 10), history=True, dropout=5)
    plain = complete(minimal()).rule
    assert (plain.momentum, plain.decay, plain.dropout, plain.norm) == (Fraction(0), Fraction(0), 0, None)
    assert complete(minimal({"training.dropout": 0.5})).rule.dropout == 2


def test_nothing_is_implicit_in_what_is_signed() -> None:
    value = complete(minimal()).to_json()
    assert set(value) == {
        *("version", "federation", "model", "fixed-point", "training", "rounds", "aggregation", "proof", "privacy", "data", "witnesses")
    }
    assert Agreement.model_validate_json(dump_json(value)).to_json() == value
    assert complete(value) == complete(minimal())


def test_the_signed_bytes_stay_the_same() -> None:
    assert digest(dump_json(complete(minimal()).to_json())) == "77ac29cba892b61b51be7c53370c2bf90991b8561eb5ab8beec7c846331ca250"


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    one = """
        [federation]
        name = "Four clinics"
        clients = 10
        minimum-clients = 4
        [model]
        layers = [9, 4, 2]
        seed = "%s"
        [training]
        batch = 16
        learning-rate = 0.5
        [rounds]
        count = 7
        participants = 4
    """
    other = """
        rounds = { participants = 4, count = 7 }
        training.learning-rate = 5e-1
        training.batch = 0x10
        [model]
        seed = "%s"
        layers = [
            9, 4,
            2,  # a comment
        ]
        [federation]
        minimum-clients = 4
        clients = 1_0
        name = 'Four clinics'
    """
    first, second = (dump_json(read(written(tmp_path, text % SEED)).to_json()) for text in (one, other))
    assert first == second


def test_saying_a_default_is_saying_nothing() -> None:
    said = {
        "version": 1,
        "training.batch": 32,
        "training.learning-rate": 0.125,
        "rounds.count": 5,
        "fixed-point": PLAN,
        "proof.kind": "training",
    }
    assert dump_json(complete(minimal(said)).to_json()) == dump_json(complete(minimal()).to_json())


def test_a_whole_number_is_a_learning_rate_too() -> None:
    assert complete(minimal({"training.learning-rate": 1})) == complete(minimal({"training.learning-rate": 1.0}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.speed": 3}, "training.speed: unknown field (got 3)"),
        ({"extra": 3}, "extra: unknown field (got 3)"),
        ({"fixed-point": {**PLAN, "extra": 1}}, "fixed-point.extra: unknown field (got 1)"),
        ({"witnesses.quorum": 1}, "witnesses.quorum is 1, above the number of witnesses (0)"),
        ({"witnesses.quorum": 3, "witnesses.keys": ["a", "b"]}, "witnesses.quorum is 3, above the number of witnesses (2)"),
        (
            {"witnesses.keys": ["a"], "witnesses.quorum": 1},
            "witnesses.keys.0: a verifier key reads name+hex(key id)+base64(type and key)",
        ),
        ({"federation.minimum-clients": 11}, "federation.minimum-clients is 11, above federation.clients (10)"),
        ({"rounds.participants": 11}, "rounds.participants is 11, above federation.clients (10)"),
        ({"federation.clients": 9}, "rounds.participants is 10, above federation.clients (9)"),
        ({"rounds.minimum-accepted": 11}, "rounds.minimum-accepted is 11, above rounds.participants (10)"),
        (
            {"federation.minimum-samples": 101, "federation.maximum-samples": 100},
            "federation.minimum-samples is above federation.maximum-samples",
        ),
        ({"federation.members": ["aa" * 32, "bb" * 32, "aa" * 32]}, "federation.members lists a key twice"),
        (
            {"federation.members": ["aa" * 32], "federation.minimum-clients": 2},
            "federation.members lists 1 keys, below federation.minimum-clients (2)",
        ),
        ({"model.seed": None}, "model needs exactly one of seed (64 hexadecimal digits) and initial (the digest of the first model)"),
        ({"model.initial": SEED}, "model needs exactly one of seed (64 hexadecimal digits) and initial (the digest of the first model)"),
        (
            {"training.learning-rate": 0.1},
            "training: learning rate 0.1 over batch 32 is not a multiple of 2^-12: use 0.1015625, the nearest that is",
        ),
        (
            {"fixed-point": PLAN, "training.learning-rate": 0.25},
            "fixed-point.rate-numerator and rate-shift say 1/256, but training.learning-rate / training.batch is 1/128",
        ),
        (
            {"fixed-point": PLAN, "training.batch": 16},
            "fixed-point.rate-numerator and rate-shift say 1/256, but training.learning-rate / training.batch is 1/128",
        ),
        (
            {"fixed-point": {**PLAN, "rate-numerator": 3}},
            "fixed-point.rate-numerator and rate-shift say 3/256, but training.learning-rate / training.batch is 1/256",
        ),
        (
            {"fixed-point": {**PLAN, "rate-shift": 23, "rate-numerator": 2**15}},
            "training or fixed-point: rounding the pre-activation of layer 1 drops 43 bits, a proof takes 1 to 42: "
            "change rate_shift, coefficient_bits, the error bits or limb_bits",
        ),
        (
            {"fixed-point": {**PLAN, "output-error-bits": 11}},
            "training or fixed-point: updates of layer 2 have 27 fractional bits, those of layer 1 28: "
            "choose input and error bits with the same sum for every layer",
        ),
        (
            {"fixed-point": PLAN, "model.layers": [784, 4096, 10]},
            "training or fixed-point: layer 2: the product of inputs and weights can reach 2^57.00, but it is exact only up to 2^53: "
            "lower weight_range_bits or narrow the layer",
        ),
        ({"fixed-point": {**PLAN, "limb-bits": 17}}, "training or fixed-point: limb_bits is at most 16: a table has 2^limb_bits entries"),
        ({"fixed-point": {**PLAN, "feature-bits": 0}}, "training or fixed-point: feature_bits is 0: it must be at least 1"),
        ({"fixed-point": {"feature-bits": 8}}, "fixed-point.activation-bits: Field required; 7 more"),
        (
            {"model.layers": [784, 17]},
            "training or fixed-point: 17 outputs: a committed sample has room for 16 label values",
        ),
        (
            {"model.layers": [784, 0, 2]},
            "training or fixed-point: layers (784, 0, 2): name the inputs and at least one layer, all positive",
        ),
        (
            {"model.layers": [10**30, 2]},
            "training: no weight range keeps these products exact: use narrower layers or a smaller batch",
        ),
        (
            {"model.layers": [16_368, 2]},
            "model.layers begins with 16368 features; a commitment row holds 16367",
        ),
        (
            {"training.local-steps": 2049},
            "training.batch times local-steps is 65568, above 65536 samples in one round",
        ),
        ({"federation": None}, "federation: Field required"),
        ({"federation.clients": None}, "federation.clients: Field required"),
        ({"model": None}, "model.layers: Field required"),
        ({"version": 2}, "version: Input should be 1 (got 2)"),
        ({"privacy.mode": "secret"}, "privacy.mode: Input should be 'public-updates' (got 'secret')"),
        ({"training.dropout": 0.3}, "training.dropout: the rates that can be scaled exactly are 0.0, 0.2, 0.5 (got 0.3)"),
        ({"training.momentum": 1.0}, "training.momentum: Input should be less than 1 (got 1.0)"),
        (
            {"training.weight-decay": 8.0},
            "training or fixed-point: a step takes 1 of each weight away: lower the weight decay or the learning rate",
        ),
        ({"aggregation.maximum-update-norm": 0.0}, "aggregation.maximum-update-norm: Input should be greater than 0 (got 0.0)"),
        (
            {"training.weight-decay": 1e-6},
            "training or fixed-point: 16 steps of weight decay leave all of a weight at 12 coefficient_bits: "
            "raise coefficient_bits, the weight decay or the steps",
        ),
        (
            {"training.momentum": 0.5, "federation.clients": 200, "federation.maximum-samples": 2**20, "rounds.participants": 200},
            "federation.maximum-samples times rounds.participants is too large for an exact 64-bit sum: lower one of them",
        ),
        ({"proof.kind": "full"}, "proof.kind: Input should be 'training' or 'none' (got 'full')"),
        ({"aggregation.weighting": "equal"}, "aggregation.weighting: Input should be 'samples' (got 'equal')"),
        (
            {"aggregation.optimizer": "sgd"},
            "aggregation.optimizer: Input should be 'average', 'momentum', 'adam' or 'yogi' (got 'sgd')",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_contradiction_is_refused_with_one_line_that_names_the_field(changes: dict[str, Any], message: str) -> None:
    assert refusal(changes) == message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("federation.name", 3),
        ("federation.clients", "10"),
        ("federation.clients", 10.0),
        ("federation.clients", True),
        ("federation.clients", 0),
        ("federation.clients", 10_001),
        ("federation.minimum-clients", 0),
        ("federation.minimum-samples", 0),
        ("federation.maximum-samples", 1_048_577),
        ("federation.members", "aa" * 32),
        ("federation", [1]),
        ("model.layers", "784"),
        ("model.layers", [784]),
        ("model.layers", [2] * 17),
        ("model.seed", 5),
        ("training.batch", 0),
        ("training.batch", 65_537),
        ("training.local-steps", 0),
        ("training.local-steps", 65_537),
        ("training.learning-rate", "0.1"),
        ("training.learning-rate", True),
        ("training.learning-rate", 0),
        ("training.learning-rate", -0.125),
        ("training.learning-rate", 2048),
        ("training.learning-rate", float("nan")),
        ("training.learning-rate", float("inf")),
        ("training.loss", "hinge"),
        ("rounds.count", 0),
        ("rounds.count", 100_001),
        ("rounds.participants", 0),
        ("rounds.participants", 201),
        ("rounds.minimum-accepted", -1),
        ("rounds.reply-timeout", 0),
        ("rounds.reply-timeout", 86_401),
        ("aggregation.learning-rate", 0),
        ("aggregation.learning-rate", float("inf")),
        ("aggregation.momentum", 1.0),
        ("aggregation.momentum", -0.1),
        ("aggregation.beta-2", 1.0),
        ("aggregation.epsilon", 0),
        ("aggregation.epsilon", 2),
        ("data.description", 1),
        ("data.description", "x" * 4001),
        ("data.terms", "x" * 16_001),
        ("witnesses.quorum", -1),
        ("witnesses.keys", "a"),
    ],
    ids=str,
)
def test_a_value_of_a_wrong_type_or_size_is_refused_by_its_field(field: str, value: object) -> None:
    assert refusal({field: value}).startswith(field)


@pytest.mark.parametrize("name", ["", " starts with a space", "-x", "a/b", "a\nb", "name\n", "é", "x" * 81, "a:b", "a\x00"])
def test_names_are_plain_text_of_one_line(name: str) -> None:
    assert refusal({"federation.name": name}).startswith("federation.name: ")


@pytest.mark.parametrize("name", ["A", "0", "Four clinics, no".replace(",", ""), "a.b_c-d", "x" * 80])
def test_good_names_are_taken(name: str) -> None:
    assert complete(minimal({"federation.name": name})).federation.name == name


@pytest.mark.parametrize("key", ["", "aa" * 31, "aa" * 33, "AA" * 32, "0x" + "aa" * 31, "aa" * 32 + "\n", " " + "aa" * 32, "gg" * 32])
def test_keys_and_digests_are_64_lowercase_hexadecimal_digits(key: str) -> None:
    assert refusal({"federation.members": [key]}).startswith("federation.members.0: ")
    assert refusal({"model.seed": key}).startswith("model.seed: ")
    assert refusal({"model.seed": None, "model.initial": key}).startswith("model.initial: ")


@pytest.mark.parametrize("value", ["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00"])
@pytest.mark.parametrize("field", ["clients", "minimum-clients", "members"])
def test_dates_are_refused_like_any_wrong_type(tmp_path: Path, field: str, value: str) -> None:
    text = MINIMAL.replace("clients = 10", f"{field} = {value}" if field == "clients" else f"clients = 10\n{field} = {value}")
    with pytest.raises(FormatError, match=rf"federation\.{field}: "):
        read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[federation", "is not TOML: ", id="not TOML"),
        pytest.param("a = 1\na = 2", "is not TOML: ", id="a key twice"),
        pytest.param(b"name = '\xff'", "is not TOML: ", id="not UTF-8"),
        pytest.param(MINIMAL.encode("utf-16"), "is not TOML: ", id="UTF-16"),
        pytest.param("", "model.layers: Field required", id="empty"),
        pytest.param(MINIMAL + "speed = 3", "model.speed: unknown field", id="unknown field"),
    ],
)
def test_a_file_that_is_no_agreement_is_refused_by_its_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "missing.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(FormatError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("features", "width"),
    [(1, 64), (3, 64), (15, 64), (16, 64), (47, 64), (48, 128), (784, 1024), (1007, 1024), (1008, 2048), (16_367, 16_384)],
)
def test_a_row_has_room_for_features_the_constant_and_sixteen_labels(features: int, width: int) -> None:
    agreement = complete(minimal({"model.layers": [features, 2]}))
    assert agreement.row_width == width
    assert features + 1 + 16 <= width
    assert width == MIN_ROW_WIDTH or width // 2 < features + 1 + 16


def test_the_limits_themselves_are_allowed() -> None:
    agreement = complete(
        minimal(
            {
                "federation.clients": 500,
                "federation.minimum-clients": 500,
                "federation.minimum-samples": 1_048_576,
                "federation.maximum-samples": 1_048_576,
                "rounds.participants": 83,
                "rounds.minimum-accepted": 83,
                "rounds.count": 100_000,
                "training.local-steps": 2048,
            }
        )
    )
    # the weighted sum of all updates stays an exact 64-bit integer
    largest = (2 << agreement.rule.plan.weight_range_bits) - 1
    assert agreement.rounds.participants * agreement.federation.maximum_samples * largest < 2**63


def test_an_agreement_cannot_be_changed() -> None:
    agreement = complete(minimal())
    with pytest.raises(ValidationError, match="frozen"):
        agreement.version = 1


def test_given_fields_are_left_as_they_were() -> None:
    fields = minimal()
    complete(fields)
    assert fields == minimal()


def test_a_federation_too_large_for_its_entries_is_refused() -> None:
    message = refusal({"federation.clients": 600, "rounds.participants": 200})
    assert message == "600 clients with 200 participants do not fit an entry of 65,535 bytes: lower one of them"


@pytest.mark.parametrize(
    ("width", "kind", "message"),
    [
        (1 << 20, "training", "hidden units of model.layers is 68719476736, above 16777216"),
        (1 << 25, "none", "model.layers make 100663297 weights, above 67108864"),
        (1 << 8, "training", ""),
        (1 << 20, "none", ""),
    ],
)
def test_what_no_verifier_could_hold_is_refused(width: int, kind: str, message: str) -> None:
    """Such an agreement, in an export of some megabytes, would take an auditor's memory."""
    coarse = {
        "feature-bits": 2, "activation-bits": 2, "logit-bits": 2, "output-error-bits": 6, "error-bits": 6, "limb-bits": 7,
        "weight-range-bits": 18, "rate-numerator": 1, "rate-shift": 12,
    }  # fmt: skip
    fields = minimal() | {"model": {"layers": [1, width, 1], "seed": "00" * 32}, "fixed-point": coarse, "proof": {"kind": kind}}
    fields["training"] = {"loss": "mean-squared-error", "batch": 256, "local-steps": 256, "learning-rate": 2.0**-4}
    if message:
        with pytest.raises(FormatError, match=message):
            complete(fields)
    else:
        assert complete(fields).rule.layers == (1, width, 1)


def witness_key(number: int, kind: int = 4) -> str:
    return str(CosignatureSigner(f"w{number}.example", kind, bytes([number] * 32)).verifier.key)


def test_witnesses_of_both_algorithms_are_agreed_upon() -> None:
    keys = [witness_key(1), witness_key(2, 6)]
    fields = minimal() | {"witnesses": {"keys": keys, "quorum": 2}}
    assert list(complete(fields).witnesses.keys) == keys


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            [witness_key(1), str(Ed25519Signer("log.example", bytes(32)).verifier.key)],
            "witnesses.keys.1: key log.example is not a witness's",
        ),
        ([witness_key(1), witness_key(1)], "witnesses.keys lists a key twice"),
        ([witness_key(1), witness_key(1).replace("w1", "w2")], "witnesses.keys.1: verifier key w2.example: key id"),
        ([witness_key(number) for number in range(17)], "witnesses.keys: Tuple should have at most 16 items"),
        (["x" * 2049], "witnesses.keys.0: String should have at most 2048 characters"),
    ],
    ids=["log-key", "twice", "wrong-id", "too-many", "too-long"],
)
def test_witnesses_that_cannot_be_counted_are_refused(keys: list[str], message: str) -> None:
    assert refusal({"witnesses.keys": keys}).startswith(message)
