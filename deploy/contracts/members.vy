# pragma version ==0.4.3
"""
@title Members
@notice Stakes, unbonding, votes and delegation. A stake counts for one candidate at a time, and leaves its tally
        before it can leave the contract. Nothing here loops.
"""

import money

uses: money

event Joined:
    account: indexed(address)
    ledger_key: indexed(bytes32)
    stake: uint256

event StakeChanged:
    account: indexed(address)
    stake: uint256
    unbonding: uint256

event Voted:
    account: indexed(address)
    candidate: indexed(address)

event Delegated:
    account: indexed(address)
    delegate: indexed(address)

minimum_stake: public(immutable(uint256))
unbonding_period: public(immutable(uint256))

ledger_key: public(HashMap[address, bytes32])  # Ed25519, as the ledger's enrolment names it
stake: public(HashMap[address, uint256])
unbonding: public(HashMap[address, uint256])
release: public(HashMap[address, uint256])  # when `unbonding` may leave
delegate: public(HashMap[address, address])  # whose choice the own stake follows; 0: the own
delegated: public(HashMap[address, uint256])  # stake of others that follows this one's choice
choice: public(HashMap[address, address])
votes: public(HashMap[address, uint256])  # tally of a candidate
credit: public(HashMap[address, uint256])  # bonds and bounties to collect


@deploy
def __init__(minimum_stake_: uint256, unbonding_period_: uint256):
    minimum_stake = minimum_stake_
    unbonding_period = unbonding_period_


@external
@payable
@nonreentrant
def join(ledger_key: bytes32, amount: uint256):
    """
    @notice Become a member and stake; `ledger_key` is the identity whose enrolment names this account.
    """
    assert ledger_key != empty(bytes32), "a key is needed"
    assert self.ledger_key[msg.sender] == empty(bytes32), "joined already"
    self.ledger_key[msg.sender] = ledger_key
    self._add(money.receive(amount))
    log Joined(account=msg.sender, ledger_key=ledger_key, stake=self.stake[msg.sender])


@external
@payable
@nonreentrant
def top_up(amount: uint256):
    """
    @notice Stake more.
    """
    assert self.ledger_key[msg.sender] != empty(bytes32), "not a member"
    self._add(money.receive(amount))
    log StakeChanged(account=msg.sender, stake=self.stake[msg.sender], unbonding=self.unbonding[msg.sender])


@external
@nonreentrant
def withdraw(to: address):
    """
    @notice Take out what has been unbonding long enough.
    """
    amount: uint256 = self.unbonding[msg.sender]
    assert amount != 0, "nothing is unbonding"
    assert block.timestamp >= self.release[msg.sender], "still unbonding"
    self.unbonding[msg.sender] = 0
    log StakeChanged(account=msg.sender, stake=self.stake[msg.sender], unbonding=0)
    money.send_to(to, amount)


@external
@nonreentrant
def collect(to: address):
    """
    @notice Take out bonds that came back, and bounties.
    """
    amount: uint256 = self.credit[msg.sender]
    assert amount != 0, "no credit"
    self.credit[msg.sender] = 0
    money.send_to(to, amount)


@external
@nonreentrant
def vote(candidate: address):
    """
    @notice Choose whom own and delegated stake count for; 0 chooses nobody.
    """
    old: address = self.choice[msg.sender]
    weight: uint256 = self.delegated[msg.sender]
    if self.delegate[msg.sender] == empty(address):
        weight += self.stake[msg.sender]
    if old != empty(address):
        self.votes[old] -= weight
    if candidate != empty(address):
        self.votes[candidate] += weight
    self.choice[msg.sender] = candidate
    log Voted(account=msg.sender, candidate=candidate)


@external
@nonreentrant
def delegate_to(other: address):
    """
    @notice Let the own stake follow another's choice; 0 takes it back. What others delegated here stays here.
    """
    assert other != msg.sender, "delegating to oneself"
    amount: uint256 = self.stake[msg.sender]
    self._shift(msg.sender, amount, False)
    self.delegate[msg.sender] = other
    self._shift(msg.sender, amount, True)
    log Delegated(account=msg.sender, delegate=other)


@internal
def start_unbonding(account: address, amount: uint256):
    """
    @notice Move stake out of the votes; it can still be slashed until it is withdrawn. Whoever unbonds twice waits anew.
    """
    assert amount != 0 and amount <= self.stake[account], "more than the stake"
    self.stake[account] -= amount
    self._shift(account, amount, False)
    self.unbonding[account] += amount
    self.release[account] = block.timestamp + unbonding_period
    log StakeChanged(account=account, stake=self.stake[account], unbonding=self.unbonding[account])


@internal
def take(account: address, most: uint256) -> uint256:
    """
    @notice Slash up to `most`, first what is unbonding; returns how much it was.
    """
    first: uint256 = min(most, self.unbonding[account])
    second: uint256 = min(most - first, self.stake[account])
    self.unbonding[account] -= first
    self.stake[account] -= second
    self._shift(account, second, False)
    log StakeChanged(account=account, stake=self.stake[account], unbonding=self.unbonding[account])
    return first + second


@internal
def _add(amount: uint256):
    stake: uint256 = self.stake[msg.sender] + amount
    assert stake >= minimum_stake and amount != 0, "below the minimum stake"
    self.stake[msg.sender] = stake
    self._shift(msg.sender, amount, True)


@internal
def _shift(account: address, amount: uint256, more: bool):
    """
    @dev Brings the tallies up to date with a change of an account's own stake.
    """
    holder: address = self.delegate[account]
    if holder == empty(address):
        holder = account
    elif more:
        self.delegated[holder] += amount
    else:
        self.delegated[holder] -= amount
    candidate: address = self.choice[holder]
    if candidate == empty(address):
        return
    if more:
        self.votes[candidate] += amount
    else:
        self.votes[candidate] -= amount
