"""The server's pen: moves the run's state forward and appends, in one step that either happens or does not.

It begins a run in an empty log, or goes on with the run that is in the log, wherever that one was cut off.
"""

from collections.abc import Mapping

from ledger.canonical import dump_vector
from ledger.checkpoint import Checkpoint
from ledger.entries import (
    MAX_ENTRY_BYTES,
    TENSOR,
    Aggregate,
    AgreementEntry,
    CommitmentsEntry,
    ContributionStatement,
    Entry,
    Reference,
    RoundEntry,
    decode_contribution,
    decode_entry,
    encode_entry,
)
from ledger.judge import IntVector
from ledger.log import Log
from ledger.messages import LedgerView
from ledger.quorum import Policy
from ledger.state import RunState
from strategies.errors import StrategyError
from strategies.journal import Journal, Page

MAX_UNCONFIRMED = 64
"""Sizes without a reply that a client may be behind; one that has missed more stays out, until it says which one it saw last."""


class Recorder:
    """A run's log and state.

    Parameters
    ----------
    log : Log
        Empty, or the log of this run.
    opening : AgreementEntry
        Entry 0.
    model : int64 array
        The first model, whose reference ``opening`` holds.
    journal : Journal, optional
        What was promised about the next entry.

    Attributes
    ----------
    resumed : bool
        Whether the log held this run already.
    aggregates : list of Aggregate
        Those that stood in the log already, in the order of the rounds.

    Raises
    ------
    StrategyError
        The log holds another run, or ``model`` is not the first model.
    LedgerError
        The log's entries do not follow from each other, or evidence is missing.
    """

    def __init__(self, log: Log, opening: AgreementEntry, model: IntVector, journal: Journal | None = None) -> None:
        self.log = log
        if self.keep(dump_vector(model), TENSOR) != opening.model:
            raise StrategyError("the first model is not the one that the agreement's entry names")
        self.state = RunState.begin(opening)
        self.aggregates: list[Aggregate] = []
        self._journal = journal or Journal(None)
        self._model_entry = 0
        self._seen: dict[int, int] = {}
        self._shown: dict[int, list[int]] = {}
        self.resumed = log.size > 0
        if not self.resumed:
            log.append(encode_entry(opening))
        elif log.entry(0) != encode_entry(opening):
            raise StrategyError(f"the ledger already has {log.size} entries of another run: give this one a folder of its own")
        for index in range(1, log.size):
            self._replay(index)

    def _replay(self, index: int) -> None:
        """Move the state on by an entry of the log."""
        entry = decode_entry(self.log.entry(index))
        if isinstance(entry, CommitmentsEntry):
            references = {item.client: item.contribution for item in entry.contributions}
        elif isinstance(entry, RoundEntry):
            said = {verdict.client: verdict.contribution for verdict in entry.verdicts if verdict.accepted}
            references = {client: reference for client, reference in said.items() if reference is not None}
            self._model_entry = index
            self.aggregates += [entry.aggregate] if entry.aggregate else []
        else:
            references = {}
        self.state.apply(entry, {client: self.statement(reference) for client, reference in references.items()})

    def statement(self, reference: Reference) -> ContributionStatement:
        """Return a contribution's statement from the evidence."""
        return decode_contribution(self.log.evidence.get(reference.digest, MAX_ENTRY_BYTES)).statement

    @property
    def page(self) -> Page:
        """What was promised about the entry that comes next."""
        return self._journal.read(self.state.run, self.log.size) or Page(run=self.state.run, size=self.log.size)

    @property
    def promised(self) -> bool:
        """Whether the entry that comes next has been begun."""
        return self._journal.read(self.state.run, self.log.size) is not None

    def promise(self, page: Page) -> None:
        """Make durable what is promised; it is read again when the process starts again."""
        self._journal.write(page)

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
