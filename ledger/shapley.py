"""Shapley values of a cooperative game, in exact integers: by definition, by sampled permutations, and the leave-one-out screen.

A game has ``players`` numbered from 0 and a worth for each coalition of them, a bit mask. Worths are vectors (of a model: one number for
each sample of the evaluation set), and since a Shapley value is linear in them, so are the values; their sums are the values in the usual
sense, and their spread is what the noise is estimated from. A value is a vector of integers over one denominator.

Sources: Shapley, "A value for n-person games", 1953; Liu, Chen, Yu, Liu, Cui, "GTG-Shapley: Efficient and accurate participant
contribution evaluation in federated learning", ACM TIST 13(4), 2022; Mitchell, Cooper, Frank, Holmes, "Sampling permutations for Shapley
value estimation", JMLR 23, 2022 (antithetic pairs).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zk.hashing import expand

IntVector = npt.NDArray[np.int64]
MAX_PAIRS = 32
KEPT = 1 << 23  # numbers that are remembered: 64 MiB
BETWEEN, WITHIN, CONVERGED = 1_000_000, 1_000, 20
STARTS = (0, 2, 1, 3)  # quarters of a permutation, in the order in which rotations begin with them


@dataclass
class Game:
    """A game with its worths so far.

    Parameters
    ----------
    players : int
    worth : callable from int to int64 array
        The worth of a coalition, a bit mask. It is asked once for each, as long as there is room to remember.
    """

    players: int
    worth: Callable[[int], IntVector]
    _known: dict[int, IntVector] = field(default_factory=dict)

    def __getitem__(self, coalition: int) -> IntVector:
        """Return the worth of a coalition."""
        if coalition in self._known:
            return self._known[coalition]
        worth = self.worth(coalition)
        if len(self._known) * worth.size < KEPT:
            self._known[coalition] = worth
        return worth

    def total(self, coalition: int) -> int:
        """Return the sum of its worth."""
        return int(self[coalition].sum())

    @property
    def everybody(self) -> int:
        """The coalition of all."""
        return (1 << self.players) - 1


@dataclass(frozen=True)
class Values:
    """A value for each player: ``numerators``, one vector each, over ``denominator``."""

    numerators: list[IntVector]
    denominator: int

    def totals(self) -> list[int]:
        """Return the sums of the numerators."""
        return [int(vector.sum()) for vector in self.numerators]


def shapley(game: Game) -> Values:
    """Return the Shapley values by definition, from the worth of each of the ``2^n`` coalitions.

    ``φ_i = Σ_S |S|! (n-|S|-1)! / n! · (v(S ∪ i) - v(S))``; the denominator is the least common multiple of 1 to n.
    """
    n = game.players
    denominator = math.lcm(*range(1, n + 1))
    shares = [denominator // (n * math.comb(n - 1, size)) for size in range(n)]
    numerators = [np.zeros_like(game[0]) for _ in range(n)]
    # in the order of a Gray code neighbours differ by one player, which a game may compute faster
    for position in range(1 << n):
        coalition = position ^ (position >> 1)
        worth, size = game[coalition], coalition.bit_count()
        for player in range(n):
            if coalition >> player & 1:
                numerators[player] += shares[size - 1] * worth
            else:
                numerators[player] -= shares[size] * worth
    return Values(numerators, denominator)


def leave_one_out(game: Game) -> Values:
    """Return what everybody together lose when one is missing: a screen that sees no substitutes."""
    full = game[game.everybody]
    return Values([full - game[game.everybody ^ 1 << player] for player in range(game.players)], 1)


def gtg_shapley(game: Game, seed: bytes) -> Values:
    """Return Shapley values estimated by guided truncated sampling of permutations.

    Between rounds: a game in which everybody together gains less than a millionth of what there was has no values. Within a
    permutation: once less than a thousandth of the gain is missing, the others add nothing. Guided: four permutations in turn are rotations
    of one by a quarter, so that each player comes early, late and in between, where the paper lets each come first; what a player adds
    depends on its place more than on who is before it. Each permutation is followed by its reverse, which cancels what pairs of players do
    to each other. The sampling ends when a doubling of the pairs has changed the values by less than a twentieth, all in all, after four
    pairs at the earliest and 32 at the latest. Numbers of pairs are powers of two, so that denominators are.

    Parameters
    ----------
    game : Game
    seed : bytes
        Of the permutations: whoever has it draws the same.
    """
    n, full = game.players, game.everybody
    zero = np.zeros_like(game[0])
    gain = abs(game.total(full) - game.total(0))
    if n == 0 or gain * BETWEEN <= abs(game.total(0)):
        return Values([zero.copy() for _ in range(n)], 1)
    sums = [zero.copy() for _ in range(n)]
    before: Values | None = None
    for pair in range(MAX_PAIRS):
        drawn = permutation(seed, pair // len(STARTS), n)
        start = n * STARTS[pair % len(STARTS)] // len(STARTS)
        order = drawn[start:] + drawn[:start]
        for walk in (order, order[::-1]):
            _walk(game, walk, gain, sums)
        pairs = pair + 1
        if pairs & (pairs - 1) == 0:
            now = Values([vector.copy() for vector in sums], 2 * pairs)
            if before is not None and pairs >= len(STARTS) and _converged(before, now):
                return now
            before = now
    return Values(sums, 2 * MAX_PAIRS)


def permutation(seed: bytes, number: int, players: int) -> list[int]:
    """Draw a permutation of the players from an expansion of the seed (SHAKE256)."""
    stream = expand("lunaria/v1/permutation", seed, number.to_bytes(4, "big"), length=8 * players)
    return [int(player) for player in np.argsort(np.frombuffer(stream, dtype=">u8"), kind="stable")]


def _walk(game: Game, order: Sequence[int], gain: int, sums: list[IntVector]) -> None:
    """Add what each player adds to those before it, until next to nothing is missing."""
    coalition, worth, target = 0, game[0], game.total(game.everybody)
    for player in order:
        if abs(target - int(worth.sum())) * WITHIN <= gain:
            return
        coalition |= 1 << player
        after = game[coalition]
        sums[player] += after - worth
        worth = after


def _converged(before: Values, now: Values) -> bool:
    """Whether the values changed by less than 1/CONVERGED of their magnitude; ``now`` has twice the denominator."""
    changes = [abs(new - 2 * old) for new, old in zip(now.totals(), before.totals(), strict=True)]
    return CONVERGED * sum(changes) <= sum(abs(total) for total in now.totals())
