"""Masked messages, products, claims and the closing, on small protocols."""

import secrets
from typing import Any

import numpy as np
import pytest

from tests.zk.toys import WIDTH, Tensors, Toy, accepts, int64, key, prove_toy
from zk import closing, vectors
from zk.argument import layout_of, proof_bytes
from zk.closing import opening_bytes, tail_length
from zk.equations import Equation
from zk.errors import CommitmentError, RuleError
from zk.field import ORDER, encode_scalars
from zk.group import Point
from zk.hyrax import tensor_claim
from zk.multilinear import dot, eq
from zk.pads import Channel, Pads, Receiver
from zk.sumcheck import ProductSum, sumcheck

SIZES = {"given": 256, "a": 128, "b": 128, "small": 4}


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2**14, 128), rng.integers(-(2**14), 2**14, 128)
    return {"given": np.concatenate([a * b, a + b]), "a": a, "b": b, "small": int64(1, 2, 3, 4)}


def relation(channel: Channel, width: int, values: Tensors | None) -> None:
    """Let given be (a∘b, a + b), and small(1, 0) be 3."""
    t = channel.challenges("t", 7)
    both = channel.claim(tensor_claim("given", width, [0, *t], [1]))
    prover = None
    if values:
        prover = ProductSum([vectors.eq_table(t), vectors.from_int64(values["a"]), vectors.from_int64(values["b"])], [(0, 1, 2)])
    r, value = sumcheck(channel, "product", both, 7, 3, prover)
    a, b, product = channel.product("factors", prover.final()[1:] if prover else None)
    channel.vanish("product", value - eq(t, r) * product)
    channel.vanish("a", a - channel.claim(tensor_claim("a", width, r, [1])))
    channel.vanish("b", b - channel.claim(tensor_claim("b", width, r, [1])))
    total = channel.claim(tensor_claim("a", width, t, [1])) + channel.claim(tensor_claim("b", width, t, [1]))
    channel.vanish("sum", total - channel.claim(tensor_claim("given", width, [1, *t], [1])))
    channel.vanish("small", channel.claim(tensor_claim("small", width, [1], [1, 0])) - 3)


def test_a_true_statement_is_accepted() -> None:
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    assert accepts(toy, proof, points)
    assert len(proof) == proof_bytes(toy, WIDTH)


@pytest.mark.parametrize(("name", "position"), [("given", 5), ("given", 200), ("a", 0), ("b", 127), ("small", 2)])
def test_an_honest_prover_refuses_a_false_statement(name: str, position: int) -> None:
    values = tensors()
    values[name][position] += 1
    with pytest.raises(CommitmentError, match="do not satisfy"):
        prove_toy(Toy(SIZES, relation), values)


def test_a_claim_of_another_value_is_refused() -> None:
    def other(channel: Channel, width: int, values: Tensors | None) -> None:
        relation(channel, width, values)
        label, form = channel.equations.pop()
        channel.vanish(label, form - 1)

    values = tensors()
    values["small"][2] = 4
    proof, points = prove_toy(Toy(SIZES, relation), values, prover=Toy(SIZES, other))
    assert not accepts(Toy(SIZES, relation), proof, points)


def test_every_byte_of_a_proof_counts() -> None:
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    rng = np.random.default_rng(1)
    for position in {0, 3, len(proof) - 1, *rng.integers(0, len(proof), 60).tolist()}:
        changed = bytearray(proof)
        changed[position] ^= 1 << int(rng.integers(0, 8))
        assert not accepts(toy, bytes(changed), points), position


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"\0", lambda p: b"", lambda p: b"tox" + p[3:]])
def test_other_lengths_and_kinds_are_refused(change) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    assert not accepts(toy, change(proof), points)


def test_a_scalar_not_below_the_order_is_refused() -> None:
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    last = int.from_bytes(proof[-32:], "big")
    assert last + ORDER < 2**256
    assert not accepts(toy, proof[:-32] + (last + ORDER).to_bytes(32, "big"), points)


def test_commitments_of_the_statement_are_bound() -> None:
    toy = Toy(SIZES, relation)
    proof, points = prove_toy(toy, tensors())
    swapped = points[48:96] + points[:48] + points[96:]
    assert not accepts(toy, proof, swapped)


def test_rows_too_narrow_for_the_products_are_refused() -> None:
    def many(channel: Channel, width: int, values: Tensors | None) -> None:
        for _ in range(width + 1):
            channel.product("one", [1, 1] if values is not None else None)

    with pytest.raises(RuleError, match="wider"):
        prove_toy(Toy({"small": 4}, many), tensors())


def test_two_proofs_of_one_statement_share_nothing() -> None:
    toy = Toy(SIZES, relation)
    first, second = (prove_toy(toy, tensors())[0] for _ in range(2))
    cut = {len(first) - 32 * i for i in range(1, 40)}
    assert all(first[i : i + 32] != second[i : i + 32] for i in cut)
    assert key().width == WIDTH


def product_relation(channel: Channel, width: int, values: Tensors | None) -> None:
    """Let small(0)·small(1) be small(2)."""
    claims = [channel.claim(tensor_claim("small", width, [], [int(i == j) for j in range(4)])) for i in range(3)]
    a, b, product = channel.product("factors", [int(values["small"][0]), int(values["small"][1])] if values else None)
    for label, form, claim in zip("abc", (a, b, product), claims, strict=True):
        channel.vanish(label, form - claim)


