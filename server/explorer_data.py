"""What a page needs of a ledger to show and verify it without a server: checkpoints and the files of C2SP tlog-tiles."""

import base64
from pathlib import Path

from ledger.archive import ArchiveReader
from ledger.checkpoint import parse_checkpoint
from ledger.errors import StorageError
from ledger.log import published_checkpoint
from ledger.note import MAX_NOTE_SIZE
from ledger.note import parse as parse_note
from ledger.storage import ledger_of
from ledger.tiles import MAX_ENTRY_SIZE, WIDTH, bundles_of, encode_bundle, encode_tile, entries_path, tile_path, tiles_of

MAX_BUNDLE_BYTES = WIDTH * (MAX_ENTRY_SIZE + 2)
EARLIER = 1000
"""So many checkpoints before the last one go along from a run's folder, the newest ones; the page checks that the tree extends each."""


def ledger_data(path: Path) -> dict[str, object]:
    """Return the ledger of a run's folder, as far as it is published, or of an export; nothing is verified here.

    Returns
    -------
    dict
        ``checkpoints``, in ascending order, and ``files`` by their paths; the contents in base64.

    Raises
    ------
    FormatError, StorageError, VerificationError
        There is neither, or it cannot be read.
    """
    notes, files = _of_run(path) if path.is_dir() else _of_export(path)
    return {"checkpoints": [_base64(note) for note in notes], "files": {name: _base64(data) for name, data in files.items()}}


def _of_run(run: Path) -> tuple[list[bytes], dict[str, bytes]]:
    store, _ = ledger_of(run)
    with store:
        note = published_checkpoint(run) or store.latest_checkpoint()
        if note is None:
            raise StorageError(f"{run} holds no signed checkpoint yet")
        size = parse_checkpoint(parse_note(note).text).size
        earlier = [signed for _, signed in store.checkpoints(0, size)][-EARLIER:]
        files = {tile_path(tile): encode_tile(tile, store.node) for tile in tiles_of(size)}
        for bundle in bundles_of(size):
            first = bundle.index * WIDTH
            files[entries_path(bundle)] = encode_bundle(list(store.entries(first, first + bundle.width)))
    return [*earlier, note], files


def _of_export(path: Path) -> tuple[list[bytes], dict[str, bytes]]:
    with ArchiveReader(path) as archive:
        names = [name for name in archive.names() if name.startswith("tile/")]
        return [archive.read("checkpoint", MAX_NOTE_SIZE)], {name: archive.read(name, MAX_BUNDLE_BYTES) for name in names}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
