"""``python -m bench.contribution``: whether sampled scores agree with exact ones, what dishonest clients earn, what scoring costs.

Agreement: exact Shapley values of ten clients (1024 coalitions a round) beside the sampled ones and leave-one-out, as Pearson's
correlation. Behaviour: whole epochs settled by the rules of the agreement, no proofs, one client of each kind. Cost: a round of 50
participants scored, beside what proving and verifying its training takes: processor seconds, which other work on the machine distorts
little.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.contributors import KINDS, Contributors
from bench.training_proof import Size, apart
from clients.datasets import load
from ledger.contribution import Scoring, game_of, play
from ledger.entries import EnrolmentStatement, Reference, Settled
from ledger.settlement import Tally, settle
from ledger.shapley import Game, Values, gtg_shapley, leave_one_out, shapley

HONEST = 10


def agreement_of_methods(spec: str, rounds: int) -> list[dict[str, Any]]:
    """Return Pearson's correlation with exact values, over single rounds and over the whole epoch."""
    found = []
    for partition in ("iid", "dirichlet:1", "dirichlet:0.3"):
        clients = Contributors(load(spec), ("honest",) * HONEST, partition)
        totals: dict[str, list[list[float]]] = {}
        calls = 0
        for done in clients.rounds(rounds):
            seed = bytes.fromhex(done.entry.beacon)
            players = list(done.updates)
            for name in ("exact", "gtg-shapley", "leave-one-out"):
                game, asked = counted(game_of(done, players, clients.evaluation))
                totals.setdefault(name, []).append(in_units(_values(name, game, seed)))
                calls += len(asked) if name == "gtg-shapley" else 0
        exact = np.array(totals["exact"])
        for name in ("gtg-shapley", "leave-one-out"):
            other = np.array(totals[name])
            each = [float(np.corrcoef(one, two)[0, 1]) for one, two in zip(exact, other, strict=True)]
            epoch = float(np.corrcoef(exact.sum(axis=0), other.sum(axis=0))[0, 1])
            found.append({"partition": partition, "method": name, "rounds": each, "epoch": epoch, "coalitions": calls / rounds})
    return found


def _values(name: str, game: Game, seed: bytes) -> Values:
    if name == "exact":
        return shapley(game)
    return gtg_shapley(game, seed) if name == "gtg-shapley" else leave_one_out(game)


def behaviours(spec: str, rounds: int) -> list[dict[str, Any]]:
    """Return what each client of a settled epoch was worth and earned."""
    kinds = ("honest",) * HONEST + tuple(kind for kind in KINDS if kind != "honest")
    clients = Contributors(load(spec), kinds, "dirichlet:1", method="gtg-shapley")
    scoring, tally = Scoring(clients.agreement, clients.evaluation), Tally(clients.agreement)
    for done in clients.rounds(rounds):
        scoring.add(done)
        tally.add(done.entry)
    scores = scoring.scores()
    entry = settle(tally, [member(number) for number in range(len(kinds))], scores, 1, 1, rounds)
    mean = statistics.mean(
        line.score for line, kind in zip(entry.clients, kinds, strict=True) if kind == "honest" and line.client in scores
    )

    def row(kind: str, line: Settled) -> dict[str, Any]:
        return {
            "kind": kind,
            "copy": line.client not in scores,
            "score": line.score / mean,
            "error": line.error / mean,
            "earned": line.earned,
        }

    return [row(kind, line) for kind, line in zip(kinds, entry.clients, strict=True)]


