"""The tree against its recursive definition, against vectors of others, and against changed proofs."""

import doctest

import pytest

from ledger import merkle
from ledger.errors import VerificationError

LIMIT = 64
LEAVES = [merkle.leaf_hash(b"entry %d" % index) for index in range(LIMIT)]

# The tree of the reference implementation of Certificate Transparency.
CT_ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CT_INCLUSION_0_OF_8 = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
CT_CONSISTENCY_6_TO_8 = (
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)


def grow(leaves: list[bytes]) -> merkle.NodeReader:
    """Append leaf by leaf and return the reader of what a store would hold."""
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        return nodes[level, index]

    for size, leaf in enumerate(leaves):
        for level, index, value in merkle.new_nodes(size, [leaf], read):
            assert (level, index) not in nodes
            nodes[level, index] = value
    return read


READ = grow(LEAVES)
ROOTS = [merkle.root_of(LEAVES[:size]) for size in range(LIMIT + 1)]


@pytest.mark.parametrize("before", range(18))
def test_leaves_appended_together_complete_the_same_subtrees(before: int) -> None:
    for after in range(before, 40):
        nodes = merkle.new_nodes(before, LEAVES[before:after], READ)
        assert all(value == READ(level, index) for level, index, value in nodes)
        assert len({node[:2] for node in nodes}) == len(nodes) == sum((after >> level) - (before >> level) for level in range(8))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 32])
def test_the_right_edge_is_enough_to_grow(step: int) -> None:
    edge = merkle.Frontier()
    for start in range(0, LIMIT, step):
        assert edge.root() == ROOTS[edge.size]
        assert edge.append(LEAVES[start : start + step]) == merkle.new_nodes(start, LEAVES[start : start + step], READ)
        assert edge.size == min(start + step, LIMIT)
    assert edge.root() == ROOTS[LIMIT]


def accepted_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    try:
        merkle.verify_inclusion(leaf, index, size, proof, root)
    except VerificationError:
        return False
    return True


def accepted_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    try:
        merkle.verify_consistency(old, new, old_root, new_root, proof)
    except VerificationError:
        return False
    return True


def variants(proof: list[bytes]) -> list[list[bytes]]:
    """Proofs that differ from ``proof`` in one hash, in length, or in order."""
    changed = [[*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]] for at in range(len(proof))]
    missing = [[*proof[:at], *proof[at + 1 :]] for at in range(len(proof))]
    longer = [[*proof, LEAVES[0]], [LEAVES[0], *proof]]
    swapped = [proof[::-1]] if proof != proof[::-1] else []
    short_hash = [[proof[0][:-1], *proof[1:]]] if proof else []
    return changed + missing + longer + swapped + short_hash


def test_the_worked_example_of_the_documentation_holds() -> None:
    assert doctest.testmod(merkle).failed == 0


def test_nodes_are_the_roots_of_complete_subtrees() -> None:
    for level in range(7):
        for index in range(LIMIT >> level):
            assert READ(level, index) == merkle.root_of(LEAVES[index << level : (index + 1) << level])


def test_root_equals_the_definition_at_every_size() -> None:
    assert [merkle.root(size, READ) for size in range(LIMIT + 1)] == ROOTS


def test_every_inclusion_proof_verifies_and_no_variant_does() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            leaf, root = LEAVES[index], ROOTS[size]
            proof = merkle.inclusion_proof(index, size, READ)
            merkle.verify_inclusion(leaf, index, size, proof, root)
            assert not accepted_inclusion(LEAVES[index - 1], index, size, proof, root) or size == 1
            assert not accepted_inclusion(leaf, index, size, proof, ROOTS[size - 1])
            assert not any(accepted_inclusion(leaf, other, size, proof, root) for other in (index - 1, index + 1))
            assert not any(accepted_inclusion(leaf, index, size, other, root) for other in variants(proof))


