"""What the commands of ``lunaria chain`` share: the file, the node, the account, and a call that is shown before it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eth_account.signers.local import LocalAccount
from rich.console import Console
from web3 import Web3
from web3.contract.contract import ContractConstructor

from server.chain.artifacts import artifact
from server.chain.config import ChainConfig
from server.chain.contract import Contract
from server.chain.federation import TERMS, Federation
from server.chain.ledger_view import PublishedLedger
from server.chain.node import Call, Node
from server.chain.statements import log_digest
from server.errors import ServerError

_ERC20 = [
    {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"a{n}", "type": kind} for n, kind in enumerate(kinds)],
        "outputs": [{"name": "", "type": out}],
    }
    for name, mutability, kinds, out in (
        ("allowance", "view", ("address", "address"), "uint256"),
        ("approve", "nonpayable", ("address", "uint256"), "bool"),
    )
]


@dataclass
class Session:
    """A command's connection to a chain.

    Attributes
    ----------
    file : Path
        ``chain.toml``; the journal lies beside it.
    dry : bool
        Show calls, send nothing.
    """

    file: Path
    config: ChainConfig
    node: Node
    console: Console
    dry: bool

    @classmethod
    def open(cls, file: Path, *, dry: bool = False) -> Self:
        """Read the file and reach the node."""
        config = ChainConfig.read(file)
        return cls(file, config, Node(config, file.with_suffix(".journal.json")), Console(highlight=False), dry)

    def federation(self) -> Federation:
        """Return the contract."""
        return Federation(self.node)

    def account(self) -> LocalAccount:
        """Return the account that signs."""
        return self.config.account(self.file.parent)

    def make(
        self,
        action: str,
        call: Call,
        account: LocalAccount,
        value: int = 0,
        *,
        done: Callable[[], bool] | None = None,
        then: Callable[[Any], None] | None = None,
    ) -> bool:
        """Make a call and show what it took; a dry run only shows it. Returns whether it is done."""
        if self.dry and done is not None and self.node.ask(done):
            self.console.print(f"{action.split('/')[0]}: done already")
            return True
        if self.dry:
            quote = self.node.quote(call, account.address, value)
            self.console.print(f"[bold]{quote.call}[/bold]", soft_wrap=True)
            pays = f", pays {value:,}" if value else ""
            cost = f"{quote.gas:,} gas at most, {quote.cost / 1e18:.6f} ETH at {quote.fee / 1e9:.2f} gwei"
            self.console.print(f"  from {account.address}{pays}: {cost}", soft_wrap=True)
            return False
        receipt = self.node.send(action, call, account, value, done=done, then=then)
        text = "done already" if receipt is None else f"{receipt['gasUsed']:,} gas, block {receipt['blockNumber']}"
        self.console.print(f"{action.split('/')[0]}: {text}")
        return True

    def allow(self, payee: Contract, account: LocalAccount, amount: int) -> None:
        """Let a contract take ``amount`` of its token, where it uses one."""
        token = payee.get("token")
        if int(token, 16) == 0:
            return
        contract = self.node.web3.eth.contract(address=Web3.to_checksum_address(token), abi=_ERC20)

        def enough() -> bool:
            return bool(contract.functions["allowance"](account.address, payee.address).call() >= amount)

        self.make(f"approve/{payee.address}", contract.functions["approve"](payee.address, amount), account, done=enough)

    def deployment(self, ledger: PublishedLedger, operator: LocalAccount) -> ContractConstructor:
        """Return the deployment of a federation for a ledger.

        Raises
        ------
        ServerError
            The file has no terms.
        """
        terms = self.config.terms
        if terms is None:
            raise ServerError(f"{self.file} has no [terms]: docs/chain.md says what stands there")
        said = terms.model_dump(by_alias=False)
        amounts = {name: int(said[name]) for name in ("minimum_stake", "operator_stake", "witness_stake", "challenge_bond")}
        known = {
            "operator": operator.address,
            "run": bytes.fromhex(ledger.run),
            "log_digest": log_digest(ledger.checkpoint.origin),
            "agreement": agreement_digest(ledger),
            "rule": rule_digest(ledger),
            "terms": bytes.fromhex(terms.terms),
            "token": Web3.to_checksum_address(terms.token),
            "beneficiary": Web3.to_checksum_address(terms.beneficiary),
        }
        values = said | amounts | known
        found = artifact("federation")
        contract = self.node.web3.eth.contract(abi=found["abi"], bytecode=found["bytecode"])
        return contract.constructor(tuple(values[name] for group in TERMS for name in group))


def agreement_digest(ledger: PublishedLedger) -> bytes:
    """Return the SHA-256 of the agreement's canonical JSON."""
    from ledger.canonical import digest, dump_json

    return bytes.fromhex(digest(dump_json(ledger.opening.agreement.to_json())))


def rule_digest(ledger: PublishedLedger) -> bytes:
    """Return the SHA-256 of the canonical JSON of the training rule: the sections ``model``, ``training`` and ``proof``."""
    from ledger.canonical import digest, dump_json

    sections = ledger.opening.agreement.to_json()
    return bytes.fromhex(digest(dump_json({name: sections[name] for name in ("model", "training", "proof")})))
