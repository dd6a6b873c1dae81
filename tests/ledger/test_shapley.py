"""Shapley values: the axioms that define them, the definition itself, and how close sampling comes."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from ledger.shapley import MAX_PAIRS, Game, IntVector, Values, gtg_shapley, leave_one_out, permutation, shapley

SEED = b"seed"


def table_game(players: int, seed: int = 0, samples: int = 3) -> Game:
    """Return a game with random worths."""
    worths = np.random.default_rng(seed).integers(-1000, 1000, (1 << players, samples))
    return Game(players, lambda coalition: worths[coalition].astype(np.int64))


def smooth_game(players: int, seed: int, pairs: float = 0.05, triples: float = 0.0) -> Game:
    """Return a game of single worths, and what pairs and triples of players add or take."""
    rng = np.random.default_rng(seed)
    single = rng.integers(100, 10_000, players)
    pair = rng.normal(scale=pairs * 5000, size=(players, players)).astype(np.int64)
    triple = rng.normal(scale=triples * 5000, size=(players,) * 3).astype(np.int64)

    def worth(coalition: int) -> IntVector:
        chosen = np.array([player for player in range(players) if coalition >> player & 1], dtype=np.int64)
        total = single[chosen].sum() + pair[np.ix_(chosen, chosen)].sum() + triple[np.ix_(chosen, chosen, chosen)].sum()
        return np.array([total, 2 * total], dtype=np.int64)

    return Game(players, worth)


def fractions(values: Values) -> list[Fraction]:
    return [Fraction(total, values.denominator) for total in values.totals()]


def by_permutations(game: Game) -> list[Fraction]:
    """Return the definition in words: the mean of what a player adds, over all orders in which they may come."""
    sums = [0] * game.players
    for order in itertools.permutations(range(game.players)):
        coalition = 0
        for player in order:
            sums[player] += game.total(coalition | 1 << player) - game.total(coalition)
            coalition |= 1 << player
    return [Fraction(total, math.factorial(game.players)) for total in sums]


@pytest.mark.parametrize("players", range(1, 7))
def test_the_values_are_the_mean_over_all_orders(players: int) -> None:
    game = table_game(players, seed=players)
    assert fractions(shapley(game)) == by_permutations(game)


def test_they_are_linear_sample_by_sample() -> None:
    game = table_game(4, samples=5)
    values = shapley(game)
    for sample in range(5):
        alone = Game(4, lambda coalition, sample=sample: game[coalition][sample : sample + 1])  # type: ignore[misc]
        assert shapley(alone).totals() == [int(vector[sample]) for vector in values.numerators]


@pytest.mark.parametrize("method", [shapley, lambda game: gtg_shapley(game, SEED)])
def test_they_share_out_all_that_was_gained(method: Callable[[Game], Values]) -> None:
    game = smooth_game(6, 1)
    gain = game.total(game.everybody) - game.total(0)
    assert abs(sum(fractions(method(game)), Fraction(0)) - gain) <= Fraction(abs(gain), 200)  # what truncation leaves out


@pytest.mark.parametrize("method", [shapley, leave_one_out, lambda game: gtg_shapley(game, SEED)])
def test_who_adds_nothing_is_worth_nothing(method: Callable[[Game], Values]) -> None:
    inner = smooth_game(5, 2)
    game = Game(6, lambda coalition: inner[coalition & 0b11111])
    assert fractions(method(game))[5] == 0


def test_equals_are_worth_the_same() -> None:
    game = Game(4, lambda coalition: np.array([min(coalition.bit_count(), 3), 7], dtype=np.int64))
    assert len(set(fractions(shapley(game)))) == 1


def test_sampling_is_exact_where_only_pairs_interact() -> None:
    game = smooth_game(12, 3)
    drawn = [gtg_shapley(game, bytes([seed])) for seed in range(2)]
    exact = pair_values(game)
    for values in drawn:
        assert max(abs(one - other) for one, other in zip(fractions(values), exact, strict=True)) <= Fraction(max(exact), 50)


def pair_values(game: Game) -> list[int]:
    """Return the values of a game in which only pairs interact: what a player is worth alone and what is missing without it, halved."""
    full = game.everybody
    alone = [game.total(1 << player) - game.total(0) for player in range(game.players)]
    last = [game.total(full) - game.total(full ^ 1 << player) for player in range(game.players)]
    return [(one + other) // 2 for one, other in zip(alone, last, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_sampling_comes_close_where_triples_interact(seed: int) -> None:
    game = smooth_game(8, seed, triples=0.01)
    exact, sampled = fractions(shapley(game)), fractions(gtg_shapley(game, SEED))
    assert np.corrcoef([float(x) for x in exact], [float(x) for x in sampled])[0, 1] > 0.98


def test_the_seed_decides_the_permutations() -> None:
    game = smooth_game(12, 5, triples=0.02)
    one, same, other = (gtg_shapley(game, seed).totals() for seed in (b"a", b"a", b"b"))
    assert one == same
    assert one != other


def test_a_round_that_gains_nothing_is_left_out() -> None:
    asked: list[int] = []

    def worth(coalition: int) -> IntVector:
        asked.append(coalition)
        return np.array([-(10**9)], dtype=np.int64)

    assert gtg_shapley(Game(20, worth), SEED).totals() == [0] * 20
    assert len(asked) == 2


def test_sampling_ends() -> None:
    rng = np.random.default_rng(0)
    asked = 0

    def worth(coalition: int) -> IntVector:
        nonlocal asked
        asked += 1
        return rng.integers(-1000, 1000, 1)

    values = gtg_shapley(Game(15, worth), SEED)
    assert values.denominator <= 2 * MAX_PAIRS
    assert asked <= 2 * MAX_PAIRS * 15 + 2


def test_permutations_are_permutations_and_differ() -> None:
    drawn = [permutation(SEED, number, 20) for number in range(10)]
    assert all(sorted(one) == list(range(20)) for one in drawn)
    assert len({tuple(one) for one in drawn}) == 10


def test_a_game_that_is_too_large_to_remember_is_played_all_the_same() -> None:
    worth = np.zeros(1 << 22, dtype=np.int64)
    game = Game(3, lambda coalition: worth + coalition.bit_count())
    assert leave_one_out(game).totals() == [1 << 22] * 3
    assert len(game._known) == 2
