# pragma version ==0.4.3
"""
@title RFC 6962 trees
@notice Inclusion (RFC 9162, 2.1.3.2) and consistency (2.1.4.2) over SHA-256, as ledger/merkle.py does it.
"""

DEPTH: constant(uint256) = 64  # a log has less than 2**63 entries


@internal
@pure
def node(left: bytes32, right: bytes32) -> bytes32:
    return sha256(concat(0x01, left, right))


@internal
@pure
def leads_to(leaf: bytes32, index: uint256, size: uint256, path: DynArray[bytes32, DEPTH]) -> bytes32:
    """
    @notice The root to which a path leads from a leaf; reverts where its length is not that of a path of this place.
    """
    assert index < size, "no such leaf"
    fn: uint256 = index
    sn: uint256 = size - 1
    r: bytes32 = leaf
    for p: bytes32 in path:
        assert sn != 0, "path too long"
        if fn & 1 == 1 or fn == sn:
            r = self.node(p, r)
            for i: uint256 in range(DEPTH):
                if fn == 0 or fn & 1 == 1:
                    break
                fn >>= 1
                sn >>= 1
        else:
            r = self.node(r, p)
        fn >>= 1
        sn >>= 1
    assert sn == 0, "path too short"
    return r


@internal
@pure
def prefix_roots(old: uint256, new: uint256, path: DynArray[bytes32, DEPTH]) -> (bytes32, bytes32):
    """
    @notice The roots of the first `old` entries and of all `new` to which a path leads, whose first node is there
            also where `old` is a power of two. If the second is the root of a tree of `new` entries, the first is
            that of its beginning, whatever stands in the path.
    """
    assert 0 < old and old < new, "sizes must grow"
    assert len(path) > 0, "path too short"
    fn: uint256 = old - 1
    sn: uint256 = new - 1
    for i: uint256 in range(DEPTH):
        if fn & 1 == 0:
            break
        fn >>= 1
        sn >>= 1
    fr: bytes32 = path[0]
    sr: bytes32 = path[0]
    first: bool = True
    for c: bytes32 in path:
        if first:
            first = False
            continue
        assert sn != 0, "path too long"
        if fn & 1 == 1 or fn == sn:
            shared: bool = fr == sr  # the same subtree until here, and so still
            fr = self.node(c, fr)
            sr = fr if shared else self.node(c, sr)
            for i: uint256 in range(DEPTH):
                if fn == 0 or fn & 1 == 1:
                    break
                fn >>= 1
                sn >>= 1
        else:
            sr = self.node(sr, c)
        fn >>= 1
        sn >>= 1
    assert sn == 0, "path too short"
    return fr, sr


@internal
@pure
def extends(old: uint256, old_root: bytes32, new: uint256, new_root: bytes32, path: DynArray[bytes32, DEPTH]) -> bool:
    """
    @notice Whether a consistency path, its first node always there, shows that one tree begins with the other.
    """
    fr: bytes32 = empty(bytes32)
    sr: bytes32 = empty(bytes32)
    fr, sr = self.prefix_roots(old, new, path)
    return fr == old_root and sr == new_root


@internal
@pure
def claim_leaf(index: uint256, account: address, amount: uint256) -> bytes32:
    """
    @notice Hash of the leaf index || account || amount.
    """
    return sha256(concat(0x00, convert(index, bytes32), convert(account, bytes20), convert(amount, bytes32)))
