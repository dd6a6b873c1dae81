"""Square roots modulo the prime ``p`` of BLS12-381's curve, for reading compressed points: a numba kernel on six 64-bit limbs.

Nearly all of what it costs to read a point is ``a^((p+1)/4)``: 0.3 ms in Python integers, a tenth of that here. What the kernel returns
is a proposal: whoever asks squares it. Montgomery form as in :mod:`zk.limbs`; the exponent is cut into digits of four bits.
"""

import numpy as np
import numpy.typing as npt
from py_ecc.optimized_bls12_381 import field_modulus

from zk.limbs import kernel, multiply_add

P = int(field_modulus)
_BYTES = 48
_MASK = (1 << 64) - 1
_RADIX = (1 << 384) % P
Words = npt.NDArray[np.uint64]  # six limbs, least significant first
Element = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]


def square_root(value: int) -> int:
    """Return a root of ``0 <= value < p`` below ``p``; some other number below ``p`` if it has none."""
    words = np.frombuffer(value.to_bytes(_BYTES, "little"), dtype="<u8").astype(np.uint64)
    return int.from_bytes(_power(words, _EXPONENT).astype("<u8").tobytes(), "little")


def _words(value: int) -> Element:
    a, b, c, d, e, f = (np.uint64(value >> (64 * i) & _MASK) for i in range(6))
    return a, b, c, d, e, f


_P0, _P1, _P2, _P3, _P4, _P5 = _words(P)
_INVERSE = np.uint64(-pow(P, -1, 1 << 64) & _MASK)
_ZERO, _UNIT = np.uint64(0), np.uint64(1)
_ONE = _words(_RADIX)
_RADIX_SQUARED = _words(_RADIX * _RADIX % P)
_EXPONENT = np.array([int(digit, 16) for digit in f"{(P + 1) // 4:x}"], dtype=np.int64)


@kernel
def _subtract_word(a: np.uint64, b: np.uint64, borrow: np.uint64) -> tuple[np.uint64, np.uint64]:
    return a - b - borrow, _UNIT if a < b or (a == b and borrow) else _ZERO


@kernel
def _multiply(a: Element, b: Element) -> Element:
    """Return the Montgomery product ``a·b·2^-384``; both below ``p``, whose top bit is clear."""
    t0, t1, t2, t3, t4, t5 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    for i in range(6):
        digit = b[i]
        t0, high = multiply_add(a[0], digit, t0, _ZERO)
        factor = t0 * _INVERSE
        _, carry = multiply_add(factor, _P0, t0, _ZERO)
        t1, high = multiply_add(a[1], digit, t1, high)
        t0, carry = multiply_add(factor, _P1, t1, carry)
        t2, high = multiply_add(a[2], digit, t2, high)
        t1, carry = multiply_add(factor, _P2, t2, carry)
        t3, high = multiply_add(a[3], digit, t3, high)
        t2, carry = multiply_add(factor, _P3, t3, carry)
        t4, high = multiply_add(a[4], digit, t4, high)
        t3, carry = multiply_add(factor, _P4, t4, carry)
        t5, high = multiply_add(a[5], digit, t5, high)
        t4, carry = multiply_add(factor, _P5, t5, carry)
        t5 = carry + high
    s0, borrow = _subtract_word(t0, _P0, _ZERO)
    s1, borrow = _subtract_word(t1, _P1, borrow)
    s2, borrow = _subtract_word(t2, _P2, borrow)
    s3, borrow = _subtract_word(t3, _P3, borrow)
    s4, borrow = _subtract_word(t4, _P4, borrow)
    s5, borrow = _subtract_word(t5, _P5, borrow)
    return (t0, t1, t2, t3, t4, t5) if borrow else (s0, s1, s2, s3, s4, s5)


@kernel
def _load(words: Words) -> Element:
    return words[0], words[1], words[2], words[3], words[4], words[5]


@kernel
def _power(value: Words, exponent: npt.NDArray[np.int64]) -> Words:
    """Return ``value`` to the power with these hexadecimal digits, the first of them not zero; neither is in Montgomery form."""
    powers = np.empty((16, 6), dtype=np.uint64)
    base = _multiply(_load(value), _RADIX_SQUARED)
    power = _ONE
    for i in range(16):
        powers[i, 0], powers[i, 1], powers[i, 2], powers[i, 3], powers[i, 4], powers[i, 5] = power
        power = _multiply(power, base)
    out = _load(powers[exponent[0]])
    for i in range(1, len(exponent)):
        out = _multiply(out, out)
        out = _multiply(out, out)
        out = _multiply(out, out)
        out = _multiply(out, out)
        out = _multiply(out, _load(powers[exponent[i]]))
    return np.array(_multiply(out, (_UNIT, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)))
