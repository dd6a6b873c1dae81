"""A view of Flower's grid that shows chosen nodes only.

Any Flower strategy samples among the nodes that the grid shows it; shown the participants that the beacon chose, it asks exactly those.
"""

import threading
import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run


class SelectedGrid(Grid):
    """``grid``, with ``nodes`` as the only connected ones."""

    def __init__(self, grid: Grid, nodes: Iterable[int]) -> None:
        self._grid = grid
        self._nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        """Return the chosen nodes."""
        return list(self._nodes)

    def set_run(self, run: Run) -> None:
        """Pass on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The grid's run."""
        return self._grid.run

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        """Pass on."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass on."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Pass on."""
        return self._grid.send_and_receive(messages, timeout=timeout)


def exchange(grid: Grid, messages: Iterable[Message], timeout: float, stop: threading.Event) -> list[Message]:
    """Send messages and collect their replies until all are there, ``timeout`` seconds are over, or ``stop`` is set."""
    waiting = set(grid.push_messages(messages))
    deadline = time.monotonic() + timeout
    replies: list[Message] = []
    pause = 0.1
    while waiting and time.monotonic() < deadline and not stop.is_set():
        new = list(grid.pull_messages(waiting))
        replies += new
        waiting -= {message.metadata.reply_to_message_id for message in new}
        if waiting:
            stop.wait(pause)
            pause = min(0.5, pause * 1.1)  # the SuperLink is on this machine, or in this process
    return replies
