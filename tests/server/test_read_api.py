"""The read API and a monitor over it: what is served is what was published, and a hostile server gains nothing."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

import server.fetch
from ledger import merkle, note
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.entries import encode_entry
from ledger.errors import StorageError
from ledger.log import Log
from ledger.monitor import Monitor
from ledger.note import Ed25519Signer
from ledger.store import Store
from ledger.tiles import Bundle, Tile, decode_bundle, encode_bundle, encode_tile, entries_path, tile_path, tiles_of
from server.monitor_command import fetching, follow
from server.read_app import Files, read_routes
from tests.federation import SIGNER, opening_of, terms
from tests.server.conftest import Cli
from tests.server.live import answering, flood, reply, served, trickle

KEY = str(SIGNER.verifier.key)


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run_folder, tmp_path / "served")


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with (
        Store.open(folder / "ledger.db", create=False) as store,
        served(Starlette(routes=list(read_routes(Files(folder, store))))) as where,
    ):
        yield where


class TestFiles:
    def test_the_checkpoint_is_the_published_one_and_not_kept(self, url: str, folder: Path) -> None:
        got = httpx.get(f"{url}/checkpoint")
        assert (got.status_code, got.content) == (200, (folder / "checkpoint").read_bytes())
        assert got.headers["content-type"] == "text/plain; charset=utf-8"
        assert got.headers["cache-control"] == "no-cache"

    def test_tiles_and_bundles_may_be_kept_for_ever(self, url: str, folder: Path) -> None:
        with Store.open(folder / "ledger.db", create=False) as store:
            files = {tile_path(tile): encode_tile(tile, store.node) for tile in tiles_of(7)}
            files["tile/entries/000.p/7"] = encode_bundle(list(store.entries(0, 7)))
            files["tile/entries/000.p/3"] = encode_bundle(list(store.entries(0, 3)))  # of an older checkpoint
            files["tile/0/000.p/3"] = encode_tile(Tile(0, 0, 3), store.node)
        for name, data in files.items():
            got = httpx.get(f"{url}/{name}")
            assert (got.status_code, got.content) == (200, data), name
            assert got.headers["content-type"] == "application/octet-stream"
            assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
            head = httpx.head(f"{url}/{name}")
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "tile/0/000",
                "tile/0/000.p/8",
                "tile/0/000.p/0",
                "tile/0/001.p/1",
                "tile/1/000.p/1",
                "tile/entries/000",
                "tile/entries/000.p/8",
            ),
            *("tile/00/000.p/7", "tile/0/0.p/7", "tile/0/000.p/07", "tile/64/000", "tile/", "tile/0/", "tile/0/x000/000", "tile/-1/000"),
            *("", "ledger.db", "keys/log.key", "tile/../ledger.db", "tile/%2e%2e/ledger.db", "tile/..%2fkeys%2flog.key", "evidence/00/00"),
            "tile/0/" + "x999/" * 6 + "999",
        ],
    )
    def test_nothing_else_is_there(self, url: str, path: str) -> None:
        assert httpx.get(f"{url}/{path}").status_code == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_nothing_can_be_written(self, url: str, method: str) -> None:
        assert httpx.request(method, f"{url}/checkpoint").status_code == 405

    def test_what_is_not_published_is_not_shown(self, tmp_path: Path) -> None:
        def away(signed: bytes, consistency: object) -> bytes:
            raise StorageError("no quorum")

        with Log.open(tmp_path, SIGNER, create=True) as log:
            log.append(b"one")
        with Store.open(tmp_path / "ledger.db", create=False) as store:
            store.append([b"two"], expected_size=1)
            files = Files(tmp_path, store)
            assert files.tile("tile/0/000.p/1") is not None
            assert files.tile("tile/0/000.p/2") is None
            assert files.tile("tile/entries/000.p/2") is None
        with pytest.raises(StorageError, match="no quorum"):
            Log.open(tmp_path, SIGNER, create=False, cosign=away)
        with Store.open(tmp_path / "ledger.db", create=False) as store:
            assert store.latest_checkpoint() != Files(tmp_path, store).checkpoint()
            assert Files(tmp_path, store).tile("tile/entries/000.p/2") is None

    def test_a_run_that_has_not_begun_is_404_and_a_broken_one_503(self, tmp_path: Path) -> None:
        with (
            Store.open(tmp_path / "ledger.db", create=True) as store,
            served(Starlette(routes=list(read_routes(Files(tmp_path, store))))) as url,
        ):
            assert httpx.get(f"{url}/checkpoint").status_code == 404
            assert httpx.get(f"{url}/tile/0/000.p/1").status_code == 404
            (tmp_path / "checkpoint").write_bytes(b"damaged")
            assert httpx.get(f"{url}/tile/0/000.p/1").status_code == 503

    def test_full_tiles_of_higher_levels(self, tmp_path: Path) -> None:
        signer = Ed25519Signer("example.com/log", bytes(32))
        with Store.open(tmp_path / "ledger.db", create=True) as store:
            store.append([b"%d" % number for number in range(600)], expected_size=0)
        with Log.open(tmp_path, signer, create=True) as log, Store.open(tmp_path / "ledger.db", create=False) as store:
            files = Files(tmp_path, store)
            for tile in tiles_of(600):
                assert files.tile(tile_path(tile)) == encode_tile(tile, store.node)
            bundle = files.tile(entries_path(Bundle(1))) or b""
            assert decode_bundle(Bundle(1), bundle)[0] == b"256"
            assert log.size == 600

    def test_tlog_scales_reads_it(self, url: str) -> None:
        reader = pytest.importorskip("tlog_scales.reader", reason="the package tlog-scales is not installed")
        backend = pytest.importorskip("tlog_scales.backend")
        signing = pytest.importorskip("tlog_scales.signing")
        theirs = reader.TilesReader(backend.HttpBackend(url))
        checkpoint = theirs.get_checkpoint()
        checkpoint.verify(signing.Vkey.from_string(KEY))
        assert theirs.calculate_root_hash() == checkpoint.root_hash
        theirs.get_inclusion_proof(4, 7).check(merkle.leaf_hash(theirs.get_entry(4)), checkpoint.root_hash)


class TestMonitor:
    def test_all_is_well(self, cli: Cli, url: str) -> None:
        done = cli("monitor", url, "--key", KEY, "--state", "state", "--once")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("7 entries, root ")
        assert cli("monitor", url + "/", "--key", KEY, "--state", "state", "--once").code == 0
        closed = cli("monitor", url, "--key", KEY, "--state", "other")  # it ends by itself, for the run is closed
        assert (closed.code, closed.out) == (0, done.out)

    def test_a_fork_is_5_and_loud(self, cli: Cli, url: str, folder: Path, tmp_path: Path) -> None:
        assert cli("monitor", url, "--key", KEY, "--state", "state", "--once").code == 0
        true = parse_checkpoint(note.parse((folder / "checkpoint").read_bytes()).text)
        forged = sign_checkpoint(Checkpoint(true.origin, true.size, bytes(32)), SIGNER)
        (folder / "checkpoint").write_bytes(forged)
        done = cli("monitor", url, "--key", KEY, "--state", "state")
        assert (done.code, done.out) == (5, "")
        assert done.err.startswith("FORK: lunaria.local/attacks has forked, two roots for one size: the proof is in state/fork-")
        (proof,) = Path("state").glob("fork-*.json")
        assert cli("fork", "verify", proof, "--key", KEY).code == 0

    def test_what_is_false_is_1_and_what_is_away_is_2(self, cli: Cli, url: str, folder: Path) -> None:
        other = str(Ed25519Signer("lunaria.local/attacks", bytes([1] * 32)).verifier.key)
        done = cli("monitor", url, "--key", other, "--state", "a", "--once")
        assert (done.code, done.err) == (1, "false: the note is signed by none of the known keys\n")
        (folder / "checkpoint").unlink()
        assert "it answers 404" in cli("monitor", url, "--key", KEY, "--state", "b", "--once").refused()
        assert "cannot read" in cli("monitor", "http://127.0.0.1:1", "--key", KEY, "--state", "b", "--once").refused()
        assert "is not the URL" in cli("monitor", "served", "--key", KEY, "--state", "b", "--once").refused()
        cli("monitor", url, "--key", "nonsense", "--state", "b", "--once").refused()

    @pytest.mark.parametrize(
        "answer",
        [
            reply(200, gzip.compress(bytes(1 << 24)), Content_Encoding="gzip"),
            reply(200, gzip.compress(bytes(1 << 24)), Content_Encoding="br, gzip"),
            reply(302, b"", Location="http://127.0.0.1:1/checkpoint"),
            reply(200, bytes((1 << 20) + 1)),
            reply(500, b""),
            flood,
            trickle,
        ],
        ids=["gzip", "two", "redirect", "large", "error", "flood", "trickle"],
    )
    def test_a_hostile_server_cannot_hold_or_fill_it(self, tmp_path: Path, answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server.fetch, "TOTAL_SECONDS", 0.5)
        with (
            answering(answer) as hostile,  # type: ignore[arg-type]  # a function of the request
            fetching(hostile) as fetch,
            Monitor(tmp_path, KEY, fetch) as following,
            pytest.raises(StorageError, match="cannot read"),
        ):
            following.step()

    def test_it_goes_on_when_the_server_comes_back(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = tmp_path / "run"
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                with Log.open(run, SIGNER, create=True) as log:
                    log.append(encode_entry(opening_of(terms(3, 1))))
            if len(slept) == 4:
                raise KeyboardInterrupt

        with Store.open(tmp_path / "ledger.db", create=True) as store:
            pass
        run.mkdir()
        shutil.move(tmp_path / "ledger.db", run / "ledger.db")
        with (
            Store.open(run / "ledger.db", create=False) as store,
            served(Starlette(routes=list(read_routes(Files(run, store))))) as url,
            fetching(url) as fetch,
            Monitor(tmp_path / "state", KEY, fetch) as following,
            pytest.raises(KeyboardInterrupt),
        ):
            follow(following, 1.0, once=False, sleep=sleep)
        assert slept == [1.0, 2.0, 4.0, 1.0]  # less and less often, and then as agreed
        assert capsys.readouterr().out.startswith("1 entries, root ")

    def test_serve_wants_a_run(self, cli: Cli) -> None:
        assert "it holds no ledger.db" in cli("serve", "nowhere").refused()
