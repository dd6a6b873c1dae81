"""Attacks on the enrolment proof.

Each prover here commits to a data set with one defect, and follows the protocol everywhere else: it counts the lookups of what it
committed to and sends what the protocol sends. The equations that its values do not satisfy are named: where it is one, only that check
rejects it. Where there is none, the lie is in what was left out or is somebody else's, and the opening rejects it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest

from tests.zk.enrolment_cases import CONTEXT, WIDTH, Case, accepts, case_of, commit, enrolment_rule, good_rows, key
from tests.zk.training_cases import source
from zk import argument, closing
from zk.argument import Given, layout_of
from zk.enrolment import (
    FEATURE_TAG,
    FEATURE_USES,
    LABEL_USES,
    ROWS,
    EnrolmentArgument,
    EnrolmentStatement,
    Relations,
    proof_bytes,
    tensors_of,
)
from zk.field import ORDER
from zk.group import PyEcc
from zk.hyrax import Matrix
from zk.lookup import Leaves, Slots, Table, lookup
from zk.pads import Channel
from zk.rule import Loss, Rule
from zk.vectors import IntArray

LOOKUP, CONSTANT, UNUSED, ONE = {"lookup level"}, {"constant one"}, {"unused slots"}, {"one label"}
Tensors = dict[str, IntArray]
Change = Callable[[Tensors], None]
COUNT = 5
FIRST = 16  # the first label slot


@dataclass(frozen=True)
class Cheater(EnrolmentArgument):
    """A prover with relations of its own."""

    own: Relations | None = None

    @cached_property
    def relations(self) -> Relations:
        return self.own or Relations(self.statement.rule, self.statement.count)


def forge(
    monkeypatch: pytest.MonkeyPatch, case: Case, change: Change | None = None, own: Relations | None = None, width: int = WIDTH
) -> tuple[bytes, set[str]]:
    """Return a cheating proof, and the labels of the equations that it does not satisfy."""
    prover = Cheater(case.statement, width, own)
    tensors = tensors_of(prover.relations, case.rows)
    if change:
        change(tensors)
    labels: set[str] = set()

    def note(channel: Channel, matrix: Matrix, difference: int) -> None:
        labels.update(closing.broken(channel, matrix))

    monkeypatch.setattr(closing, "_check_values", note)
    return argument.prove(prover, key(width=width), tensors, Given({ROWS: case.rows}, case.blinds), source()), labels


def refused(statement: EnrolmentStatement, proof: bytes, width: int = WIDTH) -> bool:
    """Both groups give the same verdict: no."""
    return not accepts(statement, proof, key(width=width)) and not accepts(statement, proof, key(PyEcc, width))


def rows_of(rule: Rule, count: int = COUNT) -> IntArray:
    return good_rows(rule, count, np.random.default_rng(3))


def with_entries(rule: Rule, entries: Mapping[tuple[int, int], int], count: int = COUNT) -> Case:
    """Commit to good rows but for some entries, by (row, slot)."""
    rows = rows_of(rule, count)
    if rule.loss == Loss.SOFTMAX:
        rows[:, FIRST:] = 0
        rows[:, FIRST] = 1
    for place, value in entries.items():
        rows[place] = value
    return commit(rule, rows)


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(enrolment_rule(), COUNT)


@pytest.fixture(scope="module")
def proof(case: Case) -> bytes:
    return case.prove()


@pytest.mark.parametrize("loss", list(Loss))
def test_the_harness_itself_proves_the_truth(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_entries(enrolment_rule(loss=loss), {})
    proof, labels = forge(monkeypatch, case)
    assert not labels
    assert accepts(case.statement, proof)
    assert accepts(case.statement, proof, key(PyEcc))


BAD_ROWS: dict[str, tuple[dict[tuple[int, int], int], set[str]]] = {
    "a feature of 2^f_x": ({(0, 4): 16}, LOOKUP),
    "a feature of -1": ({(2, 0): -1}, LOOKUP),
    "a feature of 2^62": ({(4, 12): 2**62}, LOOKUP),
    "features out of range that cancel": ({(1, 5): 17, (1, 6): -17}, LOOKUP),
    "the constant is 0": ({(3, 13): 0}, CONSTANT),
    "the constant is 2": ({(3, 13): 2}, CONSTANT),
    "the constant is one too large": ({(4, 13): 17}, CONSTANT),
    "constants whose sum is right": ({(0, 13): 15, (4, 13): 17}, CONSTANT),
    "a slot behind the constant": ({(0, 14): 1}, UNUSED),
    "a slot before the labels": ({(4, 15): -1}, UNUSED),
    "a slot behind the outputs": ({(1, FIRST + 3): 1}, UNUSED),
    "the last slot": ({(2, 31): 5}, UNUSED),
    "unused slots that cancel in a row": ({(2, 14): 1, (2, 15): -1}, UNUSED),
    "unused slots that cancel in a column": ({(2, 14): 1, (3, 14): -1}, UNUSED),
    "two labels": ({(1, FIRST + 1): 1}, ONE),
    "no label": ({(1, FIRST): 0}, ONE),
    "two labels in one row and none in another": ({(1, FIRST + 1): 1, (2, FIRST): 0}, ONE),
    "a label of 2 and one of -1": ({(0, FIRST): 2, (0, FIRST + 2): -1}, LOOKUP),
    "a label of 2": ({(0, FIRST): 2}, LOOKUP | ONE),
    "a label of -1": ({(0, FIRST): -1}, LOOKUP | ONE),
    "a label behind the outputs": ({(3, FIRST): 0, (3, FIRST + 3): 1}, UNUSED | ONE),
    "all of it": ({(0, 0): 16, (1, 13): 0, (2, 14): 1, (3, FIRST): 0}, LOOKUP | CONSTANT | UNUSED | ONE),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_is_no_sample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries, expected = BAD_ROWS[name]
    case = with_entries(enrolment_rule(), entries)
    proof, labels = forge(monkeypatch, case)
    assert labels == expected
    assert refused(case.statement, proof)


@pytest.mark.parametrize(
    ("loss", "slot", "value", "expected"),
    [
        (Loss.BINARY, 0, 2, LOOKUP),
        (Loss.BINARY, 2, -1, LOOKUP),
        (Loss.BINARY, 3, 1, UNUSED),
        (Loss.SQUARED, 1, 16, LOOKUP),
        (Loss.SQUARED, 2, -1, LOOKUP),
        (Loss.SQUARED, 15, 1, UNUSED),
    ],
)
def test_a_label_of_another_loss(loss: Loss, slot: int, value: int, expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_entries(enrolment_rule(loss=loss), {(2, FIRST + slot): value})
    proof, labels = forge(monkeypatch, case)
    assert labels == expected
    assert refused(case.statement, proof)


@pytest.mark.parametrize("loss", [Loss.BINARY, Loss.SQUARED])
def test_labels_need_not_be_one_hot_where_the_loss_does_not_say_so(loss: Loss) -> None:
    case = with_entries(enrolment_rule(loss=loss), {(2, FIRST): 1, (2, FIRST + 1): 1, (2, FIRST + 2): 0, (3, FIRST): 0})
    assert accepts(case.statement, case.prove())


@pytest.mark.parametrize(("entry", "expected"), [((77, 3), LOOKUP), ((0, 13), CONSTANT), ((99, 31), UNUSED), ((64, FIRST), ONE)])
def test_one_bad_row_among_many_good_ones(entry: tuple[int, int], expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_entries(enrolment_rule(), {}, 100)
    case.rows[entry] += -1 if expected == ONE else 16
    case = commit(case.statement.rule, case.rows)
    proof, labels = forge(monkeypatch, case)
    assert labels == expected
    assert refused(case.statement, proof)


def test_values_behind_the_sample_in_a_wider_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training proof would not read them, but whoever opens such a row opens more than a sample."""
    for slot in (32, 63):
        rows = np.pad(rows_of(enrolment_rule()), ((0, 0), (0, 32)))
        rows[1, slot] = 1
        case = commit(enrolment_rule(), rows, width=64)
        proof, labels = forge(monkeypatch, case, width=64)
        assert labels == UNUSED
        assert refused(case.statement, proof, 64)


