"""The state folder of a deployed client: who it is, and all that it must remember when its process ends.

::

    STATE/identity.key    32 secret bytes, hexadecimal: the ledger identity; blinds and nonces derive from it
    STATE/node.key        the node key, which the server's organiser knows the public half of
    STATE/member.json     what the member remembers (:class:`clients.member.MemberState`): secret
    STATE/account         where it wants to be paid, if it said so
    STATE/node.key.next   another node key, which the organiser may know by now (:mod:`clients.change_requests`)
    STATE/vault.json      with --encrypt: the secrets above are sealed (:mod:`clients.vault`)
    STATE/admitted        is there once a server has let this client in
    STATE/answering       held while a message is answered
    STATE/settings.json   what ``flower-client`` was started with, for the process of each message
    STATE/client.log      a line of JSON an event;  STATE/supernode.log  what Flower had to say

Flower keeps a client's context in the memory of its SuperNode, and it is lost with it: here each change is on disk before the reply
that depends on it leaves.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from clients.errors import MemberError
from clients.event_log import EventFile
from clients.member import Member
from clients.memory import MemberState
from clients.private import secret_file
from clients.settings import local_data
from clients.vault import FILE as VAULT
from clients.vault import MAGIC, Vault
from ledger.agreement import read
from ledger.errors import LedgerError
from ledger.evidence import write_durably
from ledger.identity import public_key, signing_key

FORMAT = "lunaria-member/v1"
NEXT = "node.key.next"
SECRETS = ("identity.key", "member.json", "node.key", NEXT)
VARIABLE = "LUNARIA_CLIENT_STATE"
"""The environment variable that tells the process of a message where the state folder is."""


@dataclass(frozen=True)
class Settings:
    """What a client was started with.

    Attributes
    ----------
    data : str
        Its data set (see :func:`clients.datasets.load`).
    agreement : str
        Path of the agreement that its owner accepted; empty accepts what the server shows.
    node : str
        The digest of the node key that it connects with, which it binds when it enrols; empty without one.
    account : str
        Where it wants to be paid; empty for nowhere.
    """

    data: str
    agreement: str = ""
    node: str = ""
    account: str = ""


@dataclass(frozen=True)
class ClientHome:
    """A client's state folder.

    Parameters
    ----------
    folder : Path
    vault : Vault, optional
        What its secrets are sealed with.
    """

    folder: Path
    vault: Vault | None = None

    def prepare(self, settings: Settings) -> None:
        """Make the folder where there is none, with a fresh identity, and note the settings.

        Raises
        ------
        MemberError, StorageError
            It cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.create("identity.key", os.urandom(32).hex().encode() + b"\n")
        except OSError as error:
            raise MemberError(f"cannot write the state folder {self.folder}: {error.strerror}") from error
        self._secret()
        self._state()
        write_durably(self.folder / "settings.json", json.dumps(asdict(settings)).encode())

    def member(self) -> Member:
        """Return the member as it is remembered.

        Raises
        ------
        MemberError
            The state folder is damaged.
        """
        try:
            settings = Settings(**json.loads((self.folder / "settings.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise MemberError(f"{self.folder / 'settings.json'} cannot be read: start flower-client again") from error
        agreement = read(Path(settings.agreement)) if settings.agreement else None
        data = partial(local_data, settings.data, "iid", 0, 0, 0, 1)
        node, account = settings.node or None, settings.account or None
        return Member(self._secret(), data, self._state(), agreement, node=node, account=account)

    def identity(self) -> str:
        """Return the public key that signs in the ledger, hexadecimal, as ``federation.members`` lists it."""
        return public_key(signing_key(self._secret()))

    def keep(self, member: Member) -> None:
        """Make durable what the member must know when the next message comes."""
        if member.state is not None:
            values = {name: value.hex() if isinstance(value, bytes) else value for name, value in vars(member.state).items()}
            self.write("member.json", json.dumps({"format": FORMAT, **values}).encode())

    def adopt_next(self) -> None:
        """Keep the next node key in the place of the one that the server has ceased to accept."""
        self.write("node.key", self.read(NEXT))
        (self.folder / NEXT).unlink()

    def log(self) -> EventFile:
        """Return what appends to ``client.log``."""
        return EventFile(self.folder / "client.log")

    def read(self, name: str) -> bytes:
        """Return what a secret file holds.

        Raises
        ------
        OSError
            It cannot be read.
        MemberError
            It is sealed, and cannot be opened.
        """
        data = (self.folder / name).read_bytes()
        if self.vault is not None:
            return self.vault.open(name, data)
        if data.startswith(MAGIC):
            raise MemberError(f"{self.folder / name} is sealed, and its {VAULT} is missing: bring it back from your backup")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Make the content of a secret file durable; raises StorageError."""
        write_durably(self.folder / name, self.vault.seal(name, data) if self.vault else data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a secret file unless it exists; whether it was written. Raises OSError."""
        return secret_file(self.folder / name, self.vault.seal(name, data) if self.vault else data)

    def _secret(self) -> bytes:
        path = self.folder / "identity.key"
        try:
            secret = bytes.fromhex(self.read("identity.key").decode("ascii").strip())
        except (OSError, ValueError) as error:
            raise MemberError(f"cannot read the client's identity from {path}: bring the file back from your backup") from error
        if len(secret) != 32:
            raise MemberError(f"{path} should hold 32 bytes in hexadecimal, it holds {len(secret)}: bring it back from your backup")
        return secret

    def _state(self) -> MemberState | None:
        path = self.folder / "member.json"
        if not path.exists():
            return None
        try:
            record = json.loads(self.read("member.json"))
            if not isinstance(record, dict) or record.get("format") != FORMAT:
                raise ValueError
            values = {one.name: bytes.fromhex(record[one.name]) if one.type is bytes else record[one.name] for one in fields(MemberState)}
            return MemberState.from_fields(values)
        except (OSError, ValueError, TypeError, KeyError, LedgerError) as error:
            raise MemberError(
                f"{path} is damaged, and without it this client may sign twice: take part in the next run, with a new --state"
            ) from error
