"""The store, on SQLite and on PostgreSQL: nothing is lost, nothing forks, and foreign files and databases are left alone."""

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger import database, merkle, note
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import FormatError, LedgerError, StorageError
from ledger.store import Store
from tests.postgres import Server

KEY = note.Ed25519Signer("example.com/log", bytes(32))
ENTRIES = [b"entry %d" % index for index in range(600)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        return path
    server: Server = request.getfixturevalue("postgres")
    return server.database()


def signed(size: int, root: bytes, key: note.Ed25519Signer = KEY) -> bytes:
    return sign_checkpoint(Checkpoint(key.verifier.key.name, size, root), key)


def test_entries_and_tree_survive_reopening(place: Path | str) -> None:
    with Store.open(place, create=True) as store:
        assert store.size() == 0
        assert store.append(ENTRIES[:3], expected_size=0) == 3
        assert store.append([], expected_size=3) == 3
        assert store.append(ENTRIES[3:], expected_size=3) == 600
    with Store.open(place, create=False) as store:
        assert store.size() == 600
        assert list(store.entries(0, 600)) == ENTRIES
        assert list(store.entries(255, 258)) == ENTRIES[255:258]
        assert list(store.entries(5, 5)) == []
        assert store.entry(599) == ENTRIES[599]
        leaves = [merkle.leaf_hash(entry) for entry in ENTRIES]
        for size in (0, 1, 2, 3, 255, 256, 257, 600):
            assert merkle.root(size, store.node) == merkle.root_of(leaves[:size])


def test_writes_are_synced_to_disk(path: Path) -> None:
    with Store.open(path, create=True) as store:
        assert store._database.query("PRAGMA journal_mode") == [("wal",)]
        assert store._database.query("PRAGMA synchronous") == [(2,)]


def test_two_servers_on_one_ledger_cannot_fork_it(place: Path | str) -> None:
    with Store.open(place, create=True) as one, Store.open(place, create=True) as two:
        one.append([b"a"], expected_size=0)
        with pytest.raises(StorageError, match="has 1 entries where 0 were expected: another process appended"):
            two.append([b"b"], expected_size=0)
        two.append([b"b"], expected_size=1)
        assert list(one.entries(0, 2)) == [b"a", b"b"]


def test_of_two_threads_with_one_expectation_one_succeeds(place: Path | str) -> None:
    with Store.open(place, create=True) as one, Store.open(place, create=True) as two:

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


def test_an_entry_over_the_limit_appends_nothing(place: Path | str) -> None:
    with Store.open(place, create=True) as store:
        with pytest.raises(FormatError, match="65536 bytes is over the limit of 65535"):
            store.append([b"first", bytes(65_536)], expected_size=0)
        assert store.size() == 0
        assert store.append([bytes(65_535), b""], expected_size=0) == 2


def test_an_append_that_fails_half_way_appends_nothing(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(place, create=True) as store:
        insert = store._database.insert

        def failing(table: str, rows: list[database.Row]) -> None:
            if table == "nodes":
                raise KeyboardInterrupt
            insert(table, rows)

        monkeypatch.setattr(store._database, "insert", failing)
        with pytest.raises(KeyboardInterrupt):
            store.append(ENTRIES[:5], expected_size=0)
        monkeypatch.undo()
        assert store.size() == 0
        assert store.append(ENTRIES[:3], expected_size=0) == 3


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 4), (-1, 1), (2, 1), (2**70, 2**70 + 1)])
def test_entries_that_are_not_there_are_an_error(place: Path | str, start: int, stop: int) -> None:
    with Store.open(place, create=True) as store:
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


def test_checkpoints_of_the_tree_are_kept(place: Path | str) -> None:
    with Store.open(place, create=True) as store:
        assert store.latest_checkpoint() is None
        empty = signed(0, merkle.EMPTY_ROOT)
        store.save_checkpoint(0, empty)
        store.append(ENTRIES[:3], expected_size=0)
        assert store.latest_checkpoint() == empty
        three = signed(3, merkle.root(3, store.node))
        store.save_checkpoint(3, three)
        store.save_checkpoint(3, three)
    with Store.open(place, create=False) as store:
        assert store.latest_checkpoint() == three


def test_a_checkpoint_may_gain_signatures(place: Path | str) -> None:
    with Store.open(place, create=True) as store:
        alone = signed(0, merkle.EMPTY_ROOT)
        witness = note.Ed25519Signer("witness.example", bytes([1] * 32))
        cosigned = note.sign(note.parse(alone).text, KEY, witness)
        store.save_checkpoint(0, alone)
        store.save_checkpoint(0, cosigned)
        assert store.latest_checkpoint() == cosigned


def test_checkpoints_that_are_not_of_the_tree_are_refused(place: Path | str) -> None:
    other = note.Ed25519Signer("example.com/other", bytes(32))
    with Store.open(place, create=True) as store:
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


