# pragma version ==0.4.3
"""
@title Settlements
@notice The pot, what an epoch takes from it, challenges, claims and penalties. Money that a settlement sets aside is
        in no other sum; a claim is paid to its account, whoever sends it.
"""

import anchors
import members
import merkle
import money
import signing
import witnesses

uses: anchors
uses: members
uses: money
uses: witnesses

struct Proposal:
    epoch: uint256
    root: bytes32  # of the claims
    penalties: bytes32  # root of the penalties; 0: none
    total: uint256
    claims: uint256  # how many

event Funded:
    sponsor: indexed(address)
    amount: uint256

event Proposed:
    epoch: indexed(uint256)
    root: bytes32
    penalties: bytes32
    total: uint256
    leaf: bytes32
    due: uint256

event Challenged:
    epoch: indexed(uint256)
    challenger: indexed(address)

event Resolved:
    epoch: indexed(uint256)
    stands: bool

event Claimed:
    epoch: indexed(uint256)
    index: uint256
    account: indexed(address)
    amount: uint256

event Penalised:
    epoch: indexed(uint256)
    index: uint256
    account: indexed(address)
    amount: uint256

RESOLUTION_TYPE: constant(bytes32) = keccak256("Resolution(uint256 epoch,uint256 attempt,bytes32 root,bool stands)")
NEVER: constant(uint256) = max_value(uint256)  # `due` of a settlement that is challenged
WORD: constant(uint256) = 255  # claims in a word of the bitmap; its last bit is set beforehand, which makes claims cheap
WORDS: constant(uint256) = 40

challenge_bond: public(immutable(uint256))
settlement_window: public(immutable(uint256))
resolution: public(immutable(uint256))
claim_period: public(immutable(uint256))
beneficiary: public(immutable(address))

pot: public(uint256)
paid_in: public(HashMap[address, uint256])
paid_in_total: public(uint256)
unsettled: public(uint256)  # settlements with money set aside

due: public(HashMap[uint256, uint256])  # from when a settlement is final; 0: there is none
root: public(HashMap[uint256, bytes32])
penalties: public(HashMap[uint256, bytes32])
remaining: public(HashMap[uint256, uint256])
attempt: public(HashMap[uint256, uint256])
challenger: public(HashMap[uint256, address])
bond: public(HashMap[uint256, uint256])
deadline: public(HashMap[uint256, uint256])
claimed: public(HashMap[uint256, HashMap[uint256, uint256]])
penalised: public(HashMap[uint256, HashMap[uint256, uint256]])


@deploy
def __init__(challenge_bond_: uint256, settlement_window_: uint256, resolution_: uint256, claim_period_: uint256, beneficiary_: address):
    assert beneficiary_ != empty(address), "a beneficiary is needed"
    challenge_bond = challenge_bond_
    settlement_window = settlement_window_
    resolution = resolution_
    claim_period = claim_period_
    beneficiary = beneficiary_


@external
@payable
@nonreentrant
def fund(amount: uint256):
    """
    @notice Pay into the pot.
    """
    anchors.check_open()
    received: uint256 = money.receive(amount)
    assert received != 0, "nothing arrived"
    self.pot += received
    self.paid_in[msg.sender] += received
    self.paid_in_total += received
    log Funded(sponsor=msg.sender, amount=received)


@external
@nonreentrant
def propose(
    proposal: Proposal,
    anchor: anchors.Anchor,
    leaf: bytes32,
    index: uint256,
    path: DynArray[bytes32, merkle.DEPTH],
):
    """
    @notice Settle an epoch: `leaf` is the hash of the settlement entry, `index` its place, under a final anchor.
    """
    epoch: uint256 = proposal.epoch
    anchors.check_operator()
    anchors.check_open()
    anchors.check_bond()
    assert self.due[epoch] == 0, "this epoch is settled already"
    assert anchors.is_final(anchor), "the anchor is not final"
    assert merkle.leads_to(leaf, index, anchor.size, path) == anchor.root, "the entry is not in the ledger"
    assert proposal.total <= self.pot, "the pot is too small"
    assert proposal.claims <= WORD * WORDS, "too many claims"
    self.pot -= proposal.total
    if proposal.total != 0:
        self.unsettled += 1
    self.remaining[epoch] = proposal.total
    self.root[epoch] = proposal.root
    self.penalties[epoch] = proposal.penalties
    self.attempt[epoch] += 1
    self.due[epoch] = block.timestamp + settlement_window
    for word: uint256 in range(WORDS):
        if word * WORD >= proposal.claims:
            break
        self.claimed[epoch][word] = 1 << WORD
    log Proposed(
        epoch=epoch, root=proposal.root, penalties=proposal.penalties, total=proposal.total, leaf=leaf, due=self.due[epoch]
    )


@external
@payable
@nonreentrant
def challenge(epoch: uint256):
    """
    @notice Say, with a bond, that a settlement is not that of the ledger; the witnesses decide.
    """
    assert self.due[epoch] != 0 and self.due[epoch] != NEVER, "no settlement to challenge"
    assert block.timestamp < self.due[epoch], "the settlement is final"
    received: uint256 = money.receive(challenge_bond)
    assert received == challenge_bond, "the bond did not arrive in full"
    self.due[epoch] = NEVER
    self.challenger[epoch] = msg.sender
    self.bond[epoch] = received
    self.deadline[epoch] = block.timestamp + resolution
    log Challenged(epoch=epoch, challenger=msg.sender)


