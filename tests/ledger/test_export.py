"""An export: the same bytes for the same ledger, everything an auditor needs, nothing secret."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from Crypto.Hash import SHA256

from ledger.archive import ArchiveReader
from ledger.audit import audit
from ledger.entries import decode_contribution
from ledger.errors import FormatError, LedgerError, StorageError, VerificationError
from ledger.evidence import EvidenceStore
from ledger.export import evidence_name, references, write_export
from ledger.log import Log
from tests.federation import SIGNER, secret
from tests.ledger.conftest import Forgery
from zk.hashing import expand


def files_of(path: Path) -> dict[str, bytes]:
    with ArchiveReader(path) as archive:
        return {name: archive.read(name, 2**30) for name in archive.names()}


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the run folder that a test may change."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


class TestSameBytes:
    def test_twice(self, run_folder: Path, export: Path, tmp_path: Path) -> None:
        assert write_export(run_folder, tmp_path / "again.tar") == 7
        assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()

    def test_from_a_copy_of_the_run_folder(self, run: Path, export: Path, tmp_path: Path) -> None:
        write_export(run, tmp_path / "again.tar")
        assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()

    def test_under_another_name_over_an_older_file_in_another_time_zone(self, run: Path, export: Path, tmp_path: Path) -> None:
        target = tmp_path / "x.bin"
        target.write_bytes(b"old")
        code = "import sys; from pathlib import Path; from ledger.export import write_export; write_export(*map(Path, sys.argv[1:]))"
        environment = os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
        subprocess.run([sys.executable, "-c", code, run, target], check=True, env=environment, umask=0o077)  # noqa: S603 - our own
        assert target.read_bytes() == export.read_bytes()

    def test_after_a_repair_of_the_log(self, run: Path, export: Path, tmp_path: Path) -> None:
        (run / "checkpoint").unlink()
        with Log.open(run, SIGNER, create=False):
            pass
        write_export(run, tmp_path / "again.tar")
        assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()


class TestContent:
    def test_nothing_secret(self, run: Path, tmp_path: Path) -> None:
        """Whatever lies in the run folder beside ledger and evidence stays there; no secret of a client can be in it."""
        (run / "keys").mkdir()
        (run / "keys" / "log.key").write_text("5ec4e7" * 10)
        (run / "evidence" / "ab").mkdir(exist_ok=True)
        (run / "evidence" / "ab" / ("c" * 62)).write_text("5ec4e7" * 10)
        write_export(run, tmp_path / "export.tar")
        data = (tmp_path / "export.tar").read_bytes()
        assert b"5ec4e7" not in data
        secrets = [bytes(32), *(secret(number) for number in range(3))]  # the log's seed is 32 zeros: look for its digits
        derived = [expand("lunaria/v1/identity", one, length=32) for one in secrets[1:]]
        for one in [*secrets[1:], *derived]:
            assert one not in data
            assert one.hex().encode() not in data
            assert base64.b64encode(one) not in data
        assert all(
            name.split("/")[0] in {"lunaria-export.json", "checkpoint", "tile", "evidence"} for name in files_of(tmp_path / "export.tar")
        )

    def test_exactly_what_the_entries_refer_to(self, export: Path, forgery: Forgery) -> None:
        names = {name for name in files_of(export) if name.startswith("evidence/")}
        assert names == {evidence_name(name) for name in forgery.referenced()}

    def test_every_file_has_its_digest(self, export: Path) -> None:
        for name, data in files_of(export).items():
            if name.startswith("evidence/"):
                assert name[9:].replace("/", "") == SHA256.new(data).hexdigest()

    def test_plain_tar_unpacks_it(self, export: Path, tmp_path: Path) -> None:
        done = subprocess.run(["tar", "-xf", export, "-C", tmp_path], capture_output=True, text=True, check=True)  # noqa: S603, S607
        assert (done.stdout, done.stderr) == ("", "")
        unpacked = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert unpacked == files_of(export)
        with tarfile.open(export) as tar:
            assert all(member.isfile() and member.mode == 0o644 for member in tar)

    def test_tiles_are_the_tree_recomputed_from_the_paper(self, export: Path) -> None:
        """RFC 6962, section 2.1, written down once more; and C2SP tlog-tiles."""
        files = files_of(export)
        data, leaves = files["tile/entries/000.p/7"], []
        while data:
            size = int.from_bytes(data[:2], "big")
            leaves.append(data[2 : 2 + size])
            data = data[2 + size :]

        def root(entries: list[bytes]) -> bytes:
            if len(entries) == 1:
                return SHA256.new(b"\0" + entries[0]).digest()
            split = 1
            while 2 * split < len(entries):
                split *= 2
            return SHA256.new(b"\1" + root(entries[:split]) + root(entries[split:])).digest()

        assert files["tile/0/000.p/7"] == b"".join(root([leaf]) for leaf in leaves)
        origin, count, encoded, _ = files["checkpoint"].decode().split("\n", 3)
        assert (origin, count) == ("lunaria.local/attacks", "7")
        assert base64.b64decode(encoded) == root(leaves)


class TestWithoutUpdates:
    def test_exactly_updates_and_blinds_are_left_out(self, run_folder: Path, export: Path, tmp_path: Path) -> None:
        assert write_export(run_folder, tmp_path / "sums.tar", updates=False) == 7
        whole, sums = files_of(export), files_of(tmp_path / "sums.tar")
        left_out = set()
        for data in whole.values():
            if data.startswith(b'{"signature"') and b'"blinds"' in data:
                statement = decode_contribution(data).statement
                left_out |= {evidence_name(statement.update.digest), evidence_name(statement.blinds.digest)}
        assert len(left_out) == 8
        assert set(whole) - set(sums) == left_out
        assert set(sums) <= set(whole)
        assert {name for name in sums if sums[name] != whole[name]} == {"lunaria-export.json"}
        assert json.loads(sums["lunaria-export.json"]) == json.loads(whole["lunaria-export.json"]) | {"updates": False}

    def test_it_verifies_and_says_what_it_could_not_see(self, run_folder: Path, tmp_path: Path) -> None:
        write_export(run_folder, tmp_path / "sums.tar", updates=False)
        report = audit(tmp_path / "sums.tar", backend="arkworks")
        assert report.verified
        assert any("single updates were left out" in note for note in report.notes)
        assert {check.value for check in report.counts} >= {"sums", "models"}
        assert not {check.value for check in report.counts} & {"openings", "aggregates"}


class TestErrors:
    """Each is one line that names the place."""

    def refused(self, run: Path, target: Path, kind: type[LedgerError], text: str) -> None:
        before = set(target.parent.iterdir()) if target.parent.is_dir() else set()
        with pytest.raises(kind, match=text) as error:
            write_export(run, target)
        assert "\n" not in str(error.value)
        assert (set(target.parent.iterdir()) if target.parent.is_dir() else set()) == before

    def test_no_ledger(self, tmp_path: Path) -> None:
        self.refused(tmp_path, tmp_path / "export.tar", StorageError, "is not the folder of a run")

    def test_something_else_instead_of_a_ledger(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "ledger.db").write_bytes(b"x" * 5000)
        self.refused(tmp_path / "run", tmp_path / "export.tar", StorageError, "is not a ledger")

    def test_an_empty_ledger(self, tmp_path: Path) -> None:
        with Log.open(tmp_path / "run", SIGNER, create=True):
            pass
        self.refused(tmp_path / "run", tmp_path / "export.tar", StorageError, "has no entry yet")

    def test_a_ledger_of_something_else(self, tmp_path: Path) -> None:
        with Log.open(tmp_path / "run", SIGNER, create=True) as log:
            log.append(b"hello")
        self.refused(tmp_path / "run", tmp_path / "export.tar", FormatError, "not valid JSON")

    @pytest.mark.parametrize("damage", ["missing", "changed", "longer"])
    def test_damaged_evidence(self, run: Path, tmp_path: Path, forgery: Forgery, damage: str) -> None:
        name = forgery[0]["model"]["digest"]
        path = EvidenceStore(run / "evidence").path(name)
        data = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes({"changed": b"x" + data[1:], "longer": data + b"x"}[damage])
        kind = {"missing": StorageError, "changed": VerificationError, "longer": FormatError}[damage]
        self.refused(run, tmp_path / "export.tar", kind, name)

    def test_a_target_in_no_folder(self, run: Path, tmp_path: Path) -> None:
        self.refused(run, tmp_path / "no" / "export.tar", StorageError, "cannot write")

    def test_a_target_that_is_a_folder(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "export.tar").mkdir()
        self.refused(run, tmp_path / "export.tar", StorageError, "cannot write")


WRITER = """
import sys, time
from pathlib import Path
from ledger.log import Log
from tests.federation import SIGNER
with Log.open(Path(sys.argv[1]), SIGNER, create=False) as log:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_server_may_hold_the_log_open(run: Path, export: Path, tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-c", WRITER, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "open\n"
        write_export(run, tmp_path / "meanwhile.tar")
    finally:
        server.stdin.close()
        server.wait(20)
        server.stdout.close()
    assert (tmp_path / "meanwhile.tar").read_bytes() == export.read_bytes()


def test_an_entry_behind_the_last_checkpoint_stays_out(run: Path, tmp_path: Path, export: Path) -> None:
    """A server that was killed between entry and checkpoint."""
    from ledger.store import Store

    with Store.open(run / "ledger.db", create=False) as store:
        store.append([b"not yet signed"], expected_size=7)
    assert write_export(run, tmp_path / "again.tar") == 7
    assert (tmp_path / "again.tar").read_bytes() == export.read_bytes()


def test_references_of_every_kind_of_entry(forgery: Forgery) -> None:
    from ledger.entries import decode_entry

    assert [len(list(references(decode_entry(leaf)))) for leaf in forgery.leaves()] == [1, 2, 2, 2, 5, 5, 0]
