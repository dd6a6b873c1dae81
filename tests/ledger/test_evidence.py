"""Evidence: what comes out is what went in, or an error."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FormatError, LedgerError, StorageError, VerificationError
from ledger.evidence import EvidenceStore, write_durably

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
BAD_DIGESTS = ["", ABC[:-1], ABC + "0", ABC.upper(), ABC + "\n", "../" + ABC[3:], "/" * 64, "٠" * 64, ABC[:2] + "/" + ABC[3:]]


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "run" / "evidence")


def test_evidence_is_kept_under_its_digest(store: EvidenceStore) -> None:
    assert ABC not in store
    assert store.put(b"abc") == ABC
    assert ABC in store
    assert store.path(ABC) == store.folder / "ba" / ABC[2:]
    assert store.path(ABC).read_bytes() == b"abc"
    assert store.get(ABC, limit=3) == b"abc"


def test_putting_twice_is_putting_once_and_repairs(store: EvidenceStore) -> None:
    store.put(b"abc")
    store.path(ABC).write_bytes(b"damaged")
    assert store.put(b"abc") == ABC
    assert store.get(ABC, limit=3) == b"abc"
    assert [file for file in store.folder.rglob("*") if file.is_file()] == [store.path(ABC)]


def test_changed_missing_and_large_evidence_are_told_apart(store: EvidenceStore) -> None:
    with pytest.raises(StorageError, match="is missing"):
        store.get(ABC, limit=3)
    store.put(b"abc")
    with pytest.raises(FormatError, match="over the limit of 2 bytes"):
        store.get(ABC, limit=2)
    for changed in (b"abd", b"ab", b""):
        store.path(ABC).write_bytes(changed)
        with pytest.raises(VerificationError, match="was changed"):
            store.get(ABC, limit=3)


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_a_digest_that_is_none_never_becomes_a_path(store: EvidenceStore, digest: str) -> None:
    with pytest.raises(FormatError):
        store.path(digest)
    with pytest.raises(FormatError):
        store.get(digest, limit=3)
    with pytest.raises(FormatError):
        digest in store  # noqa: B015


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    write_durably(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint: No space left on device"):
        write_durably(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_file_and_folders_are_synced_in_order(store: EvidenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    store.put(b"abc")
    assert synced[0].endswith(".tmp")
    assert synced[1:] == [str(store.folder / "ba"), str(store.folder), str(store.folder.parent)]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file")
    store = EvidenceStore(tmp_path / "evidence")
    with pytest.raises(StorageError, match="cannot write"):
        store.put(b"abc")
    with pytest.raises(StorageError, match="cannot read"):
        store.get(ABC, limit=3)


@given(st.text() | st.from_regex(r"[0-9a-fA-F]{60,66}"))
def test_any_digest_is_refused_or_stays_in_the_folder(digest: str) -> None:
    store = EvidenceStore(Path("evidence"))
    try:
        path = store.path(digest)
    except LedgerError:
        return
    assert path.parts == ("evidence", digest[:2], digest[2:])