def test_every_consistency_proof_verifies_and_no_variant_does() -> None:
    for new in range(1, LIMIT + 1):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, READ)
            merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
            assert not accepted_consistency(old, new, ROOTS[old - 1], ROOTS[new], proof)
            assert not accepted_consistency(old, new, ROOTS[old], ROOTS[new - 1], proof)
            assert not accepted_consistency(new, old, ROOTS[new], ROOTS[old], proof) or old == new
            assert not any(accepted_consistency(old, new, ROOTS[old], ROOTS[new], other) for other in variants(proof))


def test_a_proof_for_a_smaller_tree_does_not_do_for_a_larger_one() -> None:
    proof = merkle.consistency_proof(3, 4, READ)
    with pytest.raises(VerificationError, match="too short"):
        merkle.verify_consistency(3, 8, ROOTS[3], ROOTS[4], proof)


def test_bytes_cannot_move_between_the_halves_of_a_node() -> None:
    moved = LEAVES[0] + LEAVES[1][:1], LEAVES[1][1:]
    assert merkle.node_hash(*moved) == ROOTS[2]
    with pytest.raises(VerificationError, match="not 32 bytes"):
        merkle.verify_inclusion(moved[0], 0, 2, [moved[1]], ROOTS[2])
    with pytest.raises(VerificationError, match="not 32 bytes"):
        merkle.verify_consistency(1, 2, moved[0], ROOTS[2], [moved[1]])


def test_a_proof_does_not_extend_a_fork() -> None:
    other = [*LEAVES[:5], merkle.leaf_hash(b"another history"), *LEAVES[6:]]
    read, forked = grow(other), merkle.root_of(other[:20])
    for old in range(6, 20):
        assert not accepted_consistency(old, 20, ROOTS[old], forked, merkle.consistency_proof(old, 20, read))


def test_the_tree_of_certificate_transparency() -> None:
    leaves = [merkle.leaf_hash(entry) for entry in CT_ENTRIES]
    read = grow(leaves)
    assert [merkle.root(size, read).hex() for size in range(9)] == list(CT_ROOTS)
    assert [node.hex() for node in merkle.inclusion_proof(0, 8, read)] == list(CT_INCLUSION_0_OF_8)
    assert [node.hex() for node in merkle.consistency_proof(6, 8, read)] == list(CT_CONSISTENCY_6_TO_8)


@pytest.mark.parametrize(("index", "size"), [(3, 3), (0, 0), (-1, 3)])
def test_there_is_no_proof_of_an_entry_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(VerificationError, match="no entry"):
        merkle.inclusion_proof(index, size, READ)
    with pytest.raises(VerificationError, match="no such entry"):
        merkle.verify_inclusion(LEAVES[0], index, size, [], ROOTS[3])


@pytest.mark.parametrize(("old", "new"), [(0, 5), (0, 0), (6, 5), (-1, 5)])
def test_there_is_no_consistency_from_the_empty_tree_or_backwards(old: int, new: int) -> None:
    with pytest.raises(VerificationError):
        merkle.consistency_proof(old, new, READ)
    with pytest.raises(VerificationError):
        merkle.verify_consistency(old, new, merkle.EMPTY_ROOT, ROOTS[5], [])


def test_reasons_name_what_is_wrong() -> None:
    proof = merkle.inclusion_proof(3, 7, READ)
    with pytest.raises(VerificationError, match="entry 3 in a tree of 7: the proof is too short"):
        merkle.verify_inclusion(LEAVES[3], 3, 7, proof[:-1], ROOTS[7])
    with pytest.raises(VerificationError, match="too long"):
        merkle.verify_inclusion(LEAVES[3], 3, 7, [*proof, LEAVES[0]], ROOTS[7])
    with pytest.raises(VerificationError, match="another root"):
        merkle.verify_inclusion(LEAVES[3], 3, 7, proof, ROOTS[8])
    with pytest.raises(VerificationError, match="two roots for one size"):
        merkle.verify_consistency(5, 5, ROOTS[5], ROOTS[6], [])
    with pytest.raises(VerificationError, match="cannot have -1 entries"):
        merkle.root(-1, READ)
