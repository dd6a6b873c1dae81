"""The package ``tlog-scales``: it reads our ledger and finds what we find, and we read a log of its."""

from pathlib import Path

import pytest

from ledger import merkle, note
from ledger.checkpoint import parse_checkpoint
from ledger.cosignature import ML_DSA_44_COSIGNATURE, CosignatureSigner
from ledger.quorum import Policy
from ledger.tiles import Bundle, Tile, decode_bundle, entries_path, tile_path, tile_reader
from tests.interop.test_go import LOG, ledger

reader = pytest.importorskip("tlog_scales.reader", reason="the package tlog-scales is not installed")
backend = pytest.importorskip("tlog_scales.backend")
signing = pytest.importorskip("tlog_scales.signing")
writer = pytest.importorskip("tlog_scales.writer")


@pytest.mark.parametrize("size", [3, 77, 300])
def test_it_reads_our_ledger(tmp_path: Path, size: int) -> None:
    ledger(tmp_path, size)
    theirs = reader.TilesReader(backend.LocalBackend(tmp_path))
    checkpoint = theirs.get_checkpoint()
    checkpoint.verify(signing.Vkey.from_string(str(LOG.verifier.key)))
    assert (checkpoint.size, theirs.calculate_root_hash()) == (size, checkpoint.root_hash)
    for index in {0, size // 2, size - 1}:
        entry = theirs.get_entry(index)
        theirs.get_inclusion_proof(index, size).check(merkle.leaf_hash(entry), checkpoint.root_hash)
    old = parse_checkpoint(note.parse((tmp_path / "old").read_bytes()).text)
    theirs.get_consistency_proof(old.size, size).check(old.root, checkpoint.root_hash)


@pytest.mark.parametrize("size", [1, 77, 300])
def test_we_read_its_log(tmp_path: Path, size: int) -> None:
    log = signing.PlainEd25519Signer("scales.example/log", bytes([5] * 32))
    witness = signing.MLDSA44CosignatureSigner("w.example", bytes([6] * 32))
    folder = tmp_path / "log"
    theirs = writer.TilesWriter.create(folder, "scales.example/log")
    for number in range(size):
        theirs.add_leaf(b"entry %d" % number)
    theirs.commit([log, witness])
    ours = CosignatureSigner("w.example", ML_DSA_44_COSIGNATURE, bytes([6] * 32))
    policy = Policy(note.Ed25519Signer("scales.example/log", bytes([5] * 32)).verifier, (ours.verifier,), 1)
    checkpoint = policy.open((folder / "checkpoint").read_bytes())

    def fetch(tile: Tile) -> bytes:
        return (folder / tile_path(tile)).read_bytes()

    read = tile_reader(size, fetch)
    assert merkle.root(size, read) == checkpoint.root
    last = Bundle((size - 1) // 256, (size - 1) % 256 + 1)
    entry = decode_bundle(last, (folder / entries_path(last)).read_bytes())[-1]
    assert entry == b"entry %d" % (size - 1)
    proof = merkle.inclusion_proof(size - 1, size, read)
    merkle.verify_inclusion(merkle.leaf_hash(entry), size - 1, size, proof, checkpoint.root)
