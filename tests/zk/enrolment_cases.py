"""Small data sets with everything a prover of enrolment needs."""

import secrets
from dataclasses import dataclass

import numpy as np

from tests.zk.training_cases import rule_of, source
from zk.enrolment import EnrolmentStatement, Relations, prove, verify
from zk.equations import hold
from zk.errors import ZkError
from zk.group import Arkworks, Group
from zk.pedersen import CommitmentKey, commitment_key
from zk.rule import Loss, Rule
from zk.vectors import IntArray

WIDTH = 32
CONTEXT = b"run and client"


@dataclass(frozen=True)
class Case:
    """A statement and its witness."""

    statement: EnrolmentStatement
    rows: IntArray
    blinds: list[int]

    @property
    def relations(self) -> Relations:
        return Relations(self.statement.rule, self.statement.count)

    def prove(self, commitment: CommitmentKey | None = None) -> bytes:
        return prove(commitment or key(), self.statement, self.rows, self.blinds, source())


def enrolment_rule(features: int = 13, outputs: int = 3, loss: Loss = Loss.SOFTMAX) -> Rule:
    """Features and targets have 4 bits."""
    return rule_of((features, outputs), loss, 1, 1)


def key(group: type[Group] = Arkworks, width: int = WIDTH) -> CommitmentKey:
    return commitment_key(group, width)


def good_rows(rule: Rule, count: int, rng: np.random.Generator) -> IntArray:
    """Write the layout down once more, apart from the code."""
    features, outputs = rule.layers[0], rule.layers[-1]
    rows = np.zeros((count, Relations(rule, count).used), dtype=np.int64)
    rows[:, :features] = rng.integers(0, 16, (count, features))
    rows[0, :2] = [0, 15]
    rows[:, features] = 16
    if rule.loss == Loss.SOFTMAX:
        rows[np.arange(count), len(rows[0]) - 16 + rng.integers(0, outputs, count)] = 1
    else:
        rows[:, len(rows[0]) - 16 : len(rows[0]) - 16 + outputs] = rng.integers(0, rule.label_bound.allowed.stop, (count, outputs))
    return rows


def commit(rule: Rule, rows: IntArray, context: bytes = CONTEXT, width: int = WIDTH) -> Case:
    """Commit to rows, good or bad."""
    blinds = [secrets.randbits(250) for _ in rows]
    points = [key(width=width).commit(row, blind) for row, blind in zip(rows.tolist(), blinds, strict=True)]
    return Case(EnrolmentStatement(context, key().encode(points), rule), rows, blinds)


def case_of(rule: Rule, count: int = 5, seed: int = 1, width: int = WIDTH) -> Case:
    return commit(rule, good_rows(rule, count, np.random.default_rng(seed)), width=width)


def accepts(statement: EnrolmentStatement, proof: bytes, commitment: CommitmentKey | None = None) -> bool:
    """Whether the verifier accepts."""
    chosen = commitment or key()
    try:
        equation = verify(chosen, statement, proof)
    except ZkError:
        return False
    return hold(chosen, [equation])
