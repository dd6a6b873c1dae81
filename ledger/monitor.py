"""A monitor: follows a log that others serve, and trusts nothing in what it is given.

Every step takes the log's checkpoint and checks that it is signed by the log and by the quorum of its agreement, that it
extends the one seen before, that the entries served are those under its root, and that they are entries of this
version. What was checked is kept in a folder::

    mirror.db      the entries and their tree (ledger.store)
    checkpoint     the last checkpoint that was checked, a signed note
    fork-….json    the proof, once the log has forked (ledger.fork)

That the entries are *true* is an audit's business; a monitor sees that there is one history, and that it is complete.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger import merkle
from ledger.checkpoint import Checkpoint
from ledger.entries import AgreementEntry, ClosingEntry, decode_entry
from ledger.errors import LedgerError, StorageError, VerificationError
from ledger.evidence import write_durably
from ledger.fork import ForkError, find_fork, path_of_tree
from ledger.log import published_checkpoint
from ledger.note import MAX_NOTE_SIZE
from ledger.quorum import Policy
from ledger.store import Store
from ledger.tiles import (
    MAX_ENTRY_SIZE,
    WIDTH,
    Bundle,
    Tile,
    decode_bundle,
    decode_tile,
    entries_path,
    tile_path,
    tile_reader,
)

MAX_GROWTH = 1 << 18
"""Entries from one step to the next: a larger checkpoint is refused before anything is fetched for it."""

MAX_BUNDLE_SIZE = WIDTH * (MAX_ENTRY_SIZE + 2)
MAX_TILE_SIZE = WIDTH * merkle.HASH_SIZE

Fetch = Callable[[str, int], bytes]
"""Returns the file of the log at a path, at most so many bytes; raises StorageError where it cannot be had."""


class Outcome(Enum):
    """What a step found."""

    GREW = "grew"
    SAME = "same"
    STALE = "stale"
    """An older checkpoint of the same history: a cache, or a server that was put back."""


@dataclass(frozen=True)
class Step:
    """A step that found nothing wrong: the outcome, the checkpoint that the log shows, and whether the run is closed."""

    outcome: Outcome
    checkpoint: Checkpoint
    closed: bool


class Monitor:
    """Follows one log.

    Parameters
    ----------
    folder
        Where its state is; made where there is none.
    log_key
        The log's verifier key.
    fetch
        Reads the log.
    """

    def __init__(self, folder: Path, log_key: str, fetch: Fetch) -> None:
        self._policy = Policy.parse(log_key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {folder}: {error.strerror}") from error
        self._folder = folder
        self._fetch = fetch
        self._mirror = Store.open(folder / "mirror.db", create=True)
        try:
            if self._mirror.size():
                self._policy = self._agreed(self._mirror.entry(0))
        except BaseException:
            self._mirror.close()
            raise

    def step(self) -> Step:
        """Look at the log once.

        Raises
        ------
        ForkError
            The log has signed two histories; the ``proof`` is in the folder.
        FormatError, VerificationError
            What the log serves is false.
        StorageError
            It cannot be reached now, or the folder cannot be used.
        """
        signed = self._fetch("checkpoint", MAX_NOTE_SIZE)
        by_log = Policy(self._policy.log)  # a second history is one whether witnesses cosigned it or not
        new = by_log.open(signed)
        seen_note = published_checkpoint(self._folder)
        seen = None if seen_note is None else by_log.open(seen_note)
        size = self._mirror.size()
        if seen is not None and seen_note is not None and new.size <= seen.size:
            self._compare(new, signed, seen, seen_note)
            self._policy.open(signed)
            if size == seen.size:
                return Step(Outcome.SAME if new == seen else Outcome.STALE, new, self._closed())
            new, signed = seen, seen_note  # a step that was cut short goes on
        leaves = self._leaves(new, signed, seen, seen_note)
        if size == 0 and new.size:
            self._policy = self._agreed(self._first(leaves[0], new.size))
        self._policy.open(signed)
        write_durably(self._folder / "checkpoint", signed)
        self._mirror_entries(new.size, leaves)
        return Step(Outcome.GREW, new, self._closed())

    def close(self) -> None:
        """Close the mirror."""
        self._mirror.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, and let an error through."""
        self.close()

    def _compare(self, new: Checkpoint, signed: bytes, seen: Checkpoint, seen_note: bytes) -> None:
        """Check that a checkpoint that is not larger than the one seen is of the same history."""
        if new.size == seen.size:
            if new.root != seen.root:
                raise self._fork(seen_note, signed, [], "two roots for one size")
        elif new.size <= self._mirror.size() == seen.size and new.root != merkle.root(new.size, self._mirror.node):
            path = path_of_tree(new.size, seen.size, self._mirror.node) if new.size else []
            raise self._fork(seen_note, signed, path, "an older checkpoint with another root")

    def _leaves(self, new: Checkpoint, signed: bytes, seen: Checkpoint | None, seen_note: bytes | None) -> list[bytes]:
        """Return the hashes of the entries that are not mirrored yet, once they are known to be under the root."""
        size = self._mirror.size()
        if new.size - size > MAX_GROWTH:
            raise VerificationError(f"the log claims {new.size} entries, more than {MAX_GROWTH} beyond the {size} known: that is no run")
        leaves: list[bytes] = []
        for index in range(size // WIDTH, -(-new.size // WIDTH)):
            tile = Tile(0, index, min(WIDTH, new.size - index * WIDTH))
            leaves += decode_tile(tile, self._tile(tile))[max(0, size - index * WIDTH) :]
        read = _grown(size, leaves, self._mirror.node)
        if merkle.root(new.size, read) == new.root:
            if seen is None or seen_note is None or merkle.root(seen.size, read) == seen.root:
                return leaves
            path = path_of_tree(seen.size, new.size, read) if 0 < seen.size < new.size else []
            raise self._fork(seen_note, signed, path, "the new tree does not extend the one seen before")
        if seen is not None and seen_note is not None and 0 < seen.size < new.size:
            raise self._fork(seen_note, signed, self._path(seen.size, new.size), "what it serves does not extend what was seen before")
        raise VerificationError("the hash tiles that the log serves do not hash to the root in its checkpoint")

    def _path(self, old: int, new: int) -> list[bytes]:
        """Return the path from the log's own tiles: it proves a fork if they hash to the checkpoint's root."""
        try:
            return path_of_tree(old, new, tile_reader(new, self._tile))
        except LedgerError:  # what it serves is no tree
            return []

    def _fork(self, one: bytes, other: bytes, path: list[bytes], reason: str) -> VerificationError:
        """Return the error to raise: a ForkError only where the log's own signatures prove it, since a bad mirror looks much alike."""
        proof = find_fork(self._policy.log.key, one, other, path)
        if proof is None:
            write_durably(self._folder / "suspect-checkpoint", other)
            return VerificationError(f"{reason}, but its files do not prove a fork: both checkpoints are kept in {self._folder}")
        path_ = self._folder / proof.name
        write_durably(path_, proof.encode())
        return ForkError(f"{self._policy.log.key.name} has forked, {reason}: the proof is in {path_}", proof)

    def _tile(self, tile: Tile) -> bytes:
        try:
            return self._fetch(tile_path(tile), MAX_TILE_SIZE)
        except StorageError:
            if tile.width == WIDTH:
                raise
            # a log may drop a partial tile once it has the full one (tlog-tiles, "Partial Tiles")
            return self._fetch(tile_path(Tile(tile.level, tile.index)), MAX_TILE_SIZE)[: tile.width * merkle.HASH_SIZE]

    def _bundle(self, bundle: Bundle) -> list[bytes]:
        try:
            return decode_bundle(bundle, self._fetch(entries_path(bundle), MAX_BUNDLE_SIZE))
        except StorageError:
            if bundle.width == WIDTH:
                raise
            full = Bundle(bundle.index)
            return decode_bundle(full, self._fetch(entries_path(full), MAX_BUNDLE_SIZE))[: bundle.width]

    def _first(self, leaf: bytes, size: int) -> bytes:
        """Return entry 0, whose hash is known."""
        entry = self._bundle(Bundle(0, min(WIDTH, size)))[0]
        if merkle.leaf_hash(entry) != leaf:
            raise VerificationError("entry 0 that the log serves is not the one under its root")
        return entry

    def _mirror_entries(self, size: int, leaves: list[bytes]) -> None:
        """Fetch the entries with these hashes and keep them, bundle by bundle."""
        start = self._mirror.size()
        for index in range(start // WIDTH, -(-size // WIDTH)):
            bundle = Bundle(index, min(WIDTH, size - index * WIDTH))
            first = self._mirror.size()
            entries = self._bundle(bundle)[first - index * WIDTH :]
            for position, entry in enumerate(entries, start=first):
                if merkle.leaf_hash(entry) != leaves[position - start]:
                    raise VerificationError(f"entry {position} that the log serves is not the one under its root")
                try:
                    decode_entry(entry)
                except LedgerError as error:
                    raise VerificationError(f"entry {position} is no entry of a run: {error}") from error
            self._mirror.append(entries, expected_size=first)

    def _agreed(self, data: bytes) -> Policy:
        entry = decode_entry(data)
        if not isinstance(entry, AgreementEntry) or entry.log_key != str(self._policy.log.key):
            raise VerificationError("entry 0 is not an agreement that names this log's key")
        return Policy.of(entry)

    def _closed(self) -> bool:
        size = self._mirror.size()
        return size > 0 and isinstance(decode_entry(self._mirror.entry(size - 1)), ClosingEntry)


def _grown(size: int, leaves: list[bytes], read: merkle.NodeReader) -> merkle.NodeReader:
    """Return a reader of the tree over ``size`` entries and those with the hashes ``leaves`` after them."""
    fresh = {(level, index): value for level, index, value in merkle.new_nodes(size, leaves, read)}
    return lambda level, index: fresh.get((level, index)) or read(level, index)
