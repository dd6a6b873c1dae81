# pragma version ==0.4.3
"""
@title Data licences
@notice Owners offer data sets, named by the digest of the commitments in the ledger, for given agreements or training
        rules; a licence is bound to one federation's agreement, and paid for each round that its witnesses say was proved.
"""

import money
import signing

initializes: money

exports: money.token

interface Federation:
    def agreement() -> bytes32: view
    def rule() -> bytes32: view
    def check_quorum(digest: bytes32, signatures: DynArray[signing.Signature, SEATS]) -> bool: view

struct Offer:
    owner: address
    data: bytes32
    terms: bytes32
    price: uint256  # for each proved round
    retired: bool

struct Licence:
    offer: uint256
    buyer: address
    federation: address
    agreement: bytes32
    rounds: uint256
    paid: uint256  # rounds paid so far
    end: uint256
    escrow: uint256

event Offered:
    offer: indexed(uint256)
    owner: indexed(address)
    data: indexed(bytes32)
    terms: bytes32
    price: uint256

event Retired:
    offer: indexed(uint256)

event Bought:
    licence: indexed(uint256)
    offer: indexed(uint256)
    federation: indexed(address)
    agreement: bytes32
    rounds: uint256
    end: uint256

event Released:
    licence: indexed(uint256)
    rounds: uint256
    amount: uint256

event Reclaimed:
    licence: indexed(uint256)
    amount: uint256

SEATS: constant(uint256) = 8
RULES: constant(uint256) = 8
LONGEST: constant(uint256) = 10 * 365 * 86400
PROVEN_TYPE: constant(bytes32) = keccak256("Proven(uint256 licence,uint256 rounds)")

offers: public(HashMap[uint256, Offer])
rules: public(HashMap[uint256, HashMap[bytes32, bool]])
offer_count: public(uint256)
licences: public(HashMap[uint256, Licence])
licence_count: public(uint256)


@deploy
def __init__(token: address):
    money.__init__(token)


@external
@nonreentrant
def offer(data: bytes32, terms: bytes32, price: uint256, rules: DynArray[bytes32, RULES]) -> uint256:
    """
    @notice Offer a data set; nothing of an offer ever changes but that it can be retired.
    """
    assert data != empty(bytes32) and price != 0 and len(rules) != 0, "data, a price and rules are needed"
    number: uint256 = self.offer_count
    self.offer_count = number + 1
    self.offers[number] = Offer(owner=msg.sender, data=data, terms=terms, price=price, retired=False)
    for permitted: bytes32 in rules:
        self.rules[number][permitted] = True
    log Offered(offer=number, owner=msg.sender, data=data, terms=terms, price=price)
    return number


@external
@nonreentrant
def retire(number: uint256):
    """
    @notice Sell no more licences; those that were sold stay.
    """
    assert self.offers[number].owner == msg.sender, "only the owner"
    assert not self.offers[number].retired, "retired already"
    self.offers[number].retired = True
    log Retired(offer=number)


@external
@payable
@nonreentrant
def buy(number: uint256, federation: address, rounds: uint256, seconds: uint256) -> uint256:
    """
    @notice Buy the use of a data set for so many proved rounds of a federation, within so many seconds.
    """
    o: Offer = self.offers[number]
    assert o.owner != empty(address) and not o.retired, "no such offer"
    assert rounds != 0 and seconds != 0 and seconds <= LONGEST, "rounds and time are needed"
    agreement: bytes32 = staticcall Federation(federation).agreement()
    assert self.rules[number][agreement] or self.rules[number][staticcall Federation(federation).rule()], "not for this training"
    cost: uint256 = o.price * rounds
    assert money.receive(cost) == cost, "the price did not arrive in full"
    licence: uint256 = self.licence_count
    self.licence_count = licence + 1
    end: uint256 = block.timestamp + seconds
    self.licences[licence] = Licence(
        offer=number, buyer=msg.sender, federation=federation, agreement=agreement, rounds=rounds, paid=0, end=end, escrow=cost
    )
    log Bought(licence=licence, offer=number, federation=federation, agreement=agreement, rounds=rounds, end=end)
    return licence


@external
@nonreentrant
def release(licence: uint256, rounds: uint256, signatures: DynArray[signing.Signature, SEATS]):
    """
    @notice Pay the owner up to `rounds` rounds in all, which a quorum of the federation's witnesses signed.
    """
    l: Licence = self.licences[licence]
    assert l.escrow != 0, "nothing in escrow"
    assert l.paid < rounds and rounds <= l.rounds, "not more rounds than are paid, or more than were bought"
    digest: bytes32 = signing.digest(keccak256(abi_encode(PROVEN_TYPE, licence, rounds)))
    assert staticcall Federation(l.federation).check_quorum(digest, signatures), "no quorum"
    o: Offer = self.offers[l.offer]
    amount: uint256 = o.price * (rounds - l.paid)
    self.licences[licence].paid = rounds
    self.licences[licence].escrow = l.escrow - amount
    log Released(licence=licence, rounds=rounds, amount=amount)
    money.send_to(o.owner, amount)


@external
@nonreentrant
def reclaim(licence: uint256):
    """
    @notice After its end, return to the buyer what is left.
    """
    l: Licence = self.licences[licence]
    assert l.escrow != 0, "nothing in escrow"
    assert block.timestamp > l.end, "the licence has not ended"
    self.licences[licence].escrow = 0
    log Reclaimed(licence=licence, amount=l.escrow)
    money.send_to(l.buyer, l.escrow)
