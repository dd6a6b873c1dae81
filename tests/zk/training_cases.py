"""Small training statements with everything a prover needs."""

import secrets
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zk import sgd
from zk.blinding import BlindingSource
from zk.dropout import dropped_units
from zk.equations import hold
from zk.errors import ZkError
from zk.group import Arkworks, Group, PyEcc
from zk.pedersen import CommitmentKey, commitment_key
from zk.plain import verify as verify_plainly
from zk.rule import Loss, Plan, Rule
from zk.training import Samples, TrainingStatement, verify
from zk.training.shape import Shape
from zk.training.witness import sample_rows
from zk.vectors import IntArray

WIDTH = 128


def small_plan(coefficient_bits: int = 0) -> Plan:
    """8-bit limbs, so that tables have 256 entries."""
    return Plan(
        feature_bits=4, activation_bits=4, logit_bits=4, output_error_bits=6, error_bits=6, limb_bits=8,
        weight_range_bits=24 - coefficient_bits, rate_numerator=3, rate_shift=6, coefficient_bits=coefficient_bits,
    )  # fmt: skip


def rule_of(layers: tuple[int, ...] = (13, 6, 3), loss: Loss = Loss.SOFTMAX, batch: int = 3, steps: int = 3) -> Rule:
    return Rule(layers, loss, batch, steps, small_plan())


def history_rule(momentum: Fraction = Fraction(9, 10), decay: Fraction = Fraction(1, 40), dropout: int = 0, steps: int = 3) -> Rule:
    """Momentum and weight decay: weights of 16 bits inside a round, 10 in the global model."""
    return Rule((13, 6, 5, 3), Loss.SOFTMAX, 3, steps, small_plan(6), momentum, decay, dropout)


def dropout_rule(dropout: int = 5, layers: tuple[int, ...] = (13, 6, 3), loss: Loss = Loss.SOFTMAX) -> Rule:
    """Dropout: with one unit in five, roundings of 18 bits, which are two limbs and two bits."""
    return Rule(layers, loss, 3, 3, small_plan(), dropout=dropout)


def key(group: type[Group] = Arkworks, width: int = WIDTH) -> CommitmentKey:
    return commitment_key(group, width)


@dataclass
class Case:
    """A true statement and its witness."""

    statement: TrainingStatement
    samples: Samples


def data_of(rule: Rule, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    x = rng.integers(0, rule.feature_bound.allowed.stop, (rule.samples, rule.layers[0]))
    if rule.loss == Loss.SOFTMAX:
        return x, np.eye(rule.layers[-1], dtype=np.int64)[rng.integers(0, rule.layers[-1], rule.samples)]
    return x, rng.integers(0, rule.label_bound.allowed.stop, (rule.samples, rule.layers[-1]))


def commit_rows(rule: Rule, x: IntArray, y: IntArray, blinds: list[int]) -> bytes:
    rows = sample_rows(Shape(rule), x, y).tolist()
    return key().encode([key().commit(row, blind) for row, blind in zip(rows, blinds, strict=True)])


def weights_of(rule: Rule, rng: np.random.Generator) -> tuple[IntArray, ...]:
    scale = 0.5 * 2.0**rule.weight_bits
    return tuple((rng.normal(size=shape) * scale / np.sqrt(shape[0])).astype(np.int64) for shape in rule.shapes)


def case_of(rule: Rule, seed: int = 1) -> Case:
    rng = np.random.default_rng(seed)
    x, y = data_of(rule, rng)
    start = weights_of(rule, rng)
    trained = sgd.train(rule, start, x, y, dropped_units(rule, b"beacon", b"client"))
    blinds = [secrets.randbits(250) for _ in range(rule.samples)]
    statement = TrainingStatement(
        federation=b"federation", run=b"run", round=4, beacon=b"beacon", client=b"client", public_key=b"key", dataset_root=b"root",
        indices=tuple(range(100, 100 + rule.samples)), rows=commit_rows(rule, x, y, blinds), rule=rule, start=start,
        update=tuple(sgd.update_of(rule, start, trained)),
    )  # fmt: skip
    return Case(statement, Samples(x, y, blinds))


def source() -> BlindingSource:
    return BlindingSource(secrets.token_bytes(32))


def accepts(statement: TrainingStatement, proof: bytes, commitment: CommitmentKey | None = None) -> bool:
    """Whether the verifier accepts."""
    chosen = commitment or key()
    try:
        equation = verify(chosen, statement, proof)
    except ZkError:
        return False
    return hold(chosen, [equation])


def plainly_accepts(statement: TrainingStatement, proof: bytes, width: int = WIDTH) -> bool:
    """Whether the second verifier, written from the documentation, accepts."""
    try:
        verify_plainly(width, commitment_key(PyEcc, width), statement, proof)
    except ZkError:
        return False
    return True


def rate(rule: Rule) -> Fraction:
    return Fraction(rule.plan.rate_numerator, 1 << rule.plan.rate_shift)
