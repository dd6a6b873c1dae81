"""A deployment under random kills: ``python -m bench.chaos --json FILE``.

Server, witness and three clients run as processes of their own, with TLS and node keys, for ten rounds; 20 times one of them is killed
(SIGKILL), and what ended is started again with the command that it was started with before. The same run is done once more, from copies
of the same state folders, with nobody killed. Both must end with the same model, and audit.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from bench.machine import Machine, describe
from ledger.checkpoint import parse_checkpoint
from ledger.entries import ClosingEntry, RoundEntry, decode_entry
from ledger.log import published_checkpoint
from ledger.note import parse
from ledger.storage import ledger_of
from server.deployment.demo import CLIENT, CLIENTS, LUNARIA, Demo, command, witnesses
from server.errors import ExitCode

ROUNDS, KILLS, SEED = 10, 20, 1
LIMIT_SECONDS = 3600.0
FUNCTIONS = {"hospital-a": "hospital_a", "hospital-b": "hospital_b", "hospital-c": "hospital_c"}
PROC = Path("/proc")

# What is killed, and where it is found: a process of ours, or one of Flower's below it by a word of its command line.
TARGETS: dict[str, tuple[str, str]] = {
    "flower-server": ("server", ""),
    "SuperLink": ("server", "flower-superlink"),
    "ServerApp": ("server", "flwr-serverapp"),
    "witness": ("witness", ""),
    **{f"flower-client {name}": (name, "") for name in CLIENTS},
    **{f"SuperNode {name}": (name, "flower-supernode") for name in CLIENTS},
}


class Kill(BaseModel):
    """What was killed, how many seconds after the start, and how many rounds stood then."""

    target: str
    seconds: float
    rounds: int


class Outcome(BaseModel):
    """How a run ended."""

    outcome: str
    rounds: int
    model: str
    tree: str
    accepted: list[int]
    audited: bool
    seconds: float


class Report(BaseModel):
    """The measurement."""

    machine: Machine
    seed: int
    proof: str
    undisturbed: Outcome
    killed: Outcome
    kills: list[Kill]

    @property
    def equal(self) -> bool:
        """Whether the kills changed nothing: the same model, under the same tree."""
        return (self.undisturbed.model, self.undisturbed.tree) == (self.killed.model, self.killed.tree)


@dataclass
class Watched(Demo):
    """A deployment whose processes are started again when they end, as systemd would."""

    folder: Path
    port: int
    witness_port: int
    restarts: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_client(self, name: str) -> None:
        """Start a client on data that comes without randomness."""
        first = () if (self.folder / f"state-{name}").exists() else ("--invitation", f"{name}.invitation.toml")
        self.start(name, CLIENT, *first, "--data", f"bench.chaos_data:{FUNCTIONS[name]}", "--state", f"state-{name}")

    def start_all(self) -> None:
        """Start everything."""
        for name in ("server", "witness", *CLIENTS):
            self.again(name)

    def again(self, name: str) -> None:
        """Start a process with its command."""
        if name == "server":
            self.start_server()
        elif name == "witness":
            self.start_witness()
        else:
            self.start_client(name)

    def ended(self) -> bool:
        """Start again what has ended; whether the run is over."""
        for name in ("server", "witness", *CLIENTS):
            code = self._processes[name].poll()
            if code is None:
                continue
            if name == "server" and code == ExitCode.OK:
                return True
            self.restarts += 1
            self.again(name)
        return False

    def process(self, target: str) -> int | None:
        """Return the process id of a target; None while it has no process."""
        name, word = TARGETS[target]
        number = self.process_id(name)
        if not word:
            return number
        return next((one for one in descendants(number) if word in command_line(one)), None)

    def rounds(self) -> int:
        """Return how many rounds stand."""
        with ledger_of(self.folder / "run")[0] as store:
            return sum(isinstance(decode_entry(entry), RoundEntry) for entry in store.entries(0, store.size()))

    def outcome(self, seconds: float) -> Outcome:
        """Export, audit, and say what stands in the ledger."""
        self.run(LUNARIA, "export", "run", "-o", "export.tar")
        audit = subprocess.run(  # noqa: S603 - our own program
            command(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml"), cwd=self.folder, capture_output=True, check=False
        )
        with ledger_of(self.folder / "run")[0] as store:
            entries = [decode_entry(entry) for entry in store.entries(0, store.size())]
        closing = entries[-1]
        rounds = [entry for entry in entries if isinstance(entry, RoundEntry)]
        note = published_checkpoint(self.folder / "run")
        return Outcome(
            outcome=closing.outcome if isinstance(closing, ClosingEntry) else "open",
            rounds=len(rounds),
            model=rounds[-1].model_after.digest,
            tree=parse_checkpoint(parse(note or b"").text).root.hex(),
            accepted=[sum(verdict.accepted for verdict in entry.verdicts) for entry in rounds],
            audited=audit.returncode == ExitCode.OK,
            seconds=round(seconds, 1),
        )


def descendants(number: int) -> Iterator[int]:
    """Yield the ids of all processes below one."""
    parents: dict[int, int] = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {number}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
        yield from sorted(more)


def command_line(number: int) -> str:
    """Return the command line of a process; empty when it has ended."""
    try:
        return (PROC / str(number) / "cmdline").read_text(encoding="utf-8").replace("\0", " ")
    except OSError:
        return ""


def prepare(folder: Path, proof: str) -> Watched:
    """Make state folders that runs are copied from: keys, identities, and a ledger with its first entry."""
    with Demo(folder, ROUNDS, proof={"kind": proof}, witnesses=witnesses(folder)) as demo:
        demo.invite()
        prepared = Watched(folder, demo.port, demo.witness_port)
    with prepared:
        for name in CLIENTS:
            prepared.start_client(name)
            prepared.wait_for(name, "waiting")  # for the server: it has its identity
        for name in CLIENTS:
            prepared.kill(name)
        prepared.start_server()
        prepared.start_witness()
        prepared.wait_for("server", "0 of 3 are connected")
        prepared.kill("server")
        prepared.kill("witness")
    for path in folder.glob("*.out"):
        path.unlink()
    return prepared


def go(prepared: Watched, folder: Path, schedule: Sequence[tuple[float, str]]) -> tuple[Outcome, list[Kill]]:
    """Run a copy of the prepared deployment to its end, and kill as scheduled: two targets a round, some seconds after each other."""
    shutil.copytree(prepared.folder, folder)
    waiting, kills, due = list(schedule), list[Kill](), 0.0
    with Watched(folder, prepared.port, prepared.witness_port) as run:
        began = time.monotonic()
        run.start_all()
        while not run.ended():
            now = time.monotonic() - began
            if now > LIMIT_SECONDS:
                raise TimeoutError(f"the run did not end within {LIMIT_SECONDS:.0f} s: see {folder}")
            rounds = run.rounds()
            if waiting and len(kills) <= 2 * rounds + 1:
                late = len(kills) < 2 * rounds  # two in each round: the next one is not to wait
                due = due or now + (0.0 if late else waiting[0][0])
                process = run.process(waiting[0][1])
                if now >= due and process is not None:
                    os.kill(process, signal.SIGKILL)
                    kills.append(Kill(target=waiting.pop(0)[1], seconds=round(now, 1), rounds=rounds))
                    print(f"{now:6.1f} s, {rounds} rounds: killed {kills[-1].target}", flush=True)
                    due = 0.0
            time.sleep(0.5)
        seconds = time.monotonic() - began
        for name in ("witness", *CLIENTS):
            run.stop(name)
        return run.outcome(seconds), kills


def plan(seed: int) -> list[tuple[float, str]]:
    """Return 20 pauses with targets: each target once at least."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    targets = [*TARGETS, *chance.choices(list(TARGETS), k=KILLS - len(TARGETS))]
    chance.shuffle(targets)
    return [(chance.uniform(0.5, 15.0), target) for target in targets]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; returns an exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--proof", choices=["training", "none"], default="training")
    parser.add_argument("--folder", type=Path, help="keep everything here")
    options = parser.parse_args(arguments)
    root = Path(__file__).parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    machine = describe()
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = (options.folder or Path(temporary)).resolve()
        prepared = prepare(folder / "prepared", options.proof)
        undisturbed, _ = go(prepared, folder / "undisturbed", ())
        print(f"undisturbed: {undisturbed.rounds} rounds, {undisturbed.seconds:.0f} s", flush=True)
        killed, kills = go(prepared, folder / "killed", plan(options.seed))
    report = Report(machine=machine, seed=options.seed, proof=options.proof, undisturbed=undisturbed, killed=killed, kills=kills)
    print(*machine.lines(), *lines(report), sep="\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    good = report.equal and killed.audited and undisturbed.audited and len(kills) == KILLS
    return ExitCode.OK if good else ExitCode.FALSE


def lines(report: Report) -> list[str]:
    """Return the report as text for people."""
    runs = {"undisturbed": report.undisturbed, f"with {len(report.kills)} kills": report.killed}
    return [
        *(
            f"{name}: {run.outcome}, {run.rounds} rounds in {run.seconds:.0f} s, accepted {'/'.join(map(str, run.accepted))}, "
            f"model {run.model[:16]}, tree {run.tree[:16]}, audit {'verified' if run.audited else 'FAILED'}"
            for name, run in runs.items()
        ),
        "the kills changed nothing: same model, same tree" if report.equal else "THE RUNS DIFFER",
    ]


if __name__ == "__main__":
    sys.exit(main())