def cost(spec: str, participants: int, proofs: int, rounds: int) -> dict[str, Any]:
    """Return processor seconds: of scoring a round, and of proving and verifying all of its updates."""
    clients = Contributors(load(spec), ("honest",) * participants, "iid", method="gtg-shapley")
    rules = clients.agreement.settlement
    assert rules is not None  # noqa: S101 - Contributors have one
    scored, coalitions = [], []
    for done in clients.rounds(rounds):
        game, asked = counted(game_of(done, list(done.updates), clients.evaluation))
        began = time.process_time()
        play(rules, game, bytes.fromhex(done.entry.beacon))
        scored.append(time.process_time() - began)
        coalitions.append(len(asked))
    figures = apart(Size(counts=(proofs,)))
    verify = {one.group: one.each for one in figures.verify}
    trained = participants * (figures.train + figures.prove["total"])
    shares = {group: statistics.median(scored) / (trained + participants * each) for group, each in verify.items()}
    return {
        "participants": participants,
        "scoring": scored,
        "coalitions": coalitions,
        "proving one": figures.prove["total"],
        "verifying one": verify,
        "share of a round": shares,
        "share of verifying alone": {group: statistics.median(scored) / (participants * each) for group, each in verify.items()},
    }


def counted(game: Game) -> tuple[Game, list[int]]:
    """Return a game that notes which coalitions it was asked for."""
    asked: list[int] = []
    worth = game.worth

    def noting(coalition: int) -> Any:  # noqa: ANN401
        asked.append(coalition)
        return worth(coalition)

    return Game(game.players, noting), asked


def in_units(values: Values) -> list[float]:
    """Return values as numbers."""
    return [total / values.denominator for total in values.totals()]


def member(number: int) -> EnrolmentStatement:
    """Return an enrolment of which only its key matters here."""
    nothing = Reference(digest="00" * 32, size=0, media_type="application/json")
    return EnrolmentStatement(run="00" * 32, client=f"{number:064x}", samples=1, rows=nothing, proof=nothing, nonce="00" * 32)


def show(report: dict[str, Any]) -> None:
    """Print a report."""
    console = Console(width=140)
    for line in report["machine"]["lines"]:
        console.print(line, highlight=False)
    table = Table(title="correlation with exact Shapley values, 10 clients", title_justify="left")
    for column in ("partition", "method", "least of the rounds", "epoch", "coalitions a round"):
        table.add_column(column)
    for one in report["agreement"]:
        asked = f"{one['coalitions']:.0f} of 1024" if one["method"] == "gtg-shapley" else "11"
        table.add_row(one["partition"], one["method"], f"{min(one['rounds']):.4f}", f"{one['epoch']:.4f}", asked)
    console.print(table)
    table = Table(title="an epoch without proofs of training; scores over the mean of the honest", title_justify="left")
    for column in ("client", "score", "standard error", "of the pot"):
        table.add_column(column)
    pot = sum(one["earned"] for one in report["behaviour"])
    for one in report["behaviour"]:
        score = "copy" if one["copy"] else f"{one['score']:.3f}"
        table.add_row(one["kind"], score, f"{one['error']:.3f}", f"{100 * one['earned'] / pot:.1f} %")
    console.print(table)
    spent = report["cost"]
    console.print(
        f"{spent['participants']} participants: {statistics.median(spent['scoring']):.1f} processor seconds to score a round "
        f"({statistics.median(spent['coalitions']):.0f} coalitions), {spent['proving one']:.2f} to prove one update; "
        + ", ".join(f"{100 * share:.1f} % of a round with {group}" for group, share in spent["share of a round"].items())
        + "; "
        + ", ".join(f"{100 * share:.0f} % of verifying it with {group}" for group, share in spent["share of verifying alone"].items())
    )


def main(
    data: Annotated[str, typer.Option(help="As for 'lunaria simulate'.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Rounds of an epoch.")] = 5,
    participants: Annotated[int, typer.Option(help="Whose round is timed.")] = 50,
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds and two proofs.")] = False,
    path: Annotated[Path | None, typer.Option("--json", help="Write the report to this file, too.")] = None,
) -> None:
    """Measure scores of contributions."""
    described = machine.describe()
    count = 2 if quick else rounds
    report: dict[str, Any] = {
        "machine": {**described.model_dump(), "lines": described.lines()},
        "agreement": agreement_of_methods(data, count),
        "behaviour": behaviours(data, count),
        "cost": cost(data, participants, 2 if quick else 4, min(count, 3)),
    }
    if path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report)


if __name__ == "__main__":
    typer.run(main)
