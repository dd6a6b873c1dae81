# pragma version ==0.4.3
"""
@title An ERC-20 with the oddities that tokens have: a fee on transfer, false in place of a revert, a call to somebody
       in the middle of a transfer, more taken than was sent, no return value.
"""

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
totalSupply: public(uint256)
fee: public(uint256)  # in percent, burnt, of what arrives
surcharge: public(uint256)  # in percent, burnt, on top of what is sent
says_false: public(bool)
target: public(address)  # called during a transfer
data: public(Bytes[1024])
called: public(bool)  # whether that call got through
refusal: public(Bytes[200])


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount
    self.totalSupply += amount


@external
def set(fee: uint256, surcharge: uint256, says_false: bool):
    self.fee = fee
    self.surcharge = surcharge
    self.says_false = says_false


@external
def attack(target: address, data: Bytes[1024]):
    self.target = target
    self.data = data


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    if not self.says_false:
        self.allowance[owner][msg.sender] -= amount
    return self._move(owner, to, amount)


@internal
def _move(owner: address, to: address, amount: uint256) -> bool:
    if self.says_false:
        return False
    if self.target != empty(address):
        self.called, self.refusal = raw_call(self.target, self.data, max_outsize=200, revert_on_failure=False)
    lost: uint256 = amount * self.fee // 100
    extra: uint256 = amount * self.surcharge // 100
    self.balanceOf[owner] -= amount + extra
    self.balanceOf[to] += amount - lost
    self.totalSupply -= lost + extra
    return True
