"""A deployed contract as Python sees it: views, events, and calls that :class:`server.chain.node.Node` brings about."""

from collections.abc import Callable
from typing import Any

from eth_typing import BlockNumber
from web3 import Web3
from web3.contract.contract import ContractFunction

from server.chain.artifacts import artifact
from server.chain.node import Node
from server.chain.statements import Domain
from server.errors import ServerError

_BLOCKS = 5_000  # nodes limit how many blocks one question may be about


class Contract:
    """A contract at an address.

    Parameters
    ----------
    node : Node
    name : str
        Of its artifact.
    address : str
    block : int
        It was deployed in this one, or later.

    Raises
    ------
    ServerError
        There is none.
    """

    def __init__(self, node: Node, name: str, address: str, block: int) -> None:
        self.node = node
        self.address = Web3.to_checksum_address(address)
        self._contract = node.web3.eth.contract(address=self.address, abi=artifact(name)["abi"])
        self._block = block
        self.domain = Domain(node.config.chain_id, self.address)
        if not node.ask(lambda: node.web3.eth.get_code(self.address)):
            raise ServerError(f"there is no contract at {self.address}: has the chain been started anew?")

    def get(self, name: str, *arguments: object) -> Any:  # noqa: ANN401
        """Return what a view returns."""
        return self.node.ask(lambda: self._contract.functions[name](*arguments).call())

    def call(self, name: str, *arguments: object) -> ContractFunction:
        """Return a call to be brought about."""
        found: ContractFunction = self._contract.functions[name](*arguments)
        return found

    def payment(self, amount: int) -> int:
        """Return the value of a call that pays: a token is taken from an allowance instead."""
        return amount if int(self.get("token"), 16) == 0 else 0

    def events(self, name: str, filters: dict[str, Any] | None = None, until: Callable[[Any], bool] | None = None) -> list[Any]:
        """Return events in order, asked for from the newest blocks back to the deployment, or to one that ``until`` finds."""
        found: list[Any] = []
        stop = self.node.ask(lambda: self.node.web3.eth.block_number)
        while stop >= self._block:
            start = max(self._block, stop - _BLOCKS + 1)
            logs = self._logs(name, filters or {}, start, stop)
            found = logs + found
            if until is not None and any(map(until, logs)):
                break
            stop = start - 1
        return found

    def _logs(self, name: str, filters: dict[str, Any], start: int, stop: int) -> list[Any]:
        event, blocks = self._contract.events[name](), (BlockNumber(start), BlockNumber(stop))
        return list(self.node.ask(lambda: event.get_logs(argument_filters=filters, from_block=blocks[0], to_block=blocks[1])))
