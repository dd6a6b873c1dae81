"""An EVM in this process (py-evm), and contracts on it: a call that reverts raises its reason, before anything is signed."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import Web3

from server.chain.artifacts import artifact, compiled

FOLDER = Path(__file__).parent / "contracts"
MONEY = 10**24
GAS = 6_000_000
CALLER = "0x" + "ca" * 20


class Reverted(Exception):  # noqa: N818 - an outcome
    """A call was refused; the text is the reason."""


@cache
def test_artifact(name: str) -> dict[str, Any]:
    """Compile a contract of the tests."""
    import json

    found: dict[str, Any] = json.loads(compiled(FOLDER / f"{name}.vy"))
    return found


test_artifact.__test__ = False  # type: ignore[attr-defined]  # not a test


@cache
def account(number: int) -> LocalAccount:
    """Return an account with money."""
    found: LocalAccount = Account.from_key((1000 + number).to_bytes(32, "big"))
    return found


class Evm:
    """A chain; ``accounts`` of them have money."""

    def __init__(self, accounts: int = 24) -> None:
        self.accounts = [account(i + 1) for i in range(accounts)]
        fields = {"balance": MONEY, "nonce": 0, "code": b"", "storage": {}}
        state = {bytes.fromhex(one.address[2:]): fields for one in self.accounts}
        genesis = PyEVMBackend.generate_genesis_params({"gas_limit": 60_000_000})
        self.tester = EthereumTester(PyEVMBackend(genesis_parameters=genesis, genesis_state=state))
        for one in self.accounts:
            self.tester.add_account(one.key.hex())

    @property
    def chain_id(self) -> int:
        """Chain id."""
        return int(self.tester.backend.chain.chain_id)

    @property
    def now(self) -> int:
        """Time of the pending block."""
        return int(self.tester.get_block_by_number("pending")["timestamp"])

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.tester.time_travel(self.now + seconds)

    def balance(self, address: str) -> int:
        """Return the balance in wei."""
        return int(self.tester.get_balance(address))

    def deploy(self, found: dict[str, Any], *arguments: Any, sender: LocalAccount | None = None) -> "Contract":  # noqa: ANN401
        """Deploy a contract."""
        factory = Web3().eth.contract(abi=found["abi"], bytecode=found["bytecode"])
        data = factory.constructor(*arguments).data_in_transaction
        receipt = self.send(None, data, sender or self.accounts[0], 0)
        return Contract(self, receipt["contract_address"], found["abi"])

    def gas_of_deployment(self, found: dict[str, Any], *arguments: Any) -> int:  # noqa: ANN401
        """Return what a deployment takes."""
        data = Web3().eth.contract(abi=found["abi"], bytecode=found["bytecode"]).constructor(*arguments).data_in_transaction
        return int(self.send(None, data, self.accounts[0], 0)["gas_used"])

    def send(self, to: str | None, data: str, sender: LocalAccount, value: int) -> dict[str, Any]:
        """Send a transaction; raises Reverted."""
        fields = {"from": sender.address, "data": data, "value": value, "gas": GAS}
        if to:
            fields["to"] = to
        self.call(fields)
        receipt: dict[str, Any] = self.tester.get_transaction_receipt(self.tester.send_transaction(fields))
        if receipt["status"] != 1:
            raise Reverted("only when it was mined")
        return receipt

    def call(self, fields: dict[str, Any]) -> str:
        """Call without a transaction; raises Reverted."""
        if "to" not in fields:
            fields = {**fields, "to": ""}
        try:
            return str(self.tester.call(fields, "pending"))
        except TransactionFailed as error:
            raise Reverted(reason(error)) from error


def reason(error: TransactionFailed) -> str:
    """Return why a call was refused."""
    text = str(error.args[0]) if error.args else ""
    found = re.search(r"[\w' ,]+", text)
    return found.group(0) if found else text


class Contract:
    """A contract at an address."""

    def __init__(self, evm: Evm, address: str, abi: list[dict[str, Any]]) -> None:
        self.evm, self.address = evm, address
        self._contract = Web3().eth.contract(address=Web3.to_checksum_address(address), abi=abi)

    def data(self, name: str, *arguments: Any) -> str:  # noqa: ANN401
        """Return the call's data."""
        return str(self._contract.encode_abi(name, args=list(arguments)))

    def get(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        """Return what a view returns; raises Reverted."""
        from eth_abi.abi import decode
        from eth_utils.abi import get_abi_output_types

        raw = self.evm.call({"from": self.evm.accounts[0].address, "to": self.address, "data": self.data(name, *arguments), "gas": GAS})
        types = get_abi_output_types(self._contract.get_function_by_name(name).abi)
        found = decode(types, Web3.to_bytes(hexstr=raw))  # type: ignore[arg-type]
        return found[0] if len(found) == 1 else found

    def send(self, name: str, *arguments: Any, sender: LocalAccount, value: int = 0) -> dict[str, Any]:  # noqa: ANN401
        """Send a transaction and return its receipt; raises Reverted."""
        return self.evm.send(self.address, self.data(name, *arguments), sender, value)


def federation_artifact() -> dict[str, Any]:
    """Return the shipped federation."""
    return artifact("federation")


def licence_artifact() -> dict[str, Any]:
    """Return the shipped market."""
    return artifact("data_licence")
