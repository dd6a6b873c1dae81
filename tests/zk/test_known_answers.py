"""Proofs made by earlier versions keep verifying, with either group."""

from pathlib import Path

import pytest

from tests.zk.frozen import FOLDER, read
from tests.zk.training_cases import accepts, key, plainly_accepts
from zk.group import Arkworks, Group, PyEcc

FILES = sorted(FOLDER.glob("*.json"))


def test_there_is_a_proof_for_each_loss() -> None:
    assert len(FILES) >= 3


@pytest.mark.parametrize("group", [PyEcc, Arkworks])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_frozen_proof_verifies(path: Path, group: type[Group]) -> None:
    statement, proof, width = read(path)
    assert accepts(statement, proof, key(group, width))
    assert not accepts(statement, proof[:-1] + bytes([proof[-1] ^ 1]), key(group, width))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_plain_verifier_agrees(path: Path) -> None:
    statement, proof, width = read(path)
    assert plainly_accepts(statement, proof, width)
    assert not plainly_accepts(statement, proof[:-1] + bytes([proof[-1] ^ 1]), width)
