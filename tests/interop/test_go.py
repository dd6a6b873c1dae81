"""Go's ``golang.org/x/mod/sumdb`` (tlog, note): it verifies our ledger, and we verify its log.

Needs Debian's packages golang-go and golang-golang-x-mod-dev.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger import merkle, note
from ledger.checkpoint import open_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.log import Log
from ledger.proof import TlogProof
from ledger.store import Store
from ledger.tiles import bundles_of, encode_bundle, encode_tile, entries_path, tile_path, tiles_of

HERE = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
LOG = note.Ed25519Signer("example.com/log", bytes(32))
WITNESSES = [CosignatureSigner(f"w{number}.example", ED25519_COSIGNATURE, bytes([number] * 32)) for number in (1, 2)]

pytestmark = pytest.mark.skipif(
    shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir(),
    reason="Go's sumdb is not installed: apt-get install golang-go golang-golang-x-mod-dev",
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    for name in ("read", "write"):
        command = ["go", "build", "-o", str(folder / name), str(HERE / f"{name}.go")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603 - ours
        assert done.returncode == 0, done.stderr
    return folder


def ledger(folder: Path, size: int) -> list[str]:
    """Write a ledger of ours in tlog-tiles layout, with a proof of every entry; returns the arguments for the reader."""
    with Log.open(folder / "run", LOG, create=True) as log:
        for number in range(size):
            log.append(f"entry {number} ".encode() * (number + 1))
            if log.size == 3:
                (folder / "old").write_bytes(log.checkpoint_note())
        text = note.parse(log.checkpoint_note()).text
    signed = note.sign(text, LOG, *WITNESSES)
    with Store.open(folder / "run" / "ledger.db", create=False) as store:
        files = {tile_path(tile): encode_tile(tile, store.node) for tile in tiles_of(size)}
        entries = list(store.entries(0, size))
        files |= {entries_path(b): encode_bundle(entries[b.index * 256 : b.index * 256 + b.width]) for b in bundles_of(size)}
        for index in range(size):
            hashes = tuple(merkle.inclusion_proof(index, size, store.node))
            files[f"proof-{index}"] = TlogProof(index, hashes, signed, entries[index]).encode()
    files["checkpoint"] = signed
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return [str(folder), str(LOG.verifier.key), str(folder / "old"), *(str(witness.verifier.key) for witness in WITNESSES)]


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours


@pytest.mark.parametrize("size", [3, 8, 77, 200])
def test_go_verifies_our_ledger(programs: Path, tmp_path: Path, size: int) -> None:
    done = run(programs / "read", *ledger(tmp_path, size))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{size}\n", "")


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000.p/20", "tile/entries/000.p/20", "proof-7", "old"])
def test_go_finds_what_was_changed(programs: Path, tmp_path: Path, name: str) -> None:
    arguments = ledger(tmp_path, 20)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert run(programs / "read", *arguments).returncode == 1


def test_we_verify_a_log_of_go(programs: Path) -> None:
    size = 40
    done = run(programs / "write", str(size))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    verifier = note.Ed25519Verifier(note.VerifierKey.parse(made["key"]))
    roots = [open_checkpoint(signed.encode(), verifier, "go.example/log").root for signed in made["checkpoints"]]
    assert len(roots) == size
    for new in range(1, size + 1):
        for index in range(new):
            path = [base64.b64decode(value) for value in made["inclusion"][new - 1][index]]
            merkle.verify_inclusion(merkle.leaf_hash(f"entry {index}".encode()), index, new, path, roots[new - 1])
            path = [base64.b64decode(value) for value in made["consistency"][new - 1][index]]
            merkle.verify_consistency(index + 1, new, roots[index], roots[new - 1], path)
