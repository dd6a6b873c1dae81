"""``chain.toml``: which node and contract, and what a transaction may cost. Keys are never in it.

::

    rpc = "http://127.0.0.1:8545"
    chain-id = 31337
    contract = "0x…"                      written by 'lunaria chain deploy'
    block = 12                            the contract was deployed in it
    market = "0x…"                        of data licences, where there is one: written by 'lunaria chain licence deploy'
    market-block = 13
    keystore = "operator.json"            encrypted (Web3 Secret Storage); or LUNARIA_CHAIN_KEY in the environment
    confirmations = 2
    max-fee-gwei = 100.0                  no transaction pays more for a unit of gas
    witnesses = ["http://127.0.0.1:8090"] where elected witnesses sign

    [terms]                               what 'deploy' writes into the contract for ever
    minimum-stake = "1000"
    …
"""

import os
import tomllib
from pathlib import Path
from typing import Self

import tomli_w
import typer
from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import Field, ValidationError

from ledger.schema import Section, explain
from server.errors import ServerError
from server.files import read_file

_MAX_FILE = 1 << 16
KEY, PASSPHRASE, PASSPHRASE_FILE = "LUNARIA_CHAIN_KEY", "LUNARIA_CHAIN_PASSPHRASE", "LUNARIA_CHAIN_PASSPHRASE_FILE"
"""Environment variables: a private key in hexadecimal, the keystore's passphrase, or a file that holds it."""

_ADDRESS = r"^0x[0-9a-fA-F]{40}$"
_AMOUNT = r"^(0|[1-9][0-9]{0,38})$"


class DeployTerms(Section):
    """The constants of a federation (``docs/chain.md``): amounts in the smallest unit, periods in seconds."""

    token: str = Field(default="0x" + "00" * 20, pattern=_ADDRESS)
    beneficiary: str = Field(pattern=_ADDRESS)
    terms: str = Field(default="00" * 32, pattern=r"^[0-9a-f]{64}$")
    minimum_stake: str = Field(pattern=_AMOUNT)
    operator_stake: str = Field(pattern=_AMOUNT)
    witness_stake: str = Field(pattern=_AMOUNT)
    challenge_bond: str = Field(pattern=_AMOUNT)
    seats: int = Field(default=5, ge=1, le=8)
    quorum: int = Field(default=3, ge=1, le=8)
    term: int = 30 * 86_400
    anchor_window: int = 86_400
    settlement_window: int = 3 * 86_400
    resolution: int = 3 * 86_400
    claim_period: int = 180 * 86_400
    unbonding: int = 14 * 86_400
    silence: int = 30 * 86_400


class ChainConfig(Section):
    """What ``chain.toml`` says."""

    rpc: str = Field(pattern=r"^https?://")
    chain_id: int = Field(ge=1)
    contract: str | None = Field(default=None, pattern=_ADDRESS)
    block: int = Field(default=0, ge=0)
    market: str | None = Field(default=None, pattern=_ADDRESS)
    market_block: int = Field(default=0, ge=0)
    keystore: str | None = None
    confirmations: int = Field(default=2, ge=0, le=1_000)
    max_fee_gwei: float = Field(default=100.0, gt=0)
    patience: float = Field(default=60.0, gt=0)
    witnesses: tuple[str, ...] = ()
    terms: DeployTerms | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        ServerError
            It cannot be read, or is not a ``chain.toml``.
        """
        try:
            fields = tomllib.loads(read_file(path, _MAX_FILE).decode())
            if "witnesses" in fields:
                fields["witnesses"] = tuple(fields["witnesses"])
            return cls.model_validate(fields)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
            raise ServerError(f"{path} is not TOML: {error}") from error
        except ValidationError as error:
            raise ServerError(f"{path}: {explain(error)}") from error

    def deployed(self, contract: str, block: int) -> Self:
        """Return the same with a contract."""
        return self.model_copy(update={"contract": contract, "block": block})

    def write(self, path: Path) -> None:
        """Write the file again."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        path.write_text(tomli_w.dumps(fields), encoding="utf-8")

    def account(self, folder: Path) -> LocalAccount:
        """Return the account that signs: from the environment, or from the encrypted keystore.

        Raises
        ------
        ServerError
            There is none, or the passphrase is wrong.
        """
        secret = os.environ.get(KEY)
        try:
            if secret:
                found: LocalAccount = Account.from_key(secret.strip())
                return found
            if self.keystore is None:
                raise ServerError(f"no key: name an encrypted keystore in chain.toml, or set {KEY}")
            text = read_file(folder / self.keystore, _MAX_FILE).decode()
            found = Account.from_key(Account.decrypt(text, _passphrase()))
        except (ValueError, TypeError, KeyError) as error:
            what = KEY if secret else f"{self.keystore} with this passphrase"
            raise ServerError(f"no private key in {what}") from error
        return found


def _passphrase() -> str:
    if PASSPHRASE in os.environ:
        return os.environ[PASSPHRASE]
    if PASSPHRASE_FILE in os.environ:
        return read_file(Path(os.environ[PASSPHRASE_FILE]), _MAX_FILE).decode().rstrip("\n")
    return str(typer.prompt("passphrase of the keystore", hide_input=True, err=True))
