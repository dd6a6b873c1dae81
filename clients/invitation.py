"""An invitation: what a data owner gets from a federation's organiser, one TOML file, and needs nothing else to take part.

It holds a node key, which lets its bearer reach the server as this member: send it as one sends a password. The identity that
signs in the ledger is not in it; ``flower-client`` makes that on the member's machine, and it never leaves.
"""

import tomllib
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from clients.errors import MemberError

MAX_SIZE = 2**20


class Invitation(BaseModel):
    """The content of an invitation.

    Attributes
    ----------
    name : str
        The member, for people.
    server : str
        HOST:PORT.
    ca : str
        The certificate (PEM) that the server's is signed with.
    node_key : str
        The member's node key, OpenSSH format: secret.
    agreement : str
        The text of the ``agreement.toml`` that the member is asked to accept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    server: str
    ca: str
    node_key: str
    agreement: str

    def encode(self) -> str:
        """Return the file's text."""
        return tomli_w.dumps(self.model_dump(), multiline_strings=True)

    @classmethod
    def read(cls, path: Path) -> "Invitation":
        """Read an invitation.

        Raises
        ------
        MemberError
            It cannot be read, or is none.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
            if len(data) > MAX_SIZE:
                raise MemberError(f"{path} is no invitation: it is larger than {MAX_SIZE} bytes")
            return cls.model_validate(tomllib.loads(data.decode()))
        except OSError as error:
            raise MemberError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, ValidationError) as error:
            raise MemberError(f"{path} is no invitation: ask the organiser for the file that 'lunaria invite' made") from error
