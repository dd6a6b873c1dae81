"""Federations that settle: what they append, that the audit recomputes it, and what it finds in forged settlements."""

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger.agreement import Agreement
from ledger.archive import ArchiveReader
from ledger.audit import Trust, audit
from ledger.backup import backup
from ledger.canonical import digest
from ledger.checkpoint import Checkpoint
from ledger.entries import ClosingEntry, RoundEntry, SettlementEntry, encode_entry
from ledger.errors import VerificationError
from ledger.evaluation import Evaluation
from ledger.export import write_export
from ledger.fsck import fsck
from ledger.log import Log
from ledger.report import Check, Report
from ledger.settlement import Score, claims
from ledger.state import RunState
from server.log_view import entry_line
from strategies.errors import StrategyError
from strategies.observer import Observer, RoundReport
from strategies.settling import Settling
from tests.federation import Federation, Lasting, LocalMember, Run, client, federate, key_of, terms
from tests.ledger.conftest import Forgery, write_files
from tests.ledger.test_contribution import evaluation_data
from tests.local_grid import LocalGrid
from tests.strategies.test_resume import KilledError, lasting

DATA = evaluation_data((5, 8, 3), "softmax-cross-entropy")
ACCOUNTS = ["0x" + f"{number + 1:02x}" * 20 for number in range(3)]


def settling_terms(count: int = 4, clients: int = 3, settlement: dict[str, Any] | None = None, **sections: Any) -> Agreement:  # noqa: ANN401
    rules = {"epoch": 2, "evaluation": digest(DATA), "pot": 1000, "deviations": 0, "licences": {key_of(0): 7}, **(settlement or {})}
    return terms(clients, count, settlement=rules, **sections)


def run_of(folder: Path, agreement: Agreement, **settings: Any) -> Run:  # noqa: ANN401
    clients = [client(number, partial(LocalMember, account=ACCOUNTS[number])) for number in range(3)]
    return federate(folder, clients, agreement=agreement, evaluation=Evaluation.decode(DATA, agreement), **settings)


def settlements(run: Run) -> list[SettlementEntry]:
    return [entry for entry in run.entries if isinstance(entry, SettlementEntry)]


def exported(folder: Path, tmp_path: Path, *, evaluation: bool = True, **how: Any) -> Report:  # noqa: ANN401
    write_export(folder, tmp_path / "export.tar", **how)
    (tmp_path / "evaluation.npy").write_bytes(DATA)
    return audit(tmp_path / "export.tar", Trust(evaluation=tmp_path / "evaluation.npy" if evaluation else None), backend="arkworks")


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"settlement": {"method": "gtg-shapley"}},
        {"settlement": {"method": "leave-one-out"}},
        {"aggregation": {"optimizer": "adam", "learning-rate": 0.01}},
        {"proof": {"kind": "training"}},
        {"proof": {"kind": "training", "rate": 0.4}},
    ],
    ids=["shapley", "gtg-shapley", "leave-one-out", "adam", "proved", "some proved"],
)
def test_every_epoch_is_settled_and_the_audit_recomputes_it(folder: Path, tmp_path: Path, sections: dict[str, Any]) -> None:
    run = run_of(folder, settling_terms(**sections))
    kinds = [entry.kind for entry in run.entries if entry.kind in ("round", "settlement", "closing")]
    assert kinds == ["round", "round", "settlement", "round", "round", "settlement", "closing"]
    report = exported(folder, tmp_path)
    assert report.verified, report.findings
    assert report.counts[Check.SCORES] == 6
    first, second = settlements(run)
    assert (first.first, first.last, second.first, second.last) == (1, 2, 3, 4)
    assert any(line.score for line in first.clients)
    assert [line.account for line in first.clients] == [ACCOUNTS[run.clients.index(key)] for key in run.state.keys]
    assert sum(line.earned for line in first.clients) == sum(claim.amount for claim in claims(first)) == int(first.total)


