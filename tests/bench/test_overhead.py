"""The benchmarks' own arithmetic: a report that is wrong is worse than none."""

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.batches import batches_of, client_key
from bench.federation import SEED, BenchError, Federation, Measurement, Outcome, Round
from bench.federation200 import PARTICIPANTS, SAMPLES, plan_federation
from bench.machine import describe
from bench.overhead import Aftermath, Report, federation_of, phases_table, show, write_first_model
from bench.process_tree import run_watched, tree
from clients.app import client_app
from clients.settings import member_from
from ledger.beacon import batch_digest
from ledger.entries import RoundEntry, decode_contribution, decode_entry
from ledger.evidence import EvidenceStore
from ledger.store import Store
from server.planning import Options, prepare
from server.run import run_federation
from strategies.observer import Observer
from tests.local_grid import LocalGrid


def measurement(wall_s: float, accuracy: float) -> Measurement:
    rounds = (Round(total_s=2.0, accuracy=0.5), Round(total_s=3.0, accuracy=accuracy, verifying_s=1.5, entry_bytes=4000))
    outcome = Outcome(imported_s=4.0, prepared_s=5.0, ray_ready_s=8.0, first_round_s=10.0, ended_s=16.0, rounds=rounds)
    return Measurement(wall_s=wall_s, cpu_s=20.0, peak_bytes=2**30, processes=7, outcome=outcome)


def digits(rounds: int = 2) -> Federation:
    return federation_of(prepare(Options(data="digits", clients=3, rounds=rounds, seed=1, proof="none")), "arkworks")


def test_a_federation_is_the_one_that_lunaria_would_run() -> None:
    federation = digits()
    assert Federation.model_validate_json(federation.model_dump_json()) == federation
    assert federation_of(prepare(federation.options()), "arkworks") == federation


def test_a_regression_is_refused() -> None:
    with pytest.raises(BenchError, match="three classes"):
        federation_of(prepare(Options(data="diabetes", seed=1)), "py_ecc")


def test_the_first_model_is_the_fixed_point_one(tmp_path: Path) -> None:
    plan = prepare(Options(data="digits", clients=3, seed=1))
    write_first_model(plan, tmp_path / "first.npz")
    with np.load(tmp_path / "first.npz") as arrays:
        weights = [arrays[name] for name in arrays.files]
    assert [array.shape for array in weights] == [(64, 128), (128,), (128, 10), (10,)]
    real = np.concatenate([array.ravel() for array in weights])
    exact = plan.model * 2.0**-plan.agreement.rule.weight_bits
    assert (real == exact.astype(np.float32)).all()


def test_the_plain_side_trains_on_the_batches_of_the_ledger(tmp_path: Path) -> None:
    federation = digits()
    plan = prepare(federation.options())
    extra: dict[str, str | int] = {"data": "digits", "samples-per-client": federation.samples, "seed": SEED}
    grid = LocalGrid([client_app(partial(member_from, extra=extra)) for _ in range(federation.clients)])
    state = run_federation(plan, tmp_path, grid, Observer(), threading.Event(), "arkworks")
    chosen = batches_of(tmp_path, federation)
    assert chosen.shape == (federation.rounds, federation.clients, federation.batch * federation.local_steps)
    assert sorted(client_key(number, federation.clients) for number in range(federation.clients)) == [
        member.client for member in state.members
    ]
    with Store.open(tmp_path / "ledger.db", create=False) as store:
        entry = decode_entry(store.entry(1 + federation.clients))
    assert isinstance(entry, RoundEntry)
    evidence = EvidenceStore(tmp_path / "evidence")
    references = [verdict.contribution for verdict in entry.verdicts]
    statements = [decode_contribution(evidence.get(item.digest, item.size)).statement for item in references if item is not None]
    assert {statement.batch for statement in statements} == {batch_digest(positions) for positions in chosen[0]}


def test_200_clients_take_what_the_data_set_has() -> None:
    federation = plan_federation("digits", "arkworks")
    assert (federation.clients, federation.participants) == (200, PARTICIPANTS)
    assert 1 <= federation.samples < SAMPLES


def test_phases_add_up_to_the_wall_time() -> None:
    item = measurement(18.0, 0.8)
    cells = list(phases_table({"plain": [item], "not measured": [], "Lunaria": [item]}).columns[2].cells)
    *phases, wall, _, memory = (float(str(cell).replace(",", "")) for cell in cells)
    assert (sum(phases), wall, memory) == (18.0, 18.0, 1024.0)


def test_the_report_says_whether_the_aims_are_met(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        machine=describe(),
        federation=digits(),
        plain=(measurement(18.0, 0.80),),
        quickstart=(),
        lunaria=(measurement(27.0, 0.83),),
        aftermath=Aftermath(export_bytes=1, ledger_db_bytes=1, export_s=0.1, audit_s=0.1, audit_verified=True),
        load_at_the_end=0.0,
        wall_ratio=1.5,
        wall_ratio_quickstart=None,
        cpu_ratio=1.0,
        accuracy_difference=0.03,
        wall_aim_met=True,
        accuracy_aim_met=False,
    )
    assert Report.model_validate_json(report.model_dump_json()) == report
    show(report, Console(width=112))
    shown = capsys.readouterr().out
    assert "wall time 1.50 × plain Flower (aim: at most 2 ×, met)" in shown
    assert "accuracy +3.00 points (aim: within 1, NOT MET)" in shown


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    held = "import time; held = bytearray(64 * 2**20); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    usage = run_watched([sys.executable, "-c", code], tmp_path / "log", os.environ, 60.0)
    assert (usage.exit_code, usage.processes) == (0, 2)
    assert usage.peak_bytes > 64 * 2**20
    assert os.getpid() in [process.number for process in tree(os.getpid())]


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    usage = run_watched([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", os.environ, 0.5)
    assert usage.exit_code != 0
    assert time.monotonic() - began < 30
