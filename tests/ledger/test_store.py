"""The SQLite store: nothing is lost, nothing forks, and foreign files are left alone."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger import merkle, note
from ledger import store as store_module
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import FormatError, LedgerError, StorageError
from ledger.store import Store

KEY = note.Ed25519Signer("example.com/log", bytes(32))
ENTRIES = [b"entry %d" % index for index in range(600)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def signed(size: int, root: bytes, key: note.Ed25519Signer = KEY) -> bytes:
    return sign_checkpoint(Checkpoint(key.verifier.key.name, size, root), key)


def test_entries_and_tree_survive_reopening(path: Path) -> None:
    with Store.open(path, create=True) as store:
        assert store.size() == 0
        assert store.append(ENTRIES[:3], expected_size=0) == 3
        assert store.append([], expected_size=3) == 3
        assert store.append(ENTRIES[3:], expected_size=3) == 600
    with Store.open(path, create=False) as store:
        assert store.size() == 600
        assert list(store.entries(0, 600)) == ENTRIES
        assert list(store.entries(255, 258)) == ENTRIES[255:258]
        assert list(store.entries(5, 5)) == []
        assert store.entry(599) == ENTRIES[599]
        leaves = [merkle.leaf_hash(entry) for entry in ENTRIES]
        for size in (0, 1, 2, 3, 255, 256, 257, 600):
            assert merkle.root(size, store.node) == merkle.root_of(leaves[:size])


def test_writes_are_synced_to_disk(path: Path) -> None:
    with Store.open(path, create=True) as store, store._access() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_two_servers_on_one_file_cannot_fork_it(path: Path) -> None:
    with Store.open(path, create=True) as one, Store.open(path, create=True) as two:
        one.append([b"a"], expected_size=0)
        with pytest.raises(StorageError, match="has 1 entries where 0 were expected: another process appended"):
            two.append([b"b"], expected_size=0)
        two.append([b"b"], expected_size=1)
        assert list(one.entries(0, 2)) == [b"a", b"b"]


def test_of_two_threads_with_one_expectation_one_succeeds(path: Path) -> None:
    with Store.open(path, create=True) as one, Store.open(path, create=True) as two:

        def attempt(store: Store, size: int) -> int:
            try:
                store.append([b"entry"], expected_size=size)
            except StorageError:
                return 0
            return 1

        with ThreadPoolExecutor(4) as threads:
            for size in range(20):
                tries = threads.map(attempt, [one, two, one, two], [size] * 4)
                assert sum(tries) == 1
        assert one.size() == two.size() == 20


def test_an_entry_over_the_limit_appends_nothing(path: Path) -> None:
    with Store.open(path, create=True) as store:
        with pytest.raises(FormatError, match="65536 bytes is over the limit of 65535"):
            store.append([b"first", bytes(65_536)], expected_size=0)
        assert store.size() == 0
        assert store.append([bytes(65_535), b""], expected_size=0) == 2


def test_an_append_that_fails_half_way_appends_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = merkle.new_nodes

    def failing(size: int, leaf: bytes, read: merkle.NodeReader) -> list[tuple[int, int, bytes]]:
        if size == 3:
            raise KeyboardInterrupt
        return original(size, leaf, read)

    with Store.open(path, create=True) as store:
        monkeypatch.setattr(merkle, "new_nodes", failing)
        with pytest.raises(KeyboardInterrupt):
            store.append(ENTRIES[:5], expected_size=0)
        assert store.size() == 0
        assert store.append(ENTRIES[:3], expected_size=0) == 3


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 4), (-1, 1), (2, 1), (2**70, 2**70 + 1)])
def test_entries_that_are_not_there_are_an_error(path: Path, start: int, stop: int) -> None:
    with Store.open(path, create=True) as store:
        store.append(ENTRIES[:3], expected_size=0)
        with pytest.raises(StorageError, match="has 3 entries"):
            list(store.entries(start, stop))
        with pytest.raises(StorageError, match="no subtree"):
            store.node(2, 0)


def test_a_hole_in_a_damaged_file_is_named(path: Path) -> None:
    with Store.open(path, create=True) as store:
        store.append(ENTRIES[:3], expected_size=0)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM entries WHERE idx = 1")
    connection.close()
    with Store.open(path, create=False) as store, pytest.raises(StorageError, match="damaged"):
        list(store.entries(0, 3))


def test_checkpoints_of_the_tree_are_kept(path: Path) -> None:
    with Store.open(path, create=True) as store:
        assert store.latest_checkpoint() is None
        empty = signed(0, merkle.EMPTY_ROOT)
        store.save_checkpoint(0, empty)
        store.append(ENTRIES[:3], expected_size=0)
        assert store.latest_checkpoint() == empty
        three = signed(3, merkle.root(3, store.node))
        store.save_checkpoint(3, three)
        store.save_checkpoint(3, three)
    with Store.open(path, create=False) as store:
        assert store.latest_checkpoint() == three


def test_a_checkpoint_may_gain_signatures(path: Path) -> None:
    with Store.open(path, create=True) as store:
        alone = signed(0, merkle.EMPTY_ROOT)
        witness = note.Ed25519Signer("witness.example", bytes([1] * 32))
        cosigned = note.sign(note.parse(alone).text, KEY, witness)
        store.save_checkpoint(0, alone)
        store.save_checkpoint(0, cosigned)
        assert store.latest_checkpoint() == cosigned


def test_checkpoints_that_are_not_of_the_tree_are_refused(path: Path) -> None:
    other = note.Ed25519Signer("example.com/other", bytes(32))
    with Store.open(path, create=True) as store:
        store.append(ENTRIES[:3], expected_size=0)
        roots = [merkle.root(size, store.node) for size in range(4)]
        store.save_checkpoint(2, signed(2, roots[2]))
        for size, refused, reason in (
            (3, signed(3, roots[2]), "its root is not the tree's"),
            (2, signed(2, roots[1]), "its root is not the tree's"),
            (4, signed(4, roots[3]), "only 3 entries"),
            (1, signed(1, roots[1]), "there is one for size 2"),
            (3, signed(2, roots[2]), "it is of size 2"),
            (3, signed(3, roots[3], other), r"the ledger is example\.com/log"),
        ):
            with pytest.raises(StorageError, match=reason):
                store.save_checkpoint(size, refused)
        with pytest.raises(FormatError):
            store.save_checkpoint(3, b"not a note")
        assert store.latest_checkpoint() == signed(2, roots[2])


def test_a_missing_ledger_is_not_created_unasked(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no ledger at"):
        Store.open(path, create=False)
    assert not path.exists()
    with pytest.raises(StorageError, match="cannot open"):
        Store.open(path / "below" / "ledger.db", create=True)


def test_foreign_files_are_refused_in_one_line_and_left_alone(path: Path) -> None:
    path.write_text("A letter, not a ledger. " * 1000)
    database = path.with_name("photos.db")
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()
    empty = path.with_name("empty.db")
    empty.touch()
    for file, create in ((path, True), (path, False), (database, True), (database, False), (empty, False)):
        before = file.read_bytes()
        with pytest.raises(StorageError, match=r"is not a ledger$"):
            Store.open(file, create=create)
        assert file.read_bytes() == before
    with pytest.raises(StorageError):
        Store.open(path.parent, create=True)


def test_a_ledger_of_another_format_is_refused(path: Path) -> None:
    Store.open(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StorageError, match="of format 2, this version of Lunaria reads 1"):
        Store.open(path, create=True)


def test_a_locked_file_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BUSY_SECONDS", 0.05)
    with Store.open(path, create=True) as one, Store.open(path, create=True) as two, one._transaction():
        assert two.size() == 0
        with pytest.raises(StorageError, match="locked by another process"):
            two.append([b"entry"], expected_size=0)


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store.open(path, create=True)
    store.close()
    store.close()
    with pytest.raises(LedgerError, match="closed"):
        store.size()


def test_paths_with_special_characters_are_paths(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1.db"
    Store.open(path, create=True).close()
    assert path.is_file()
