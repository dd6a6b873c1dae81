"""A deployed federation: its anchors, epochs, candidates and quorum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak
from web3 import Web3

from server.chain.contract import Contract
from server.chain.errors import Refused
from server.chain.node import Node
from server.chain.statements import Signature
from server.errors import ServerError

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


class Federation(Contract):
    """A contract at the address that ``chain.toml`` names.

    Raises
    ------
    ServerError
        It names none, or there is none.
    """

    def __init__(self, node: Node) -> None:
        if node.config.contract is None:
            raise ServerError("chain.toml names no contract: 'lunaria chain deploy' makes one")
        super().__init__(node, "federation", node.config.contract, node.config.block)

    def anchors(self) -> list[Anchor]:
        """Return all anchors in order."""
        return [_anchor(event) for event in self.events("Anchored")]

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
        for event in reversed(self.events("Anchored", until=lambda one: _anchor(one).digest == head)):
            if _anchor(event).digest == head:
                return _anchor(event)
        raise ServerError("the node does not show the event of the last anchor: use a node with the contract's logs, and check 'block'")

    def epochs(self) -> list[int]:
        """Return the epochs for which a settlement was ever proposed."""
        return sorted({event["args"]["epoch"] for event in self.events("Proposed")})

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
