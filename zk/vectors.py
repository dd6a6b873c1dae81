"""Vectors over the scalar field: NumPy arrays of four 64-bit limbs in Montgomery form, worked on by numba kernels.

A :data:`Vector` has shape ``(n, 4)``, dtype uint64, every element below ``r`` (see :mod:`zk.limbs`). A Montgomery product takes about
30 ns, against 0.6 µs for Python integers, and the kernels release the interpreter lock. Tests hold them equal to Python integers; the
second verifier of training proofs (:mod:`zk.plain`) uses nothing compiled, and gives the same verdicts.

Tables of multilinear polynomials are indexed with the first variable as the most significant bit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zk import limbs
from zk.field import ORDER
from zk.limbs import RADIX, RADIX_SQUARED, kernel, limbs_of

Vector = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]

_ONE = limbs_of(RADIX)


def from_ints(values: Sequence[int]) -> Vector:
    """Return the vector of any Python integers, taken modulo ``r``."""
    packed = b"".join((value % ORDER).to_bytes(32, "little") for value in values)
    plain = np.frombuffer(packed, dtype="<u8").astype(np.uint64).reshape(len(values), 4)
    return _scale(plain, np.array(limbs_of(RADIX_SQUARED), dtype=np.uint64))


def to_ints(vector: Vector) -> list[int]:
    """Return Python integers in ``[0, r)``."""
    plain = _scale(vector, np.array(limbs_of(1), dtype=np.uint64))
    packed = plain.astype("<u8").tobytes()
    return [int.from_bytes(packed[i : i + 32], "little") for i in range(0, len(packed), 32)]


def from_int64(values: IntArray) -> Vector:
    """Return the vector of a flat array of signed integers."""
    return _from_int64(np.ascontiguousarray(values, dtype=np.int64), scalar(RADIX))


def scalar(value: int) -> Vector:
    """Return one element, shape ``(4,)``, for the functions that take one."""
    return np.array(limbs_of(value % ORDER * RADIX % ORDER), dtype=np.uint64)


def constant(value: int, count: int) -> Vector:
    """Return ``count`` copies of ``value``."""
    return np.tile(scalar(value), (count, 1))


def add(a: Vector, b: Vector) -> Vector:
    """Return ``a + b``, element by element."""
    return _add(a, _like(a, b))


def subtract(a: Vector, b: Vector) -> Vector:
    """Return ``a - b``, element by element."""
    return _subtract(a, _like(a, b))


def multiply(a: Vector, b: Vector) -> Vector:
    """Return ``a∘b``, element by element."""
    return _multiply(a, _like(a, b))


def scale(a: Vector, factor: int) -> Vector:
    """Return ``factor·a``."""
    return _scale(a, scalar(factor))


def inner(a: Vector, b: Vector) -> int:
    """Return ``Σ a_i·b_i``."""
    return to_ints(_inner(a, _like(a, b)).reshape(1, 4))[0]


def eq_table(point: Sequence[int]) -> Vector:
    """Return ``eq(point, b)`` for every ``b`` of the Boolean cube: ``2^len(point)`` elements."""
    return _eq_table(from_ints(point)) if len(point) else constant(1, 1)


def contract(values: IntArray, weights: Vector) -> Vector:
    """Return ``Σ_j weights[j]·values[:, j, :]`` for integers of shape ``(a, n, c)``: shape ``(a, c, 4)``.

    No reduction happens before the end of a sum, and zeros cost nothing: about 3 ns a value.
    """
    if values.ndim != 3 or values.shape[1] != len(weights):
        raise ValueError(f"values of shape {values.shape} do not contract with {len(weights)} weights")
    return _contract(np.ascontiguousarray(values, dtype=np.int64), weights)


def outer(a: Vector, b: Vector) -> Vector:
    """Return the flat table ``a_i·b_j`` at ``i·len(b) + j``."""
    return _multiply(np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1)))


def _like(a: Vector, b: Vector) -> Vector:
    if a.shape != b.shape:
        raise ValueError(f"vectors of {len(a)} and {len(b)} elements")
    return b


@kernel
def _from_int64(values: IntArray, radix: Vector) -> Vector:
    out = np.empty((len(values), 4), dtype=np.uint64)
    zero = np.uint64(0)
    none, to_montgomery = (zero, zero, zero, zero), (radix[0], radix[1], radix[2], radix[3])
    for i in range(len(values)):
        if values[i] >= 0:
            limbs.store(out, i, limbs.multiply(to_montgomery, (np.uint64(values[i]), zero, zero, zero)))
        else:
            positive = limbs.multiply(to_montgomery, (zero - np.uint64(values[i]), zero, zero, zero))
            limbs.store(out, i, limbs.subtract(none, positive))
    return out


@kernel
def _add(a: Vector, b: Vector) -> Vector:
    out = np.empty_like(a)
    for i in range(len(a)):
        limbs.store(out, i, limbs.add(limbs.load(a, i), limbs.load(b, i)))
    return out


@kernel
def _subtract(a: Vector, b: Vector) -> Vector:
    out = np.empty_like(a)
    for i in range(len(a)):
        limbs.store(out, i, limbs.subtract(limbs.load(a, i), limbs.load(b, i)))
    return out


@kernel
def _multiply(a: Vector, b: Vector) -> Vector:
    out = np.empty_like(a)
    for i in range(len(a)):
        limbs.store(out, i, limbs.multiply(limbs.load(a, i), limbs.load(b, i)))
    return out


@kernel
def _scale(a: Vector, factor: Vector) -> Vector:
    out = np.empty_like(a)
    by = (factor[0], factor[1], factor[2], factor[3])
    for i in range(len(a)):
        limbs.store(out, i, limbs.multiply(by, limbs.load(a, i)))
    return out


@kernel
def _inner(a: Vector, b: Vector) -> Vector:
    zero = np.uint64(0)
    total = (zero, zero, zero, zero)
    for i in range(len(a)):
        total = limbs.add(total, limbs.multiply(limbs.load(a, i), limbs.load(b, i)))
    return np.array(total)


@kernel
def _eq_table(point: Vector) -> Vector:
    variables = len(point)
    out = np.empty((1 << variables, 4), dtype=np.uint64)
    for i in range(4):
        out[0, i] = _ONE[i]
    size = 1
    for j in range(variables):
        x = limbs.load(point, j)
        for i in range(size - 1, -1, -1):
            parent = limbs.load(out, i)
            upper = limbs.multiply(parent, x)
            limbs.store(out, 2 * i + 1, upper)
            limbs.store(out, 2 * i, limbs.subtract(parent, upper))
        size *= 2
    return out


@kernel
def _contract(values: IntArray, weights: Vector) -> Vector:
    blocks, count, columns = values.shape
    out = np.empty((blocks, columns, 4), dtype=np.uint64)
    totals = np.empty((columns, 12), dtype=np.uint64)  # six limbs for the positive part, six for the negative
    zero, one = np.uint64(0), np.uint64(1)
    for block in range(blocks):
        totals[:] = zero
        for j in range(count):
            w = limbs.load(weights, j)
            for column in range(columns):
                value = values[block, j, column]
                if value == 0:
                    continue
                base = 0 if value > 0 else 6
                size = np.uint64(value) if value > 0 else zero - np.uint64(value)
                total = totals[column]
                total[base], carry = limbs.multiply_add(size, w[0], total[base], zero)
                total[base + 1], carry = limbs.multiply_add(size, w[1], total[base + 1], carry)
                total[base + 2], carry = limbs.multiply_add(size, w[2], total[base + 2], carry)
                total[base + 3], carry = limbs.multiply_add(size, w[3], total[base + 3], carry)
                total[base + 4], carry = limbs.multiply_add(carry, one, total[base + 4], zero)
                total[base + 5] += carry
        for column in range(columns):
            t = totals[column]
            positive = limbs.reduce_wide((t[0], t[1], t[2], t[3]), t[4], t[5])
            negative = limbs.reduce_wide((t[6], t[7], t[8], t[9]), t[10], t[11])
            limbs.store(out[block], column, limbs.subtract(positive, negative))
    return out
