"""The audit: replays a run from its export and trusts nothing that it can recompute.

It needs no network, neither Flower nor TensorFlow, and nobody's word: :func:`audit` recomputes the tree, the signatures, the state
machine, the choice of participants and batches, the openings, the sums, the aggregates and the chain of models. What is left to trust
is listed in the report's notes. The entries are read twice, first for the tree and then for the run, and never held together: memory
grows with what the export's headers take, not with what they are about.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ledger import merkle
from ledger.agreement import Agreement
from ledger.archive import INDEX, ArchiveReader
from ledger.canonical import digest, load_json
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entries import MAX_ENTRY_BYTES, AgreementEntry, Entry, decode_entry
from ledger.errors import FormatError, StorageError, VerificationError
from ledger.evaluation import Evaluation
from ledger.export import ExportIndex
from ledger.note import MAX_NOTE_SIZE, Ed25519Verifier, VerifierKey
from ledger.quorum import Policy
from ledger.replay import Replay
from ledger.report import Check, Halt, Report
from ledger.resume import Resume
from ledger.schema import explain
from ledger.tiles import HEIGHT, WIDTH, Tile, bundles_of, decode_bundle, entries_path, tile_path, tiles_of
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
    proofs : bool
        Whether an export without single updates, whose proofs of training nobody can check, is not enough.
    evaluation : Path or None
        The evaluation set that the agreement names, to recompute the scores in settlements; ``None`` leaves these to the server's word.
    """

    log_key: str | None = None
    agreement: Agreement | None = None
    proofs: bool = False
    evaluation: Path | None = None


