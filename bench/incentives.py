"""``python -m bench.incentives``: what each way of taking part pays, over proof rates and stakes.

Runs are played by the rules that settle real ones (:mod:`ledger.settlement`): a beacon chooses who must prove, each strategy says what
then happens, verdicts are counted and epochs settled. One client of ten plays the strategy, the others are honest; what it has left after
its costs is compared with what an honest client has. Whoever loses its stake is out. Amounts are in shares of a round's pot: what an
honest client earns by one round if all updates are proved.

The last strategy is played under another rule too, in which unproved updates are paid like proved ones: why they are not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.contribution import member
from ledger.agreement import Agreement, complete
from ledger.entries import SCALARS, STATEMENT, TENSOR, Aggregate, Reference, RoundEntry, Verdict
from ledger.settlement import Score, Tally, settle
from ledger.verdicts import Reason

CLIENTS, EPOCH, SHARE = 10, 10, 1_000  # what an honest client earns by a round, in the smallest unit
TRAINING, PROVING = 100, 100  # what honest work costs: a tenth of the share each
PENALTY, MISSED = 5 * SHARE, 2 * SHARE
TENSORS = Reference(digest="00" * 32, size=0, media_type=TENSOR)
SIGNED = Reference(digest="00" * 32, size=0, media_type=STATEMENT)


@dataclass(frozen=True)
class Strategy:
    """A way of taking part.

    Attributes
    ----------
    worth : int
        The score of its update, where an honest one has 1,000.
    training : int
        What making the update costs.
    proves : callable
        What it does when it must prove, and a proof is asked for at once or later: the verdict.
    proving : int
        What that costs.
    """

    worth: int
    training: int
    proves: Callable[[bool], Reason]
    proving: int


STRATEGIES = {
    "honest": Strategy(1000, TRAINING, lambda later: Reason.ACCEPTED, PROVING),
    "trains, proves nothing": Strategy(1000, TRAINING, lambda later: Reason.NO_PROOF, 0),
    "sends zeros, proves nothing": Strategy(0, 0, lambda later: Reason.NO_PROOF, 0),
    "sends zeros, and a false proof": Strategy(0, 0, lambda later: Reason.BAD_PROOF, 0),
    "sends what is worth as much, proves nothing": Strategy(1000, 0, lambda later: Reason.NO_PROOF, 0),
}


def agreed(rate: float, *, paid_unproved: bool) -> Agreement:
    """Return the rules; those that pay for unproved updates ask for proofs of none in the eyes of a settlement."""
    return complete(
        {
            "federation": {"name": "incentives", "clients": CLIENTS},
            "model": {"layers": [4, 2], "seed": "00" * 32},
            "rounds": {"participants": CLIENTS, "count": 1000},
            "proof": {"kind": "none"} if paid_unproved else {"kind": "training", "rate": rate},
            "settlement": {
                "epoch": EPOCH,
                "evaluation": "00" * 32,
                "pot": SHARE * CLIENTS,
                "penalty": PENALTY,
                "missed": MISSED,
                "deviations": 0,
            },
        }
    )


def play(name: str, rate: float, stake: int, epochs: int, *, paid_unproved: bool = False, seed: int = 0) -> tuple[float, float]:
    """Return what client 0, who plays a strategy, and an honest client have left by round and participation, in shares.

    Parameters
    ----------
    name : str
        Of the strategy.
    rate : float
        The share of updates that must be proved.
    stake : int
        In shares: it can lose no more, and is out when it has; without any it has nothing to lose.
    epochs : int
        How many runs of one epoch are played, each with a new stake.
    paid_unproved : bool
        Whether updates that were not chosen to be proved are paid, too.
    """
    rng, agreement = np.random.default_rng(seed), agreed(rate, paid_unproved=paid_unproved)
    members, count = [member(number) for number in range(CLIENTS)], complete_provers(agreement, rate)
    own = honest = 0
    for _ in range(epochs):
        tally, spent, spent_honestly, lost = Tally(agreement), 0, 0, 0
        for number in range(1, EPOCH + 1):
            chosen = set(rng.permutation(CLIENTS)[:count].tolist())
            verdicts = []
            for client in range(CLIENTS):
                strategy = STRATEGIES[name if client == 0 else "honest"]
                if client == 0 and stake and lost >= stake * SHARE:
                    verdicts.append(Verdict(client=client, reason=Reason.WRONG_CLIENT))  # it is out: asked no more
                    continue
                reason = strategy.proves(rate < 1) if client in chosen else Reason.ACCEPTED
                proof = SIGNED if client in chosen and rate < 1 and reason is not Reason.NO_PROOF else None
                verdicts.append(Verdict(client=client, reason=reason, contribution=SIGNED, proof=proof))
                cost = strategy.training + (strategy.proving if client in chosen else 0)
                spent += cost if client == 0 else 0
                spent_honestly += cost if client == 1 else 0
                if client == 0 and reason is not Reason.ACCEPTED:
                    lost += MISSED if reason is Reason.NO_PROOF and rate < 1 else PENALTY
            tally.add(_round(number, tuple(verdicts)))
        scores = {
            client: Score((STRATEGIES[name].worth if client == 0 else 1000) * rounds_of(tally, client), 0) for client in range(CLIENTS)
        }
        lines = settle(tally, members, scores, 1, 1, EPOCH).clients
        own += lines[0].earned - min(lost, stake * SHARE) - spent
        honest += lines[1].earned - spent_honestly
    return own / (epochs * EPOCH * SHARE), honest / (epochs * EPOCH * SHARE)


def complete_provers(agreement: Agreement, rate: float) -> int:
    """Return how many of a round must prove."""
    return agreement.model_copy(update={"proof": agreement.proof.model_copy(update={"rate": rate})}).proof.provers(CLIENTS)


def rounds_of(tally: Tally, client: int) -> int:
    """Return how often a client's update counted."""
    return tally.clients[client].rounds if client in tally.clients else 0


