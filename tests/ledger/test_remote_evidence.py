"""Evidence in object stores through fsspec: in memory, in local files, and on S3 where a server of it can be started.

``LUNARIA_TEST_S3`` names an S3 endpoint to test against (access key and secret ``test``); otherwise moto's server is started where it and
s3fs are installed (``pip install s3fs 'moto[server]'``).
"""

import importlib.util
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.backup import backup, restore
from ledger.errors import FormatError, StorageError, VerificationError
from ledger.evidence import EvidenceStore
from ledger.export import write_export
from ledger.fsck import fsck
from ledger.log import Log
from ledger.note import Ed25519Signer
from ledger.remote_evidence import RemoteEvidence
from ledger.storage import Storage

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    if "LUNARIA_TEST_S3" in os.environ:
        pytest.importorskip("s3fs")
        yield os.environ["LUNARIA_TEST_S3"]
        return
    if any(importlib.util.find_spec(name) is None for name in ("s3fs", "moto", "flask")):
        pytest.skip("no S3 here: pip install s3fs 'moto[server]', or name an endpoint with LUNARIA_TEST_S3")
    server = importlib.import_module("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'lunaria[remote]'")
    if request.param == "memory":
        return f"memory://{secrets.token_hex(8)}/run"
    if request.param == "file":
        return (tmp_path / "objects").as_uri()
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("endpoint"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"lunaria-{secrets.token_hex(8)}"
    importlib.import_module("s3fs").S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/run"


def test_evidence_is_kept_under_its_digest(url: str) -> None:
    store = RemoteEvidence(url)
    assert ABC not in store
    assert list(store.digests()) == []
    with pytest.raises(StorageError, match="is missing"):
        store.get(ABC, limit=3)
    assert store.put(b"abc") == store.put(b"abc") == ABC
    assert ABC in RemoteEvidence(url)
    assert RemoteEvidence(url).get(ABC, limit=3) == b"abc"
    assert store.path(ABC) == f"{url}/{ABC[:2]}/{ABC[2:]}"
    large = bytes(7_000_000)
    empty, big = store.put(b""), store.put(large)
    assert (store.get(empty, 0), store.get(big, len(large))) == (b"", large)
    assert sorted(store.digests()) == sorted([ABC, empty, big])
    with pytest.raises(FormatError, match="over the limit of 2 bytes"):
        store.get(ABC, limit=2)


def test_what_was_changed_is_noticed_and_repaired(url: str) -> None:
    store = RemoteEvidence(url)
    store.put(b"abc")
    for changed in (b"abd", b"ab", b""):
        store._system.pipe_file(store._key(ABC), changed)
        store._system.invalidate_cache()
        with pytest.raises(VerificationError, match="was changed"):
            store.get(ABC, limit=3)
    store.put(b"abc")
    assert store.get(ABC, limit=3) == b"abc"


@pytest.mark.parametrize("digest", ["", ABC[:-1], ABC.upper(), "../" + ABC[3:]])
def test_a_digest_that_is_none_never_becomes_a_path(digest: str) -> None:
    pytest.importorskip("fsspec")
    store = RemoteEvidence("memory://x")
    for use in (store.path, lambda text: store.get(text, 3), store.__contains__):
        with pytest.raises(FormatError):
            use(digest)


def test_a_run_keeps_its_evidence_there(url: str, run_folder: Path, export: Path, tmp_path: Path) -> None:
    storage = Storage(evidence=url)
    restore(run_folder, tmp_path / "run", storage)
    assert not (tmp_path / "run" / "evidence").exists()
    assert (fsck(tmp_path / "run").damaged, fsck(tmp_path / "run").evidence) == (0, fsck(run_folder).evidence)
    write_export(tmp_path / "run", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()
    backup(tmp_path / "run", tmp_path / "backup")
    assert sorted(EvidenceStore(tmp_path / "backup" / "evidence").digests()) == sorted(storage.open_evidence(tmp_path).digests())
    gone = next(iter(storage.open_evidence(tmp_path).digests()))
    if isinstance(store := storage.open_evidence(tmp_path), RemoteEvidence):
        store._system.rm_file(store._key(gone))
    else:
        Path(str(store.path(gone))).unlink()
    assert f"{gone} is missing" in str(fsck(tmp_path / "run").damage[0])


def test_local_files_are_written_durably(tmp_path: Path) -> None:
    store = Storage(evidence=(tmp_path / "a folder").as_uri()).open_evidence(tmp_path)
    assert isinstance(store, EvidenceStore)
    assert store.folder == tmp_path / "a folder"


@pytest.mark.parametrize("url", ["nonsense://x", "s3-like://x"])
def test_a_store_that_nobody_serves_is_one_line(tmp_path: Path, url: str) -> None:
    Storage(evidence=url).save(tmp_path)
    with pytest.raises(StorageError, match=f"cannot use {url}") as caught:
        Log.open(tmp_path, Ed25519Signer("x", bytes(32)), create=True)
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    store = RemoteEvidence("file:///proc/nowhere")
    with pytest.raises(StorageError, match="cannot write file:///proc/nowhere/") as caught:
        store.put(b"abc")
    assert "\n" not in str(caught.value)
