"""Rows, blocks and claims against plain evaluations."""

import secrets

import numpy as np
import pytest

from zk import vectors
from zk.field import ORDER
from zk.hyrax import Block, Layout, Matrix, as_block_rows, tensor_block, tensor_claim
from zk.multilinear import dot, eq_table
from zk.pads import Claim, Row, Spot

WIDTH = 8


def random_point(count: int) -> list[int]:
    return [secrets.randbelow(ORDER) for _ in range(count)]


@pytest.mark.parametrize(("leading", "last"), [(0, 4), (0, 8), (1, 4), (1, 8), (3, 4), (5, 1), (2, 1), (4, 8)])
def test_a_claim_weighs_a_flat_tensor(leading: int, last: int) -> None:
    size = last << leading
    flat = np.random.default_rng(1).integers(-1000, 1000, size)
    point, columns = random_point(leading), random_point(last)
    claim = tensor_claim("t", WIDTH, point, columns)
    rows = as_block_rows(tensor_block("t", size, size, WIDTH), flat, WIDTH).tolist()
    value = dot(eq_table(claim.point), [dot(row, vectors.to_ints(claim.columns)) for row in rows])
    assert value == dot([x * y for x in eq_table(point) for y in columns], flat.tolist())
    assert 1 << len(claim.point) == len(rows)


def test_blocks_stand_at_multiples_of_their_height_and_a_point_splits() -> None:
    blocks = [Block("a", (0, 2), 4), Block("b", (0,), 1), Block("c", tuple(range(8)), 8), Block("d", (1,), 2)]
    layout = Layout(WIDTH, blocks)
    assert all(layout.offset(block.name) % block.height == 0 for block in blocks)
    taken = [layout.offset(block.name) + i for block in blocks for i in range(block.height)]
    assert len(set(taken)) == len(taken)
    assert max(taken) < 1 << layout.variables
    assert len(layout.rows) == 2 + 1 + 8 + 1
    r = random_point(layout.variables)
    table = eq_table(r)
    for block in blocks:
        point = random_point((block.height - 1).bit_length())
        expected = dot(eq_table(point), table[layout.offset(block.name) :][: block.height])
        assert layout.weight(block.name, point, r) == expected


def test_two_blocks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        Layout(WIDTH, [Block("a", (0,), 1), Block("a", (0,), 1)])


def test_values_without_a_commitment_are_refused() -> None:
    block = tensor_block("t", 32, 9, WIDTH)
    assert block == Block("t", (0, 1), 4)
    with pytest.raises(ValueError, match="no commitment"):
        as_block_rows(block, np.ones(32, dtype=np.int64), WIDTH)


def test_a_matrix_combines_rows_of_integers_and_of_scalars() -> None:
    blocks = [Block("a", (0, 1, 3), 4), Block(Row.PADS, (0, 1), 2)]
    layout = Layout(WIDTH, blocks)
    integers = np.random.default_rng(2).integers(-(2**40), 2**40, (3, 5))
    scalars = [random_point(WIDTH), random_point(3)]
    matrix = Matrix(layout, {"a": integers}, {Row.PADS.value: scalars})
    weights = random_point(5)
    rows = [[*row, 0, 0, 0] for row in integers.tolist()] + [scalars[0], scalars[1] + [0] * 5]
    assert matrix.combine(weights) == [sum(w * row[j] for w, row in zip(weights, rows, strict=True)) % ORDER for j in range(WIDTH)]
    columns = random_point(WIDTH)
    values = vectors.to_ints(matrix.row_values(vectors.from_ints(columns)))
    assert [values[i] for i in layout.rows] == [dot(row, columns) for row in rows]
    assert sum(value != 0 for value in values) == 5


def test_equal_claims_stay_two_claims_and_entries_of_a_row_become_one() -> None:
    layout = Layout(WIDTH, [Block("a", (0, 1), 2), Block(Row.PADS, (0, 1), 2), Block(Row.LEFT, (0,), 1)])
    claim = tensor_claim("a", WIDTH, random_point(1), random_point(8))
    atoms: list[Spot | Claim] = [claim, claim, Spot(Row.PADS, 3), Spot(Row.PADS, 9), Spot(Row.LEFT, 1)]
    found = layout.row_claims(atoms, {0: 2, 1: 3, 2: 5, 3: 7, 4: 11})
    assert found[:2] == [(2, claim), (3, claim)]
    rows = {(one.block, one.point): vectors.to_ints(one.columns) for _, one in found[2:]}
    assert rows[Row.PADS, (0,)] == [0, 0, 0, 5, 0, 0, 0, 0]
    assert rows[Row.PADS, (1,)] == [0, 7, 0, 0, 0, 0, 0, 0]
    assert rows[Row.LEFT, ()][1] == 11