def test_a_licence_is_earned_in_each_round(folder: Path) -> None:
    run = run_of(folder, settling_terms())
    licensed = run.state.keys.index(key_of(0))
    for entry in settlements(run):
        assert [int(line.licence) for line in entry.clients] == [14 if line.client == licensed else 0 for line in entry.clients]


def test_the_other_tools_know_a_settlement(folder: Path, tmp_path: Path) -> None:
    run = run_of(folder, settling_terms(2))
    found = fsck(folder)
    assert (found.damaged, found.entries) == (0, len(run.entries))
    lines = [entry_line(index, leaf) for index, leaf in enumerate(run.leaves)]
    assert lines[-2].split() == ["6", "settlement", "1:", "rounds", "1", "to", "2,", *lines[-2].split()[7:]]
    assert f"{settlements(run)[0].total} earned, 0 lost" in lines[-2]
    backup(folder, tmp_path / "copy")
    assert fsck(tmp_path / "copy").damaged == 0


def test_without_the_evaluation_set_the_audit_says_what_it_did_not_recompute(folder: Path, tmp_path: Path) -> None:
    run_of(folder, settling_terms())
    report = exported(folder, tmp_path, evaluation=False)
    assert report.verified, report.findings
    assert Check.SCORES not in report.counts
    note = f"the scores in 2 settlements are the server's word: give the evaluation set, SHA-256 {digest(DATA)}"
    assert note in report.notes


def test_without_single_updates_scores_cannot_be_recomputed(folder: Path, tmp_path: Path) -> None:
    run_of(folder, settling_terms())
    report = exported(folder, tmp_path, updates=False)
    assert report.verified, report.findings
    assert "the scores in 2 settlements are the server's word: single updates are missing" in report.notes


def test_another_evaluation_set_is_refused(folder: Path, tmp_path: Path) -> None:
    run_of(folder, settling_terms(2))
    write_export(folder, tmp_path / "export.tar")
    (tmp_path / "other.npy").write_bytes(evaluation_data((5, 8, 3), "softmax-cross-entropy", 41))
    with pytest.raises(VerificationError, match="not the evaluation set that the agreement names"):
        audit(tmp_path / "export.tar", Trust(evaluation=tmp_path / "other.npy"), backend="arkworks")


def test_a_server_needs_the_evaluation_set(folder: Path) -> None:
    with pytest.raises(StrategyError, match="exactly where the agreement has settlements"):
        Federation(folder, [client(0)], settling_terms(2, 1)).run()


class Stops(Observer):
    """Stops the run after a round."""

    def __init__(self, after: int) -> None:
        self.after, self.stop = after, threading.Event()

    def round_done(self, report: RoundReport) -> None:
        if report.entry.round == self.after:
            self.stop.set()


def test_a_run_that_is_stopped_settles_what_was_done(folder: Path, tmp_path: Path) -> None:
    observer = Stops(3)
    run = run_of(folder, settling_terms(), observer=observer, stop=observer.stop)
    assert [(entry.first, entry.last) for entry in settlements(run)] == [(1, 2), (3, 3)]
    assert isinstance(run.entries[-1], ClosingEntry)
    assert run.outcome == "interrupted"
    assert exported(folder, tmp_path).verified


def test_a_run_that_ends_for_too_few_updates_settles_before_it_closes(folder: Path, tmp_path: Path) -> None:
    agreement = settling_terms(4, rounds={"minimum-accepted": 3}, settlement={"epoch": 4, "missed": 5})

    class Leaves(LocalMember):
        def contribute(self, *arguments: Any) -> Any:  # noqa: ANN401
            raise OSError("gone")

    clients = [client(number) for number in range(2)] + [client(2, Leaves)]
    run = federate(folder, clients, agreement=agreement, evaluation=Evaluation.decode(DATA, agreement))
    assert run.outcome == "too-few-accepted"
    (entry,) = settlements(run)
    assert [line.penalty for line in entry.clients if line.missed] == ["5"]
    assert exported(folder, tmp_path).verified


