"""An append and its publication are failed once, and killed once, at every system call that changes the disk.

Then the log is reopened, checked and continued: nothing that was acknowledged is lost or renumbered, and nothing that was signed, whether
it was shown or not, contradicts anything else. The calls are hit by ``strace -e inject``; some of each kind in the normal run, all of them
where slow tests run.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import merkle
from ledger.checkpoint import parse_checkpoint
from ledger.fsck import fsck
from ledger.log import Log
from ledger.storage import Storage
from ledger.store import Store
from tests.federation import SIGNER
from tests.ledger.conftest import Forgery
from tests.postgres import Server
from zk.hashing import sha256

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
HARMS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
NAME, SEED = SIGNER.verifier.key.name, bytes(32)
BEFORE = 3


def distinct(leaf: bytes, number: int) -> bytes:
    """Return an agreement's entry that differs from the others in its nonce."""
    return re.sub(rb'"run":"[0-9a-f]{64}"', b'"run":"%064x"' % number, leaf)


class Scene:
    """A folder, what is to be appended to it, and what must be true of it afterwards."""

    def __init__(self, folder: Path, forgery: Forgery, before: int) -> None:
        self.folder, self.before = folder, before
        self.run = folder / "run"
        self.leaf = forgery.leaf(0)
        self.model: bytes = next(data for data in forgery.evidence.values() if sha256(data).hex().encode() in self.leaf)
        (folder / "entry").write_bytes(distinct(self.leaf, before))
        (folder / "evidence").write_bytes(self.model)
        self.run.mkdir()

    def prepare(self, storage: Storage | None = None) -> None:
        """Give the log its first entries."""
        if storage is not None:
            storage.save(self.run)
        if self.before:
            with Log.open(self.run, SIGNER, create=True) as log:
                log.evidence.put(self.model)
                for number in range(self.before):
                    log.append(distinct(self.leaf, number))

    def command(self) -> list[str]:
        """Return the command that appends."""
        files = [str(self.folder / name) for name in ("entry", "evidence")]
        return [sys.executable, "-m", "tests.ledger.killed_append", str(self.run), NAME, SEED.hex(), *files]

    def check(self, said: str) -> None:
        """Reopen, check, go on, and check again."""
        words = [line.split() for line in said.splitlines() if line.count(" ") == 1]
        acknowledged = [int(word) for verb, word in words if verb == "acknowledged"]
        with Log.open(self.run, SIGNER, create=True) as log:
            found = fsck(self.run)
            assert found.damaged == 0, found
            assert max(self.before, *(number + 1 for number in acknowledged), 0) <= log.size <= self.before + 1
            size = log.size
            log.evidence.put(self.model)
            assert log.append(distinct(self.leaf, size)).size == size + 1
            entries = [log.entry(number) for number in range(size + 1)]
        assert entries == [distinct(self.leaf, number) for number in range(size + 1)]
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        for verb, word in words:
            if verb == "signs" and len(word) % 2 == 0 and word.endswith("0a"):
                signed = parse_checkpoint(bytes.fromhex(word).decode())
                assert signed.root == merkle.root_of(leaves[: signed.size])
        found = fsck(self.run)
        assert (found.entries, found.damaged) == (size + 1, 0), found


def strace(*arguments: str) -> list[str]:
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", *arguments]


@pytest.fixture(scope="module")
def tracing() -> None:
    if shutil.which("strace") is None:
        pytest.skip("no strace here: install Debian's strace")
    tried = subprocess.run(  # noqa: S603
        strace("/dev/null", "-e", "inject=fsync:error=EIO", "true"), capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"strace does not work here: {tried.stderr.strip()[-200:]}")


def calls_of(scene: Scene) -> dict[str, int]:
    """Return how many calls of each kind an append makes when nothing fails."""
    trace = scene.folder / "trace"
    done = subprocess.run(  # noqa: S603 - our own
        [*strace(str(trace)), "-e", f"trace={','.join(CALLS)}", *scene.command()], capture_output=True, text=True, check=True
    )
    scene.check(done.stdout)
    lines = trace.read_text().splitlines()
    return {call: sum(f" {call}(" in line for line in lines) for call in CALLS}


def harmed(scene: Scene, call: str, harm: str, number: int) -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [*strace("/dev/null"), "-e", f"inject={call}:{harm}:when={number}", *scene.command()], capture_output=True, text=True, check=False
    )
    if "SIGKILL" in harm:
        assert done.returncode == -9, "strace ends as what it traces did"
    scene.check(done.stdout)


@pytest.fixture(params=[0, BEFORE], ids=["new", "old"])
def scenes(request: pytest.FixtureRequest, tracing: None, tmp_path: Path, forgery: Forgery) -> Iterator[Scene]:
    """Make the same scene again and again."""

    def again() -> Iterator[Scene]:
        number = 0
        while True:
            number += 1
            (tmp_path / str(number)).mkdir()
            scene = Scene(tmp_path / str(number), forgery, request.param)
            scene.prepare()
            yield scene
            shutil.rmtree(scene.folder)

    return again()


def test_a_call_of_each_kind(scenes: Iterator[Scene]) -> None:
    counts = calls_of(next(scenes))
    assert all(counts[call] for call in ("write", "pwrite64", "fsync", "fdatasync", "rename"))
    for place, (call, count) in enumerate(counts.items()):
        harm = ("error=EIO", "signal=SIGKILL")[(place + count) % 2]
        if count:
            harmed(next(scenes), call, harm, 1 + (7 * place + count // 2) % count)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("harm", HARMS)
def test_every_call(scenes: Iterator[Scene], call: str, harm: str) -> None:
    for number in range(1, calls_of(next(scenes))[call] + 1):
        harmed(next(scenes), call, harm, number)


def test_postgresql_is_killed_in_the_middle(postgres: Server, tmp_path: Path, forgery: Forgery) -> None:
    url = postgres.database()
    scene = Scene(tmp_path, forgery, 0)
    Storage(database=url).save(scene.run)
    script = (
        "import sys; from tests.ledger.test_kill import *\n"
        "run, leaf = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()\n"
        "with Log.open(run, SIGNER, create=True) as log:\n"
        "    log.evidence.put(Path(sys.argv[3]).read_bytes())\n"
        "    while True:\n"
        "        log.append(distinct(leaf, log.size))\n"
        "        print(log.size, flush=True)\n"
    )
    acknowledged = 0
    for after in (3, 40):
        command = [sys.executable, "-c", script, str(scene.run), str(tmp_path / "entry"), str(tmp_path / "evidence")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
            assert server.stdout is not None
            for _ in range(after):
                acknowledged = int(server.stdout.readline())
            postgres.kill()
            acknowledged = max([acknowledged, *map(int, server.stdout.read().split())])
            assert server.wait() == 1
            assert server.stderr is not None
            assert "ledger.errors.StorageError" in server.stderr.read()
        postgres.start()
        with Store.open(url, create=False) as store:
            assert acknowledged <= store.size() <= acknowledged + 1
            assert list(store.entries(0, store.size())) == [distinct(scene.leaf, number) for number in range(store.size())]
        found = fsck(scene.run)
        assert found.damaged == 0, found
