"""What is on its way to the chain: durable before it is sent, so that whoever is killed goes on with the same transaction.

An action (``anchor/17``, say) has one nonce until one of its transactions is final or the nonce was used by another: of all that were sent
for it, at most one can happen.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ledger.evidence import write_durably
from server.errors import ServerError


@dataclass
class Sent:
    """The transactions of one action: the same nonce, higher fees; ``raws`` are signed, in hexadecimal."""

    sender: str
    nonce: int
    fee: int
    raws: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)


class Journal:
    """A small JSON file, which several processes may use at once.

    Parameters
    ----------
    path : Path
        The file; made with the first action.

    Raises
    ------
    ServerError
        It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.open()

    def open(self) -> dict[str, Sent]:
        """Return what is on its way, by action."""
        try:
            found = json.loads(self._path.read_bytes()) if self._path.exists() else {}
            return {action: Sent(**fields) for action, fields in found.items()}
        except (OSError, ValueError, TypeError) as error:
            raise ServerError(f"{self._path} cannot be read ({error}): move it away when no transaction is on its way") from error

    def put(self, action: str, sent: Sent) -> None:
        """Keep an action, on disk when this returns."""
        with self._changed() as known:
            known[action] = sent

    def drop(self, action: str) -> None:
        """Forget an action."""
        with self._changed() as known:
            known.pop(action, None)

    def next_nonce(self, sender: str, on_chain: int) -> int:
        """Return a nonce that nothing on its way uses."""
        taken = {sent.nonce for sent in self.open().values() if sent.sender == sender}
        nonce = on_chain
        while nonce in taken:
            nonce += 1
        return nonce

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Sent]]:
        """Change the file while nobody else does."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self.open()
            yield known
            write_durably(self._path, json.dumps({action: asdict(sent) for action, sent in known.items()}, indent=1).encode())