def measure(epochs: int) -> list[dict[str, Any]]:
    """Play every strategy at every rate and stake."""
    found = []
    for rate in (1.0, 0.5, 0.3, 0.1):
        for stake in (0, 1, 5, 20):
            for name in STRATEGIES:
                own, honest = play(name, rate, stake, epochs)
                found.append({"rule": "paid if proved", "strategy": name, "rate": rate, "stake": stake, "payoff": own, "honest": honest})
            last = list(STRATEGIES)[-1]
            own, honest = play(last, rate, stake, epochs, paid_unproved=True)
            found.append({"rule": "all are paid", "strategy": last, "rate": rate, "stake": stake, "payoff": own, "honest": honest})
    return found


def _round(number: int, verdicts: tuple[Verdict, ...]) -> RoundEntry:
    return RoundEntry(
        round=number,
        reveals=(),
        withheld=(),
        beacon="00" * 32,
        model_before="00" * 32,
        model_after=TENSORS,
        verdicts=verdicts,
        aggregate=Aggregate(samples=1, sum=TENSORS, blinds=Reference(digest="00" * 32, size=0, media_type=SCALARS)),
        test=None,
    )


def main(
    epochs: Annotated[int, typer.Option(help="Runs of one epoch for each case.")] = 200,
    path: Annotated[Path | None, typer.Option("--json", help="Write the report to this file, too.")] = None,
) -> None:
    """Play the game of taking part."""
    found = measure(epochs)
    if path:
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console = Console(width=140)
    stakes = sorted({one["stake"] for one in found})
    table = Table(title="left by round, in shares of the pot, by the stake (in shares) that can be lost", title_justify="left")
    for column in ("rule", "strategy", "proof rate", *(f"stake {stake}" for stake in stakes), "honest"):
        table.add_column(column, justify="left" if column in ("rule", "strategy") else "right")
    for rule, name, rate in sorted(
        {(one["rule"], one["strategy"], one["rate"]) for one in found}, key=lambda key: (key[0], key[1], -key[2])
    ):
        own = [one for one in found if (one["rule"], one["strategy"], one["rate"]) == (rule, name, rate)]
        table.add_row(rule, name, str(rate), *(f"{one['payoff']:+.2f}" for one in own), f"{own[0]['honest']:+.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
