"""What the benchmarks of contributions say holds in small, too."""

import pytest

from bench.contributors import Contributors
from bench.incentives import STRATEGIES, play
from clients.datasets import load
from ledger.contribution import Scoring
from ledger.settlement import Score, pays


def test_who_contributes_nothing_is_paid_nothing() -> None:
    kinds = ("honest",) * 4 + ("zeros", "noise", "copies client 0", "repeats the last round", "turns its update round")
    clients = Contributors(load("digits"), kinds, "iid", samples=96, evaluated=128, method="gtg-shapley")
    scoring = Scoring(clients.agreement, clients.evaluation)
    for done in clients.rounds(3):
        scoring.add(done)
    scores, rules = scoring.scores(), clients.agreement.settlement
    assert rules is not None
    positive = [score.value for score in scores.values() if score.value > 0]
    paid = {kinds[client] for client, score in scores.items() if pays(rules, score, positive)}
    assert paid == {"honest"}
    assert scores[kinds.index("zeros")] == Score(0, 0)
    assert 0 not in scores  # its update was copied, and nobody knows who was first


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "honest"])
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_no_way_of_cheating_pays(name: str, rate: float) -> None:
    for stake in (0, 5):
        own, honest = play(name, rate, stake, 3)
        assert own <= 0 < honest


def test_it_would_pay_if_unproved_updates_did() -> None:
    own, _ = play(list(STRATEGIES)[-1], 0.1, 5, 3, paid_unproved=True)
    assert own > 0.3
