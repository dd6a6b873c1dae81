"""The contracts' trees are those of ``ledger/merkle.py``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import VerificationError
from tests.chain.evm import Contract, Evm, Reverted, test_artifact
from tests.chain.world import Tree

SIZE = 9
TREE = Tree([bytes([n]) for n in range(70)])
HASHES = st.binary(min_size=32, max_size=32)


@pytest.fixture(scope="module")
def probe() -> Contract:
    return Evm(1).deploy(test_artifact("merkle_probe"))


def test_inclusion_of_all_leaves_of_small_trees(probe: Contract) -> None:
    for size in range(1, SIZE + 1):
        for index in range(size):
            leaf = merkle.leaf_hash(TREE.leaves[index])
            assert probe.get("leads_to", leaf, index, size, TREE.inclusion(index, size)) == TREE.root(size)


def test_consistency_of_all_small_trees(probe: Contract) -> None:
    for new in range(2, SIZE + 1):
        for old in range(1, new):
            assert probe.get("prefix_roots", old, new, TREE.path(old, new)) == (TREE.root(old), TREE.root(new))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 70), st.integers(0, 70), st.lists(HASHES, max_size=8), st.booleans())
def test_any_path_leads_where_it_leads_there(probe: Contract, old: int, new: int, path: list[bytes], genuine: bool) -> None:
    if genuine and 0 < old < new:
        path = TREE.path(old, new)
    try:
        expected = merkle.roots_of_path(old, new, path)
    except VerificationError:
        with pytest.raises(Reverted):
            probe.get("prefix_roots", old, new, path)
    else:
        assert probe.get("prefix_roots", old, new, path) == expected


@settings(max_examples=40, deadline=None)
@given(HASHES, st.integers(0, 2**70), st.integers(0, 2**70), st.lists(HASHES, max_size=64))
def test_any_inclusion_leads_where_it_leads_there(probe: Contract, leaf: bytes, index: int, size: int, path: list[bytes]) -> None:
    path = path[: max(size - 1, 0).bit_length()]
    try:
        root = probe.get("leads_to", leaf, index, size, path)
    except Reverted:
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(leaf, index, size, path, bytes(32))
    else:
        merkle.verify_inclusion(leaf, index, size, path, root)
