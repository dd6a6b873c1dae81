"""Merkle trees over a list of entries that only grows, as pure functions (RFC 6962 and RFC 9162, section 2.1).

The hash of a tree over entries ``d[0], ..., d[n-1]`` is defined by recursion (RFC 9162, section 2.1.1)::

    MTH({})      = SHA256("")                                     the empty tree
    MTH({d0})    = SHA256(00 || d0)                               a leaf
    MTH(d[0:n])  = SHA256(01 || MTH(d[0:k]) || MTH(d[k:n]))       k the largest power of two below n

The prefixes 00 and 01 keep leaves and inner nodes apart. A subtree over ``2**level`` entries that starts at a
multiple of its width is *complete*: it never changes again. It has coordinates ``(level, index)`` and covers
the entries ``index * 2**level`` up to ``(index + 1) * 2**level``. A store keeps exactly the complete subtrees,
and everything here is computed from a reader of them (:data:`NodeReader`).

Seven entries, ``a b c d e f`` and ``j`` being leaf hashes (RFC 9162, section 2.1.5)::

    level 3               root
                         /    \\
    level 2            k        l              k = (2, 0) is complete; root and l are not
                     /   \\    /   \\
    level 1         g     h   i    |           g = (1, 0)  h = (1, 1)  i = (1, 2)
                   / \\   / \\ / \\   |
    level 0        a  b  c d e  f  j           a = (0, 0)  ...  j = (0, 6)

*Inclusion* shows that an entry is in the tree: the sibling of every node on the way from its leaf to the root.
*Consistency* shows that an older tree is a prefix of this one: nodes from which both roots follow.

>>> entries = [bytes([n]) for n in range(7)]
>>> a, b, c, d, e, f, j = leaves = [leaf_hash(entry) for entry in entries]
>>> g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
>>> k, l = node_hash(g, h), node_hash(i, j)
>>> nodes = {}
>>> for size, leaf in enumerate(leaves):
...     for level, index, value in new_nodes(size, [leaf], lambda *node: nodes[node]):
...         nodes[level, index] = value
>>> read = lambda level, index: nodes[level, index]
>>> root(7, read) == node_hash(k, l) == root_of(leaves)
True
>>> inclusion_proof(3, 7, read) == [c, g, l], inclusion_proof(6, 7, read) == [i, k]
(True, True)
>>> consistency_proof(3, 7, read) == [c, d, g, l], consistency_proof(4, 7, read) == [l]
(True, True)
>>> verify_inclusion(d, 3, 7, [c, g, l], root(7, read))
>>> verify_consistency(3, 7, root(3, read), root(7, read), [c, d, g, l])
>>> verify_inclusion(d, 2, 7, [c, g, l], root(7, read))
Traceback (most recent call last):
ledger.errors.VerificationError: inclusion of entry 2 in a tree of 7: the proof leads to another root
"""

from collections.abc import Callable, Sequence

from ledger.errors import VerificationError
from zk.hashing import sha256

HASH_SIZE = 32
"""Bytes in a hash."""

EMPTY_ROOT = sha256()
"""The root of the tree with no entries (RFC 9162, section 2.1.1)."""

