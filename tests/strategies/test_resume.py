"""A server that is killed anywhere goes on where its ledger ends, and makes the same ledger as one that was not."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from ledger.agreement import Agreement
from ledger.audit import audit
from ledger.checkpoint import Checkpoint
from ledger.evidence import write_durably
from ledger.export import write_export
from ledger.log import Log
from strategies.errors import StrategyError
from strategies.exact_fedavg import ExactFedAvg
from tests.federation import OK, Federation, Lasting, Run, key_of, terms
from tests.local_grid import LocalGrid

IN_ROUND_2 = 22
"""A point in the second round of three clients."""


class KilledError(BaseException):
    """The server's process ends here: nothing may catch it."""


@dataclass
class Killer:
    """Ends the server at the point with this number: before or after it sends, appends, or writes into its journal."""

    at: int
    count: int = 0

    def point(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise KilledError

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:  # noqa: ANN401
            self.point()
            result = function(*arguments)
            self.point()
            return result

        return wrapped


class Cut(LocalGrid):
    """A grid on which the server may end around each sending; replies that were not collected are lost with it."""

    def __init__(self, apps: list[ClientApp], killer: Killer, first: int) -> None:
        super().__init__(apps, first=first)
        self._killer = killer

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return list(self._killer.around(super().push_messages)(messages))


def run(
    folder: Path, clients: list[Lasting], agreement: Agreement, monkeypatch: pytest.MonkeyPatch, *kills: int, last: bool = True
) -> tuple[Run, int]:
    """Start a server again after each kill, under other node ids and with the clients in another order, until the run has ended.

    Returns the run, and how many points there were in its last start; without a ``last`` one, the server stays killed.
    """
    for start, at in enumerate([*kills, *([0] if last else [])]):
        killer = Killer(at)
        with monkeypatch.context() as patch:
            patch.setattr(Log, "append", _around(killer, Log.append))
            patch.setattr("strategies.journal.write_durably", killer.around(write_durably))
            apps = [one.app() for one in (clients if start % 2 == 0 else clients[::-1])]
            grid = Cut(apps, killer, first=100 * (start + 1))
            try:
                return Federation(folder, [], agreement, grid=grid, journal=True).run(), killer.count
            except KilledError:
                continue
    raise AssertionError("the last start was killed")


def _around(killer: Killer, append: Callable[[Log, bytes], Checkpoint]) -> Callable[[Log, bytes], Checkpoint]:
    def wrapped(log: Log, entry: bytes) -> Checkpoint:
        return killer.around(append)(log, entry)  # type: ignore[no-any-return]

    return wrapped


def lasting(count: int = 3, *, deterministic: bool = False) -> list[Lasting]:
    return [Lasting(number, deterministic=deterministic) for number in range(count)]


def nothing_is_lost(done: Run, clients: list[Lasting]) -> None:
    """Assert that everybody was accepted in every round, no nonce was withheld, and nobody signed twice for one round."""
    keys = [key_of(one.number) for one in clients]
    Run(done.agreement, done.state, done.result, done.entries, done.leaves, done.evidence, keys).check()
    assert [verdict.reason for entry in done.rounds for verdict in entry.verdicts] == [OK] * len(clients) * done.agreement.rounds.count
    assert [entry.withheld for entry in done.rounds] == [()] * len(done.rounds)
    assert done.outcome == "completed"
    assert {len(signed) for one in clients for signed in one.signed.values()} == {1}


def test_a_server_that_is_killed_anywhere_makes_the_same_ledger(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around each message, each append and each page of the journal; clients without randomness, so that ledgers can be compared."""
    agreement = terms(3, 2)
    whole, points = run(tmp_path / "whole", lasting(deterministic=True), agreement, monkeypatch)
    assert points > 20
    for at in range(1, points + 1):
        clients = lasting(deterministic=True)
        done, _ = run(tmp_path / str(at), clients, agreement, monkeypatch, at)
        nothing_is_lost(done, clients)
        assert done.leaves == whole.leaves


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_server_that_is_killed_anywhere_while_proofs_are_chosen(
    step: int, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two beacons a round; clients whose secrets are fresh each time, so that only what they kept is the same again."""
    agreement = terms(2, 1, proof={"kind": "training", "rate": 0.5})
    _, points = run(tmp_path / "whole", lasting(2), agreement, monkeypatch)
    for at in range(1, points + 1, step):
        clients = lasting(2)
        done, _ = run(tmp_path / str(at), clients, agreement, monkeypatch, at)
        nothing_is_lost(done, clients)
        assert audited(tmp_path / str(at), tmp_path / f"{at}.tar")


def test_killed_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start comes a little further, or not at all."""
    clients = lasting()
    done, _ = run(folder, clients, terms(3, 2), monkeypatch, *[1, 2, 3, 4, 5, 6, 7, 8] * 6)
    nothing_is_lost(done, clients)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "yogi"])
def test_the_server_optimiser_goes_on_where_it_was(optimizer: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is in no entry: it is made again from the aggregates."""
    agreement = terms(2, 4, aggregation={"optimizer": optimizer})
    whole, points = run(tmp_path / "whole", lasting(2, deterministic=True), agreement, monkeypatch)
    done, _ = run(folder, lasting(2, deterministic=True), agreement, monkeypatch, points - 4)
    assert done.leaves == whole.leaves


def test_a_strategy_that_cannot_replay_is_not_taken_into_a_run_that_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(ExactFedAvg):
        replay = None  # type: ignore[assignment]

    clients = lasting()
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, terms(3, 2), monkeypatch, IN_ROUND_2, last=False)
    with pytest.raises(StrategyError, match="no method replay"):
        Federation(folder, [one.app() for one in clients], terms(3, 2), strategy=Forgetful, journal=True).run()


def test_a_run_that_is_closed_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = lasting()
    done, _ = run(folder, clients, terms(3, 1), monkeypatch)
    again, points = run(folder, clients, terms(3, 1), monkeypatch)
    assert (again.leaves, points) == (done.leaves, 0)


def test_a_run_that_is_paused_goes_on(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, stop = lasting(), threading.Event()
    stop.set()
    paused = Federation(folder, [one.app() for one in clients], terms(3, 1), stop=stop, journal=True, pause=True).run()
    assert not paused.state.closed
    done, _ = run(folder, clients, terms(3, 1), monkeypatch)
    nothing_is_lost(done, clients)


def test_a_run_that_is_closed_in_the_middle_audits(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, stop = lasting(), threading.Event()
    with pytest.raises(AssertionError, match="killed"):
        run(folder, clients, terms(3, 2), monkeypatch, IN_ROUND_2, last=False)
    stop.set()
    closed = Federation(folder, [], terms(3, 2), grid=LocalGrid([]), stop=stop, journal=True).run()
    assert (closed.outcome, len(closed.rounds)) == ("interrupted", 1)
    assert audited(folder, tmp_path / "export.tar")


def audited(folder: Path, path: Path) -> bool:
    write_export(folder, path)
    return audit(path, backend="arkworks").verified
