"""What the updates of a round contributed: the game between clients, and the scores of an epoch.

The players of a round are the clients whose update counts (:func:`ledger.settlement.counts`). The worth of a coalition is that of the model
which the agreed server optimiser makes when the others' updates are zero, with the round's own divisor. Who sends nothing is then worth
exactly nothing; if the divisor shrank with the coalition, as in the customary definition, a client that sends zeros would be paid wherever
a shorter step is the better one. All is integers and seeded from the beacon: a score is the same for all who hold the evaluation set.

Without a proof of training nothing stops a client from sending what another computed. A copy is worth what its original is, so values do
not see it; here updates that point the same way are found by their cosine, in integers. Of two in one round nobody knows which was first,
and neither scores; of one that repeats the round before, or its aggregate, the later does not. An update that was proved is no copy: the
proof is about a batch that the beacon drew for this client.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ledger.aggregation import ServerOptimizer
from ledger.agreement import Agreement
from ledger.entries import RoundEntry
from ledger.errors import FormatError
from ledger.evaluation import Evaluation
from ledger.settlement import Score, counts
from ledger.settlement_terms import Settlement
from ledger.shapley import Game, Values, gtg_shapley, leave_one_out, shapley

IntVector = npt.NDArray[np.int64]
_COSINE_BITS = 15  # of the largest value of an update, of which a cosine is computed
_BLOCK = 1 << 20
_LARGEST = 2**53 - 1


@dataclass(frozen=True)
class Round:
    """What a round is scored from.

    Attributes
    ----------
    entry : RoundEntry
    model : int64 array of shape (rule.size,)
        Before the round.
    optimizer : ServerOptimizer
        Before the round; it is not changed.
    updates : mapping of int to int64 array of shape (rule.size,)
        The accepted updates by client number.
    samples : mapping of int to int
        Enrolled samples of these clients.
    """

    entry: RoundEntry
    model: IntVector
    optimizer: ServerOptimizer
    updates: Mapping[int, IntVector]
    samples: Mapping[int, int]


@dataclass
class Scoring:
    """The scores of an epoch, round by round.

    Parameters
    ----------
    agreement : Agreement
        With a settlement.
    evaluation : Evaluation
    """

    agreement: Agreement
    evaluation: Evaluation
    _sums: dict[int, Values] = field(default_factory=dict)
    _before: list[IntVector] = field(default_factory=list)

    def add(self, done: Round) -> dict[int, Values]:
        """Score a round and return what each player's update was worth; updates that are no players' are left out."""
        found = self._values(done) if done.entry.aggregate is not None else {}
        for client, values in found.items():
            self._sums[client] = _sum(self._sums[client], values) if client in self._sums else values
        self.remember(done)
        return found

    def remember(self, done: Round) -> None:
        """Note a round that the next one may not repeat; :meth:`add` does so."""
        if self.agreement.proof.kind == "none":
            self._before = [*done.updates.values(), sum_of(done, list(done.updates))]

    def scores(self) -> dict[int, Score]:
        """Return the scores of the epoch so far, by client number.

        Raises
        ------
        FormatError
            They are beyond 2^53.
        """
        return {client: _score(values) for client, values in self._sums.items()}

    def settled(self) -> None:
        """Begin the next epoch."""
        self._sums.clear()

    def _values(self, done: Round) -> dict[int, Values]:
        rules = self.agreement.settlement
        assert rules is not None  # noqa: S101 - an evaluation belongs to an agreement with settlements
        players = [verdict.client for verdict in done.entry.verdicts if counts(self.agreement, verdict)]
        if self.agreement.proof.kind == "none":
            copied = copies({client: done.updates[client] for client in players}, self._before, rules.similarity)
            players = [client for client in players if client not in copied]
        if not players:
            return {}
        game = game_of(done, players, self.evaluation)
        values = play(rules, game, bytes.fromhex(done.entry.beacon))
        return {client: Values([numerators], values.denominator) for client, numerators in zip(players, values.numerators, strict=True)}


def play(rules: Settlement, game: Game, beacon: bytes) -> Values:
    """Return the values of a game by the agreed method."""
    match rules.method:
        case "shapley":
            return shapley(game)
        case "gtg-shapley":
            return gtg_shapley(game, beacon)
        case "leave-one-out":
            return leave_one_out(game)


def game_of(done: Round, players: Sequence[int], evaluation: Evaluation) -> Game:
    """Return the game of a round between ``players``; others' updates count as zero."""
    divisor = sum(done.samples[client] for client in done.updates)
    last, total = 0, sum_of(done, [])

    def worth(coalition: int) -> IntVector:
        nonlocal last, total
        for place, client in enumerate(players):  # from the coalition before: mostly one player more or less
            change = (coalition >> place & 1) - (last >> place & 1)
            if change:
                total = total + change * done.samples[client] * done.updates[client]
        last = coalition
        return evaluation.utility(copy(done.optimizer).step(done.model, total, divisor))

    return Game(len(players), worth)


