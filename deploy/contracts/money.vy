# pragma version ==0.4.3
"""
@title Money in and out
@notice The native coin (token = 0), or one ERC-20. What comes in is measured. A token that takes more from us than
        we send, or says false, is refused; a receiver that refuses money keeps only itself from it.
"""

from ethereum.ercs import IERC20

token: public(immutable(address))


@deploy
def __init__(token_: address):
    token = token_


@internal
@payable
def receive(amount: uint256) -> uint256:
    """
    @notice Take `amount` from the caller; returns what arrived, which is less where a token takes a fee.
    """
    if token == empty(address):
        assert msg.value == amount, "value is not the amount"
        return amount
    assert msg.value == 0, "this federation uses a token"
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    assert extcall IERC20(token).transferFrom(msg.sender, self, amount, default_return_value=True), "token refused"
    return staticcall IERC20(token).balanceOf(self) - before


@internal
def send_to(receiver: address, amount: uint256):
    """
    @notice Pay. Call it last: the receiver's code may run.
    """
    assert receiver != empty(address) and receiver != self, "no receiver"
    if amount == 0:
        return
    if token == empty(address):
        raw_call(receiver, b"", value=amount)
        return
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    assert extcall IERC20(token).transfer(receiver, amount, default_return_value=True), "token refused"
    assert before - staticcall IERC20(token).balanceOf(self) <= amount, "token took too much"