@pytest.mark.parametrize("optimizer", ["average", "momentum"])
def test_a_server_that_starts_again_scores_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    found: list[tuple[dict[int, Score], dict[int, Score]]] = []
    follow = Settling.follow

    def both(self: Settling, *, ending: bool = False) -> None:
        fresh = Settling(self._recorder, self._scoring.evaluation)
        fresh._read()
        self._read()
        found.append((self._scoring.scores(), fresh._scoring.scores()))
        follow(self, ending=ending)

    monkeypatch.setattr(Settling, "follow", both)
    run_of(folder, settling_terms(aggregation={"optimizer": optimizer}, settlement={"epoch": 3}))
    assert len(found) == 5
    assert [bool(kept) for kept, _ in found] == [False, True, True, True, True]
    assert all(kept == fresh for kept, fresh in found)


# ---- forged settlements: the last entry but one, so that nothing else depends on it


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("settled") / "run", settling_terms(2))


class Whole(Forgery):
    """A ledger with all the evidence that it was given."""

    def referenced(self) -> list[str]:
        return list(self.evidence)


def forge(run: Run, tmp_path: Path, *last: object) -> Report:
    """Audit the run with other entries behind its rounds."""
    write_export(run.evidence.folder.parent, tmp_path / "true.tar")
    with ArchiveReader(tmp_path / "true.tar") as archive:
        evidence = {digest(data): data for name in archive.names() if name.startswith("evidence/") for data in [archive.read(name, 2**20)]}
    kept = [json.loads(leaf) for leaf in run.leaves[:-2]]
    forged = Whole([*kept, *(json.loads(encode_entry(entry)) for entry in last)], evidence)  # type: ignore[arg-type]
    (tmp_path / "evaluation.npy").write_bytes(DATA)
    write_files(tmp_path / "forged.tar", forged.files())
    return audit(tmp_path / "forged.tar", Trust(evaluation=tmp_path / "evaluation.npy"), backend="arkworks")


def before_settlement(run: Run) -> RunState:
    state = RunState.begin(run.entries[0])  # type: ignore[arg-type]
    for entry in run.entries[1:-2]:
        said = (
            {verdict.client: statement_of(run, entry, verdict.client) for verdict in entry.verdicts}
            if isinstance(entry, RoundEntry)
            else {}
        )
        state.apply(entry, said)
    return state


def statement_of(run: Run, entry: RoundEntry, number: int) -> Any:  # noqa: ANN401
    signed = run.statement(entry.round, run.clients.index(run.state.keys[number]))
    assert signed is not None
    return signed.statement


def findings(report: Report) -> list[tuple[Check, str]]:
    return [(finding.check, finding.reason) for finding in report.findings]


def test_what_stands_verifies(settled: Run, tmp_path: Path) -> None:
    report = forge(settled, tmp_path, *settled.entries[-2:])
    assert report.verified, report.findings


def test_a_wrong_score_from_which_all_else_follows(settled: Run, tmp_path: Path) -> None:
    (entry,) = settlements(settled)
    lies = {line.client: Score(line.score + (line.client == 1) * 10**9, line.error) for line in entry.clients}
    forged = before_settlement(settled).settlement(lies)
    assert forged.root != entry.root
    found = findings(forge(settled, tmp_path, forged, settled.entries[-1]))
    true = next(line for line in entry.clients if line.client == 1)
    is_not = f"{true.score + 10**9} ± {true.error} instead of {true.score} ± {true.error}"
    assert found == [(Check.SCORES, f"client 1 is settled with the score {is_not}")]