def test_a_ledger_of_a_later_format_is_refused(path: Path) -> None:
    Store.open(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(StorageError, match="of format 3, this version of Lunaria reads 2"):
        Store.open(path, create=True)


def test_a_locked_ledger_is_named(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Store.open(place, create=True) as one, Store.open(place, create=True) as two, one._database.exclusive():
        assert two.size() == 0
        with pytest.raises(StorageError, match="locked by another process"):
            two.append([b"entry"], expected_size=0)


def test_a_closed_store_says_so(place: Path | str) -> None:
    store = Store.open(place, create=True)
    store.close()
    store.close()
    with pytest.raises(LedgerError, match="closed"):
        store.size()


def test_paths_with_special_characters_are_paths(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1.db"
    Store.open(path, create=True).close()
    assert path.is_file()


RACER = """
import sys
from pathlib import Path
from ledger.errors import StorageError
from ledger.store import Store
where, who = sys.argv[1:]
won = 0
with Store.open(where if where.startswith("postgresql") else Path(where), create=True) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while (size := store.size()) < 200:
        try:
            store.append([f"{size} by {who}".encode()], expected_size=size)
        except StorageError as error:
            assert "another process" in str(error), error
        else:
            print(size, flush=True)
"""


def test_of_two_processes_that_race_one_gets_each_number(place: Path | str) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(place), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for who in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        said.append([int(line) for line in racer.communicate(timeout=60)[0].split()])
        assert racer.returncode == 0
    assert sorted(said[0] + said[1]) == list(range(200))
    with Store.open(place, create=False) as store:
        entries = list(store.entries(0, 200))
        assert entries == [b"%d by %s" % (size, b"one" if size in said[0] else b"two") for size in range(200)]
        assert merkle.root(200, store.node) == merkle.root_of([merkle.leaf_hash(entry) for entry in entries])


def test_while_there_is_a_hold_nothing_is_appended_or_signed_for(place: Path | str) -> None:
    with Store.open(place, create=True) as store:
        store.append(ENTRIES[:1], expected_size=0)
        store.hold("wait")
        store.hold("wait for the newest checkpoint")
    with Store.open(place, create=True) as store:
        assert store.holds() == ["wait for the newest checkpoint"]
        with pytest.raises(StorageError, match="is on hold: wait for the newest checkpoint"):
            store.append(ENTRIES[1:2], expected_size=1)
        with pytest.raises(StorageError, match="is on hold"):
            store.save_checkpoint(1, signed(1, merkle.root(1, store.node)))
        assert (store.size(), store.latest_checkpoint()) == (1, None)
        store.release()
        assert store.append(ENTRIES[1:2], expected_size=1) == 2


def test_entries_and_checkpoints_are_replicated_all_or_nothing(place: Path | str) -> None:
    root = merkle.root_of([merkle.leaf_hash(entry) for entry in ENTRIES[:3]])
    with Store.open(place, create=True) as store:
        with pytest.raises(StorageError, match="its root is not the tree's"):
            store.replicate(ENTRIES[:3], [signed(0, merkle.EMPTY_ROOT), signed(3, bytes(32))], 0)
        assert (store.size(), store.checkpoints(0, 9)) == (0, [])
        store.replicate(ENTRIES[:3], [signed(0, merkle.EMPTY_ROOT), signed(3, root)], 0)
        assert store.checkpoints(0, 9) == [(0, signed(0, merkle.EMPTY_ROOT)), (3, signed(3, root))]
        assert store.checkpoints(1, 3) == []
        assert store.widths() == {0: 3, 1: 1}


def test_a_ledger_of_the_first_format_is_brought_up_to_date(path: Path) -> None:
    shutil.copy(Path(__file__).parent / "golden" / "ledger-v1.db", path)
    for _ in range(2):
        with Store.open(path, create=False) as store:
            assert list(store.entries(0, 5)) == [b"entry %d" % index for index in range(5)]
            latest = store.latest_checkpoint()
            assert latest is not None
            assert parse_checkpoint(note.parse(latest).text).root == merkle.root(5, store.node)
            assert store.holds() == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


class TestPostgres:
    def test_a_missing_ledger_is_not_created_unasked(self, postgres: Server) -> None:
        with pytest.raises(StorageError, match="there is no ledger at postgresql://"):
            Store.open(postgres.database(), create=False)
        with pytest.raises(StorageError, match=r"cannot use postgresql://.*nowhere"):
            Store.open(postgres.url("nowhere"), create=True)

    def test_foreign_tables_are_left_alone(self, postgres: Server) -> None:
        import psycopg

        url = postgres.database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE entries (text text)")
        with pytest.raises(StorageError, match="is not a ledger and not empty"):
            Store.open(url, create=True)

    def test_a_ledger_of_a_later_format_is_refused(self, postgres: Server) -> None:
        import psycopg

        url = postgres.database()
        Store.open(url, create=True).close()
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE lunaria_ledger SET format = 3")
        with pytest.raises(StorageError, match="of format 3, this version of Lunaria reads 2"):
            Store.open(url, create=True)

    @pytest.mark.parametrize("url", ["postgresql://host:port/x", "mysql://host/x", ""])
    def test_what_is_no_url_of_a_database_is_one_line(self, url: str) -> None:
        pytest.importorskip("psycopg")
        with pytest.raises(StorageError) as caught:
            Store.open(url, create=True)
        assert "\n" not in str(caught.value)

    def test_a_password_is_never_shown(self, postgres: Server) -> None:
        with pytest.raises(StorageError) as caught:
            Store.open(postgres.url("nowhere").replace("lunaria@", "lunaria:hunter2@"), create=True)
        assert "hunter2" not in str(caught.value)

    def test_two_ledgers_live_in_two_schemas(self, postgres: Server) -> None:
        import psycopg

        url = postgres.database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE SCHEMA one")
            connection.execute("CREATE SCHEMA two")
        one, two = (Store.open(f"{url}&options=-csearch_path%3D{schema}", create=True) for schema in ("one", "two"))
        with one, two:
            one.append([b"a"], expected_size=0)
            assert two.size() == 0

    def test_a_connection_that_was_lost_is_made_again(self, postgres: Server) -> None:
        import psycopg

        url = postgres.database()
        with Store.open(url, create=True) as store, psycopg.connect(postgres.url("postgres"), autocommit=True) as other:
            store.append([b"a"], expected_size=0)
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'ledger%'")
            with pytest.raises(StorageError, match="cannot use"):
                store.append([b"b"], expected_size=1)
            assert store.append([b"b"], expected_size=1) == 2
