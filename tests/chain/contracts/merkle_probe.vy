# pragma version ==0.4.3
"""
@title The tree functions of the contracts, to be called.
"""

import merkle


@external
@pure
def leads_to(leaf: bytes32, index: uint256, size: uint256, path: DynArray[bytes32, 64]) -> bytes32:
    return merkle.leads_to(leaf, index, size, path)


@external
@pure
def prefix_roots(old: uint256, new: uint256, path: DynArray[bytes32, 64]) -> (bytes32, bytes32):
    return merkle.prefix_roots(old, new, path)
