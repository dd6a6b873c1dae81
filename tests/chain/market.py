"""A market for data beside a federation."""

from typing import Any

from server.chain.statements import Domain, Signature
from tests.chain.evm import licence_artifact
from tests.chain.world import HOUR, RULE, World

DATA, PRICE = b"\xda" * 32, 10


class Market:
    """The market; account 9 owns data set DATA, account 10 buys."""

    def __init__(self, world: World) -> None:
        self.world = world
        token = world.token.address if world.token else world.terms["token"]
        self.contract = world.evm.deploy(licence_artifact(), token)
        self.owner, self.buyer = world.others[:2]
        self.domain = Domain(world.evm.chain_id, self.contract.address)
        if world.token:
            world.token.send("approve", self.contract.address, 10**30, sender=self.buyer)

    def offer(self, *rules: bytes) -> int:
        self.contract.send("offer", DATA, b"\x01" * 32, PRICE, list(rules or (RULE,)), sender=self.owner)
        return int(self.contract.get("offer_count")) - 1

    def buy(self, number: int, rounds: int = 5, value: int | None = None) -> int:
        cost = PRICE * rounds if value is None else value
        self.world.pay(self.contract, "buy", number, self.world.federation.address, rounds, 24 * HOUR, sender=self.buyer, amount=cost)
        return int(self.contract.get("licence_count")) - 1

    def proven(self, licence: int, rounds: int, number: int = 3) -> list[Signature]:
        return self.world.quorum(self.domain.proven(licence, rounds), number)

    def release(self, licence: int, rounds: int) -> dict[str, Any]:
        return self.contract.send("release", licence, rounds, self.proven(licence, rounds), sender=self.world.bystander)
