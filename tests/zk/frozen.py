"""Proofs made by earlier versions, which every later version must accept.

A file of ``known_answers`` is one statement with its proof, in JSON, bytes in base64; ``known`` has an enrolment proof, in hexadecimal.
``python -m tests.zk.frozen NAME`` writes new ones for each loss, for momentum with decay and dropout, and for enrolment; existing
files are never written again.
"""

import json
import sys
from base64 import b64decode, b64encode
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.zk import enrolment_cases
from tests.zk.training_cases import WIDTH, case_of, history_rule, key, rule_of, source
from zk.rule import Loss, Plan, Rule
from zk.training import TrainingStatement, prove

FOLDER = Path(__file__).parent / "known_answers"
ENROLMENT = Path(__file__).parent / "known"
NAMES = ("federation", "run", "beacon", "client", "public_key", "dataset_root", "rows")


def read(path: Path) -> tuple[TrainingStatement, bytes, int]:
    """Return a statement, its proof and the width of its rows."""
    stored: dict[str, Any] = json.loads(path.read_text())
    rule = Rule(
        tuple(stored["layers"]),
        Loss(stored["loss"]),
        stored["batch"],
        stored["steps"],
        Plan(**stored["plan"]),
        Fraction(stored.get("momentum", 0)),
        Fraction(stored.get("decay", 0)),
        stored.get("dropout", 0),
    )
    matrices: dict[str, Any] = {name: tuple(np.array(m, dtype=np.int64) for m in stored[name]) for name in ("start", "update")}
    texts: dict[str, Any] = {name: b64decode(stored[name]) for name in NAMES}
    statement = TrainingStatement(**texts, **matrices, round=stored["round"], indices=tuple(stored["indices"]), rule=rule)
    return statement, b64decode(stored["proof"]), stored["width"]


def write(path: Path, statement: TrainingStatement, proof: bytes, width: int) -> None:
    """Store a statement and its proof."""
    rule = statement.rule
    stored: dict[str, Any] = {"layers": rule.layers, "loss": rule.loss.value, "batch": rule.batch, "steps": rule.steps}
    stored |= {"momentum": str(rule.momentum), "decay": str(rule.decay), "dropout": rule.dropout}
    stored |= {"plan": asdict(rule.plan), "round": statement.round, "indices": statement.indices, "width": width}
    stored |= {name: [m.tolist() for m in getattr(statement, name)] for name in ("start", "update")}
    stored |= {name: b64encode(getattr(statement, name)).decode() for name in NAMES}
    with path.open("x") as file:
        json.dump({**stored, "proof": b64encode(proof).decode()}, file)


def main(name: str) -> None:
    rules = {loss.value: rule_of((7, 5, 3), loss, 3, 2) for loss in Loss}
    rules["momentum-decay-dropout"] = replace(history_rule(dropout=5), layers=(7, 5, 3))
    for kind, rule in rules.items():
        case = case_of(rule, seed=11)
        proof = prove(key(), case.statement, case.samples, source())
        write(FOLDER / f"training-{name}-{kind}.json", case.statement, proof, WIDTH)
    enrolled = enrolment_cases.case_of(enrolment_cases.enrolment_rule())
    with (ENROLMENT / f"enrolment-{name}.json").open("x") as file:
        json.dump({"rows": enrolled.statement.rows.hex(), "proof": enrolled.prove().hex()}, file)


if __name__ == "__main__":
    main(sys.argv[1])
