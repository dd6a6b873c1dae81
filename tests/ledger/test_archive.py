"""The container: canonical, readable by any tar, and refused where it is not the one file it must be."""

import io
import os
import resource
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archive import BLOCK, INDEX, MAX_FILE, ArchiveReader, ArchiveWriter, header, rank
from ledger.errors import FormatError, StorageError, VerificationError

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789./-_", min_size=1, max_size=100).filter(lambda name: name[-1] != "/")
FILES = {
    INDEX: b"{}",
    "checkpoint": b"note",
    "tile/0/000": bytes(64),
    "evidence/ab/c": b"x" * 1000,
    "evidence/ab/d": b"",
    "zebra": b"z" * 512,
}


def write(path: Path, files: dict[str, bytes]) -> Path:
    with ArchiveWriter(path) as archive:
        for name, data in files.items():
            archive.add(name, data)
    return path


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    with ArchiveReader(write(tmp_path / "a.tar", FILES)) as archive:
        assert archive.names() == list(FILES)
        assert {name: archive.read(name, 1000) for name in archive.names()} == FILES
        assert all(archive.size(name) == len(FILES[name]) and name in archive for name in FILES)
        assert "missing" not in archive
        assert archive.length == (tmp_path / "a.tar").stat().st_size


def test_tarfile_and_tar_read_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", FILES)
    with tarfile.open(path, "r:") as tar:
        assert [(member.name, member.size, member.mode, member.uid, member.mtime) for member in tar] == [
            (name, len(data), 0o644, 0, 0) for name, data in FILES.items()
        ]
    listed = subprocess.run(["tar", "--list", "--file", path], capture_output=True, text=True, check=True)  # noqa: S603, S607 - any tar
    assert (listed.stdout.split(), listed.stderr) == (list(FILES), "")


@given(NAMES, st.integers(0, MAX_FILE))
def test_a_header_is_that_of_ustar(name: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(header(name, size), "ascii", "strict")
    assert (info.name, info.size, info.type, info.mode) == (
        name.rstrip("/") if len(name.rstrip("/")) else info.name,
        size,
        info.type,
        0o644,
    )


@pytest.mark.parametrize(("name", "size"), [("", 0), ("n" * 101, 0), ("ä", 0), ("a\nb", 0), ("a\0b", 0), ("a", -1), ("a", MAX_FILE + 1)])
def test_what_fits_no_header_is_refused(name: str, size: int) -> None:
    with pytest.raises(FormatError):
        header(name, size)


def test_the_largest_size_and_name_fit() -> None:
    assert len(header("n" * 100, MAX_FILE)) == BLOCK


def test_the_order_is_index_checkpoint_tiles_evidence() -> None:
    names = ["evidence/aa/b", "tile/entries/000", "checkpoint", INDEX, "tile/0/000", "evidence/aa/a"]
    assert sorted(names, key=rank) == [INDEX, "checkpoint", "tile/0/000", "tile/entries/000", "evidence/aa/a", "evidence/aa/b"]


def test_names_must_be_added_in_order(tmp_path: Path) -> None:
    for first, second in (("checkpoint", INDEX), ("a", "a"), ("b", "a")):
        with pytest.raises(ValueError, match="does not come after"):  # noqa: SIM117, PT012 - the writer is what fails
            with ArchiveWriter(tmp_path / "a.tar") as archive:
                archive.add(first, b"")
                archive.add(second, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", FILES)
    good = path.read_bytes()
    with pytest.raises(KeyError), ArchiveWriter(path) as archive:  # noqa: PT012 - it is the block that fails
        archive.add(INDEX, b"other")
        raise KeyError
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["missing/a.tar", "file/a.tar", "n" * 300])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / where, FILES)


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "a.tar", FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("size", [100, 10_000_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    """Small files are only flushed at the end, large ones at once."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*a\.tar: File too large"):
            write(tmp_path / "a.tar", {INDEX: bytes(size)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_limits_are_checked_before_reading(tmp_path: Path) -> None:
    with ArchiveReader(write(tmp_path / "a.tar", FILES)) as archive:
        with pytest.raises(VerificationError, match="1000 bytes, above the limit of 999"):
            archive.read("evidence/ab/c", 999)
        with pytest.raises(VerificationError, match="is missing"):
            archive.read("evidence/ab/e", 999)


def blocks(*files: tuple[bytes, bytes]) -> bytes:
    return b"".join(head + data + bytes(-len(data) % BLOCK) for head, data in files) + bytes(2 * BLOCK)


FIRST = (header(INDEX, 2), b"{}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (blocks(FIRST, FIRST), "does not come after"),
        (blocks(FIRST, (header("b", 0), b""), (header("a", 0), b"")), "does not come after"),
        (blocks(FIRST, (header("tile/0", 0), b""), (header("checkpoint", 0), b"")), "does not come after"),
        (blocks(FIRST) + b"\0", "follows its end"),
        (blocks(FIRST)[:-BLOCK] + b"x" * BLOCK, "follows its end"),
        (header(INDEX, 2) + b"{}x" + bytes(509) + bytes(1024), "bytes were added"),
    ],
)
def test_what_is_not_canonical_is_false(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=text):
        ArchiveReader(path)


@pytest.mark.parametrize("change", ["mode", "owner", "time", "type", "link", "user", "prefix", "size", "device"])
def test_headers_of_other_writers_are_false(tmp_path: Path, change: str) -> None:
    """What a tar may hold, but an export does not, each with a right checksum."""
    info = tarfile.TarInfo("checkpoint")
    for field, value in {
        "mode": ("mode", 0o755),
        "owner": ("uid", 1),
        "time": ("mtime", 1),
        "type": ("type", tarfile.SYMTYPE),
        "link": ("linkname", "/etc/passwd"),
        "user": ("uname", "root"),
        "prefix": ("name", "a" * 60 + "/" + "b" * 60),
        "size": ("size", 8**11),
        "device": ("devmajor", 1),
    }.items():
        if field == change:
            setattr(info, *value)
    if change == "device":
        info.type = tarfile.CHRTYPE
    path = tmp_path / "a.tar"
    path.write_bytes(
        header(INDEX, 2) + b"{}" + bytes(510) + info.tobuf(tarfile.GNU_FORMAT if change == "size" else tarfile.USTAR_FORMAT) + bytes(1024)
    )
    with pytest.raises((VerificationError, FormatError)):
        ArchiveReader(path)


@given(st.binary(max_size=3000))
def test_any_bytes_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tar"
    path.write_bytes(header(INDEX, len(data)) + data)
    with pytest.raises((FormatError, VerificationError)):
        ArchiveReader(path)


@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=8))
def test_every_archive_has_one_form(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    """What was read, written again, has the same bytes; and Python's own tar reader sees the same."""
    path = tmp_path_factory.getbasetemp() / "one.tar"
    ordered = {INDEX: b"{}"} | {name: files[name] for name in sorted(files, key=rank) if rank(name)[0] > 0}
    data = write(path, ordered).read_bytes()
    with ArchiveReader(path) as archive:
        again = {name: archive.read(name, 1500) for name in archive.names()}
    assert again == ordered
    assert write(path, again).read_bytes() == data
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        assert [member.name for member in tar] == list(ordered)


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", FILES)
    bad = tmp_path / "bad.tar"
    bad.write_bytes(path.read_bytes()[:700])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with ArchiveReader(path):
            pass
        with pytest.raises(FormatError):
            ArchiveReader(bad)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
