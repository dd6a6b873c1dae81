"""One changed byte anywhere in an export is found, and named; what is no whole export at all is refused in one line."""

import gzip
import io
import os
import re
import resource
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.archive import BLOCK, INDEX, ArchiveReader, header
from ledger.audit import audit
from ledger.errors import FormatError, LedgerError, StorageError
from ledger.report import Check, Report
from ledger.tiles import decode_bundle, parse_path
from tests.ledger.conftest import Command, Forgery, agreed, write_files


def audited(path: Path) -> Report:
    return audit(path, backend="arkworks")


def changed(path: Path, offset: int, mask: int) -> Report:
    """Audit the file with one byte changed, and put the byte back."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
        try:
            return audited(path)
        finally:
            file.seek(offset)
            file.write(bytes([byte]))


def places(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, first byte and size of the content of each file."""
    with tarfile.open(path) as tar:
        for member in tar:
            yield member.name, member.offset_data, member.size


def mask(offset: int) -> int:
    """Return which bits are flipped at an offset: all kinds of changes over the file."""
    return (1, 0x80, 0x20, 0xFF, 2, 0x10, 0x41)[offset % 7]


def contents(path: Path) -> list[range]:
    return [range(first, first + size) for _, first, size in places(path)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Make an export with one client and one round, of which every byte is tried."""
    forgery = Forgery.begin(agreed(federation={"clients": 1}, rounds={"count": 1, "participants": 1}), clients=[0])
    forgery.full_round(2)
    forgery.close()
    return write_files(tmp_path / "small.tar", forgery.files())


def test_the_exports_that_are_tampered_with_are_good(export: Path, small: Path) -> None:
    assert audited(export).verified
    assert audited(small).verified


@pytest.mark.parametrize(("which", "step"), [("small", 1), ("copy", 11)])
def test_every_byte_of_header_padding_and_end_is_checked(request: pytest.FixtureRequest, which: str, step: int) -> None:
    path: Path = request.getfixturevalue(which)
    inside = {offset for content in contents(path) for offset in content}
    outside = [offset for offset in range(path.stat().st_size) if offset not in inside]
    assert len(outside) > 8_000
    for offset in outside[::step]:
        (finding,) = changed(path, offset, mask(offset)).findings
        assert (finding.check, finding.entry) == (Check.ARCHIVE, None), offset


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_the_first_and_a_later_header_is_checked(small: Path, bit: int) -> None:
    *_, (_, later, _) = places(small)
    for start in (0, later - BLOCK):
        assert not any(changed(small, offset, 1 << bit).verified for offset in range(start, start + BLOCK))


def test_every_byte_of_the_index_is_checked(small: Path) -> None:
    name, first, size = next(places(small))
    assert name == INDEX
    for offset in range(first, first + size):
        report = changed(small, offset, mask(offset))
        # a changed key of the log is found by what it should have signed
        assert {finding.check for finding in report.findings} <= {Check.ARCHIVE, Check.CHECKPOINT, Check.AGREEMENT}
        assert report.findings


def test_every_byte_of_the_checkpoint_is_checked(copy: Path) -> None:
    first, size = next((first, size) for name, first, size in places(copy) if name == "checkpoint")
    for offset in range(first, first + size):
        report = changed(copy, offset, mask(offset))
        assert [finding.check for finding in report.findings] == [Check.CHECKPOINT]


@pytest.mark.parametrize(("which", "step"), [("small", 1), ("copy", 5)])
def test_every_byte_of_a_hash_tile_is_checked_and_its_entry_is_named(request: pytest.FixtureRequest, which: str, step: int) -> None:
    path: Path = request.getfixturevalue(which)
    first, size = next((first, size) for name, first, size in places(path) if name.startswith("tile/0/"))
    for offset in range(first, first + size, step):
        (finding,) = changed(path, offset, mask(offset)).findings
        assert (finding.check, finding.entry) == (Check.TREE, (offset - first) // 32)
        assert "tile/0/" in finding.reason


@pytest.mark.parametrize(("which", "step"), [("small", 1), ("copy", 7)])
def test_every_byte_of_the_entries_is_checked_and_its_entry_is_named(request: pytest.FixtureRequest, which: str, step: int) -> None:
    path: Path = request.getfixturevalue(which)
    name, first, size = next(place for place in places(path) if place[0].startswith("tile/entries/"))
    data = path.read_bytes()[first : first + size]
    owner: list[int | None] = []
    for index, entry in enumerate(decode_bundle(parse_path(name), data)):  # type: ignore[arg-type]  # it is a bundle
        owner += [None] * 2 + [index] * len(entry)  # a changed length shifts everything behind it
    for offset in range(0, size, step):
        report = changed(path, first + offset, mask(offset))
        assert report.findings
        assert report.findings[0].check is Check.TREE
        if owner[offset] is not None:
            assert report.findings[0].entry == owner[offset]


@pytest.mark.parametrize(("which", "count"), [("small", 40), ("copy", 6)])
def test_every_kind_of_evidence_is_checked_and_its_entry_is_named(request: pytest.FixtureRequest, which: str, count: int) -> None:
    path: Path = request.getfixturevalue(which)
    evidence = [place for place in places(path) if place[0].startswith("evidence/")]
    assert len(evidence) == {"small": 10, "copy": 29}[which]
    for name, first, size in evidence:
        for offset in {*range(0, size, max(1, size // count)), size - 1}:
            report = changed(path, first + offset, mask(offset))
            assert report.findings, (name, offset)
            for finding in report.findings:
                assert finding.check is Check.EVIDENCE, finding
                assert finding.entry is not None
                assert f"{name} was changed" in finding.reason


def test_the_entry_named_is_the_one_that_refers_to_the_evidence(copy: Path, forgery: Forgery) -> None:
    """By kind: the first model, commitments to data, proofs of opening, statements, updates, commitments, blinds, sums, models."""
    expected: dict[str, int] = {forgery[0]["model"]["digest"]: 0}
    for position in (1, 2, 3):
        said = forgery[position]["enrolment"]["statement"]
        expected |= {said["rows"]["digest"]: position, said["proof"]["digest"]: position}
    for position in (4, 5):
        entry = forgery[position]
        expected |= dict.fromkeys((entry["aggregate"]["sum"]["digest"], entry["aggregate"]["blinds"]["digest"]), position)
        expected[entry["model-after"]["digest"]] = position
        for verdict in entry["verdicts"]:
            name = verdict["contribution"]["digest"]
            text = forgery.evidence[name].decode()
            expected |= dict.fromkeys((name, *re.findall(r'"(?:commitment|update|blinds)":\{"digest":"([0-9a-f]{64})', text)), position)
    for name, first, size in places(copy):
        if name.startswith("evidence/"):
            report = changed(copy, first + size // 2, 4)
            first_finding = report.findings[0]
            assert (first_finding.check, first_finding.entry) == (Check.EVIDENCE, expected.pop(name[9:].replace("/", "")))
    assert not expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_splice_is_found(export: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes inserted, removed, overwritten, or blocks swapped."""
    good = export.read_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    stop = data.draw(st.integers(start, min(len(good), start + 2000)))
    blocks = data.draw(st.sampled_from((1, BLOCK)))
    start, stop = start // blocks * blocks, stop // blocks * blocks
    bad = good[:start] + data.draw(st.binary(max_size=64) | st.just(good[start:stop] * 2) | st.just(bytes(BLOCK))) + good[stop:]
    path = tmp_path / "spliced.tar"
    path.write_bytes(bad)
    if bad == good:
        return
    try:
        report = audited(path)
    except FormatError:
        return
    assert report.findings


def test_truncation_at_any_length_is_no_export(copy: Path) -> None:
    good = copy.read_bytes()
    edges = {edge + d for content in contents(copy) for edge in (content.start, content.stop) for d in (-1, 0, 1)}
    lengths = {length for length in edges | {*range(0, len(good), 211), len(good) - BLOCK, len(good) - 1} if 0 <= length < len(good)}
    for length in sorted(lengths, reverse=True):
        os.truncate(copy, length)
        with pytest.raises(FormatError, match=r"truncated|empty|not a Lunaria export"):
            audit(copy)


def test_whatever_follows_the_end_is_found(copy: Path) -> None:
    for tail in (b"\0", bytes(BLOCK), b"x", bytes(10_240)):
        good = copy.read_bytes()
        copy.write_bytes(good + tail)
        assert [finding.check for finding in audited(copy).findings] == [Check.ARCHIVE]
        copy.write_bytes(good)


def foreign() -> dict[str, bytes]:
    tar, compressed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("readme.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    with zipfile.ZipFile(compressed, "w") as zipped:
        zipped.writestr(INDEX, "{}")
    return {
        "nothing": b"",
        "one byte": b"l",
        "zeros": bytes(100_000),
        "random bytes": os.urandom(50_000),
        "gzip": gzip.compress(b"hello" * 1000),
        "a gzip bomb": gzip.compress(bytes(10**7)),
        "zip": compressed.getvalue(),
        "a foreign tar": tar.getvalue(),
        "an empty tar": bytes(10_240),
        "text": b"lunaria\n" * 1000,
        "the name alone": INDEX.encode() + b"\0",
    }


@pytest.mark.parametrize("kind", foreign())
def test_what_is_no_export_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(foreign()[kind])
    with pytest.raises(FormatError) as error:
        audit(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_compressed_export_is_no_export(export: Path, tmp_path: Path) -> None:
    path = tmp_path / "export.tar.gz"
    path.write_bytes(gzip.compress(export.read_bytes()))
    with pytest.raises(FormatError, match="not a Lunaria export"):
        audit(path)


@pytest.mark.parametrize("what", ["folder", "missing", "broken link", "loop", "a name too long", "pipe", "device"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "it"
    if what == "folder":
        path.mkdir()
    elif what == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    elif what == "loop":
        path.symlink_to(path)
    elif what == "a name too long":
        path = tmp_path / ("n" * 300)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/null")
    with pytest.raises((StorageError, FormatError)) as error:
        audit(path)
    assert str(path) in str(error.value)
    assert "None" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(copy: Path) -> None:
    copy.chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        audit(copy)


def test_a_read_that_fails_later_is_no_crash(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that breaks, or a file that is cut while it is read."""
    scan = ArchiveReader._scan

    def then_cut(self: ArchiveReader) -> object:
        result = scan(self)
        os.truncate(copy, 20_000)
        return result

    monkeypatch.setattr(ArchiveReader, "_scan", then_cut)
    with pytest.raises(LedgerError, match="became shorter"):
        audited(copy)


def sparse(path: Path, size: int, *pieces: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
    return path


TEN_GB = 10 * 2**30


def test_ten_gigabytes_of_holes_take_no_memory_and_no_time(tmp_path: Path, export: Path) -> None:
    good = export.read_bytes()
    eight = 8**11 - 1
    index = header(INDEX, 100) + b"x" * 100 + bytes(412)
    cases = {
        "nothing but holes": sparse(tmp_path / "a", TEN_GB),
        "an export and holes": sparse(tmp_path / "b", TEN_GB, (0, good)),
        "an index of 8 GiB": sparse(tmp_path / "c", TEN_GB, (0, header(INDEX, eight))),
        "a checkpoint of 8 GiB": sparse(tmp_path / "d", TEN_GB, (0, good[:1024] + header("checkpoint", eight))),
        "an index of 8 GiB that is not there": sparse(tmp_path / "e", 4096, (0, header(INDEX, eight))),
        "an unknown file of 8 GiB": sparse(tmp_path / "f", TEN_GB, (0, index + header("checkpoint2", eight))),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case, path in cases.items():
        began = time.process_time()
        with suppress(FormatError):
            assert not audited(path).verified, case
        assert time.process_time() - began < 5, case
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_evidence_larger_than_it_can_be_is_never_read(tmp_path: Path, forgery: Forgery) -> None:
    """A gigabyte of holes that an entry refers to, with its right size."""
    forgery[0]["model"]["size"] = 2**30
    forgery.entries = forgery.entries[:1]
    files = forgery.files()
    name = next(name for name in files if name.startswith("evidence/"))
    del files[name]
    path = write_files(tmp_path / "small.tar", files)
    end = path.stat().st_size - 2 * BLOCK
    with path.open("r+b") as file:
        file.seek(end)
        file.write(header(name, 2**30))
        file.truncate(end + BLOCK + 2**30 + 2 * BLOCK)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (finding,) = audited(path).findings
    assert (finding.check, finding.entry) == (Check.EVIDENCE, 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


class TestCommand:
    """The same, as exit codes and lines on standard error."""

    def check(self, lunaria: Command, path: Path, code: int) -> str:
        done = lunaria("audit", path, "--verify-backend", "arkworks")
        assert done.returncode == code, done
        return done.stdout if code < 2 else one_line(done.stderr, done.stdout)

    def test_a_good_export_is_0(self, lunaria: Command, export: Path) -> None:
        assert "verified" in self.check(lunaria, export, 0)

    def test_a_changed_byte_is_1(self, lunaria: Command, copy: Path) -> None:
        _, first, size = list(places(copy))[-1]
        with copy.open("r+b") as file:
            file.seek(first + size // 2)
            file.write(b"\x55")
        assert re.search(r"false evidence: entry \d: ", self.check(lunaria, copy, 1))

    def test_a_truncated_file_is_2(self, lunaria: Command, copy: Path) -> None:
        os.truncate(copy, 10_000)
        assert "truncated" in self.check(lunaria, copy, 2)

    @pytest.mark.parametrize("kind", ["nothing", "random bytes", "a foreign tar"])
    def test_a_foreign_file_is_2(self, lunaria: Command, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "foreign"
        path.write_bytes(foreign()[kind])
        self.check(lunaria, path, 2)

    def test_a_missing_file_is_2(self, lunaria: Command, tmp_path: Path) -> None:
        assert "No such file" in self.check(lunaria, tmp_path / "missing", 2)


def one_line(stderr: str, stdout: str = "") -> str:
    """Return the one line of an error, which is all that is said."""
    assert not stdout.strip()
    assert re.fullmatch(r"error: [^\n]+\n", stderr), stderr
    return stderr