NodeReader = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree ``(level, index)``; raises a ``LedgerError`` where it has none."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of the leaf that holds ``entry`` (RFC 9162, section 2.1.1): 32 bytes."""
    return sha256(b"\x00", entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the inner node above ``left`` and ``right``, 32 bytes each (RFC 9162, section 2.1.1): 32 bytes."""
    return sha256(b"\x01", left, right)


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over ``leaf_hashes``, straight from the definition.

    The reference for everything else in this module, and what an audit uses: it trusts no stored node.

    Parameters
    ----------
    leaf_hashes
        Hashes of all the entries in order, 32 bytes each.

    Returns
    -------
    bytes
        32 bytes; ``EMPTY_ROOT`` for no leaves.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    k = _split(len(leaf_hashes))
    return node_hash(root_of(leaf_hashes[:k]), root_of(leaf_hashes[k:]))


def root(size: int, read: NodeReader) -> bytes:
    """Root of the tree over the first ``size`` entries, from at most ``log2(size) + 1`` nodes.

    Raises
    ------
    VerificationError
        ``size`` is negative.
    """
    _require(size >= 0, f"a tree cannot have {size} entries")
    return _range_hash(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Proof that entry ``index`` is in the tree over the first ``size`` entries (RFC 9162, section 2.1.3.1).

    Returns
    -------
    list[bytes]
        At most ``ceil(log2(size))`` hashes of 32 bytes, from the leaf's sibling upwards.

    Raises
    ------
    VerificationError
        There is no such entry.
    """
    _require(0 <= index < size, f"a tree of {size} has no entry {index}")
    proof: list[bytes] = []
    start, stop = 0, size
    # PATH(m, D[n]), read from the root down.
    while stop - start > 1:
        k = start + _split(stop - start)
        if index < k:
            proof.append(_range_hash(k, stop, read))
            stop = k
        else:
            proof.append(_range_hash(start, k, read))
            start = k
    return proof[::-1]


def consistency_proof(old: int, new: int, read: NodeReader) -> list[bytes]:
    """Proof that the tree over the first ``old`` entries is a prefix of that over ``new`` (section 2.1.4.1).

    Returns
    -------
    list[bytes]
        At most ``ceil(log2(new)) + 1`` hashes of 32 bytes; none when the sizes are equal.

    Raises
    ------
    VerificationError
        ``old`` is 0 (every tree extends the empty one: there is nothing to prove) or greater than ``new``.
    """
    _require(0 < old <= new, f"there is no consistency proof from size {old} to size {new}")
    proof: list[bytes] = []
    start, stop = 0, new
    # SUBPROOF(m, D[n], b), read from the root down: until the old tree ends where the subtree ends.
    while old != stop:
        k = start + _split(stop - start)
        if old <= k:
            proof.append(_range_hash(k, stop, read))
            stop = k
        else:
            proof.append(_range_hash(start, k, read))
            start = k
    # b is true while the subtree is the whole old tree, whose root the verifier has.
    if start > 0:
        proof.append(_range_hash(start, stop, read))
    return proof[::-1]


def new_nodes(size_before: int, leaves: Sequence[bytes], read: NodeReader) -> list[tuple[int, int, bytes]]:
    """Complete subtrees that come into being when ``leaves`` are appended to ``size_before`` entries.

    Parameters
    ----------
    size_before
        Number of entries before.
    leaves
        Hashes of the new entries in order, 32 bytes each.
    read
        Reader of the subtrees that were complete before; asked for at most one of each level.

    Returns
    -------
    list[tuple[int, int, bytes]]
        ``(level, index, hash)``, level by level from the leaves upwards. A single leaf is one, and one more for every trailing 1 bit of
        ``size_before``.
    """
    nodes: list[tuple[int, int, bytes]] = []
    level, first, row = 0, size_before, list(leaves)
    while row:
        nodes += [(level, index, value) for index, value in enumerate(row, start=first)]
        if first & 1:  # a right child: its sibling was complete before
            row.insert(0, read(level, first - 1))
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        level, first = level + 1, first >> 1
    return nodes


class Frontier:
    """The right edge of a tree that grows from nothing: the last complete subtree of each level, which is all that going on takes.

    Attributes
    ----------
    size
        Number of entries so far.
    """

    def __init__(self) -> None:
        self.size = 0
        self._last: dict[int, tuple[int, bytes]] = {}

    def append(self, leaves: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Append ``leaves`` and return the subtrees that they complete, as :func:`new_nodes` does."""
        nodes = new_nodes(self.size, leaves, self._read)
        self._last |= {level: (index, value) for level, index, value in nodes}  # ascending: the last one stays
        self.size += len(leaves)
        return nodes

    def root(self) -> bytes:
        """Return the root over the entries so far: 32 bytes."""
        return root(self.size, self._read)

    def _read(self, level: int, index: int) -> bytes:
        last, value = self._last[level]
        _require(last == index, f"subtree ({level}, {index}) is not on the right edge")
        return value


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is the hash of entry ``index`` of the tree with ``root`` (RFC 9162, section 2.1.3.2).

    Parameters
    ----------
    leaf
        Hash of the entry, 32 bytes.
    index, size
        Place of the entry and number of entries under ``root``.
    proof
        Hashes of 32 bytes, from the leaf's sibling upwards.
    root
        Hash of the tree, 32 bytes.

    Raises
    ------
    VerificationError
        With the reason, if it is not, or if the proof has a wrong length.
    """
    what = f"inclusion of entry {index} in a tree of {size}"
    _require_hashes(what, leaf, root, *proof)
    _require(0 <= index < size, f"{what}: there is no such entry")  # step 1
    fn, sn = index, size - 1  # step 2
    r = leaf  # step 3
    for p in proof:  # step 4
        _require(sn != 0, f"{what}: the proof is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            fn, sn = _skip_missing_siblings(fn, sn)
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    _require(sn == 0, f"{what}: the proof is too short")  # step 5
    _require(r == root, f"{what}: the proof leads to another root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of ``old`` entries is a prefix of the tree of ``new`` (RFC 9162, section 2.1.4.2).

    Parameters
    ----------
    old, new
        Numbers of entries, ``0 < old <= new``.
    old_root, new_root
        Roots of the two trees, 32 bytes each.
    proof
        Hashes of 32 bytes; none when the sizes are equal.

    Raises
    ------
    VerificationError
        With the reason, if it is not, if the proof has a wrong length, or if ``old`` is 0.
    """
    what = f"consistency of size {old} with size {new}"
    _require_hashes(what, old_root, new_root, *proof)
    _require(old != 0, f"{what}: an empty tree is a prefix of every tree, which no proof can show")
    _require(0 < old <= new, f"{what}: sizes must be positive and not shrink")
    if old == new:
        _require(not proof, f"{what}: the proof is too long")
        _require(old_root == new_root, f"{what}: two roots for one size")
        return
    _require(len(proof) > 0, f"{what}: the proof is too short")  # step 1
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)  # step 2
    fr, sr = roots_of_path(old, new, path)
    _require(fr == old_root, f"{what}: the proof leads to another old root")
    _require(sr == new_root, f"{what}: the proof leads to another new root")


def roots_of_path(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Compute the two roots to which a consistency path leads (RFC 9162, section 2.1.4.2, steps 3 to 7).

    Whatever stands in ``path``: if the second root is that of a tree of ``new`` entries, then the first is the root over that tree's
    first ``old`` entries, since another one would be a collision of SHA-256.

    Parameters
    ----------
    old, new
        Numbers of entries, ``0 < old < new``.
    path
        At least one hash of 32 bytes, and unlike in a consistency proof the first is there also where ``old`` is a power of two.

    Returns
    -------
    old_root, new_root : bytes
        32 bytes each.

    Raises
    ------
    VerificationError
        The path has a wrong length, or the sizes are out of order.
    """
    what = f"consistency of size {old} with size {new}"
    _require_hashes(what, *path)
    _require(0 < old < new, f"{what}: sizes must be positive and grow")
    _require(len(path) > 0, f"{what}: the proof is too short")
    fn, sn = old - 1, new - 1  # step 3
    while fn & 1:  # step 4
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]  # step 5
    for c in path[1:]:  # step 6
        _require(sn != 0, f"{what}: the proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            fn, sn = _skip_missing_siblings(fn, sn)
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    _require(sn == 0, f"{what}: the proof is too short")  # step 7
    return fr, sr


def _skip_missing_siblings(fn: int, sn: int) -> tuple[int, int]:
    """Climb from a left node on the right edge to the next level at which it has a sibling on its left."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _split(n: int) -> int:
    """Return the largest power of two below ``n``, for ``n > 1``."""
    return 1 << ((n - 1).bit_length() - 1)


def _range_hash(start: int, stop: int, read: NodeReader) -> bytes:
    """Compute ``MTH(D[start:stop])`` for a range that the recursion from the root reaches."""
    n = stop - start
    level = n.bit_length() - 1
    if n == 1 << level:
        return read(level, start >> level)
    k = start + _split(n)
    return node_hash(_range_hash(start, k, read), _range_hash(k, stop, read))


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise VerificationError(reason)


def _require_hashes(what: str, *hashes: bytes) -> None:
    # Without this, bytes could move between the two halves of a node.
    _require(all(len(value) == HASH_SIZE for value in hashes), f"{what}: a hash is not {HASH_SIZE} bytes long")