def audit(
    path: Path, trust: Trust | None = None, *, backend: str = "py_ecc", progress: Progress | None = None, resume: Path | None = None
) -> Report:
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
    resume : Path, optional
        Keeps what was settled in this file, and goes on from it when the audit was interrupted; it is removed at the end.

    Returns
    -------
    Report
        With findings where something is false.

    Raises
    ------
    FormatError, StorageError
        The file is no export, is truncated, or cannot be read: there is nothing to audit.
    VerificationError
        The evaluation set that was given is not the one that the agreement names.
    """
    report = Report()
    try:
        with _open(path, report) as archive:
            _audit(archive, trust or Trust(), backend, report, progress or (lambda done, total: None), resume)
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


def _audit(archive: ArchiveReader, trust: Trust, backend: str, report: Report, progress: Progress, resume: Path | None) -> None:
    index = _index(archive, report)
    checkpoint = _checkpoint(archive, index, trust, report)
    _tree(archive, checkpoint, report)
    opening = _opening(archive, checkpoint, report)
    if opening.log_key != index.log_key or opening.origin != checkpoint.origin:
        report.find(Check.AGREEMENT, 0, "the ledger names another log key or origin than its checkpoint is signed with")
    else:
        _quorum(archive, opening, report)
    if trust.agreement is not None and trust.agreement != opening.agreement:
        report.find(Check.AGREEMENT, 0, "the agreement in the ledger is not the one that was given to the audit")
    if not index.updates:
        if trust.proofs:
            report.find(Check.PROOFS, None, "single updates were left out of this export: its proofs of training cannot be checked")
        report.notes.append("single updates were left out: their commitments were checked in the sum only, and proofs of training were not")

    subject = digest(archive.read(INDEX, MAX_INDEX_BYTES) + archive.read("checkpoint", MAX_NOTE_SIZE))
    evaluation = Evaluation.read(trust.evaluation, opening.agreement) if trust.evaluation else None
    kept = Resume.load(resume, subject) if resume else None
    edge = merkle.Frontier()
    replay = Replay(opening, lambda size: edge.root(), archive, GROUPS[backend], report, index.updates, kept, evaluation)
    try:
        for position, data in enumerate(_entries(archive, checkpoint)):
            progress(position, checkpoint.size)
            if position:
                replay.entry(position, _entry(position, data, report))
            edge.append([merkle.leaf_hash(data)])
        if edge.root() != checkpoint.root:
            raise StorageError(f"{archive.path} was changed while it was read: audit it again")
    except Halt:
        replay.settle()  # what was collected before is judged all the same
        raise
    replay.finish()
    expected = {INDEX, "checkpoint", *map(tile_path, tiles_of(checkpoint.size)), *map(entries_path, bundles_of(checkpoint.size))}
    for name in archive.names() if report.verified else ():  # where something is false, what it refers to was not followed
        if name not in expected and name not in replay.seen:
            report.find(Check.EVIDENCE, None, f"{name}: nothing in the ledger refers to it")
    if kept:
        kept.remove()
    progress(checkpoint.size, checkpoint.size)


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


def _entries(archive: ArchiveReader, checkpoint: Checkpoint) -> Iterator[bytes]:
    """Yield the entries, a bundle being in memory at a time."""
    if checkpoint.size > archive.length:
        raise VerificationError(f"the checkpoint counts {checkpoint.size} entries, more than the file has bytes")
    for bundle in bundles_of(checkpoint.size):
        yield from decode_bundle(bundle, archive.read(entries_path(bundle), MAX_BUNDLE_BYTES))


def _tree(archive: ArchiveReader, checkpoint: Checkpoint, report: Report) -> None:
    """Check that the entries hash to the root, and that every tile holds the hashes on the way there."""
    edge = merkle.Frontier()
    rows: dict[int, list[bytes]] = {}  # by level of tiles, the hashes of the tile that is not full yet
    try:
        for entry in _entries(archive, checkpoint):
            for level, index, value in edge.append([merkle.leaf_hash(entry)]):
                if level % HEIGHT == 0:
                    row = rows.setdefault(level // HEIGHT, [])
                    row.append(value)
                    if len(row) == WIDTH:
                        _compare(archive, Tile(level // HEIGHT, index // WIDTH), row, report)
                        row.clear()
    except (FormatError, VerificationError) as error:
        report.find(Check.TREE, None, str(error))
        raise Halt from error
    for tile in tiles_of(checkpoint.size):
        if tile.width < WIDTH:
            _compare(archive, tile, rows[tile.level], report)
    if edge.root() != checkpoint.root:
        report.find(Check.TREE, None, "the entries do not hash to the root in the checkpoint")
        raise Halt
    report.count(Check.TREE, checkpoint.size)


def _compare(archive: ArchiveReader, tile: Tile, hashes: list[bytes], report: Report) -> None:
    name = tile_path(tile)
    try:
        stored = archive.read(name, WIDTH * merkle.HASH_SIZE)
    except VerificationError as error:
        report.find(Check.TREE, None, str(error))
        return
    if stored != b"".join(hashes):
        size = merkle.HASH_SIZE
        offset = next((i for i, value in enumerate(hashes) if stored[i * size : (i + 1) * size] != value), len(hashes))
        place = tile.index * WIDTH + offset
        entry = place if tile.level == 0 else None
        report.find(Check.TREE, entry, f"{name}: node {place} of level {tile.level * HEIGHT} is not the hash of what it stands for")


def _opening(archive: ArchiveReader, checkpoint: Checkpoint, report: Report) -> AgreementEntry:
    first = next(_entries(archive, checkpoint), None)
    if first is None:
        report.find(Check.SEQUENCE, None, "the ledger has no entry")
        raise Halt
    entry = _entry(0, first, report)
    if not isinstance(entry, AgreementEntry):
        report.find(Check.SEQUENCE, 0, f"the ledger begins with a {entry.kind} entry instead of the agreement")
        raise Halt
    report.summary |= {"federation": entry.agreement.federation.name, "run": digest(first)}
    return entry


def _entry(position: int, data: bytes, report: Report) -> Entry:
    try:
        entry = decode_entry(data)
    except FormatError as error:
        report.find(Check.ENTRIES, position, str(error))
        raise Halt from error
    report.count(Check.ENTRIES)
    return entry
