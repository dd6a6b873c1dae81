# pragma version ==0.4.3
"""
@title A federation that agrees to everything, and whose witnesses never sign.
"""

struct Signature:
    r: bytes32
    vs: bytes32

agreement: public(constant(bytes32)) = 0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
rule: public(constant(bytes32)) = 0xa3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3


@external
@view
def check_quorum(digest: bytes32, signatures: DynArray[Signature, 8]) -> bool:
    return False
