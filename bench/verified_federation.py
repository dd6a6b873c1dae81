"""The same federation with Lunaria, by the code of ``lunaria simulate``; it leaves the run's folder."""

import sys
from pathlib import Path

from bench.federation import Federation, Outcome, Round, orders
from bench.ray_watch import RayWatch
from ledger.entries import encode_entry
from ledger.state import RunState
from server.planning import prepare
from server.quiet import quiet
from server.run import new_folder
from server.simulate import simulate
from strategies.observer import Observer, RoundReport


class Stopwatch(Observer):
    """Notes when each phase of the run was over."""

    def __init__(self, federation: Federation, run: Path) -> None:
        self.enrolled_s = 0.0
        self.refused: list[str] = []
        self.rounds: list[Round] = []
        self._federation, self._evidence = federation, run / "evidence"
        self._last = self._sent = 0.0
        self._bytes = 0

    def enrolled(self, state: RunState, refused: list[str]) -> None:
        """Note the end of enrolment."""
        self._bytes = folder_bytes(self._evidence)
        self.refused = refused
        self.enrolled_s = self._last = self._federation.elapsed()

    def round_begins(self, number: int, participants: int) -> None:
        """Note that all nonces are in and training goes out."""
        self._sent = self._federation.elapsed()

    def round_done(self, report: RoundReport) -> None:
        """Note the round's phases; what is not waiting or verifying is evaluation and appending."""
        now, test = self._federation.elapsed(), report.entry.test
        total, reveal = now - self._last, self._sent - self._last
        before, self._bytes = self._bytes, folder_bytes(self._evidence)
        self.rounds.append(
            Round(
                total_s=total,
                accuracy=(test.correct or 0) / test.total if test is not None else 0.0,
                reveal_s=reveal,
                training_s=report.waiting_s - reveal,
                verifying_s=report.verifying_s,
                appending_s=total - report.waiting_s - report.verifying_s,
                entry_bytes=len(encode_entry(report.entry)),
                evidence_bytes=self._bytes - before,
            )
        )
        self._last = self._federation.elapsed()


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(folder: Path) -> None:
    """Do what ``federation.json`` in ``folder`` says; the run is left in ``run`` beside it."""
    federation = orders(folder)
    imported = federation.elapsed()
    run = folder / "run"
    new_folder(run)
    with quiet(run / "lunaria.log"):
        plan = prepare(federation.options())
        prepared = federation.elapsed()
        stopwatch, watch = Stopwatch(federation, run), RayWatch(federation.elapsed)
        simulate(plan, run, stopwatch, federation.verify_backend)
    outcome = Outcome(
        imported_s=imported,
        prepared_s=prepared,
        ray_ready_s=watch.ready,
        first_round_s=stopwatch.enrolled_s,
        ended_s=federation.elapsed(),
        rounds=tuple(stopwatch.rounds),
    )
    (folder / "outcome.json").write_text(outcome.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
