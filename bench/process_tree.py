"""Runs a command and watches memory and processor time of everything it starts.

Memory is the sum of the resident sets of the command and all its descendants (Ray's daemons and workers are among them), read from
``/proc`` a few times a second. Pages that several processes share, such as TensorFlow's code, count once for each: the figure is an
upper bound of what the machine needs, and a peak shorter than the interval can be missed. Processor time misses what a process used
after it was last seen; other work on the same cores hardly changes it, which cannot be said of wall time.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 0.25
PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes
    ----------
    exit_code : int
        Negative for a signal.
    wall_s : float
        From its start until it had ended.
    cpu_s : float
        Processor time, user and system, of all processes.
    peak_bytes : int
        Greatest sum of resident sets.
    processes : int
        Number of processes at that moment.

    The last three are 0 on a machine without ``/proc``.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    processes: int


@dataclass(frozen=True)
class Process:
    """One process as ``/proc`` shows it."""

    number: int
    parent: int
    cpu_s: float
    resident_bytes: int


def run_watched(command: Sequence[str], log: Path, environment: Mapping[str, str], timeout_s: float) -> Usage:
    """Run ``command`` with its output in ``log``; it is ended after ``timeout_s`` seconds."""
    peak, processes = 0, 0
    cpu: dict[int, float] = {}
    with log.open("ab") as output:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - a command of this package
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environment)
        )
        try:
            while True:
                try:
                    process.wait(INTERVAL_S)
                    break
                except subprocess.TimeoutExpired:
                    seen = tree(process.pid)
                cpu |= {item.number: item.cpu_s for item in seen}
                total = sum(item.resident_bytes for item in seen)
                if total > peak:
                    peak, processes = total, len(seen)
                if time.monotonic() - began > timeout_s:
                    process.terminate()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return Usage(process.returncode, time.monotonic() - began, sum(cpu.values()), peak, processes)


def tree(root: int) -> list[Process]:
    """Return process ``root`` and its descendants, as far as they are there."""
    entries = (entry for entry in PROC.iterdir() if entry.name.isdecimal()) if PROC.is_dir() else ()
    processes = [process for entry in entries if (process := _read(entry)) is not None]
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    chosen = [process for process in processes if process.number == root]
    for process in chosen:  # grows as it goes
        chosen += children.get(process.number, [])
    return chosen


def _read(entry: Path) -> Process | None:
    """Read one process; None when it is gone by now."""
    try:
        stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # proc(5): "pid (name) state ppid ... utime stime ... rss"; the name may hold spaces and brackets
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Process(int(entry.name), int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
