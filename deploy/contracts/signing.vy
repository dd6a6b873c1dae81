# pragma version ==0.4.3
"""
@title Signed statements
@notice EIP-712, so that a signature counts for one chain and one contract; compact signatures (EIP-2098) with low s
        only (EIP-2), so that there is one signature for one statement of one key.
"""

struct Signature:
    r: bytes32
    vs: bytes32

HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1
S_MASK: constant(uint256) = 2**255 - 1
DOMAIN_TYPE: constant(bytes32) = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
NAME: constant(bytes32) = keccak256("Lunaria")
VERSION: constant(bytes32) = keccak256("1")


@internal
@view
def digest(message: bytes32) -> bytes32:
    """
    @notice What is signed: the hash of a struct, bound to this chain and this contract.
    """
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))
    return keccak256(concat(0x1901, domain, message))


@internal
@pure
def signer(signed: bytes32, signature: Signature) -> address:
    """
    @notice Whose signature it is; reverts where it is nobody's.
    """
    vs: uint256 = convert(signature.vs, uint256)
    s: uint256 = vs & S_MASK
    assert s <= HALF_ORDER, "malleable signature"
    found: address = ecrecover(signed, 27 + (vs >> 255), convert(signature.r, uint256), s)
    assert found != empty(address), "bad signature"
    return found