def sum_of(done: Round, clients: Sequence[int]) -> IntVector:
    """Return the weighted sum of some updates."""
    total = np.zeros_like(done.model)
    for client in clients:
        total += done.samples[client] * done.updates[client]
    return total


def copies(updates: Mapping[int, IntVector], before: Sequence[IntVector], similarity: int) -> set[int]:
    """Return the clients whose update is a copy.

    Parameters
    ----------
    updates : mapping of int to int64 array
        Of one round, by client number.
    before : sequence of int64 array
        Of the round before, and their sum.
    similarity : int
        Per cent: an update is a copy of another when their cosine is at least that.
    """
    clients = list(updates)
    gram = _gram([*(updates[client] for client in clients), *before])
    found = set()
    for i, client in enumerate(clients):
        for j in range(len(gram)):
            same = gram[i][j] > 0 and (100 * gram[i][j]) ** 2 >= similarity**2 * gram[i][i] * gram[j][j]
            if i != j and same:
                found.add(client)
    return found


def _gram(vectors: Sequence[IntVector]) -> list[list[int]]:
    """Return the inner products of vectors, each cut to 15 bits; float64 products of blocks are exact, for they stay below 2^53."""
    cut = [vector >> max(0, _bits(vector) - _COSINE_BITS) for vector in vectors]
    length = len(cut[0]) if cut else 0
    total = np.zeros((len(cut), len(cut)), dtype=np.int64)
    for start in range(0, length, _BLOCK):
        block = np.stack([vector[start : start + _BLOCK] for vector in cut]).astype(np.float64)
        total += (block @ block.T).astype(np.int64)
    return [[int(value) for value in row] for row in total]


def _bits(vector: IntVector) -> int:
    return max(abs(int(vector.min())), abs(int(vector.max()))).bit_length() if vector.size else 0


def _sum(one: Values, other: Values) -> Values:
    denominator = math.lcm(one.denominator, other.denominator)
    parts = zip(one.numerators, other.numerators, strict=True)
    left, right = denominator // one.denominator, denominator // other.denominator
    return Values([left * a + right * b for a, b in parts], denominator)


def _score(values: Values) -> Score:
    """Return the sum of a value over the samples, rounded down, and its standard error, rounded up.

    The samples are taken for draws from a population: of their sum the variance is ``M / (M - 1) · (Σ φ² - (Σ φ)² / M)``.
    """
    vector = values.numerators[0].tolist()  # Python integers: squares have no bound
    samples, total = len(vector), sum(vector)
    spread = samples * sum(value * value for value in vector) - total * total
    variance = -(-spread // ((samples - 1) * values.denominator**2))
    root = math.isqrt(variance)
    score = Score(total // values.denominator, root + (root * root < variance))
    if max(abs(score.value), score.error) > _LARGEST:
        raise FormatError("a score is beyond 2^53: shorten the epoch or take fewer evaluation samples")
    return score
