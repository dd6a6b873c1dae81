"""A client that is shown two histories keeps the proof."""

from pathlib import Path

import pytest

from clients.forks import keep_forks
from ledger.fork import ForkError, ForkProof
from ledger.quorum import Policy
from tests.ledger.test_messages import FORK, LOG, TREE

POLICY = Policy(LOG.verifier)


@keep_forks()
def handler(old: int, size: int) -> None:
    FORK.view(size, old).follow(POLICY, TREE.signed(old))


def test_the_proof_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNARIA_HOME", str(tmp_path))
    for _ in range(2):
        with pytest.raises(ForkError, match=r"its signatures prove it, see .*/forks/fork-[0-9a-f]{16}\.json$"):
            handler(5, 8)
    (path,) = (tmp_path / "forks").iterdir()
    assert ForkProof.parse(path.read_bytes()).verify() == (TREE.checkpoint(5), FORK.checkpoint(8))


def test_without_a_proof_there_is_nothing_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNARIA_HOME", str(tmp_path))
    with pytest.raises(ForkError, match="keep both checkpoints"):
        handler(8, 9)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_hide_the_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forks").write_text("in the way", encoding="ascii")
    monkeypatch.setenv("LUNARIA_HOME", str(tmp_path))
    with pytest.raises(ForkError, match="its signatures prove it, but cannot write"):
        handler(5, 8)
