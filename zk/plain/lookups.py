"""Section 4, step 1: a tree of fractions shows that every looked-up row stands in its table.

A leaf is ``1/(α - f)`` for a row that is looked up, ``-m/(α - f)`` for an entry of a table that is looked up ``m`` times, and ``0/1``
behind them, with ``f = x + γ·y + γ²·tag``. Node ``i`` of a level of ``2^l`` nodes is the sum of nodes ``i`` and ``i + 2^l`` below it.
"""

from zk.field import ORDER
from zk.plain.algebra import Affine, Entry, cube, dot
from zk.plain.messages import Conversation
from zk.plain.tensors import Shape, Table


def check_lookups(talk: Conversation, shape: Shape) -> None:
    """Demand that every row of every column is in the table of its tag."""
    gamma, alpha = talk.transcript.challenges("lookup", 2)
    p = Affine(0)  # the root's numerator: the sum of all fractions is zero
    (q,) = talk.read("lookup root", 1)
    r: list[int] = []
    for _ in range(shape.lookup_depth):
        mix = talk.challenge("lookup mix")
        rho, value = talk.sumcheck("lookup", p + q * mix, len(r))
        p_0, q_1, first = talk.read_product("lookup")
        q_0, mixed, second = talk.read_product("lookup")  # mixed = p_1 + mix·q_1
        talk.must_vanish("lookup level", value - (first + second) * dot(cube(r), cube(rho)))
        p_1 = mixed - q_1 * mix
        c = talk.challenge("lookup child")
        p, q = p_0 * (1 - c) + p_1 * c, q_0 * (1 - c) + q_1 * c
        r = [c, *rho]
    numerators, denominators = _leaves(shape, gamma, alpha, cube(r))
    talk.must_vanish("lookup numerators", numerators - p)
    talk.must_vanish("lookup denominators", denominators - q)


def _leaves(shape: Shape, gamma: int, alpha: int, weights: list[int]) -> tuple[Affine, Affine]:
    """Return the weighted sums of all numerators and of all denominators."""
    numerator = denominator = 0
    uses: dict[Entry, int] = {}
    looked_up: dict[Entry, int] = {}
    position = 0
    for part in shape.leaves:
        for i in range(part.size):
            weight = weights[position]
            denominator += weight * (alpha - gamma * gamma * part.tag)
            if isinstance(part, Table):
                uses[part.uses, i] = -weight
                denominator -= weight * sum(gamma**power * value for power, value in enumerate(part.values[i]))
            else:
                numerator += weight
                for power, (name, factor) in enumerate(part.values):
                    before = looked_up.get((name, i), 0)
                    looked_up[name, i] = (before - weight * gamma**power * factor) % ORDER
            position += 1
    denominator += sum(weights[position:])
    return Affine(numerator, uses), Affine(denominator, looked_up)
