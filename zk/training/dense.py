"""Dense layers: ``Z = In·W[k]``, ``E = Err·W[k]ᵀ`` and ``W[k] = a_k·W₀ - Σ_{j<k} c(k-j)·In_jᵀ·Err_j``; ``Δ = W[K] - 2^h·W₀``.

Nothing here is committed. Each relation turns claims into claims by a sum-check (Thaler, CRYPTO 2013), outer dimensions folded first:

- forward: ``Z(t, w) = Σ_{k,i} eq(t_k, k)·In(k, t_b, i)·W[k](i, w)`` leaves a claim about ``In`` and one about ``W``;
- backward: ``E(u, v) = Σ_{k,o} eq(u_k, k)·Err(k, u_b, o)·W[k](v, o)`` leaves a claim about ``Err`` and one about ``W``;
- history: with the weights ``ω_k`` of the steps in a claim, ``Σ_k ω_k·W[k](v, w)`` is ``Σ_k ω_k·a_k·vᵀW₀w - Σ_{j,b} past(j)·In(j, b,
v)·Err(j, b, w)`` with ``past(j) = Σ_{k>j} ω_k·c(k-j)``. ``Δ(v, w)`` is this for ``W[K]``, less ``2^h·vᵀW₀w``. One sum-check over ``(j, b)``
proves these for all layers together.

``a_k`` and ``c(n)`` are public (:mod:`zk.coefficients`): ``2^h`` and ``m`` without momentum and weight decay. A padded step has the weights
``W[K]``.
``Δ`` is compared at the random directions of the forward claim, which are drawn after it was absorbed.
Weights of an input axis are dense vectors: those of padded units, and of every slot of a sample that is no feature, are zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from zk import vectors
from zk.field import ORDER
from zk.forms import Form, combine
from zk.multilinear import bilinear, dot, eq, eq_table, variables
from zk.sumcheck import ProductSum, sumcheck
from zk.training.context import Context, Values
from zk.training.shape import Direction, Shape, padded
from zk.vectors import IntArray, Vector


@dataclass(frozen=True)
class InputClaim:
    """``Σ_i rows[i]·In(point, i) = value`` for the inputs of a layer, the constant included."""

    layer: int
    point: tuple[int, ...]
    rows: tuple[int, ...]
    value: Form


@dataclass(frozen=True)
class ErrorClaim:
    """``Err(point, out) = value`` for the error at the output of a layer."""

    layer: int
    point: tuple[int, ...]
    out: Direction
    value: Form


@dataclass(frozen=True)
class WeightClaim:
    """``Σ_i rows[i]·W[step](i, out) = value`` for the weights of a layer at a point over the steps."""

    layer: int
    step: tuple[int, ...]
    rows: tuple[int, ...]
    out: Direction
    value: Form


def forward(context: Context, layer: int, point: Sequence[int], out: Direction, z: Form) -> tuple[InputClaim, WeightClaim]:
    """Reduce ``Z(point, out) = z``."""
    shape, values = context.shape, context.values
    inputs = shape.rule.layers[layer] + 1
    k, b = shape.split(point)
    prover = None
    if values:
        In = vectors.contract(values.inputs[layer], vectors.eq_table(b))
        W = _over_units(values.weights[layer], out)
        prover = _product(k, In, W)
    r, value = sumcheck(context.channel, "forward", z, len(k) + variables(inputs), 3, prover)
    f_in, f_w = _end(context, f"forward {layer + 1}", k, r, value, prover)
    step, rows = tuple(r[: len(k)]), tuple(eq_table(r[len(k) :])[:inputs])
    return InputClaim(layer, (*step, *b), rows, f_in), WeightClaim(layer, step, rows, out, f_w)


def backward(context: Context, layer: int, point: Sequence[int], rows: Direction, e: Form) -> tuple[ErrorClaim, WeightClaim]:
    """Reduce ``E(point, rows) = e``, the error that ``layer`` sends back to the units before it (not to the constant)."""
    shape, values = context.shape, context.values
    outputs = shape.rule.layers[layer + 1]
    k, b = shape.split(point)
    prover = None
    if values:
        Err = vectors.contract(values.errors[layer], vectors.eq_table(b))
        W = vectors.contract(values.weights[layer][:, : rows.size], vectors.from_ints(rows.dense))
        prover = _product(k, Err, W)
    r, value = sumcheck(context.channel, "backward", e, len(k) + variables(outputs), 3, prover)
    f_error, f_w = _end(context, f"backward {layer + 1}", k, r, value, prover)
    step, out = tuple(r[: len(k)]), Direction(tuple(r[len(k) :]), outputs)
    return ErrorClaim(layer, (*step, *b), out, f_error), WeightClaim(layer, step, tuple(rows.dense), out, f_w)


def history(
    context: Context, start: Sequence[IntArray], update: Sequence[IntArray], claims: Sequence[WeightClaim], final: Sequence[WeightClaim]
) -> tuple[list[InputClaim], list[ErrorClaim]]:
    """Reduce all claims about weights, and the equality of ``Δ`` and ``update``.

    Parameters
    ----------
    context : Context
    start, update : sequences of int64 arrays
        ``W₀`` and ``Δ``, by layer.
    claims : sequence of WeightClaim
    final : sequence of WeightClaim
        Those of ``claims``, one for each layer, whose directions ``Δ`` is compared at.
    """
    shape = context.shape
    mix = context.channel.challenge("history mix")
    total: list[tuple[int, Form | int]] = []
    weights = []  # for each claim, those of the steps
    power = 1
    for claim in claims:
        total.append((-power, claim.value))
        over_steps = [power * weight % ORDER for weight in _of_steps(claim.step, shape.rule.steps)]
        kept = dot(over_steps, shape.rule.keeps)
        power = power * mix % ORDER
        if any(claim is other for other in final):
            total.append((-power, bilinear(claim.rows, update[claim.layer], claim.out.dense)))
            over_steps[-1] += power
            kept += power * (shape.rule.keeps[-1] - shape.rule.keeps[0])
            power = power * mix % ORDER
        total.append((kept % ORDER, bilinear(claim.rows, start[claim.layer], claim.out.dense)))
        weights.append(_past(over_steps, shape.rule.rates, 1 << shape.step_variables))
    prover = _history_tables(shape, context.values, claims, weights) if context.values else None
    r, value = sumcheck(context.channel, "history", combine(total), shape.sample_variables, 3, prover)
    tables = prover.final() if prover else None
    at_step = eq_table(shape.split(r)[0])
    parts: list[tuple[int, Form | int]] = [(1, value)]
    inputs, errors = [], []
    for i, (claim, over_steps) in enumerate(zip(claims, weights, strict=True)):
        factors = tables[3 * i + 1 : 3 * i + 3] if tables else None
        f_in, f_error, product = context.channel.product("history", factors)
        parts.append((-dot(over_steps, at_step), product))
        inputs.append(InputClaim(claim.layer, tuple(r), claim.rows, f_in))
        errors.append(ErrorClaim(claim.layer, tuple(r), claim.out, f_error))
    context.channel.vanish("history", combine(parts))
    return inputs, errors


def _end(context: Context, label: str, k: Sequence[int], r: Sequence[int], value: Form, prover: ProductSum | None) -> tuple[Form, Form]:
    """Check the end of a matrix product's sum-check, and return the two evaluations."""
    first, second, product = context.channel.product("matrix product", prover.final()[1:] if prover else None)
    context.channel.vanish(label, value - eq(k, r[: len(k)]) * product)
    return first, second


