# pragma version ==0.4.3
"""
@title A member that is a contract: it passes calls on, and when it is paid it refuses, or calls back.
"""

refuses: public(bool)
target: public(address)
data: public(Bytes[2048])
called: public(bool)
refusal: public(Bytes[200])


@external
@payable
def do(target: address, data: Bytes[2048]):
    raw_call(target, data, value=msg.value)


@external
def on_payment(refuses: bool, target: address, data: Bytes[2048]):
    self.refuses = refuses
    self.target = target
    self.data = data


@external
@payable
def __default__():
    assert not self.refuses, "I take no money"
    if self.target != empty(address):
        self.called, self.refusal = raw_call(self.target, self.data, max_outsize=200, revert_on_failure=False)
