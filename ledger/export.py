"""Writing an export: one file that holds everything an auditor needs and nothing secret.

::

    lunaria-export.json        format, the log's public key, what was left out
    checkpoint                 the last signed checkpoint (C2SP tlog-checkpoint)
    tile/0/…, tile/entries/…   the tree and its entries (C2SP tlog-tiles)
    evidence/ab/cdef…          files named by their SHA-256

The same ledger gives the same bytes.
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

from pydantic import Field

from ledger.archive import FORMAT, INDEX, ArchiveWriter
from ledger.canonical import dump_json
from ledger.checkpoint import parse_checkpoint
from ledger.entries import (
    AgreementEntry,
    CommitmentsEntry,
    EnrolmentEntry,
    Entry,
    ProofStatement,
    Reference,
    RoundEntry,
    decode_entry,
    decode_statement,
)
from ledger.errors import FormatError, StorageError
from ledger.evidence import Evidence
from ledger.log import published_checkpoint
from ledger.note import parse as parse_note
from ledger.schema import Section
from ledger.storage import ledger_of
from ledger.store import Store
from ledger.tiles import HEIGHT, WIDTH, Bundle, Tile, bundles_of, encode_bundle, encode_tile, entries_path, tile_path, tiles_of
from ledger.verdicts import KEPT


class ExportIndex(Section):
    """``lunaria-export.json``: what the export is, and what was left out of it on purpose."""

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    log_key: str = Field(max_length=255)
    updates: bool


def write_export(run: Path, path: Path, *, updates: bool = True) -> int:
    """Export the ledger of a run folder; returns the number of entries.

    Parameters
    ----------
    run : Path
        A run's folder; a server may be writing to it.
    path : Path
        The file to write.
    updates : bool
        Whether single updates (and what opens their commitments) go along. Without them an audit still checks that the commitments,
        added up, open to the published aggregate.

    Raises
    ------
    StorageError
        The folder holds no ledger, or evidence is missing.
    """
    store, evidence = ledger_of(run)
    with store:
        note = published_checkpoint(run) or store.latest_checkpoint()  # what is signed but lacks its quorum stays here
        if note is None:
            raise StorageError(f"{run} holds no signed checkpoint yet")
        size = parse_checkpoint(parse_note(note).text).size
        if size == 0:
            raise StorageError(f"the ledger in {run} has no entry yet")
        opening = decode_entry(store.entry(0))
        if not isinstance(opening, AgreementEntry):
            raise FormatError(f"the ledger in {run} does not begin with an agreement")
        wanted = sorted(set(_evidence(store.entries(0, size), evidence, updates)))
        index = ExportIndex(log_key=opening.log_key, updates=updates)
        places: list[tuple[str, Tile | Bundle]] = [(tile_path(tile), tile) for tile in tiles_of(size)]
        places += [(entries_path(bundle), bundle) for bundle in bundles_of(size)]
        with ArchiveWriter(path) as archive:
            archive.add(INDEX, dump_json(index.model_dump(mode="json")))
            archive.add("checkpoint", note)
            for name, place in sorted(places, key=itemgetter(0)):
                archive.add(name, _content(store, place))
            for digest, length in wanted:
                archive.add(evidence_name(digest), evidence.get(digest, length))
    return size


def _content(store: Store, place: Tile | Bundle) -> bytes:
    first = place.index * WIDTH
    if isinstance(place, Bundle):
        return encode_bundle(list(store.entries(first, first + place.width)))
    kept = store.nodes(HEIGHT * place.level, first, first + place.width)
    return encode_tile(place, lambda level, index: kept[index] if index in kept else store.node(level, index))


def evidence_name(digest: str) -> str:
    """Return the name of a piece of evidence in an export."""
    return f"evidence/{digest[:2]}/{digest[2:]}"


def references(entry: Entry) -> Iterator[Reference]:
    """Yield what an entry itself refers to."""
    if isinstance(entry, AgreementEntry):
        yield entry.model
    elif isinstance(entry, EnrolmentEntry):
        yield entry.enrolment.statement.rows
        yield entry.enrolment.statement.proof
    elif isinstance(entry, CommitmentsEntry):
        yield from (item.contribution for item in entry.contributions)
    elif isinstance(entry, RoundEntry):
        yield entry.model_after
        if entry.aggregate is not None:
            yield entry.aggregate.sum
            yield entry.aggregate.blinds
        for verdict in entry.verdicts:
            yield from (reference for reference in (verdict.contribution, verdict.proof) if reference is not None)


def statements(entry: Entry) -> Iterator[Reference]:
    """Yield those of its :func:`references` that are signed statements whose parts are kept."""
    if isinstance(entry, RoundEntry):
        for verdict in entry.verdicts:
            if verdict.contribution is not None and verdict.reason in KEPT:
                yield verdict.contribution
            if verdict.proof is not None:
                yield verdict.proof


def parts(statement: bytes, *, updates: bool = True) -> list[Reference]:
    """Return what a contribution, or a proof that was asked for later, refers to; without ``updates`` a contribution's commitment only.

    Raises
    ------
    FormatError
        It is malformed.
    """
    said = decode_statement(statement).statement
    if isinstance(said, ProofStatement):
        return [said.proof] if updates else []
    opened = [said.update, said.blinds, said.proof] if updates else []
    return [reference for reference in (said.commitment, *opened) if reference is not None]


def _evidence(entries: Iterable[bytes], evidence: Evidence, updates: bool) -> Iterator[tuple[str, int]]:
    """Yield digest and size of all evidence that an export holds."""
    for data in entries:
        entry = decode_entry(data)
        found = list(references(entry))
        for statement in statements(entry):
            found += parts(evidence.get(statement.digest, statement.size), updates=updates)
        for reference in found:
            yield reference.digest, reference.size