def test_a_product_row_that_is_no_product_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a false product row every linear equation of 3·5 = 16 holds: only the proof of the product row refuses it."""
    toy = Toy({"small": 4}, product_relation)
    proof, points = prove_toy(toy, {"small": int64(3, 5, 15, 0)})
    assert accepts(toy, proof, points)
    with pytest.raises(CommitmentError, match=r"do not satisfy: c$"):
        prove_toy(toy, {"small": int64(3, 5, 16, 0)})
    monkeypatch.setattr(Pads, "products", property(lambda pads: [(pads.left[0] * pads.right[0] + 1) % ORDER]))
    proof, points = prove_toy(toy, {"small": int64(3, 5, 16, 0)})
    assert not accepts(toy, proof, points)
    toy.points = points
    truth = closing.verify

    def without_last(*arguments: Any) -> list[Equation]:  # noqa: ANN401
        return truth(*arguments)[:-1]

    monkeypatch.setattr(closing, "verify", without_last)
    assert accepts(toy, proof, points)


@pytest.mark.parametrize("dropped", range(5))
def test_each_group_equation_refuses_something_that_the_others_accept(dropped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One announced commitment is replaced after the fact, and the challenge with it kept: one equation breaks."""
    toy = Toy(SIZES, relation)
    monkeypatch.setattr(closing, "_challenge", lambda *_: 12345)
    proof, points = prove_toy(toy, tensors())
    assert accepts(toy, proof, points)
    products = toy.budget.products
    start = len(proof) - opening_bytes(layout_of(toy, WIDTH), products) + 48 * dropped
    changed = proof[:start] + points[:48] + proof[start + 48 :]
    assert not accepts(toy, changed, points)
    truth = closing.verify
    monkeypatch.setattr(closing, "verify", lambda *arguments: [e for i, e in enumerate(truth(*arguments)) if i != dropped])
    assert accepts(toy, changed, points)


def simulate(toy: Toy, points: bytes) -> bytes:
    """Write a proof without any witness, for a closing challenge that is known in advance."""
    layout, budget, group = layout_of(toy, WIDTH), toy.budget, key().group

    def scalars(count: int) -> list[int]:
        return [secrets.randbelow(ORDER) for _ in range(count)]

    count = len(layout.rows) - len(points) // 48
    commitments = [key().commit(scalars(1), blind) for blind in scalars(count + 1)]
    encoded = key().encode(commitments)
    toy.points = points
    transcript = toy.begin(key())
    transcript.absorb("commitments", encoded)
    messages = scalars(budget.pads + 2 * budget.products + tail_length(layout))
    channel = Receiver(transcript, messages)
    toy.run(channel, WIDTH, None)
    reduced = closing.reduce_equations(channel, layout, None)
    row, tail, left, right, blinds = (scalars(n) for n in (WIDTH, tail_length(layout), budget.products, budget.products, 5))
    e = 12345
    sigma = (dot(row, reduced.R) - dot(tail, reduced.Lambda) - e * reduced.constant) % ORDER
    *own, tail_point = commitments
    rows = [*key().decode(points, len(points) // 48), *own]
    combined = group.msm(rows, reduced.weights)
    cross = key().commit(scalars(1), scalars(1)[0])
    squares = [u * v % ORDER for u, v in zip(left, right, strict=True)]

    def announce(values: list[int], blind: int, point: Point, scale: int) -> Point:
        return group.msm([key().commit(values, blind), point], [1, -scale])

    last = announce(squares, blinds[4], own[-1], e * e)
    announced = [
        announce(row, blinds[0], combined, e),
        announce(tail, blinds[1], tail_point, e),
        announce(left, blinds[2], own[-3], e),
        announce(right, blinds[3], own[-2], e),
        cross,
        group.msm([last, cross], [1, -e]),
    ]
    opening = closing.Opening(key().encode(announced), sigma, row, tail, left, right, blinds)
    return toy.magic + encoded + encode_scalars(messages) + opening.encode()


def test_a_simulator_without_a_witness_writes_proofs_that_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero knowledge: whoever may choose the last challenge needs to know nothing, not even that the statement is true."""
    toy = Toy(SIZES, relation)
    real, points = prove_toy(toy, tensors())
    monkeypatch.setattr(closing, "_challenge", lambda *_: 12345)
    simulated = simulate(toy, points)
    assert len(simulated) == len(real)
    assert accepts(toy, simulated, points)
    monkeypatch.undo()
    assert not accepts(toy, simulated, points)


def test_masked_messages_look_alike_for_two_witnesses() -> None:
    """Over many proofs, the high bit of each masked message is a fair coin whatever the witness is."""
    toy = Toy({"small": 4}, product_relation)
    start = len(toy.magic) + 48 * (len(layout_of(toy, WIDTH).rows) + 1)
    for values in (int64(0, 0, 0, 0), int64(2**40, 2**20, 2**60, 1)):
        first = [int.from_bytes(prove_toy(toy, {"small": values})[0][start : start + 32], "big") for _ in range(60)]
        assert 10 < sum(value > ORDER // 2 for value in first) < 50
        assert len(set(first)) == 60
