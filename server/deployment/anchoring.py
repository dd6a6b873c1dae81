"""``flower-server --chain``: a process of its own anchors the ledger (:mod:`server.chain.anchoring`); training never waits for it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.supervise import child

_LAST_SECONDS = 60.0


@contextmanager
def anchoring(run: Path, chain: Path | None) -> Iterator[Callable[[], bool]]:
    """Anchor the ledger in ``run`` while the block lasts; what the process says is in ``chain.log`` of the run folder.

    Yields a function that waits a minute at most for the closed ledger to be anchored, and returns whether it is.
    """
    if chain is None:
        yield lambda: True
        return
    program = "from server.cli import main; main()"
    command = [sys.executable, "-c", program, "chain", "anchor", str(run), "--follow", "--chain", str(chain)]

    def finish() -> bool:
        try:
            return process.wait(_LAST_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False

    with child(command, os.environ, run / "chain.log") as process:
        yield finish
