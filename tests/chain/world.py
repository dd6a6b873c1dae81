"""A federation on an EVM, with an operator, members who are witnesses, sponsors, and a ledger of made-up entries."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from eth_account.signers.local import LocalAccount

from ledger import merkle
from server.chain.statements import Domain, Signature, log_digest, sign
from tests.chain.evm import Contract, Evm, federation_artifact, test_artifact

ZERO = "0x" + "00" * 20
NONE = b"\0" * 32
STAKE, WITNESS, OPERATOR, BOND = 1_000, 2_000, 5_000, 300
HOUR = 3600
AGREEMENT, TERMS, RULE = b"\xa1" * 32, b"\xa2" * 32, b"\xa3" * 32
LOG = log_digest("example.org/log")
PERIODS = {
    "term": 48 * HOUR,
    "anchor_window": 2 * HOUR,
    "settlement_window": 4 * HOUR,
    "resolution": 6 * HOUR,
    "claim_period": 72 * HOUR,
    "unbonding": 24 * HOUR,
    "silence": 96 * HOUR,
}
Anchor = tuple[int, int, bytes, int]
NO_ANCHOR: Anchor = (0, 0, NONE, 0)


@dataclass
class Tree:
    """A Merkle tree over leaf data."""

    leaves: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]
        self.nodes = {(level, index): value for level, index, value in merkle.new_nodes(0, hashes, self.read)}

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def append(self, leaf: bytes) -> None:
        new = merkle.new_nodes(len(self.leaves), [merkle.leaf_hash(leaf)], self.read)
        self.nodes |= {(level, index): value for level, index, value in new}
        self.leaves.append(leaf)

    def root(self, size: int | None = None) -> bytes:
        return merkle.root(len(self.leaves) if size is None else size, self.read)

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        return merkle.inclusion_proof(index, len(self.leaves) if size is None else size, self.read)

    def path(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the consistency proof with its first node always there."""
        proof = merkle.consistency_proof(old, len(self.leaves) if new is None else new, self.read)
        return [self.root(old), *proof] if old & (old - 1) == 0 else proof


def leaf_of(index: int, address: str, amount: int) -> bytes:
    return index.to_bytes(32, "big") + bytes.fromhex(address[2:]) + amount.to_bytes(32, "big")


def amounts(*pairs: tuple[str, int]) -> Tree:
    """Return the tree of claims, or of penalties."""
    return Tree([leaf_of(i, address, amount) for i, (address, amount) in enumerate(pairs)])


