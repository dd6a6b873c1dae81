"""The audit: replays a run from its export and trusts nothing that it can recompute.

It needs no network, neither Flower nor TensorFlow, and nobody's word: :func:`audit` recomputes the tree, the signatures, the state
machine, the choice of participants and batches, the openings, the sums, the aggregates and the chain of models. What is left to trust
is listed in the report's notes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ledger import merkle
from ledger.agreement import Agreement, explain
from ledger.archive import INDEX, ArchiveReader
from ledger.canonical import digest, load_json
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entries import MAX_ENTRY_BYTES, AgreementEntry, Entry, decode_entry
from ledger.errors import FormatError, VerificationError
from ledger.export import ExportIndex
from ledger.note import MAX_NOTE_SIZE, Ed25519Verifier, VerifierKey
from ledger.quorum import Policy
from ledger.replay import Replay
from ledger.report import Check, Halt, Report
from ledger.tiles import HEIGHT, bundles_of, decode_bundle, encode_tile, entries_path, tile_path, tiles_of
from zk.group import GROUPS

MAX_INDEX_BYTES = 65_536
MAX_BUNDLE_BYTES = 256 * (MAX_ENTRY_BYTES + 2)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Trust:
    """What the auditor knows from elsewhere.

    Attributes
    ----------
    log_key : str or None
        The log's public key; ``None`` takes the one in the export, and a note says so.
    agreement : Agreement or None
        What was agreed; ``None`` takes the one in the ledger.
    """

    log_key: str | None = None
    agreement: Agreement | None = None


def audit(path: Path, trust: Trust | None = None, *, backend: str = "py_ecc", progress: Progress | None = None) -> Report:
    """Audit an export.

    Parameters
    ----------
    path : Path
        The file.
    trust : Trust, optional
        What is known from elsewhere.
    backend : str
        ``py_ecc`` or ``arkworks``: both give the same verdict, the latter about thirty times faster.
    progress : callable of two ints, optional
        Is told how many of how many entries are done.

    Returns
    -------
    Report
        With findings where something is false.

    Raises
    ------
    FormatError, StorageError
        The file is no export, is truncated, or cannot be read: there is nothing to audit.
    """
    report = Report()
    try:
        with _open(path, report) as archive:
            _audit(archive, trust or Trust(), backend, report, progress or (lambda done, total: None))
    except Halt:
        pass
    return report


def _open(path: Path, report: Report) -> ArchiveReader:
    try:
        archive = ArchiveReader(path)
    except VerificationError as error:
        report.find(Check.ARCHIVE, None, str(error))
        raise Halt from error
    report.count(Check.ARCHIVE, len(archive.names()))
    return archive


def _audit(archive: ArchiveReader, trust: Trust, backend: str, report: Report, progress: Progress) -> None:
    index = _index(archive, report)
    checkpoint = _checkpoint(archive, index, trust, report)
    entries, levels = _tree(archive, checkpoint, report)
    opening = _opening(entries, report)
    if opening.log_key != index.log_key or opening.origin != checkpoint.origin:
        report.find(Check.AGREEMENT, 0, "the ledger names another log key or origin than its checkpoint is signed with")
    else:
        _quorum(archive, opening, report)
    if trust.agreement is not None and trust.agreement != opening.agreement:
        report.find(Check.AGREEMENT, 0, "the agreement in the ledger is not the one that was given to the audit")
    if not index.updates:
        report.notes.append("single updates were left out: their commitments were checked in the sum only, and proofs of training were not")

    def root_at(size: int) -> bytes:
        return merkle.root(size, lambda level, position: levels[level][position])

    replay = Replay(opening, root_at, archive, GROUPS[backend], report, index.updates)
    try:
        for position, data in enumerate(entries):
            progress(position, len(entries))
            if position:
                replay.entry(position, _entry(position, data, report))
    except Halt:
        replay.settle()  # what was collected before is judged all the same
        raise
    replay.finish()
    expected = {INDEX, "checkpoint", *map(tile_path, tiles_of(checkpoint.size)), *map(entries_path, bundles_of(checkpoint.size))}
    for name in archive.names() if report.verified else ():  # where something is false, what it refers to was not followed
        if name not in expected and name not in replay.seen:
            report.find(Check.EVIDENCE, None, f"{name}: nothing in the ledger refers to it")
    progress(len(entries), len(entries))


def _index(archive: ArchiveReader, report: Report) -> ExportIndex:
    try:
        data = archive.read(INDEX, MAX_INDEX_BYTES)
        load_json(data, INDEX)
        return ExportIndex.model_validate_json(data)
    except ValidationError as error:
        report.find(Check.ARCHIVE, None, f"{INDEX}: {explain(error)}")
    except (FormatError, VerificationError) as error:
        report.find(Check.ARCHIVE, None, str(error))
    raise Halt


def _checkpoint(archive: ArchiveReader, index: ExportIndex, trust: Trust, report: Report) -> Checkpoint:
    try:
        key = VerifierKey.parse(index.log_key)
        if trust.log_key is None:
            report.notes.append(f"the log's key was taken from the export; compare it with the one you know: {index.log_key}")
        elif trust.log_key != index.log_key:
            raise VerificationError(f"the export names the log key {index.log_key}, not the one that was given to the audit")
        checkpoint = open_checkpoint(archive.read("checkpoint", MAX_NOTE_SIZE), Ed25519Verifier(key), key.name)
        if checkpoint.extensions:
            raise VerificationError("the checkpoint has extension lines, which this ledger does not write")
    except (FormatError, VerificationError) as error:
        report.find(Check.CHECKPOINT, None, str(error))
        raise Halt from error
    report.count(Check.CHECKPOINT)
    report.summary |= {"origin": checkpoint.origin, "log-key": index.log_key, "entries": checkpoint.size}
    return checkpoint


def _quorum(archive: ArchiveReader, opening: AgreementEntry, report: Report) -> None:
    """Demand the cosignatures of the agreement; that the log signed is known already."""
    try:
        policy = Policy.of(opening)
        policy.open(archive.read("checkpoint", MAX_NOTE_SIZE))
    except (FormatError, VerificationError) as error:
        report.find(Check.CHECKPOINT, None, str(error))
    else:
        report.count(Check.CHECKPOINT, policy.quorum)


def _tree(archive: ArchiveReader, checkpoint: Checkpoint, report: Report) -> tuple[list[bytes], list[list[bytes]]]:
    """Return the entries and the hashes above them, once they are known to hash to the root."""
    entries: list[bytes] = []
    try:
        if checkpoint.size > archive.length:
            raise VerificationError(f"the checkpoint counts {checkpoint.size} entries, more than the file has bytes")
        for bundle in bundles_of(checkpoint.size):
            entries += decode_bundle(bundle, archive.read(entries_path(bundle), MAX_BUNDLE_BYTES))
    except (FormatError, VerificationError) as error:
        report.find(Check.TREE, None, str(error))
        raise Halt from error
    levels = _levels([merkle.leaf_hash(entry) for entry in entries])
    found = merkle.root(len(entries), lambda level, index: levels[level][index])
    for tile in tiles_of(checkpoint.size):
        name = tile_path(tile)
        try:
            stored = archive.read(name, 256 * merkle.HASH_SIZE)
        except VerificationError as error:
            report.find(Check.TREE, None, str(error))
            continue
        if stored != encode_tile(tile, lambda level, index: levels[level][index]):
            position = next(i for i in range(0, len(stored) + 1, merkle.HASH_SIZE) if _differs(stored, levels, tile.level, tile.index, i))
            place = tile.index * 256 + position // merkle.HASH_SIZE
            entry = place if tile.level == 0 else None
            report.find(Check.TREE, entry, f"{name}: node {place} of level {tile.level * HEIGHT} is not the hash of what it stands for")
    if found != checkpoint.root:
        report.find(Check.TREE, None, "the entries do not hash to the root in the checkpoint")
        raise Halt
    report.count(Check.TREE, len(entries))
    return entries, levels


def _differs(stored: bytes, levels: list[list[bytes]], level: int, index: int, offset: int) -> bool:
    row = levels[level * HEIGHT] if level * HEIGHT < len(levels) else []
    place = index * 256 + offset // merkle.HASH_SIZE
    return place >= len(row) or stored[offset : offset + merkle.HASH_SIZE] != row[place]


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """Return the hashes of all complete subtrees, level by level."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        row = levels[-1]
        levels.append([merkle.node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
    return levels


def _opening(entries: list[bytes], report: Report) -> AgreementEntry:
    if not entries:
        report.find(Check.SEQUENCE, None, "the ledger has no entry")
        raise Halt
    entry = _entry(0, entries[0], report)
    if not isinstance(entry, AgreementEntry):
        report.find(Check.SEQUENCE, 0, f"the ledger begins with a {entry.kind} entry instead of the agreement")
        raise Halt
    report.summary |= {"federation": entry.agreement.federation.name, "run": digest(entries[0])}
    return entry


def _entry(position: int, data: bytes, report: Report) -> Entry:
    try:
        entry = decode_entry(data)
    except FormatError as error:
        report.find(Check.ENTRIES, position, str(error))
        raise Halt from error
    report.count(Check.ENTRIES)
    return entry