def test_a_smaller_error_is_found_too(settled: Run, tmp_path: Path) -> None:
    (entry,) = settlements(settled)
    forged = before_settlement(settled).settlement({line.client: Score(line.score, line.error // 2) for line in entry.clients})
    found = findings(forge(settled, tmp_path, forged, settled.entries[-1]))
    assert [check for check, _ in found] == [Check.SCORES] * 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("contribution", "1999", "is settled with contribution 1999 instead of"),
        ("licence", "15", "is settled with licence 15 instead of"),
        ("account", "0x" + "99" * 20, "is settled with account 0x9999"),
        ("rounds", 3, "is settled with rounds 3 instead of 2"),
        ("penalty", "1", "is settled with penalty 1 instead of 0"),
    ],
)
def test_a_wrong_line(settled: Run, tmp_path: Path, field: str, value: object, message: str) -> None:
    (entry,) = settlements(settled)
    lines = (entry.clients[0].model_copy(update={field: value}), *entry.clients[1:])
    ((check, reason),) = findings(forge(settled, tmp_path, entry.model_copy(update={"clients": lines}), settled.entries[-1]))
    assert check is Check.SEQUENCE
    assert message in reason


def test_swapped_accounts(settled: Run, tmp_path: Path) -> None:
    (entry,) = settlements(settled)
    one, other, *rest = entry.clients
    lines = (one.model_copy(update={"account": other.account}), other.model_copy(update={"account": one.account}), *rest)
    ((check, reason),) = findings(forge(settled, tmp_path, entry.model_copy(update={"clients": lines}), settled.entries[-1]))
    assert (check, "is settled with account" in reason) == (Check.SEQUENCE, True)


def test_another_root_of_the_claims(settled: Run, tmp_path: Path) -> None:
    (entry,) = settlements(settled)
    ((check, reason),) = findings(forge(settled, tmp_path, entry.model_copy(update={"root": "00" * 32}), settled.entries[-1]))
    assert (check, "the settlement's root is" in reason) == (Check.SEQUENCE, True)


def test_an_epoch_that_is_settled_twice(settled: Run, tmp_path: Path) -> None:
    (entry,) = settlements(settled)
    found = findings(forge(settled, tmp_path, entry, entry, settled.entries[-1]))
    assert found == [(Check.SEQUENCE, "a settlement without a round since the last one")]


def test_an_epoch_that_is_not_settled(settled: Run, tmp_path: Path) -> None:
    found = findings(forge(settled, tmp_path, settled.entries[-1]))
    assert found == [(Check.SEQUENCE, "the run is closed before the rounds up to 2 are settled")]


def test_rounds_that_nobody_proved_earn_nothing(tmp_path: Path, folder: Path) -> None:
    run = run_of(folder, settling_terms(2, proof={"kind": "training", "rate": 0.3}))
    (entry,) = settlements(run)
    proved = sum(verdict.proof is not None for done in run.rounds for verdict in done.verdicts)
    assert sum(line.rounds for line in entry.clients) == proved == 2  # one of three in each round
    unproved = next(line for line in entry.clients if line.rounds < 2)
    lines = tuple(line.model_copy(update={"rounds": 2}) if line is unproved else line for line in entry.clients)
    ((check, reason),) = findings(forge(run, tmp_path, entry.model_copy(update={"clients": lines}), run.entries[-1]))
    assert check is Check.SEQUENCE
    assert reason == f"client {unproved.client} is settled with rounds 2 instead of {unproved.rounds}"


# ---- a server that is killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_server_that_is_killed_around_any_append_settles_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Entries 4 to 8 are a round, its settlement, a round, its settlement and the closing."""
    agreement = settling_terms(2, settlement={"epoch": 1})

    def run(where: Path, clients: list[Lasting], start: int = 0) -> Run:
        grid = LocalGrid([one.app() for one in clients], first=100 * (start + 1))
        known = Evaluation.decode(DATA, agreement)
        return Federation(where, [], agreement, grid=grid, journal=True, evaluation=known).run()

    whole = run(tmp_path / "whole", lasting(deterministic=True))
    assert [entry.kind for entry in whole.entries[4:]] == ["round", "settlement", "round", "settlement", "closing"]
    append = Log.append
    for index in range(4, 9):
        where, clients = tmp_path / str(index), lasting(deterministic=True)

        def killed(log: Log, entry: bytes, index: int = index) -> Checkpoint:
            if log.size == index and not after:
                raise KilledError
            result = append(log, entry)
            if log.size == index + 1:
                raise KilledError
            return result

        with monkeypatch.context() as patch:
            patch.setattr(Log, "append", killed)
            with pytest.raises(KilledError):
                run(where, clients)
        assert run(where, clients, 1).leaves == whole.leaves
