# pragma version ==0.4.3
"""
@title Anchors
@notice Checkpoints of one ledger, each an extension of the last; when they are final; and what happens to whoever
        signs two histories. Of an anchor only its hash is stored: whoever refers to it brings it along.
"""

import members
import merkle
import signing
import witnesses

uses: members
uses: witnesses

struct Anchor:
    index: uint256
    size: uint256
    root: bytes32
    time: uint256

event Anchored:
    index: indexed(uint256)
    size: uint256
    root: bytes32
    time: uint256

event Equivocated:
    account: indexed(address)
    slashed: uint256
    reporter: indexed(address)

event Over:
    halted: bool

ANCHOR_TYPE: constant(bytes32) = keccak256("Anchor(bytes32 log,uint256 size,bytes32 root)")
BOUNTY: constant(uint256) = 10  # one of how many parts of a slashed stake whoever showed it gets

operator: public(immutable(address))
operator_stake: public(immutable(uint256))
anchor_window: public(immutable(uint256))
silence: public(immutable(uint256))
deployed: public(immutable(uint256))

log_digest: public(immutable(bytes32))  # SHA-256 of the ledger's origin
head: public(bytes32)  # hash of the last anchor
anchored: public(HashMap[bytes32, bool])
over_at: public(uint256)  # 0 while the federation is open
halted_at: public(uint256)  # 0 unless the operator signed two histories


@deploy
def __init__(log_digest_: bytes32, operator_: address, operator_stake_: uint256, anchor_window_: uint256, silence_: uint256):
    assert operator_ != empty(address), "an operator is needed"
    assert log_digest_ != empty(bytes32), "a ledger is needed"
    log_digest = log_digest_
    operator = operator_
    operator_stake = operator_stake_
    anchor_window = anchor_window_
    silence = silence_
    deployed = block.timestamp


@external
@nonreentrant
def anchor(
    last: Anchor,
    size: uint256,
    root: bytes32,
    path: DynArray[bytes32, merkle.DEPTH],
    by_operator: signing.Signature,
    signatures: DynArray[signing.Signature, witnesses.SEATS],
):
    """
    @notice Anchor a checkpoint; anybody may send it, also when the federation is closed, as long as the bond is there.
            `last` is the anchor before (ignored for the first), `path` the consistency proof from it, its first node
            always there.
    """
    head: bytes32 = self.head
    index: uint256 = 0
    if head == empty(bytes32):
        assert size != 0 and len(path) == 0, "the first anchor extends nothing"
    else:
        assert head == self._digest(last), "not the last anchor"
        assert merkle.extends(last.size, last.root, size, root, path), "does not extend the last anchor"
        index = last.index + 1
    self.check_bond()
    signed: bytes32 = self._statement(size, root)
    assert signing.signer(signed, by_operator) == operator, "not signed by the operator"
    assert witnesses.signed(signed, signatures)
    head = self._digest(Anchor(index=index, size=size, root=root, time=block.timestamp))
    self.anchored[head] = True
    self.head = head
    log Anchored(index=index, size=size, root=root, time=block.timestamp)


@external
@nonreentrant
def close(last: Anchor):
    """
    @notice End the federation: the operator at any time, anybody after long silence. `last` is the last anchor.
    """
    self.check_open()
    if msg.sender != operator:
        since: uint256 = deployed
        if self.head != empty(bytes32):
            assert self.head == self._digest(last), "not the last anchor"
            since = last.time
        assert block.timestamp > since + silence, "the operator is not silent"
    self.over_at = block.timestamp
    log Over(halted=False)


@internal
def convict(
    first_size: uint256,
    first_root: bytes32,
    first_signature: signing.Signature,
    second_size: uint256,
    second_root: bytes32,
    second_signature: signing.Signature,
    path: DynArray[bytes32, merkle.DEPTH],
) -> uint256:
    """
    @notice Slash whoever signed two histories; returns what goes to the pot. For one size the roots differ and the
            path is empty; else the path leads to the second root, and for the first size to another root than the first.
    """
    guilty: address = signing.signer(self._statement(first_size, first_root), first_signature)
    assert guilty == signing.signer(self._statement(second_size, second_root), second_signature), "two signers"
    if first_size == second_size:
        assert first_root != second_root and len(path) == 0, "no contradiction"
    else:
        beginning: bytes32 = empty(bytes32)
        end: bytes32 = empty(bytes32)
        beginning, end = merkle.prefix_roots(first_size, second_size, path)
        assert end == second_root, "the path leads elsewhere"
        assert beginning != first_root, "no contradiction"
    slashed: uint256 = members.take(guilty, max_value(uint256))
    assert slashed != 0, "nothing to slash"
    witnesses.unseat(guilty)
    if guilty == operator and self.halted_at == 0:
        self.halted_at = block.timestamp
        if self.over_at == 0:
            self.over_at = block.timestamp
        log Over(halted=True)
    bounty: uint256 = slashed // BOUNTY
    members.credit[msg.sender] += bounty
    log Equivocated(account=guilty, slashed=slashed, reporter=msg.sender)
    return slashed - bounty


@external
@view
def final(anchor: Anchor) -> bool:
    """
    @notice Whether this was anchored, and nobody can undo it any more.
    """
    return self.is_final(anchor)


@internal
@view
def is_final(anchor: Anchor) -> bool:
    if not self.anchored[self._digest(anchor)]:
        return False
    due: uint256 = anchor.time + anchor_window
    return due <= block.timestamp and (self.halted_at == 0 or due <= self.halted_at)


@internal
@view
def check_open():
    assert self.over_at == 0, "the federation is over"


@internal
@view
def check_operator():
    assert msg.sender == operator, "only the operator"


@internal
@view
def check_bond():
    assert members.stake[operator] >= operator_stake, "the operator's bond is missing"


@internal
@view
def _statement(size: uint256, root: bytes32) -> bytes32:
    return signing.digest(keccak256(abi_encode(ANCHOR_TYPE, log_digest, size, root)))


@internal
@pure
def _digest(anchor: Anchor) -> bytes32:
    return keccak256(abi_encode(anchor))
