"""Checking many things at once, on all cores: equations as they are, and proofs that are still to be read.

A :class:`Proof` is bytes with a statement; reading it and the algebra of its verifier give an equation, or refuse it. On one core all
equations go into one multi-scalar product (:func:`zk.equations.false_ones`). On several, each core takes its share of the proofs from
beginning to end: its own reading, its own product, its own search for the guilty. A proof is right or wrong by itself, so the verdicts are
the same however the batch is cut.

Worker processes are started once, when there is enough to do, and kept. They are spawned, not forked: the process that asks may run threads
of TensorFlow or Ray. As always with spawned processes, a script that gets here needs ``if __name__ == "__main__":``. The environment
variable ``LUNARIA_WORKERS`` says how many processes take part, this one included; 1 never starts any.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize
from typing import Protocol

from zk import equations
from zk.equations import Equation
from zk.errors import ZkError
from zk.group import GROUPS
from zk.pedersen import CommitmentKey, commitment_key

SECONDS_PER_POINT = {"py_ecc": 3e-4, "arkworks": 6e-5}  # of a proof, reading and algebra included
START_SECONDS = 3.0  # what a worker process takes until it is of use
_pools: dict[int, ProcessPoolExecutor] = {}
_alone = False  # after worker processes have failed


class Proof(Protocol):
    """A proof with its statement, still to be read; it travels to other processes."""

    @property
    def size(self) -> int:
        """About how many points its equation will have."""

    def equation(self, key: CommitmentKey) -> Equation:
        """Return the equation that holds exactly when the proof is right; :class:`ZkError` if it is wrong at once."""


Check = Equation | Proof


def false_ones(key: CommitmentKey, checks: Sequence[Check], workers: int | None = None) -> list[int]:
    """Return the positions of the equations that do not hold and of the proofs that are wrong, in ascending order.

    Parameters
    ----------
    key : CommitmentKey
    checks : sequence of Equation or Proof
    workers : int, optional
        How many processes take part; by default one, and as many as may run at once when there is enough to do for them.
    """
    proofs = [i for i, check in enumerate(checks) if not isinstance(check, Equation)]
    count = min(workers or _worth(key, [check.size for check in checks if not isinstance(check, Equation)]), len(proofs))
    shares = [proofs[i::count] for i in range(1, count)]
    away = {i for share in shares for i in share}
    here = [i for i in range(len(checks)) if i not in away]
    try:
        futures = [_pool(count - 1).submit(_share, key.group.name, key.width, [checks[i] for i in share]) for share in shares]
        found = [here[place] for place in _false_here(key, [checks[i] for i in here])]
        for share, future in zip(shares, futures, strict=True):
            found += [share[place] for place in future.result()]
    except (BrokenProcessPool, OSError) as error:  # no memory for another process, or it was killed
        logging.getLogger(__name__).warning("checking on one core, because worker processes fail: %s", error)
        global _alone
        _alone = True
        return _false_here(key, checks)
    return sorted(found)


def _false_here(key: CommitmentKey, checks: Sequence[Check]) -> list[int]:
    """Check everything in this process."""
    wrong, places, read = [], [], []
    for i, check in enumerate(checks):
        try:
            read.append(check if isinstance(check, Equation) else check.equation(key))
            places.append(i)
        except ZkError:
            wrong.append(i)
    return sorted(wrong + [places[place] for place in equations.false_ones(key, read)])


def _share(group: str, width: int, checks: Sequence[Check]) -> list[int]:
    """Check a share in a worker process."""
    return _false_here(commitment_key(GROUPS[group], width), checks)


def _worth(key: CommitmentKey, sizes: Sequence[int]) -> int:
    """Return how many processes should take part."""
    wanted = os.environ.get("LUNARIA_WORKERS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = int(wanted) if wanted.isdecimal() and int(wanted) else cores
    if _alone:
        return 1
    saved = sum(sizes) * SECONDS_PER_POINT[key.group.name] * (count - 1) / count
    return count if saved > (0 if count - 1 in _pools else START_SECONDS) else 1


def _pool(workers: int) -> ProcessPoolExecutor:
    if workers not in _pools:
        _pools[workers] = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _ignore_interrupts)
        # before the queues close (priority 10): else a process that multiprocessing started waits for its own workers for ever
        Finalize(None, _pools[workers].shutdown, exitpriority=100)
    return _pools[workers]


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that asked: it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
