"""The server's pen: moves the run's state forward and appends, in one step that either happens or does not."""

from collections.abc import Mapping

from ledger.canonical import dump_vector
from ledger.checkpoint import Checkpoint
from ledger.entries import (
    TENSOR,
    AgreementEntry,
    ContributionStatement,
    Entry,
    Reference,
    RoundEntry,
    encode_entry,
)
from ledger.judge import IntVector
from ledger.log import Log
from ledger.messages import LedgerView
from ledger.quorum import Policy
from ledger.state import RunState
from strategies.errors import StrategyError

MAX_UNCONFIRMED = 64
"""Sizes without a reply that a client may be behind; one that has missed more stays out."""


class Recorder:
    """A run's log and state.

    Parameters
    ----------
    log : Log
        An empty log.
    opening : AgreementEntry
        Entry 0.
    model : int64 array
        The first model, whose reference ``opening`` holds.

    Raises
    ------
    StrategyError
        The log has entries already.
    """

    def __init__(self, log: Log, opening: AgreementEntry, model: IntVector) -> None:
        if log.size:
            raise StrategyError(f"the ledger already has {log.size} entries: give the run a folder of its own")
        self.log = log
        if self.keep(dump_vector(model), TENSOR) != opening.model:
            raise StrategyError("the first model is not the one that the agreement's entry names")
        self.state = RunState.begin(opening)
        self._model_entry = 0
        self._seen: dict[int, int] = {}
        self._shown: dict[int, list[int]] = {}
        log.append(encode_entry(opening))

    def keep(self, data: bytes, media_type: str) -> Reference:
        """Make a piece of evidence durable and return its reference."""
        self.log.evidence.put(data)
        return Reference.of(data, media_type)

    def append(self, entry: Entry, contributions: Mapping[int, ContributionStatement] | None = None) -> None:
        """Append an entry that the state machine allows; an entry that it refuses never reaches the log."""
        encoded = encode_entry(entry)
        self.state.apply(entry, contributions)
        self.log.append(encoded)
        if isinstance(entry, RoundEntry):
            self._model_entry = self.log.size - 1

    @property
    def model_entry(self) -> int:
        """The entry with the current model: that of the last round, or entry 0."""
        return self._model_entry

    def checkpoint(self) -> Checkpoint:
        """Return the current checkpoint."""
        return Policy.of(self.state.opening).open(self.log.checkpoint_note())

    def view(self, node: int, index: int | None = None) -> LedgerView:
        """Return the ledger as ``node`` is to see it next, with the entry at ``index`` (default: the one with the current model)."""
        index = self._model_entry if index is None else index
        old, shown = self._seen.get(node, 0), self._shown.setdefault(node, [])
        unconfirmed = [size for size in shown if size > old][-MAX_UNCONFIRMED:]
        self._shown[node] = [*unconfirmed, *([self.log.size] if self.log.size not in unconfirmed else [])]
        return LedgerView(
            checkpoint=self.log.checkpoint_note(),
            old_size=old,
            consistency=self.log.consistency(old) if old else [],
            entry=self.log.entry(index),
            entry_index=index,
            inclusion=self.log.inclusion(index),
            unconfirmed=unconfirmed,
            unconfirmed_proofs=[b"".join(self.log.consistency(size)) for size in unconfirmed],
        )

    def seen(self, node: int, size: int) -> None:
        """Note that ``node`` has accepted the checkpoint of this size."""
        self._seen[node] = size