@external
@nonreentrant
def resolve(epoch: uint256, stands: bool, signatures: DynArray[signing.Signature, witnesses.SEATS]):
    """
    @notice Decide a challenge: a quorum says whether the settlement stands. The side that is wrong pays.
    """
    assert self.due[epoch] == NEVER, "not challenged"
    assert block.timestamp <= self.deadline[epoch], "the time to decide is over"
    message: bytes32 = keccak256(abi_encode(RESOLUTION_TYPE, epoch, self.attempt[epoch], self.root[epoch], stands))
    assert witnesses.signed(signing.digest(message), signatures)
    if stands:
        self.due[epoch] = block.timestamp
        self.pot += self.bond[epoch]
    else:
        fine: uint256 = self._fine(anchors.operator, challenge_bond)
        members.credit[self.challenger[epoch]] += self.bond[epoch] + fine
        self._void(epoch)
    self.bond[epoch] = 0
    log Resolved(epoch=epoch, stands=stands)


@external
@nonreentrant
def lapse(epoch: uint256):
    """
    @notice Give up a settlement that nobody decided in time, or that was not final when the federation was halted.
    """
    assert self.due[epoch] != 0, "no settlement"
    if self.due[epoch] == NEVER:
        assert block.timestamp > self.deadline[epoch], "there is time to decide"
        members.credit[self.challenger[epoch]] += self.bond[epoch]
        self.bond[epoch] = 0
    else:
        assert anchors.halted_at != 0 and self.due[epoch] > anchors.halted_at, "the settlement stands"
    self._void(epoch)
    log Resolved(epoch=epoch, stands=False)


@external
@nonreentrant
def claim(
    epoch: uint256,
    index: uint256,
    account: address,
    amount: uint256,
    claims: uint256,
    path: DynArray[bytes32, merkle.DEPTH],
    to: address,
):
    """
    @notice Pay a claim to its account; only the account itself may name another receiver. `claims` is the number of
            leaves, which needs no check: a leaf names its own index.
    """
    assert to == account or msg.sender == account, "only the account names another receiver"
    self._check_final(epoch)
    assert merkle.leads_to(merkle.claim_leaf(index, account, amount), index, claims, path) == self.root[epoch], "no such claim"
    word: uint256 = index // WORD
    bits: uint256 = self.claimed[epoch][word]
    bit: uint256 = 1 << (index % WORD)
    assert bits & bit == 0, "claimed already"
    self.claimed[epoch][word] = bits | bit
    remaining: uint256 = self.remaining[epoch]
    assert amount <= remaining, "more than the total"
    self.remaining[epoch] = remaining - amount
    if amount != 0 and amount == remaining:
        self.unsettled -= 1
    log Claimed(epoch=epoch, index=index, account=account, amount=amount)
    money.send_to(to, amount)


@external
@nonreentrant
def penalise(epoch: uint256, index: uint256, account: address, amount: uint256, penalties: uint256, path: DynArray[bytes32, merkle.DEPTH]):
    """
    @notice Take a penalty of a final settlement from a member's stake into the pot, as far as there is stake.
    """
    self._check_final(epoch)
    leaf: bytes32 = merkle.claim_leaf(index, account, amount)
    assert merkle.leads_to(leaf, index, penalties, path) == self.penalties[epoch], "no such penalty"
    bits: uint256 = self.penalised[epoch][index // 256]
    bit: uint256 = 1 << (index % 256)
    assert bits & bit == 0, "penalised already"
    self.penalised[epoch][index // 256] = bits | bit
    taken: uint256 = self._fine(account, amount)
    self.pot += taken
    log Penalised(epoch=epoch, index=index, account=account, amount=taken)


@external
@nonreentrant
def expire(epoch: uint256):
    """
    @notice Return to the pot what nobody claimed in time.
    """
    self._check_final(epoch)
    assert self.root[epoch] != empty(bytes32), "expired already"
    assert block.timestamp > self.due[epoch] + claim_period, "there is time to claim"
    self._free(epoch)


@external
@nonreentrant
def refund(to: address):
    """
    @notice When all is over, a sponsor's part of what is left.
    """
    self._check_settled()
    part: uint256 = self.paid_in[msg.sender]
    assert part != 0, "nothing paid in"
    amount: uint256 = self.pot * part // self.paid_in_total
    self.paid_in[msg.sender] = 0
    self.paid_in_total -= part
    self.pot -= amount
    money.send_to(to, amount)


@external
@nonreentrant
def sweep():
    """
    @notice When all is over and no sponsor is left, what is in the pot goes to the beneficiary.
    """
    self._check_settled()
    assert self.paid_in_total == 0, "there are sponsors to refund"
    amount: uint256 = self.pot
    self.pot = 0
    money.send_to(beneficiary, amount)


@internal
@view
def _check_final(epoch: uint256):
    due: uint256 = self.due[epoch]
    assert due != 0 and due <= block.timestamp, "the settlement is not final"
    assert anchors.halted_at == 0 or due <= anchors.halted_at, "the settlement is void"


@internal
@view
def _check_settled():
    assert anchors.over_at != 0 and self.unsettled == 0, "not settled yet"


@internal
def _fine(account: address, amount: uint256) -> uint256:
    taken: uint256 = members.take(account, amount)
    if members.stake[account] < witnesses.witness_stake:
        witnesses.unseat(account)
    return taken


@internal
def _void(epoch: uint256):
    self.due[epoch] = 0
    self._free(epoch)


@internal
def _free(epoch: uint256):
    self.root[epoch] = empty(bytes32)
    self.penalties[epoch] = empty(bytes32)
    amount: uint256 = self.remaining[epoch]
    if amount != 0:
        self.remaining[epoch] = 0
        self.pot += amount
        self.unsettled -= 1
