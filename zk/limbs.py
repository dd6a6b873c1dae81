"""Arithmetic modulo the order ``r`` of BLS12-381 G1 on four 64-bit limbs, for numba kernels.

An element is four unsigned limbs, least significant first, in Montgomery form ``x·2^256 mod r`` and always below ``r``. The product is
the "no-carry" form of coarsely integrated operand scanning: it may drop a carry because the top bit of ``r`` is clear.
Sources: Montgomery, Math. Comp. 44 (1985); Koç, Acar and Kaliski, IEEE Micro 1996; Botrel and El Housni, "Faster big-integer modular
multiplication for most moduli" (2020).

Everything here is compiled into the kernels that use it: numba has no 64×64→128 product, so one LLVM instruction sequence provides it.
Numba's cache looks at the file of the kernel only: whoever changes this file must delete the cached ``vectors`` and ``sumcheck`` kernels.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from zk.field import ORDER

Function = TypeVar("Function", bound=Callable[..., Any])
Opaque = Any  # numba and llvmlite have no types to check against
Element = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
Elements = npt.NDArray[np.uint64]  # shape (n, 4)

_MASK = (1 << 64) - 1
RADIX = (1 << 256) % ORDER
RADIX_SQUARED = RADIX * RADIX % ORDER


def limbs_of(value: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the four 64-bit limbs of ``0 <= value < 2^256``, least significant first."""
    low, second, third, high = (np.uint64((value >> shift) & _MASK) for shift in (0, 64, 128, 192))
    return low, second, third, high


_R0, _R1, _R2, _R3 = limbs_of(ORDER)
_INVERSE = np.uint64(-pow(ORDER, -1, 1 << 64) & _MASK)
_S0, _S1, _S2, _S3 = limbs_of(RADIX_SQUARED)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


def kernel(function: Function) -> Function:
    """Compile to machine code, once per machine; releases the interpreter lock while it runs."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@intrinsic  # type: ignore[untyped-decorator]
def multiply_add(typing: Opaque, a: Opaque, b: Opaque, c: Opaque, d: Opaque) -> Opaque:
    """Return ``(low, high)`` of ``a·b + c + d``, which always fits into 128 bits."""

    def generate(context: Opaque, builder: Opaque, signature: Opaque, arguments: Opaque) -> Opaque:
        wide = ir.IntType(128)
        first, second, third, fourth = (builder.zext(argument, wide) for argument in arguments)
        total = builder.add(builder.add(builder.mul(first, second), third), fourth)
        low = builder.trunc(total, ir.IntType(64))
        high = builder.trunc(builder.lshr(total, ir.Constant(wide, 64)), ir.IntType(64))
        return context.make_tuple(builder, signature.return_type, (low, high))

    return types.UniTuple(types.uint64, 2)(a, b, c, d), generate


@kernel
def subtract_order(a0: np.uint64, a1: np.uint64, a2: np.uint64, a3: np.uint64) -> Element:
    """Return ``a - r`` if that is not negative, else ``a``."""
    b0 = a0 - _R0
    borrow = _ONE if a0 < _R0 else _ZERO
    b1 = a1 - _R1 - borrow
    borrow = _ONE if (a1 < _R1 or (a1 == _R1 and borrow)) else _ZERO
    b2 = a2 - _R2 - borrow
    borrow = _ONE if (a2 < _R2 or (a2 == _R2 and borrow)) else _ZERO
    b3 = a3 - _R3 - borrow
    if a3 < _R3 or (a3 == _R3 and borrow):
        return a0, a1, a2, a3
    return b0, b1, b2, b3


@kernel
def add(a: Element, b: Element) -> Element:
    """Return ``a + b``; both below ``r < 2^255``, so the sum has no carry out."""
    s0, carry = multiply_add(a[0], _ONE, b[0], _ZERO)
    s1, carry = multiply_add(a[1], _ONE, b[1], carry)
    s2, carry = multiply_add(a[2], _ONE, b[2], carry)
    return subtract_order(s0, s1, s2, a[3] + b[3] + carry)


@kernel
def subtract(a: Element, b: Element) -> Element:
    """Return ``a - b``."""
    d0 = a[0] - b[0]
    borrow = _ONE if a[0] < b[0] else _ZERO
    d1 = a[1] - b[1] - borrow
    borrow = _ONE if (a[1] < b[1] or (a[1] == b[1] and borrow)) else _ZERO
    d2 = a[2] - b[2] - borrow
    borrow = _ONE if (a[2] < b[2] or (a[2] == b[2] and borrow)) else _ZERO
    d3 = a[3] - b[3] - borrow
    if a[3] < b[3] or (a[3] == b[3] and borrow):
        d0, carry = multiply_add(d0, _ONE, _R0, _ZERO)
        d1, carry = multiply_add(d1, _ONE, _R1, carry)
        d2, carry = multiply_add(d2, _ONE, _R2, carry)
        d3 = d3 + _R3 + carry
    return d0, d1, d2, d3


@kernel
def multiply(a: Element, b: Element) -> Element:
    """Return the Montgomery product ``a·b·2^-256``; both below ``r``."""
    t0, t1, t2, t3 = _ZERO, _ZERO, _ZERO, _ZERO
    for i in range(4):
        digit = b[i]
        t0, high = multiply_add(a[0], digit, t0, _ZERO)
        factor = t0 * _INVERSE
        _, carry = multiply_add(factor, _R0, t0, _ZERO)
        t1, high = multiply_add(a[1], digit, t1, high)
        t0, carry = multiply_add(factor, _R1, t1, carry)
        t2, high = multiply_add(a[2], digit, t2, high)
        t1, carry = multiply_add(factor, _R2, t2, carry)
        t3, high = multiply_add(a[3], digit, t3, high)
        t2, carry = multiply_add(factor, _R3, t3, carry)
        t3 = carry + high
    return subtract_order(t0, t1, t2, t3)


@kernel
def load(vector: Elements, i: int) -> Element:
    """Return element ``i`` of a ``(n, 4)`` array."""
    return vector[i, 0], vector[i, 1], vector[i, 2], vector[i, 3]


@kernel
def store(vector: Elements, i: int, a: Element) -> None:
    """Set element ``i`` of a ``(n, 4)`` array."""
    vector[i, 0], vector[i, 1], vector[i, 2], vector[i, 3] = a[0], a[1], a[2], a[3]


@kernel
def reduce_wide(low: Element, high0: np.uint64, high1: np.uint64) -> Element:
    """Return ``low + 2^256·(high0 + 2^64·high1)`` modulo ``r`` for any four-limb ``low``."""
    once = subtract_order(low[0], low[1], low[2], low[3])
    twice = subtract_order(once[0], once[1], once[2], once[3])  # 2^256 < 3r
    return add(twice, multiply((high0, high1, _ZERO, _ZERO), (_S0, _S1, _S2, _S3)))
