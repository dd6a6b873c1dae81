"""A deployed federation as Python sees it: views, events, and calls that :class:`server.chain.node.Node` brings about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import BlockNumber
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract.contract import ContractFunction

from server.chain.artifacts import artifact
from server.chain.errors import Refused
from server.chain.node import Node
from server.chain.statements import Domain, Signature
from server.errors import ServerError

_BLOCKS = 5_000  # nodes limit how many blocks one question may be about
_CANDIDATES = 16
_NOTHING = bytes(32)
TERMS = (
    ("token", "operator", "beneficiary", "run", "log_digest", "agreement", "terms", "rule"),
    ("minimum_stake", "operator_stake", "witness_stake", "challenge_bond", "seats", "quorum"),
    ("term", "anchor_window", "settlement_window", "resolution", "claim_period", "unbonding", "silence"),
)


@dataclass(frozen=True)
class Anchor:
    """A checkpoint on the chain: its number, entries, root (32 bytes) and time (seconds since 1970)."""

    index: int
    size: int
    root: bytes
    time: int

    def to_abi(self) -> tuple[int, int, bytes, int]:
        """Return what the contract takes."""
        return self.index, self.size, self.root, self.time

    @property
    def digest(self) -> bytes:
        """The hash that the contract keeps."""
        words = [self.index.to_bytes(32, "big"), self.size.to_bytes(32, "big"), self.root, self.time.to_bytes(32, "big")]
        return keccak(b"".join(words))


NO_ANCHOR = Anchor(0, 0, _NOTHING, 0)


class Federation:
    """A contract at the address that ``chain.toml`` names.

    Raises
    ------
    ServerError
        It names none, or there is none.
    """

    def __init__(self, node: Node) -> None:
        address = node.config.contract
        if address is None:
            raise ServerError("chain.toml names no contract: 'lunaria chain deploy' makes one")
        self.node = node
        self.address = Web3.to_checksum_address(address)
        self._contract = node.web3.eth.contract(address=self.address, abi=artifact("federation")["abi"])
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

    def anchors(self) -> list[Anchor]:
        """Return all anchors in order."""
        return [_anchor(event) for event in self._events("Anchored", stop_at=None)]

    def last_anchor(self) -> Anchor | None:
        """Return the last anchor, None before the first.

        Raises
        ------
        ServerError
            The contract has one whose event the node does not show.
        """
        head = self.get("head")
        if head == _NOTHING:
            return None
        for event in reversed(self._events("Anchored", stop_at=head)):
            if _anchor(event).digest == head:
                return _anchor(event)
        raise ServerError("the node does not show the event of the last anchor: use a node with the contract's logs, and check 'block'")

    def epochs(self) -> list[int]:
        """Return the epochs for which a settlement was ever proposed."""
        return sorted({event["args"]["epoch"] for event in self._events("Proposed", stop_at=None)})

    def candidates(self) -> list[str]:
        """Return the candidates for witness."""
        found: list[str] = []
        for place in range(_CANDIDATES):
            try:
                found.append(self.get("candidates", place))
            except Refused:  # past the end of the list
                break
        return found

    def now(self) -> int:
        """Return the time of the last block."""
        return int(self.node.ask(lambda: self.node.web3.eth.get_block("latest")["timestamp"]))

    def in_order(self, digest: bytes, signatures: Sequence[Signature]) -> list[Signature]:
        """Return a quorum of the signatures as the contract wants them, by seat, others left out.

        Raises
        ------
        ServerError
            Too few are by seated witnesses.
        """
        from server.chain.statements import signer

        by_seat: dict[int, Signature] = {}
        for signature in signatures:
            seat = self.get("seat", signer(digest, signature))
            if seat:
                by_seat[seat] = signature
        quorum = self.get("quorum")
        if len(by_seat) < quorum:
            raise ServerError(f"{len(by_seat)} seated witnesses signed, {quorum} must: check their addresses, and who is seated")
        return [by_seat[seat] for seat in sorted(by_seat)[:quorum]]

    def _events(self, name: str, stop_at: bytes | None) -> list[Any]:
        """Return events in order, asked for from the newest blocks back to the deployment, or to the anchor with a digest."""
        found: list[Any] = []
        stop = self.node.ask(lambda: self.node.web3.eth.block_number)
        while stop >= self.node.config.block:
            start = max(self.node.config.block, stop - _BLOCKS + 1)
            logs = self._logs(name, start, stop)
            found = logs + found
            if stop_at is not None and any(_anchor(one).digest == stop_at for one in logs):
                break
            stop = start - 1
        return found

    def _logs(self, name: str, start: int, stop: int) -> list[Any]:
        event = self._contract.events[name]
        return list(self.node.ask(lambda: event().get_logs(from_block=BlockNumber(start), to_block=BlockNumber(stop))))


def address(text: str) -> str:
    """Return an address with its checksum.

    Raises
    ------
    ServerError
        It is none.
    """
    try:
        return str(Web3.to_checksum_address(text))
    except ValueError as error:
        raise ServerError(f"{text} is not an account: 0x and 40 hexadecimal digits") from error


def _anchor(event: Any) -> Anchor:  # noqa: ANN401
    fields = event["args"]
    return Anchor(fields["index"], fields["size"], bytes(fields["root"]), fields["time"])
