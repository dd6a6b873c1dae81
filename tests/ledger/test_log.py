"""The log as a whole: acknowledged entries stay, crashes are repaired forward, forks are never signed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import log as log_module
from ledger import merkle, note
from ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.errors import FormatError, StorageError, VerificationError
from ledger.log import Log
from ledger.storage import Storage
from ledger.store import Store
from tests.postgres import Server

KEY = note.Ed25519Signer("example.com/run", bytes(32))

# Where a process can die in an append; each names what it replaces, and whether it dies before or after it.
STEPS = [
    (owner, name, when)
    for owner, name in (
        (Store, "append"),
        (log_module, "sign_checkpoint"),
        (Store, "save_checkpoint"),
        (log_module, "write_durably"),
        (Path, "replace"),
    )
    for when in ("before", "after")
]


def opened(signed: bytes) -> Checkpoint:
    return open_checkpoint(signed, KEY.verifier, "example.com/run")


def start(folder: Path, count: int = 3) -> None:
    with Log.open(folder, KEY, create=True) as log:
        for index in range(count):
            log.append(b"entry %d" % index)


def dies(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, when: str, death: Callable[[], None]) -> None:
    """Let the process die before or after ``owner.name`` does its work."""
    original = getattr(owner, name)

    def dying(*args: object, **kwargs: object) -> object:
        if when == "before":
            death()
        result = original(*args, **kwargs)
        death()
        return result

    monkeypatch.setattr(owner, name, dying)


def test_a_new_log_publishes_the_empty_tree(tmp_path: Path) -> None:
    with Log.open(tmp_path / "new" / "run", KEY, create=True) as log:
        assert log.size == 0
        assert opened(log.checkpoint_note()) == Checkpoint("example.com/run", 0, merkle.EMPTY_ROOT)
        assert (tmp_path / "new" / "run" / "checkpoint").read_bytes() == log.checkpoint_note()


def test_appending_returns_a_checkpoint_that_proves_the_entry(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log:
        roots = [merkle.EMPTY_ROOT]
        for index in range(12):
            checkpoint = log.append(b"entry %d" % index)
            assert checkpoint == opened(log.checkpoint_note()) == opened((tmp_path / "checkpoint").read_bytes())
            assert checkpoint.size == log.size == index + 1
            roots.append(checkpoint.root)
        for index in range(12):
            assert log.entry(index) == b"entry %d" % index
            merkle.verify_inclusion(merkle.leaf_hash(log.entry(index)), index, 12, log.inclusion(index), roots[12])
        for old in range(1, 13):
            merkle.verify_consistency(old, 12, roots[old], roots[12], log.consistency(old))
        with pytest.raises(VerificationError):
            log.inclusion(12)
        with pytest.raises(VerificationError):
            log.consistency(0)
        with pytest.raises(StorageError):
            log.entry(12)


def test_reopening_changes_nothing(tmp_path: Path) -> None:
    start(tmp_path)
    before = (tmp_path / "checkpoint").read_bytes()
    with Log.open(tmp_path, KEY, create=False) as log:
        assert log.size == 3
        assert log.checkpoint_note() == before == (tmp_path / "checkpoint").read_bytes()


def test_evidence_lives_in_the_folder(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log:
        digest = log.evidence.put(b"proof")
        log.append(digest.encode())
    with Log.open(tmp_path, KEY, create=False) as log:
        assert log.evidence.get(log.entry(0).decode(), limit=5) == b"proof"


@pytest.mark.parametrize(("owner", "name", "when"), STEPS)
def test_a_process_killed_at_any_step_leaves_a_log_that_reopens(tmp_path: Path, owner: object, name: str, when: str) -> None:
    start(tmp_path)
    published = opened((tmp_path / "checkpoint").read_bytes())
    child = os.fork()
    if child == 0:  # a real death: no finally, no rollback, no close
        with pytest.MonkeyPatch.context() as patch, Log.open(tmp_path, KEY, create=False) as log:
            dies(patch, owner, name, when, lambda: os._exit(9))
            log.append(b"entry 3")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    with Log.open(tmp_path, KEY, create=False) as log:
        assert log.size == (3 if (owner, name, when) == (Store, "append", "before") else 4)
        assert [log.entry(index) for index in range(log.size)] == [b"entry %d" % index for index in range(log.size)]
        merkle.verify_consistency(3, log.size, published.root, opened(log.checkpoint_note()).root, log.consistency(3))
        assert (tmp_path / "checkpoint").read_bytes() == log.checkpoint_note()
        assert log.append(b"next").size == log.size


@pytest.mark.parametrize(("owner", "name", "when"), STEPS)
def test_one_size_never_has_two_signed_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, when: str) -> None:
    signed: dict[int, bytes] = {}

    def recording(checkpoint: Checkpoint, signer: note.Signer) -> bytes:
        assert signed.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
        return sign_checkpoint(checkpoint, signer)

    class DeathError(Exception):
        pass

    def death() -> None:
        raise DeathError

    monkeypatch.setattr(log_module, "sign_checkpoint", recording)
    start(tmp_path)
    for attempt in range(3):
        with Log.open(tmp_path, KEY, create=False) as log, monkeypatch.context() as patch:
            dies(patch, owner, name, when, death)
            with pytest.raises(DeathError):
                log.append(b"attempt %d" % attempt)
    start(tmp_path, count=2)
    with Log.open(tmp_path, KEY, create=False) as log:
        leaves = [merkle.leaf_hash(log.entry(index)) for index in range(log.size)]
        assert all(merkle.root_of(leaves[:size]) == root for size, root in signed.items())


def test_after_an_append_that_was_cut_short_the_log_asks_to_be_reopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise StorageError("disk full")

    with Log.open(tmp_path, KEY, create=True) as log:
        with monkeypatch.context() as patch:
            dies(patch, log_module, "write_durably", "before", full)
            with pytest.raises(StorageError, match="disk full"):
                log.append(b"entry")
        assert log.size == 0
        with pytest.raises(StorageError, match="reopen the ledger"):
            log.append(b"entry")
    with Log.open(tmp_path, KEY, create=False) as log:
        assert log.size == 1
        assert log.append(b"next").size == 2


def test_an_entry_over_the_limit_changes_nothing(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log:
        with pytest.raises(FormatError):
            log.append(bytes(65_536))
        assert log.append(bytes(65_535)).size == 1


def test_a_second_server_on_one_ledger_fails_in_one_line(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log:
        with pytest.raises(StorageError, match="in use by another server"):
            Log.open(tmp_path, KEY, create=True)
        log.append(b"still mine")
    Log.open(tmp_path, KEY, create=False).close()


def test_a_server_that_ignores_the_lock_cannot_fork_the_log(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log, Store.open(tmp_path / "ledger.db", create=False) as rogue:
        rogue.append([b"rogue"], expected_size=0)
        with pytest.raises(StorageError, match="another process appended"):
            log.append(b"entry")
        assert log.size == 0


def test_readers_need_no_lock(tmp_path: Path) -> None:
    with Log.open(tmp_path, KEY, create=True) as log, Store.open(tmp_path / "ledger.db", create=False) as reader:
        log.append(b"entry")
        assert reader.entry(0) == b"entry"
        assert reader.latest_checkpoint() == log.checkpoint_note()


def test_an_old_copy_of_the_database_is_not_continued(tmp_path: Path) -> None:
    start(tmp_path)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "backup.db")
    start(tmp_path)
    shutil.copy(tmp_path / "backup.db", tmp_path / "ledger.db")
    with pytest.raises(StorageError, match=r"covers 6 entries, .*ledger\.db has 3: it is an old copy"):
        Log.open(tmp_path, KEY, create=False)
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(StorageError, match=r"covers 6 entries, .*ledger\.db has 0"):
        Log.open(tmp_path, KEY, create=True)


def test_a_published_checkpoint_of_another_history_is_not_continued(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "checkpoint").write_bytes(sign_checkpoint(Checkpoint("example.com/run", 2, bytes(32)), KEY))
    with pytest.raises(StorageError, match="is of another tree"):
        Log.open(tmp_path, KEY, create=False)


def test_a_lost_published_checkpoint_is_published_again(tmp_path: Path) -> None:
    start(tmp_path)
    before = (tmp_path / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").unlink()
    Log.open(tmp_path, KEY, create=False).close()
    assert (tmp_path / "checkpoint").read_bytes() == before


@pytest.mark.parametrize("key", [note.Ed25519Signer("example.com/run", bytes([1] * 32)), note.Ed25519Signer("other", bytes(32))])
def test_a_log_opens_only_under_its_key_and_origin(tmp_path: Path, key: note.Ed25519Signer) -> None:
    start(tmp_path)
    with pytest.raises(StorageError, match="is not of the log"):
        Log.open(tmp_path, key, create=False)
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(StorageError, match="the last signed checkpoint is not of the log"):
        Log.open(tmp_path, key, create=False)


def test_a_folder_without_a_log_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot open the log in .*: No such file"):
        Log.open(tmp_path / "missing", KEY, create=False)
    with pytest.raises(StorageError, match="there is no ledger"):
        Log.open(tmp_path, KEY, create=False)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot open the log"):
        Log.open(tmp_path / "file", KEY, create=True)


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    log = Log.open(tmp_path, KEY, create=True)
    log.close()
    log.close()
    with pytest.raises(StorageError, match="closed"):
        log.append(b"entry")


def test_a_ledger_on_hold_does_not_open(tmp_path: Path) -> None:
    start(tmp_path)
    with Store.open(tmp_path / "ledger.db", create=False) as store:
        store.hold("it was restored")
    with pytest.raises(StorageError, match="is on hold: it was restored"):
        Log.open(tmp_path, KEY, create=False)


def test_a_log_lives_where_its_storage_says(tmp_path: Path, postgres: Server) -> None:
    url = postgres.database()
    Storage(database=url).save(tmp_path)
    start(tmp_path)
    assert not (tmp_path / "ledger.db").exists()
    with Log.open(tmp_path, KEY, create=False) as log, Store.open(url, create=False) as store:
        assert store.latest_checkpoint() == log.checkpoint_note()
        assert log.entry(2) == b"entry 2"


def test_two_servers_with_one_database_append_in_turn_or_not_at_all(tmp_path: Path, postgres: Server) -> None:
    url = postgres.database()
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        Storage(database=url).save(folder)
    with Log.open(folders[0], KEY, create=True) as one, Log.open(folders[1], KEY, create=True) as two:
        assert one.append(b"a").size == 1
        with pytest.raises(StorageError, match="another process appended"):
            two.append(b"b")
    with Log.open(folders[1], KEY, create=False) as two:
        assert two.append(b"b").size == 2
    with Store.open(url, create=False) as store:
        assert list(store.entries(0, 2)) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("text", "reason"), [("database = 1", "database"), ("database = 'mysql://x'", "database"), ("x = 1", "unknown"), ("[", "")]
)
def test_a_storage_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "storage.toml").write_text(text)
    with pytest.raises(FormatError, match=rf"storage\.toml: .*{reason}"):
        Log.open(tmp_path, KEY, create=True)
