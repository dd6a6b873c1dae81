"""A backup is whole, a restore overwrites nothing, and what was restored cannot fork the log."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger import backup as module
from ledger import merkle
from ledger.audit import audit
from ledger.backup import backup, release, restore
from ledger.changes import Revocation, RevocationReason
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError, StorageError
from ledger.evidence import EvidenceStore
from ledger.export import write_export
from ledger.fsck import fsck
from ledger.identity import node_digest
from ledger.log import Log
from ledger.note import Ed25519Signer
from ledger.storage import Storage
from ledger.store import Store
from server.deployment.changes import Changes
from server.evaluation_set import FILE as EVALUATION_FILE
from strategies.journal import Drawn, Journal, Page
from tests.federation import SIGNER
from tests.ledger.conftest import Forgery
from tests.postgres import Server

ORIGIN = SIGNER.verifier.key.name
HERE = Storage()


def start(run: Path, forgery: Forgery, count: int) -> None:
    """Begin a log of ``count`` entries that are readable and have their evidence."""
    with Log.open(run, SIGNER, create=True) as log:
        for piece in forgery.evidence.values():
            log.evidence.put(piece)
        for _ in range(count):
            log.append(forgery.leaf(0))


def test_a_restored_run_is_the_same_ledger(run_folder: Path, export: Path, tmp_path: Path) -> None:
    assert backup(run_folder, tmp_path / "deep" / "backup") == 7
    assert restore(tmp_path / "deep" / "backup", tmp_path / "new", HERE) == 7
    assert fsck(tmp_path / "new").damaged == 0
    write_export(tmp_path / "new", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()
    assert audit(tmp_path / "again.tar", backend="arkworks").verified
    with Store.open(run_folder / "ledger.db", create=False) as old, Store.open(tmp_path / "new" / "ledger.db", create=False) as new:
        assert old.checkpoints(0, 8) == new.checkpoints(0, 8)
    assert (tmp_path / "new" / "checkpoint").read_bytes() == (run_folder / "checkpoint").read_bytes()
    assert not (tmp_path / "deep" / "backup" / "keys").exists()


def test_what_was_promised_and_the_keys_of_members_are_a_part_of_the_run(run_folder: Path, tmp_path: Path) -> None:
    run, run_name = Path(shutil.copytree(run_folder, tmp_path / "run")), "ab" * 32
    pages = [Page(run=run_name, size=size, drawn=Drawn(reveals=(), withheld=(), beacon=f"{size:02d}" * 32)) for size in (6, 7, 8)]
    for page in pages:
        Journal(run).write(page)
    (run / EVALUATION_FILE).write_bytes(b"samples")
    node = ec.generate_private_key(ec.SECP384R1()).public_key()
    Changes(run).add(Revocation(client=1, reason=RevocationReason.RULES_BROKEN), node)
    backup(run, tmp_path / "backup")
    for folder in (run, tmp_path / "backup"):
        restore(folder, tmp_path / f"from-{folder.name}", HERE)
        copy = tmp_path / f"from-{folder.name}"
        assert Journal(copy).read(run_name, 7) == pages[1]
        assert (copy / EVALUATION_FILE).read_bytes() == b"samples"
        assert (Changes(copy).waiting(), Changes(copy).node_keys()) == (Changes(run).waiting(), {node_digest(node): node})
        # a page of a later size is of a history that the copy does not have, and promises nothing about the one it will have
        assert [path.name for path in (copy / "journal").iterdir()] == ["7.json"]


def test_a_ledger_moves_between_databases(run_folder: Path, export: Path, tmp_path: Path, postgres: Server) -> None:
    backup(run_folder, tmp_path / "one")
    there = Storage(database=postgres.database())
    restore(tmp_path / "one", tmp_path / "new", there)
    with pytest.raises(StorageError, match="holds a ledger already: nothing is restored over it"):
        restore(tmp_path / "one", tmp_path / "newer", there)
    assert fsck(tmp_path / "new").damaged == 0
    backup(tmp_path / "new", tmp_path / "two")
    restore(tmp_path / "two", tmp_path / "back", HERE)
    write_export(tmp_path / "back", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()


def test_a_backup_while_the_server_runs_is_consistent(forgery: Forgery, tmp_path: Path) -> None:
    run, appended = tmp_path / "run", threading.Event()
    start(run, forgery, 30)
    stop = threading.Event()

    def serve() -> None:
        with Log.open(run, SIGNER, create=False) as log:
            while not stop.is_set():
                log.append(forgery.leaf(0))
                appended.set()

    server = threading.Thread(target=serve)
    server.start()
    try:
        for number in range(5):
            appended.clear()
            assert appended.wait(10)
            size = backup(run, tmp_path / f"backup-{number}")
            found = fsck(tmp_path / f"backup-{number}")
            assert (found.entries, found.damaged) == (size, 0), found
            assert fsck(run).damaged == 0
    finally:
        stop.set()
        server.join()


def test_nothing_is_overwritten(run_folder: Path, tmp_path: Path) -> None:
    backup(run_folder, tmp_path / "backup")
    with pytest.raises(StorageError, match="exists already"):
        backup(run_folder, tmp_path / "backup")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    with pytest.raises(StorageError, match="is not empty: nothing is restored over it"):
        restore(tmp_path / "backup", tmp_path / "run", HERE)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


def test_what_is_damaged_is_not_backed_up_as_if_it_were_good(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    evidence = EvidenceStore(run / "evidence")
    path = evidence.path(next(evidence.digests()))
    data = path.read_bytes()
    path.write_bytes(data + b"?")
    with pytest.raises(LedgerError):
        backup(run, tmp_path / "backup")
    path.write_bytes(data)
    with sqlite3.connect(run / "ledger.db") as connection:
        connection.execute("UPDATE entries SET data = (SELECT data FROM entries WHERE idx = 1) WHERE idx = 2")
    connection.close()
    with pytest.raises(StorageError, match="its root is not the tree's"):
        backup(run, tmp_path / "backup")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_damaged_tree_is_made_again_from_the_entries(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    with sqlite3.connect(run / "ledger.db") as connection:
        connection.execute("DELETE FROM nodes")
    connection.close()
    assert fsck(run).damaged
    backup(run, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new", HERE)
    release(tmp_path / "new", (run / "checkpoint").read_bytes())
    assert fsck(tmp_path / "new").damaged == 0


class TestHold:
    def test_an_old_backup_cannot_fork_the_log(self, forgery: Forgery, tmp_path: Path) -> None:
        run, copy = tmp_path / "run", tmp_path / "copy"
        start(run, forgery, 3)
        backup(run, tmp_path / "backup")
        start(run, forgery, 2)
        newest = (run / "checkpoint").read_bytes()
        shutil.rmtree(run)  # all that is left is the backup, and what a client saw
        restore(tmp_path / "backup", copy, HERE)
        for _ in range(2):
            with pytest.raises(StorageError, match="it was restored, and a later checkpoint than its own may have been published"):
                Log.open(copy, SIGNER, create=False)
            with pytest.raises(StorageError, match="5 entries were published, it has 3"):
                release(copy, newest)

    def test_a_copy_that_is_new_enough_goes_on(self, forgery: Forgery, tmp_path: Path) -> None:
        run, copy = tmp_path / "run", tmp_path / "copy"
        start(run, forgery, 3)
        early = (run / "checkpoint").read_bytes()
        start(run, forgery, 2)
        backup(run, tmp_path / "backup")
        for newest in (early, (run / "checkpoint").read_bytes()):
            shutil.rmtree(copy, ignore_errors=True)
            restore(tmp_path / "backup", copy, HERE)
            assert release(copy, newest) == 5
            with Log.open(copy, SIGNER, create=False) as log:
                assert log.append(forgery.leaf(0)).size == 6

    @pytest.mark.parametrize("origin", [ORIGIN, "elsewhere"])
    def test_a_checkpoint_of_another_key_or_log_releases_nothing(self, forgery: Forgery, tmp_path: Path, origin: str) -> None:
        start(tmp_path / "run", forgery, 3)
        backup(tmp_path / "run", tmp_path / "backup")
        restore(tmp_path / "backup", tmp_path / "copy", HERE)
        with Store.open(tmp_path / "copy" / "ledger.db", create=False) as store:
            root = merkle.root(3, store.node)
        forged = sign_checkpoint(Checkpoint(origin, 3, root), Ed25519Signer(origin, bytes([1] * 32)))
        for newest in (forged, b"", b"no checkpoint\n"):
            with pytest.raises(LedgerError):
                release(tmp_path / "copy", newest)
        other = sign_checkpoint(Checkpoint(ORIGIN, 2, bytes(32)), SIGNER)
        with pytest.raises(StorageError, match="the first 2 entries that were published are others"):
            release(tmp_path / "copy", other)
        with pytest.raises(StorageError, match="on hold"):
            Log.open(tmp_path / "copy", SIGNER, create=False)

    def test_no_server_runs_in_a_backup(self, run_folder: Path, tmp_path: Path) -> None:
        backup(run_folder, tmp_path / "backup")
        with pytest.raises(StorageError, match="it is a backup: restore it"):
            Log.open(tmp_path / "backup", SIGNER, create=False)
        with pytest.raises(StorageError, match="stays on hold: it is a backup"):
            release(tmp_path / "backup", (run_folder / "checkpoint").read_bytes())

    def test_a_restore_that_was_cut_short_is_not_used(self, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        backup(run_folder, tmp_path / "backup")

        def dying(*args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "_finish", dying)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "backup", tmp_path / "copy", HERE)
        with pytest.raises(StorageError, match="cut short: remove it and restore again"):
            Log.open(tmp_path / "copy", SIGNER, create=False)
        with pytest.raises(StorageError, match="cut short"):
            release(tmp_path / "copy", (run_folder / "checkpoint").read_bytes())


def test_a_ledger_without_a_checkpoint_has_nothing_to_copy(tmp_path: Path) -> None:
    Store.open(tmp_path / "ledger.db", create=True).close()
    with pytest.raises(StorageError, match="no signed checkpoint yet"):
        backup(tmp_path, tmp_path / "backup")
    with pytest.raises(StorageError, match="is not the folder of a run"):
        restore(tmp_path / "nowhere", tmp_path / "new", HERE)