def _of_steps(step: Sequence[int], steps: int) -> list[int]:
    """Return the weight of ``W[k]`` in a claim at ``step``, ``k`` from 0 to ``steps``: padded steps count as the last."""
    table = eq_table(step)
    return [*table[:steps], sum(table[steps:]) % ORDER]


def _past(over_steps: Sequence[int], rates: Sequence[int], padded_steps: int) -> list[int]:
    """Return ``Σ_{k>j} over_steps[k]·rates[k-j]`` for every step ``j``, and zero for the padded ones."""
    steps = len(over_steps) - 1
    if len(set(rates[1:])) == 1:  # no momentum, no decay: sums of suffixes
        past = [rates[1] * total % ORDER for total in accumulate(reversed(over_steps[1:]))][::-1]
    else:
        past = [dot(over_steps[j + 1 :], rates[1:]) for j in range(steps)]
    return past + [0] * (padded_steps - steps)


def _product(k: Sequence[int], left: Vector, right: Vector) -> ProductSum:
    """Return ``Σ_{k,x} eq(k)·left(k, x)·right(k, x)`` for tables of shape (steps, size, 4)."""
    size = padded(left.shape[1])
    steps = vectors.outer(vectors.eq_table(k), vectors.constant(1, size))
    return ProductSum([steps, _pad(left, size), _pad(right, size)], [(0, 1, 2)])


def _pad(table: Vector, size: int) -> Vector:
    out = np.zeros((table.shape[0], size, 4), dtype=np.uint64)
    out[:, : table.shape[1]] = table
    return out.reshape(-1, 4)


def _over_units(matrices: IntArray, out: Direction) -> npt.NDArray[np.uint64]:
    """Return ``Σ_h out[h]·M[k, i, h]``: shape (steps, rows, 4)."""
    steps, rows, columns = matrices.shape
    folded = vectors.contract(matrices.reshape(steps * rows, columns, 1), vectors.from_ints(out.dense))
    return folded.reshape(steps, rows, 4)


def _history_tables(shape: Shape, values: Values, claims: Sequence[WeightClaim], weights: Sequence[Sequence[int]]) -> ProductSum:
    """Return ``Σ_{j,b} Σ_c weights_c(j)·In_c(j, b, rows_c)·Err_c(j, b, out_c)``."""
    batch = vectors.constant(1, 1 << shape.batch_variables)
    tables: list[Vector] = []
    for claim, over_steps in zip(claims, weights, strict=True):
        inputs, errors = values.inputs[claim.layer], values.errors[claim.layer]
        used = len(claim.rows)  # a claim that does not weigh the constant has one weight less
        In = vectors.contract(inputs.reshape(-1, inputs.shape[2])[:, :used, np.newaxis], vectors.from_ints(claim.rows))
        Err = vectors.contract(errors.reshape(-1, errors.shape[2], 1), vectors.from_ints(claim.out.dense))
        tables += [vectors.outer(vectors.from_ints(over_steps), batch), In.reshape(-1, 4), Err.reshape(-1, 4)]
    return ProductSum(tables, [(i, i + 1, i + 2) for i in range(0, len(tables), 3)])
