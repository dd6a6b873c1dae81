"""One scale and one set of classes for everybody: what an agreement says is what each client uses, or refuses."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.agreed import load_agreed, terms_of
from clients.datasets import load
from clients.errors import DataError
from ledger.agreement import Agreement, complete
from ledger.canonical import dump_json
from ledger.errors import FormatError
from server.deployment.scale_command import scale
from server.errors import ServerError

SCALE = {"minimum": [0.0, 0.0], "maximum": [100.0, 4.0], "classes": ["none", "low", "high"]}


def agreed(data: dict[str, object], loss: str = "softmax-cross-entropy", layers: tuple[int, ...] = (2, 3)) -> Agreement:
    return complete(
        {
            "federation": {"name": "tables", "clients": 2},
            "model": {"layers": list(layers), "seed": "00" * 32},
            "training": {"loss": loss},
            "rounds": {"participants": 2},
            "data": data,
        }
    )


def table(folder: Path, name: str, *rows: str) -> str:
    path = folder / f"{name}.csv"
    path.write_text("\n".join(["age,dose,risk", *rows]) + "\n", encoding="utf-8")
    return str(path)


def row_of(spec: str, agreement: Agreement, age: int) -> tuple[list[int], list[int]]:
    """Return what became of the sample with this age, wherever it stands."""
    data = load_agreed(spec, agreement)
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    restored = data.scaling.features.restore(x)[:, 0]
    place = int(np.abs(restored - age).argmin())
    return x[place].tolist(), y[place].tolist()


def test_two_members_put_the_same_sample_on_the_same_place(tmp_path: Path) -> None:
    """Without the agreed scale they do not: each goes by its own data, and adds up models of other things."""
    young = table(tmp_path, "young", "20,1,low", "25,1.5,high", "50,2,low", "30,1,high")
    old = table(tmp_path, "old", "50,2,low", "90,4,low", "80,3,low", "70,2.5,low")
    with_scale, without = agreed(SCALE), agreed({}, layers=(2, 2))
    assert row_of(young, with_scale, 50) == row_of(old, with_scale, 50) == ([128, 128], [0, 1, 0])
    assert row_of(young, without, 50)[0][0] == 255
    with pytest.raises(DataError, match="only one class"):
        load_agreed(old, without)


def test_what_does_not_follow_the_agreement_is_refused_with_its_place(tmp_path: Path) -> None:
    months = table(tmp_path, "months", "360,1,low", "480,2,high", "500,2,high")
    with pytest.raises(DataError, match=r"line \d: feature 1 is \d+.0, the agreed range is 0 to 100"):
        load_agreed(months, agreed(SCALE))
    other = table(tmp_path, "other", "36,1,low", "48,2,severe", "50,2,high")
    with pytest.raises(DataError, match="unknown label 'severe'; the classes are none, low, high"):
        load_agreed(other, agreed(SCALE))


def test_a_scale_that_is_computed_from_a_sample_gives_the_same_integers(tmp_path: Path) -> None:
    for spec, loss, layers in (("breast-cancer", "binary-cross-entropy", (30, 1)), ("diabetes", "mean-squared-error", (10, 1))):
        own = load(spec, task="binary" if layers[0] == 30 else "regression")
        agreement = agreed(terms_of(own), loss, layers)
        plan = agreement.rule.plan
        plain = load(spec, task=own.task, feature_bits=plan.feature_bits, target_bits=plan.logit_bits)
        again = load_agreed(spec, agreement)
        assert (again.x_train == plain.x_train).all()
        assert (again.y_train == plain.y_train).all()
        assert again.classes == own.classes


def test_lunaria_scale_prints_what_an_agreement_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scale(table(tmp_path, "sample", "20,1,'low\"é", "90,1.5,high", "50,2,high"))
    fields = tomllib.loads(capsys.readouterr().out)["data"]
    assert fields["classes"] == ["'low\"é", "high"]
    assert agreed(fields, layers=(2, 2)).data.maximum[1] == fields["maximum"][1]
    with pytest.raises(ServerError, match="no such file"):
        scale(str(tmp_path / "missing.csv"))


def test_an_agreement_without_a_scale_is_written_as_it_always_was() -> None:
    text = dump_json(agreed({"terms": "none"}, layers=(2, 2)).to_json())
    assert b'"data":{"description":"","terms":"none"}' in text
    fields: dict[str, Any] = agreed(SCALE).to_json()["data"]
    assert {name: fields[name] for name in SCALE} == SCALE
    assert "target-minimum" not in fields


REGRESSION = "mean-squared-error"
RANGE = {"minimum": [0.0], "maximum": [1.0]}


@pytest.mark.parametrize(
    ("data", "loss", "layers", "why"),
    [
        ({"minimum": [0.0]}, None, (2, 3), "minimum has 1 numbers, maximum 0"),
        ({"minimum": [0.0] * 3, "maximum": [1.0] * 3}, None, (2, 3), "give one, or 2, one for each feature"),
        ({"minimum": [2.0], "maximum": [1.0]}, None, (2, 3), "above maximum.0"),
        ({"minimum": [-1e308], "maximum": [1e308]}, None, (2, 3), "too far below it"),
        ({"minimum": 0.0, "maximum": 1.0}, None, (2, 3), "minimum"),
        ({"minimum": ["0"], "maximum": ["1"]}, None, (2, 3), "minimum"),
        ({"classes": ["a", "b"]}, None, (2, 3), "data.classes names 2, the model tells 3 apart"),
        ({"classes": ["a", "b", "b"]}, None, (2, 3), "classes names one twice"),
        ({"classes": ["a", "b", "c"]}, "binary-cross-entropy", (2, 1), "data.classes names 3, the model tells 2 apart"),
        ({"classes": ["a", "b"]}, REGRESSION, (2, 1), "data.classes are for a classification"),
        (RANGE, REGRESSION, (2, 1), "a regression is scaled as a whole"),
        ({"target-minimum": 0.0, "target-maximum": 1.0}, REGRESSION, (2, 1), "a regression is scaled as a whole"),
        ({**RANGE, "target-minimum": 0.0}, REGRESSION, (2, 1), "go together"),
        ({**RANGE, "target-minimum": 1.0, "target-maximum": 1.0}, REGRESSION, (2, 1), "not below target-maximum"),
        ({**RANGE, "target-minimum": 0.0, "target-maximum": 1.0}, None, (2, 3), "are for a regression"),
    ],
)
def test_a_scale_that_contradicts_itself_or_the_model(data: dict[str, object], loss: str | None, layers: tuple[int, ...], why: str) -> None:
    with pytest.raises(FormatError) as caught:
        agreed(data, loss or "softmax-cross-entropy", layers)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
