"""A log file with a line an event: one process appends to it, another follows it."""

import logging
from pathlib import Path


def writer(path: Path) -> logging.Logger:
    """Return a logger that appends lines with the time to ``path``, and to nothing else."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.Logger("lunaria", logging.INFO)
    logger.addHandler(handler)
    return logger


class Tail:
    """Gives the lines that are new in a file, from its end at the time of creation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """Return the whole lines appended since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _ = data.rpartition(b"\n")
        self._place += len(whole) + len(newline)
        return whole.decode(errors="replace").split("\n") if newline else []
