"""Every damage to a ledger where it is kept is found, named, and comes with what to do; what is no damage is not called one."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import fsck as module
from ledger import merkle
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import LedgerError, StorageError
from ledger.evidence import EvidenceStore
from ledger.fsck import Diagnosis, fsck
from ledger.log import Log
from ledger.note import Ed25519Signer
from ledger.storage import Storage
from ledger.store import Store
from tests.federation import SIGNER
from tests.ledger.conftest import Forgery
from tests.postgres import Server

ORIGIN = SIGNER.verifier.key.name


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def sql(run: Path, *statements: str) -> None:
    with sqlite3.connect(run / "ledger.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def lines(found: Diagnosis) -> str:
    return "\n".join(map(str, found.damage))


def test_a_good_ledger_is_intact(run: Path) -> None:
    found = fsck(run)
    assert (found.entries, found.checkpoints, found.damaged, found.notes) == (7, 9, 0, [])
    assert found.nodes == 7 + 3 + 1
    assert found.evidence > 20


Harm = Callable[[Path], None]


def other_log(run: Path) -> None:
    sql(run, "DELETE FROM checkpoints WHERE size < 7")
    signed = sign_checkpoint(Checkpoint("elsewhere", 7, bytes(32)), Ed25519Signer("elsewhere", bytes(32)))
    (run / "checkpoint").write_bytes(signed)


def published(size: int, root: bytes) -> Harm:
    def publish(run: Path) -> None:
        (run / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, size, root), SIGNER))

    return publish


@pytest.mark.parametrize(
    ("harm", "where", "what"),
    [
        (lambda run: sql(run, "UPDATE entries SET data = CAST(replace(data, 'a', 'b') AS BLOB) WHERE idx = 5"), "entry 5", ""),
        (lambda run: sql(run, "UPDATE entries SET data = x'00' WHERE idx = 5"), "hash 5 of level 0", "not the hash"),
        (lambda run: sql(run, "UPDATE entries SET data = x'00' WHERE idx = 5"), "of size 6", "its root is not"),
        (
            lambda run: sql(run, "UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 2"),
            "hash 2 of level 1",
            "entries 4 up to 6",
        ),
        (lambda run: sql(run, "DELETE FROM nodes WHERE level = 2"), "hash 0 of level 2", "missing"),
        (lambda run: sql(run, "INSERT INTO nodes VALUES (1, 3, zeroblob(32))"), "level 1 of the tree", "beyond the entries"),
        (lambda run: sql(run, "DELETE FROM entries WHERE idx = 3"), "ledger.db", "are missing"),
        (lambda run: sql(run, "DELETE FROM entries WHERE idx = 6"), "checkpoint of size 7", "older than what was signed"),
        (lambda run: sql(run, "DELETE FROM entries"), "checkpoint of size 7", "there are 0"),
        (lambda run: sql(run, "UPDATE checkpoints SET note = x'00' WHERE size = 3"), "checkpoint of size 3", ""),
        (
            lambda run: sql(run, "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 2) WHERE size = 3"),
            "size 3",
            "is of size 2",
        ),
        (lambda run: (run / "checkpoint").write_bytes(b"?") and None, "/checkpoint", ""),
        (published(9, bytes(32)), "/checkpoint", "it covers 9 entries, there are 7"),
        (published(7, bytes(32)), "/checkpoint", "its root is not that of the entries"),
        (published(2, bytes(32)), "/checkpoint", "its root is not that of the entries"),
        (other_log, "/checkpoint", "signed by none of the known keys"),
    ],
)
def test_damage_is_named(run: Path, harm: Harm, where: str, what: str) -> None:
    harm(run)
    assert any(where in line and what in line for line in lines(fsck(run)).splitlines())


@pytest.mark.parametrize("number", range(3))
def test_evidence_that_is_missing_changed_or_short_is_named(run: Path, number: int) -> None:
    evidence = EvidenceStore(run / "evidence")
    for digest in sorted(evidence.digests()):
        path = evidence.path(digest)
        data = path.read_bytes()
        if number:
            path.write_bytes([data[:-1], data[:-1] + bytes([data[-1] ^ 1])][number - 1])
        else:
            path.unlink()
        found = fsck(run)
        assert found.damaged
        assert all(digest in line or "is missing" in line for line in lines(found).splitlines())
        path.write_bytes(data)
    assert fsck(run).damaged == 0


def test_damaged_pages_are_named(run: Path) -> None:
    path = run / "ledger.db"
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):  # the header of each page but the first
        data[start : start + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))
    assert "restore a backup" in lines(fsck(run))


def test_what_is_no_damage_is_a_note(run: Path) -> None:
    EvidenceStore(run / "evidence").put(b"of a reply that was not kept")
    (run / "checkpoint").unlink()
    with Store.open(run / "ledger.db", create=False) as store:
        store.append([store.entry(6)], expected_size=7)
        store.hold("wait")
    found = fsck(run)
    assert found.damaged == 0
    assert [note.split(":")[0] for note in found.notes] == [
        "1 entries are not under a signed checkpoint",
        "1 pieces of evidence belong to no entry",
        "on hold",
        f"{run / 'checkpoint'} is missing",
    ]


def test_the_key_may_come_from_elsewhere(run: Path) -> None:
    assert fsck(run, str(SIGNER.verifier.key)).damaged == 0
    other = str(Ed25519Signer(ORIGIN, bytes([1] * 32)).verifier.key)
    assert fsck(run, other).damaged == 9
    with pytest.raises(LedgerError):
        fsck(run, "no key")


def test_a_ledger_of_many_pages(tmp_path: Path, forgery: Forgery) -> None:
    data = forgery.leaf(0)
    with Log.open(tmp_path, SIGNER, create=True) as log:
        for piece in forgery.evidence.values():
            log.evidence.put(piece)
        log.append(data)
        log.append(data)
    with Store.open(tmp_path / "ledger.db", create=False) as store:
        store.append([data] * 1200, expected_size=2)
        for size in (255, 256, 257, 1023, 1024, 1202):
            signed = sign_checkpoint(Checkpoint(ORIGIN, size, merkle.root(size, store.node)), SIGNER)
            store.save_checkpoint(size, signed)
    found = fsck(tmp_path)
    assert (found.entries, found.checkpoints, found.damaged) == (1202, 10, 0), lines(found)
    for level, index in ((0, 256), (0, 1201), (8, 3), (9, 1), (10, 0)):
        with sqlite3.connect(tmp_path / "ledger.db") as connection:
            (before,) = connection.execute("SELECT hash FROM nodes WHERE level = ? AND idx = ?", (level, index)).fetchone()
            connection.execute("UPDATE nodes SET hash = zeroblob(32) WHERE level = ? AND idx = ?", (level, index))
            connection.commit()
            assert f"hash {index} of level {level}:" in lines(fsck(tmp_path))
            connection.execute("UPDATE nodes SET hash = ? WHERE level = ? AND idx = ?", (before, level, index))
        connection.close()
    assert fsck(tmp_path).damaged == 0


def test_a_ledger_in_postgresql_is_checked_the_same_way(run: Path, postgres: Server) -> None:
    import psycopg

    url = postgres.database()
    with Store.open(run / "ledger.db", create=False) as old, Store.open(url, create=True) as new:
        new.replicate(list(old.entries(0, 7)), [signed for _, signed in old.checkpoints(0, 8)], 0)
    (run / "ledger.db").unlink()
    Storage(database=url).save(run)
    assert (fsck(run).entries, fsck(run).damaged) == (7, 0)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM nodes WHERE level = 2")
    assert "hash 0 of level 2: missing" in lines(fsck(run))


def test_the_list_ends_where_nobody_reads_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LISTED", 3)
    shutil.rmtree(run / "evidence")
    found = fsck(run)
    assert len(found.damage) == 3 < found.damaged


def test_where_there_is_no_ledger_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"it holds no ledger\.db"):
        fsck(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"x" * 9999)
    with pytest.raises(StorageError, match="is not a ledger"):
        fsck(tmp_path)