class World:
    """A deployed federation.

    Accounts: 0 is the operator, 1 the beneficiary, 2 a sponsor, 3 a bystander, 4 to 8 members who are to be witnesses, 9 and up others.
    """

    def __init__(self, token: str | None = None, evm: Evm | None = None, **terms: Any) -> None:  # noqa: ANN401
        self.evm = evm or Evm()
        self.operator, self.beneficiary, self.sponsor, self.bystander = self.evm.accounts[:4]
        self.witnesses, self.others = self.evm.accounts[4:9], self.evm.accounts[9:]
        self.token = self.evm.deploy(test_artifact(token)) if token else None
        self.terms = terms_of(self, **terms)
        self.federation = self.evm.deploy(federation_artifact(), tuple(self.terms.values()))
        self.domain = Domain(self.evm.chain_id, self.federation.address)
        self.ledger = Tree([b"entry 0"])
        self.anchors: list[Anchor] = []
        if self.token:
            for one in self.evm.accounts[:12]:
                self.token.send("mint", one.address, 10**9, sender=self.operator)
                if token != "silent_token":  # noqa: S105 - a contract
                    self.token.send("approve", self.federation.address, 10**30, sender=one)

    def pay(self, contract: Contract, name: str, *arguments: Any, sender: LocalAccount, amount: int) -> dict[str, Any]:  # noqa: ANN401
        """Call what takes money: native as value, a token from the allowance."""
        return contract.send(name, *arguments, sender=sender, value=0 if self.token else amount)

    def join(self, who: LocalAccount, amount: int, key: bytes = b"\x07" * 32) -> dict[str, Any]:
        return self.pay(self.federation, "join", key, amount, sender=who, amount=amount)

    def fund(self, amount: int, who: LocalAccount | None = None) -> dict[str, Any]:
        return self.pay(self.federation, "fund", amount, sender=who or self.sponsor, amount=amount)

    def begin(self, pot: int = 10_000) -> "World":
        """Bond the operator, seat five witnesses, fill the pot."""
        self.join(self.operator, OPERATOR)
        for one in self.witnesses:
            self.join(one, WITNESS)
            self.federation.send("stand", sender=one)
            self.federation.send("vote", one.address, sender=one)
        self.federation.send("elect", sender=self.bystander)
        if pot:
            self.fund(pot)
        return self

    def grow(self, entries: int) -> None:
        for _ in range(entries):
            self.ledger.append(b"entry %d" % len(self.ledger.leaves))

    def anchor_signature(self, who: LocalAccount, size: int, root: bytes) -> Signature:
        return sign(self.domain.anchor(LOG, size, root), who)

    def quorum(self, digest: bytes, number: int = 3) -> list[Signature]:
        """Return signatures of the first seats, in order."""
        seated = [self.federation.get("seated", i) for i in range(number)]
        accounts = {one.address.lower(): one for one in self.evm.accounts}
        return [sign(digest, accounts[address.lower()]) for address in seated]

    def anchor_call(self, size: int | None = None, root: bytes | None = None) -> list[Any]:
        """Return the arguments of an anchor of the ledger as it is."""
        size = len(self.ledger.leaves) if size is None else size
        root = self.ledger.root(size) if root is None else root
        last = self.anchors[-1] if self.anchors else NO_ANCHOR
        path = self.ledger.path(last[1], size) if last[1] else []
        digest = self.domain.anchor(LOG, size, root)
        return [last, size, root, path, sign(digest, self.operator), self.quorum(digest)]

    def anchor(self) -> dict[str, Any]:
        call = self.anchor_call()
        receipt = self.federation.send("anchor", *call, sender=self.bystander)
        block = self.evm.tester.get_block_by_number(receipt["block_number"])
        self.anchors.append((len(self.anchors), call[1], call[2], int(block["timestamp"])))
        return receipt

    def final_anchor(self) -> int:
        """Anchor the ledger with an entry more, wait, and return the anchor's number."""
        self.grow(1)
        self.anchor()
        self.evm.wait(PERIODS["anchor_window"])
        return len(self.anchors) - 1

    def proposal(self, epoch: int, claims: Tree, penalties: Tree | None = None, total: int | None = None) -> list[Any]:
        """Return the arguments of a proposal whose entry is the last under the last anchor."""
        size = self.anchors[-1][1]
        if total is None:
            total = sum(int.from_bytes(leaf[52:], "big") for leaf in claims.leaves)
        entry = self.ledger.leaves[size - 1]
        root = claims.root() if claims.leaves else merkle.EMPTY_ROOT
        what = (epoch, root, penalties.root() if penalties else NONE, total, len(claims.leaves))
        return [what, self.anchors[-1], merkle.leaf_hash(entry), size - 1, self.ledger.inclusion(size - 1, size)]

    def propose(self, epoch: int, claims: Tree, penalties: Tree | None = None, total: int | None = None) -> dict[str, Any]:
        return self.federation.send("propose", *self.proposal(epoch, claims, penalties, total), sender=self.operator)

    def settle(self, epoch: int, claims: Tree, penalties: Tree | None = None) -> None:
        """Propose and wait until it is final."""
        self.final_anchor()
        self.propose(epoch, claims, penalties)
        self.evm.wait(PERIODS["settlement_window"])

    def claim_call(self, epoch: int, claims: Tree, index: int, to: str | None = None) -> list[Any]:
        leaf = claims.leaves[index]
        address, amount = "0x" + leaf[32:52].hex(), int.from_bytes(leaf[52:], "big")
        from web3 import Web3

        address = Web3.to_checksum_address(address)
        return [epoch, index, address, amount, len(claims.leaves), claims.inclusion(index), to or address]

    def claim(self, epoch: int, claims: Tree, index: int, sender: LocalAccount | None = None) -> dict[str, Any]:
        return self.federation.send("claim", *self.claim_call(epoch, claims, index), sender=sender or self.bystander)

    def penalise(self, epoch: int, penalties: Tree, index: int) -> dict[str, Any]:
        return self.federation.send("penalise", *self.claim_call(epoch, penalties, index)[:-1], sender=self.bystander)

    def holds(self, address: str | None = None) -> int:
        """Return what the contract, or somebody, holds of the federation's money."""
        address = address or self.federation.address
        return int(self.token.get("balanceOf", address)) if self.token else self.evm.balance(address)

    def resolution(self, epoch: int, *, stands: bool, number: int = 3) -> list[Signature]:
        attempt, root = self.federation.get("attempt", epoch), self.federation.get("root", epoch)
        return self.quorum(self.domain.resolution(epoch, attempt, root, stands=stands), number)


@cache
def _standing(token: str | None, *, begin: bool) -> tuple[World, int]:
    world = World(token)
    if begin:
        world.begin()
    return world, world.evm.tester.take_snapshot()


def standing(token: str | None = None, *, begin: bool = True) -> World:
    """Return a world of which there is one: whatever the last user of it did is undone."""
    world, snapshot = _standing(token, begin=begin)
    world.evm.tester.revert_to_snapshot(snapshot)
    fresh = copy(world)
    fresh.ledger, fresh.anchors = Tree([b"entry 0"]), []
    return fresh


def terms_of(world: World, **changed: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the terms of a deployment, in the contract's order."""
    return {
        "token": world.token.address if world.token else ZERO,
        "operator": world.operator.address,
        "beneficiary": world.beneficiary.address,
        "run": b"\xa0" * 32,
        "log_digest": LOG,
        "agreement": AGREEMENT,
        "terms": TERMS,
        "rule": RULE,
        "minimum_stake": STAKE,
        "operator_stake": OPERATOR,
        "witness_stake": WITNESS,
        "challenge_bond": BOND,
        "seats": 5,
        "quorum": 3,
        **PERIODS,
        **changed,
    }


def fork(entries: Sequence[bytes]) -> Tree:
    """Return another ledger."""
    return Tree(list(entries))
