"""Transactions: each action once, whatever happens to the node, to us, or to the price of gas.

The order is: look whether the action is done; sign with a nonce that stays the action's; keep it (:mod:`server.chain.journal`); send;
wait for confirmations, sending again what the node forgot and raising the fee where it stays; look again. A transaction that a
reorganisation took back is sent again, as it is. What is not final when patience ends stays in the journal, and the next call goes on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from hexbytes import HexBytes
from requests.exceptions import RequestException
from web3 import HTTPProvider, Web3
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import Nonce, TxParams, Wei

from server.chain.config import ChainConfig
from server.chain.errors import Refused, Unreachable
from server.chain.journal import Journal, Sent
from server.errors import ServerError

_POLL_SECONDS, _BUMP_SECONDS = 0.2, 15.0
_RPC_SECONDS = 10.0
Call = ContractFunction | ContractConstructor


@dataclass(frozen=True)
class Quote:
    """What a call would do: ``gas`` units at ``fee`` wei each, at most."""

    call: str
    gas: int
    fee: int

    @property
    def cost(self) -> int:
        """The most it can cost, in wei, without what it pays."""
        return self.gas * self.fee


class Node:
    """A node over JSON-RPC, and the journal of what was sent to it.

    Parameters
    ----------
    config : ChainConfig
    journal : Path
        A file in the state folder.

    Raises
    ------
    Unreachable
        The node does not answer.
    ServerError
        It is of another chain.
    """

    def __init__(self, config: ChainConfig, journal: Path) -> None:
        self.config = config
        self.web3 = Web3(HTTPProvider(config.rpc, request_kwargs={"timeout": _RPC_SECONDS}, exception_retry_configuration=None))
        self.journal = Journal(journal)
        found = self.ask(lambda: self.web3.eth.chain_id)
        if found != config.chain_id:
            raise ServerError(f"{config.rpc} is on chain {found}, not {config.chain_id}: check chain.toml")

    def ask(self, what: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Ask the node.

        Raises
        ------
        Unreachable
            It does not answer, or answers nonsense.
        Refused
            It is a call that the contract refuses.
        """
        try:
            return what()
        except ContractLogicError as error:
            raise Refused(reason_of(error)) from error
        except (RequestException, Web3Exception, ConnectionError, TimeoutError, ValueError) as error:
            raise Unreachable(f"the node at {self.config.rpc} does not answer: {type(error).__name__}") from error

    def quote(self, call: Call, sender: str, value: int = 0) -> Quote:
        """Return what a call would take, without signing anything; raises Refused where the contract would refuse it."""
        gas = self.ask(lambda: call.estimate_gas({"from": Web3.to_checksum_address(sender), "value": Wei(value)}))
        name = call.fn_name if isinstance(call, ContractFunction) else "deploy"
        arguments = ", ".join(shown(one) for one in getattr(call, "args", ()))
        return Quote(f"{name}({arguments})", gas * 12 // 10, self._fee())

    def send(
        self,
        action: str,
        call: Call,
        account: LocalAccount,
        value: int = 0,
        *,
        done: Callable[[], bool] | None = None,
        then: Callable[[Any], None] | None = None,
    ) -> Any:  # noqa: ANN401
        """Bring an action about and return its receipt, None where it was done already.

        Parameters
        ----------
        action : str
            Its name in the journal: the same name is the same action.
        done : callable, optional
            Whether the chain shows that it happened, by whosever transaction.
        then : callable, optional
            Is given the receipt before the action is forgotten: what must not be lost.

        Raises
        ------
        Refused
            The contract refuses it.
        Unreachable
            It is not final when patience ended, or the node is away. Call again.
        """
        ends, bumped = time.monotonic() + self.config.patience, time.monotonic()
        sent = self.journal.open().get(action)
        if sent is not None and sent.sender != account.address:  # an account has its own stake, vote and money: it is another action
            action = f"{action}/{account.address}"
            sent = self.journal.open().get(action)
        while True:
            if sent is None:
                self._tidy(account.address)
                if done is not None and self.ask(done):
                    return None
                sent = self._sign(action, call, account, value)
                self._broadcast(sent)
                bumped = time.monotonic()
            receipt = self._receipt(sent)
            if receipt is not None:
                if self._confirmed(receipt):
                    if then is not None and receipt["status"] == 1:
                        then(receipt)
                    self.journal.drop(action)
                    if receipt["status"] != 1:
                        self._why(call, account, value)
                    return receipt
            elif self._count(sent.sender) > sent.nonce:
                if self._receipt(sent) is None:  # the nonce was used for something else: begin anew, if it is still to be done
                    self.journal.drop(action)
                    sent = None
                continue
            else:
                self._broadcast(sent)
                if time.monotonic() - bumped > _BUMP_SECONDS:
                    self._bump(action, sent, call, account, value)
                    bumped = time.monotonic()
            if time.monotonic() > ends:
                raise Unreachable(f"{action} is on its way and not final yet: nothing is lost, run the command again")
            time.sleep(_POLL_SECONDS)

    def _tidy(self, sender: str) -> None:
        """Deal with what a process that was killed left: forget what was mined, send the rest again, so that no nonce stays empty."""
        count = self._count(sender)
        for action, sent in self.journal.open().items():
            if sent.sender == sender and sent.nonce < count:
                self.journal.drop(action)
            elif sent.sender == sender:
                self._broadcast(sent)

    def _fee(self) -> int:
        """Return what to offer for a unit of gas, in wei: twice the base fee, and a tip (EIP-1559), below the cap."""
        base = self.ask(lambda: self.web3.eth.get_block("latest")["baseFeePerGas"])
        cap = int(self.config.max_fee_gwei * 10**9)
        if base > cap:
            raise Unreachable(f"gas costs {base / 1e9:.2f} gwei, above max-fee-gwei: try again later")
        return int(min(2 * base + 10**9, cap))

    def _sign(self, action: str, call: Call, account: LocalAccount, value: int) -> Sent:
        quote = self.quote(call, account.address, value)
        nonce = self.journal.next_nonce(account.address, self._count(account.address))
        sent = Sent(account.address, nonce, quote.fee)
        self._add(action, sent, call, account, value, quote)
        return sent

    def _add(self, action: str, sent: Sent, call: Call, account: LocalAccount, value: int, quote: Quote) -> None:
        """Sign a transaction of an action and keep it."""
        tip = min(sent.fee, 10**9 * (1 + len(sent.raws)))
        fields: TxParams = {
            "from": account.address,
            "nonce": Nonce(sent.nonce),
            "value": Wei(value),
            "gas": quote.gas,
            "maxFeePerGas": Wei(sent.fee),
            "maxPriorityFeePerGas": Wei(tip),
            "chainId": self.config.chain_id,
        }
        fields = self.ask(lambda: call.build_transaction(fields))
        signed = account.sign_transaction(dict(fields))  # type: ignore[arg-type]
        sent.raws.append(signed.raw_transaction.hex())
        sent.hashes.append(signed.hash.hex())
        self.journal.put(action, sent)

    def _bump(self, action: str, sent: Sent, call: Call, account: LocalAccount, value: int) -> None:
        """Offer more, within the cap, for the same nonce (nodes ask for a tenth more)."""
        fee = max(sent.fee * 5 // 4, self._fee())
        if fee <= int(self.config.max_fee_gwei * 10**9):
            quote = self.quote(call, account.address, value)
            sent.fee = fee
            self._add(action, sent, call, account, value, quote)

    def _broadcast(self, sent: Sent) -> None:
        try:
            self.ask(lambda: self.web3.eth.send_raw_transaction(HexBytes(sent.raws[-1])))
        except Unreachable as error:
            if not isinstance(error.__cause__, Web3RPCError):  # 'already known', 'nonce too low': the receipt will tell
                raise

    def _count(self, sender: str) -> int:
        """Return the first nonce that no mined transaction of a sender has used."""
        return int(self.ask(lambda: self.web3.eth.get_transaction_count(Web3.to_checksum_address(sender), "latest")))

    def _receipt(self, sent: Sent) -> Any:  # noqa: ANN401
        for one in sent.hashes:
            try:
                return self.web3.eth.get_transaction_receipt(_hash(one))
            except TransactionNotFound:
                continue
            except (RequestException, Web3Exception, ConnectionError, TimeoutError) as error:
                raise Unreachable(f"the node at {self.config.rpc} does not answer: {type(error).__name__}") from error
        return None

    def _confirmed(self, receipt: Any) -> bool:  # noqa: ANN401
        """Whether there are enough blocks on a transaction, and its own block is still in the chain."""
        if self.ask(lambda: self.web3.eth.block_number) < receipt["blockNumber"] + self.config.confirmations:
            return False
        return bool(self.ask(lambda: self.web3.eth.get_block(receipt["blockNumber"])["hash"]) == receipt["blockHash"])

    def _why(self, call: Call, account: LocalAccount, value: int) -> NoReturn:
        """Say why a transaction was mined and failed."""
        self.quote(call, account.address, value)
        raise Refused("the transaction failed when it was mined, and would succeed now: run the command again")


def reason_of(error: ContractLogicError) -> str:
    """Return the contract's words."""
    text = str(error.message or error)
    text = text.removeprefix("execution reverted").removeprefix(": ")
    return f"the contract refuses: {text or 'without a reason'}"


def shown(value: object) -> str:
    """Return an argument as people read it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return str(value)


def _hash(text: str) -> Hash32:
    return Hash32(bytes.fromhex(text.removeprefix("0x")))
