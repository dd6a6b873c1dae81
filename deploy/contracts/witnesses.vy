# pragma version ==0.4.3
"""
@title Witnesses
@notice Members stand, votes decide, a quorum of those who are seated signs. All loops are bounded by constants.
"""

import members
import signing

uses: members

event Elected:
    term_end: uint256
    seated: DynArray[address, SEATS]

CANDIDATES: constant(uint256) = 16
SEATS: constant(uint256) = 8

witness_stake: public(immutable(uint256))
seats: public(immutable(uint256))
quorum: public(immutable(uint256))
term: public(immutable(uint256))

candidates: public(DynArray[address, CANDIDATES])
seated: public(DynArray[address, SEATS])
seat: public(HashMap[address, uint256])  # number of the seat, from 1; 0: none
term_end: public(uint256)


@deploy
def __init__(witness_stake_: uint256, seats_: uint256, quorum_: uint256, term_: uint256):
    assert 0 < quorum_ and quorum_ <= seats_ and seats_ <= SEATS, "a quorum of the seats"
    assert 2 * quorum_ > seats_, "a quorum is more than half"
    witness_stake = witness_stake_
    seats = seats_
    quorum = quorum_
    term = term_


@external
@nonreentrant
def stand():
    """
    @notice Become a candidate; where all places are taken, that with the fewest votes gives way to more.
    """
    assert members.stake[msg.sender] >= witness_stake, "below the witness stake"
    assert msg.sender not in self.candidates, "a candidate already"
    if len(self.candidates) < CANDIDATES:
        self.candidates.append(msg.sender)
        return
    weakest: uint256 = 0
    fewest: uint256 = max_value(uint256)
    for i: uint256 in range(CANDIDATES):
        found: uint256 = self._strength(self.candidates[i])
        if found < fewest:
            weakest = i
            fewest = found
    assert members.votes[msg.sender] > fewest, "all candidates have as many votes"
    self.candidates[weakest] = msg.sender


@external
@nonreentrant
def stand_down():
    """
    @notice Be a candidate no longer; a seat lasts until the next election.
    """
    last: uint256 = len(self.candidates)
    for i: uint256 in range(CANDIDATES):
        if i == last:
            break
        if self.candidates[i] == msg.sender:
            self.candidates[i] = self.candidates[last - 1]
            self.candidates.pop()
            return
    raise "not a candidate"


@internal
def elect():
    """
    @notice Seat the candidates with the most votes, ties in the order of the list.
    """
    assert block.timestamp >= self.term_end or len(self.seated) < quorum, "the term is not over"
    for old: address in self.seated:
        self.seat[old] = 0
    strength: DynArray[uint256, CANDIDATES] = []
    for candidate: address in self.candidates:
        strength.append(self._strength(candidate))
    winners: DynArray[address, SEATS] = []
    for n: uint256 in range(SEATS):
        if n == seats:
            break
        best: uint256 = 0
        most: uint256 = 0
        for i: uint256 in range(CANDIDATES):
            if i == len(strength):
                break
            if strength[i] > most:
                best = i
                most = strength[i]
        if most == 0:
            break
        strength[best] = 0
        winners.append(self.candidates[best])
        self.seat[self.candidates[best]] = n + 1
    self.seated = winners
    self.term_end = block.timestamp + term
    log Elected(term_end=self.term_end, seated=winners)


@internal
def unseat(account: address):
    """
    @notice Empty the seat of a witness that misbehaved; the others keep theirs.
    """
    number: uint256 = self.seat[account]
    if number == 0:
        return
    last: address = self.seated[len(self.seated) - 1]
    self.seated[number - 1] = last
    self.seat[last] = number
    self.seat[account] = 0
    self.seated.pop()


@internal
@view
def signed(digest: bytes32, signatures: DynArray[signing.Signature, SEATS]) -> bool:
    """
    @notice Whether a quorum signed, each seat at most once: signatures are in ascending order of seats.
    """
    assert len(signatures) >= quorum, "fewer than a quorum"
    last: uint256 = 0
    for signature: signing.Signature in signatures:
        number: uint256 = self.seat[signing.signer(digest, signature)]
        assert number > last, "not by seated witnesses in order"
        last = number
    return True


@external
@view
def check_quorum(digest: bytes32, signatures: DynArray[signing.Signature, SEATS]) -> bool:
    """
    @notice The same for other contracts; reverts where it does not hold.
    """
    return self.signed(digest, signatures)


@internal
@view
def _strength(candidate: address) -> uint256:
    if members.stake[candidate] < witness_stake:
        return 0
    return members.votes[candidate]
