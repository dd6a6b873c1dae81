"""The public tables of the losses, the same on every platform: decimal arithmetic of 50 digits, rounded half up."""

import functools
import struct
from decimal import Context, Decimal, localcontext

from zk.hashing import sha256
from zk.plan import Loss, Plan
from zk.rule import Rule

EXP_BITS = 14  # fractional bits of the exponential table
_DIGITS = 50  # far more than any table entry needs to round the right way


def exp_table(plan: Plan) -> tuple[int, ...]:
    """Tabulate the exponential: ``EXP[u] = round(2^14 exp(-u / 2^f_z))`` half up, for ``u`` in [0, 2^t)."""
    return _exp_table(plan.logit_bits, plan.limb_bits)


def sigmoid_table(plan: Plan) -> tuple[int, ...]:
    """Tabulate the logistic function at every logit of binary cross-entropy.

    Returns
    -------
    tuple of int
        ``round(2^f_p / (1 + exp(-A / 2^f_z)))`` half up, at index ``A + 2^(t-1)`` for ``A`` in
        ``[-2^(t-1), 2^(t-1))``.
    """
    return _sigmoid_table(plan.logit_bits, plan.limb_bits, plan.output_error_bits)


def loss_table(rule: Rule) -> tuple[int, ...]:
    """Return the public table that the rule's loss looks up; mean squared error has none."""
    match rule.loss:
        case Loss.SOFTMAX:
            return exp_table(rule.plan)
        case Loss.BINARY:
            return sigmoid_table(rule.plan)
        case Loss.SQUARED:
            return ()


@functools.lru_cache(maxsize=8)
def tables_digest(rule: Rule) -> str:
    """SHA-256, in hex, of the rule's table as little-endian 64-bit integers (empty if there is none)."""
    table = loss_table(rule)
    return sha256(struct.pack(f"<{len(table)}q", *table)).hex()


@functools.lru_cache(maxsize=8)
def _exp_table(logit_bits: int, limb_bits: int) -> tuple[int, ...]:
    with localcontext(Context(prec=_DIGITS)):
        unit = Decimal(2**logit_bits)
        return tuple(_half_up(2**EXP_BITS * (-u / unit).exp()) for u in range(2**limb_bits))


@functools.lru_cache(maxsize=8)
def _sigmoid_table(logit_bits: int, limb_bits: int, output_error_bits: int) -> tuple[int, ...]:
    half = 2 ** (limb_bits - 1)
    with localcontext(Context(prec=_DIGITS)):
        unit, one = Decimal(2**logit_bits), Decimal(2**output_error_bits)
        return tuple(_half_up(one / (1 + (-A / unit).exp())) for A in range(-half, half))


def _half_up(value: Decimal) -> int:
    """Round a non-negative number half up."""
    return int(value + Decimal("0.5"))