@pytest.mark.parametrize("place", [(FEATURE_USES, 3, 1), (FEATURE_USES, 15, -1), (FEATURE_USES, 0, 2**40), (LABEL_USES, 0, 1)])
def test_wrong_multiplicities(place: tuple[str, int, int], case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    name, position, by = place

    def change(tensors: Tensors) -> None:
        tensors[name][position] += by

    proof, labels = forge(monkeypatch, case, change)
    assert labels == LOOKUP
    assert refused(case.statement, proof)


def test_multiplicities_of_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label of 2 would be a feature."""
    case = with_entries(enrolment_rule(loss=Loss.BINARY), {(0, FIRST): 2})

    def change(tensors: Tensors) -> None:
        tensors[FEATURE_USES][2] += 1

    proof, labels = forge(monkeypatch, case, change)
    assert labels == LOOKUP
    assert refused(case.statement, proof)


class OtherTable(Relations):
    """The last feature of the table is 2^f_x, and so may a feature be."""

    @cached_property
    def tables(self) -> tuple[Table, Table]:
        return Table(FEATURE_TAG, (np.array([*range(15), 16]),), FEATURE_USES), super().tables[1]


class OtherSlots(Relations):
    """Looks the second feature up twice, and the first one never."""

    @cached_property
    def lookups(self) -> list[Leaves]:
        first, *others = super().lookups
        return [replace(first, columns=(Slots(ROWS, 1, 8),)), *others]


class OtherCount(Relations):
    """Leaves the constants and labels of the last row out."""

    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        Relations(self.rule, self.count - 1).run(channel, width, tensors)


class NoConstraints(Relations):
    """Only looks up."""

    def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
        lookup(channel, width, self.lookups, self.tables, tensors)


def test_a_table_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_entries(enrolment_rule(), {(row, slot): slot for row in range(COUNT) for slot in range(13)})
    case.rows[3, 2] = 16
    case = commit(case.statement.rule, case.rows)

    def change(tensors: Tensors) -> None:
        assert tensors[FEATURE_USES][15] == 0
        tensors[FEATURE_USES][15] += 1

    proof, labels = forge(monkeypatch, case, change, OtherTable(case.statement.rule, COUNT))
    assert not labels
    assert refused(case.statement, proof)


@pytest.mark.parametrize(
    ("own", "count", "entries"),
    [
        (OtherSlots, COUNT, {(1, 0): 16}),
        (OtherCount, COUNT + 1, {(COUNT, 13): 0, (COUNT, FIRST): 0}),
        (NoConstraints, COUNT, {(2, 13): 0, (2, 14): 1}),
    ],
)
def test_a_protocol_of_ones_own(
    own: type[Relations], count: int, entries: dict[tuple[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every equation of this prover holds, but they are not the verifier's; the messages are as many."""
    case = with_entries(enrolment_rule(), entries, count)
    proof, labels = forge(monkeypatch, case, None, own(case.statement.rule, count))
    assert not labels
    assert len(proof) == proof_bytes(case.statement, WIDTH)
    assert refused(case.statement, proof)


@pytest.mark.parametrize("kind", ["features", "labels", "feature uses", "label uses"])
def test_a_tree_over_other_leaves_than_the_committed_ones(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prover adds up the fractions of a good data set, so every level holds; what it committed to is bad."""
    rule = enrolment_rule()
    good = tensors_of(Relations(rule, COUNT), with_entries(rule, {}).rows)
    bad = {"features": {(0, 4): 16}, "labels": {(0, FIRST): 2, (0, FIRST + 2): -1}}.get(kind, {})

    class OtherTree(Relations):
        def run(self, channel: Channel, width: int, tensors: Mapping[str, IntArray] | None) -> None:
            super().run(channel, width, good)

    def change(tensors: Tensors) -> None:
        tensors.update({name: good[name].copy() for name in (FEATURE_USES, LABEL_USES)})
        if kind in tensors:
            tensors[kind][1] += 1

    case = with_entries(rule, bad)
    proof, labels = forge(monkeypatch, case, change, OtherTree(rule, COUNT))
    assert labels == {"lookup denominators" if bad else "lookup numerators"}
    assert refused(case.statement, proof)


def test_rows_that_somebody_else_can_open(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good rows, one of them a commitment of another client: every equation holds for the prover's own values."""
    other = case_of(enrolment_rule(), 1, seed=9)
    for position in range(COUNT):
        points = case.statement.rows[: 48 * position] + other.statement.rows + case.statement.rows[48 * (position + 1) :]
        stolen = replace(case, statement=replace(case.statement, rows=points))
        proof, labels = forge(monkeypatch, stolen)
        assert not labels
        assert refused(stolen.statement, proof)


def test_rows_that_nobody_can_open(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = key().encode([key().group.hash_to_curve(b"nobody", b"knows")])
    more = replace(case, rows=np.concatenate([case.rows, case.rows[:1]]), blinds=[*case.blinds, 7])
    more = replace(more, statement=replace(case.statement, rows=case.statement.rows + nobody))
    proof, labels = forge(monkeypatch, more)
    assert not labels
    assert refused(more.statement, proof)


def test_another_blind(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    proof, labels = forge(monkeypatch, replace(case, blinds=[case.blinds[0] + 1, *case.blinds[1:]]))
    assert not labels
    assert refused(case.statement, proof)


def test_another_context(case: Case, proof: bytes) -> None:
    for context in (b"another run", b"", CONTEXT + b"\0", CONTEXT[:-1]):
        assert refused(replace(case.statement, context=context), proof)


def test_rows_reordered_or_exchanged(case: Case, proof: bytes) -> None:
    rows = [case.statement.rows[i : i + 48] for i in range(0, 48 * COUNT, 48)]
    other = case_of(enrolment_rule(), COUNT, seed=2).statement.rows
    identity = b"\xc0" + bytes(47)
    negated = bytes([rows[0][0] ^ 0x20]) + rows[0][1:]
    for changed in (
        [*rows[1:], rows[0]],
        [rows[1], rows[0], *rows[2:]],
        rows[::-1],
        [rows[0]] * COUNT,
        [other[:48], *rows[1:]],
        [*rows[:-1], other[-48:]],
        [identity, *rows[1:]],
        [negated, *rows[1:]],
    ):
        assert refused(replace(case.statement, rows=b"".join(changed)), proof)


def test_one_row_more_or_fewer(case: Case, proof: bytes) -> None:
    rows = case.statement.rows
    for changed in (rows[48:], rows[:-48], rows + rows[:48], rows + b"\xc0" + bytes(47)):
        assert refused(replace(case.statement, rows=changed), proof)


def test_a_proof_about_fewer_rows(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement has a row more than the prover speaks about: it counts as a row of zeros."""
    more = replace(case, statement=replace(case.statement, rows=case.statement.rows + b"\xc0" + bytes(47)), blinds=[*case.blinds, 0])
    more = replace(more, rows=np.concatenate([case.rows, np.zeros((1, WIDTH), dtype=np.int64)]))
    proof, labels = forge(monkeypatch, more)
    assert labels == CONSTANT | ONE
    assert refused(more.statement, proof)


def test_another_rule(case: Case, proof: bytes) -> None:
    rule = case.statement.rule
    others = [
        *(replace(rule, loss=loss) for loss in (Loss.BINARY, Loss.SQUARED)),
        *(replace(rule, layers=layers) for layers in ((13, 2), (13, 4), (12, 3), (13, 5, 3))),
        replace(rule, steps=2),
        replace(rule, plan=replace(rule.plan, rate_numerator=1)),
        replace(rule, plan=replace(rule.plan, feature_bits=5, activation_bits=5, logit_bits=5, output_error_bits=5, error_bits=5)),
    ]
    for other in others:
        assert refused(replace(case.statement, rule=other), proof)


def test_another_clients_proof(case: Case) -> None:
    other = case_of(enrolment_rule(), COUNT, seed=2)
    assert refused(case.statement, other.prove())


def test_every_item_of_a_proof_counts(case: Case, proof: bytes) -> None:
    """Each point is replaced by another one, each scalar by its successor: canonical encodings, all of them."""
    prover = EnrolmentArgument(case.statement, WIDTH)
    products = prover.budget.products
    layout = layout_of(prover, WIDTH)
    opening = len(proof) - closing.opening_bytes(layout, products)
    messages = len(prover.magic) + 48 * (len(layout.rows) - COUNT + 1)
    points = [*range(len(prover.magic), messages, 48), *range(opening, opening + 48 * 6, 48)]
    scalars = [*range(messages, opening, 32), *range(opening + 48 * 6, len(proof), 32)]
    generator = key().generators[0]
    changed = {}
    for start in points:
        (point,) = key().decode(proof[start : start + 48], 1)
        changed[start] = key().encode([key().group.msm([point, generator], [1, 1])])
    for start in scalars:
        changed[start] = ((int.from_bytes(proof[start : start + 32], "big") + 1) % ORDER).to_bytes(32, "big")
    for number, (start, item) in enumerate(changed.items()):
        other = proof[:start] + item + proof[start + len(item) :]
        assert not accepts(case.statement, other), start
        assert number % 20 or not accepts(case.statement, other, key(PyEcc)), start
