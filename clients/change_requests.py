"""What a member asks of the operator besides training: another node key, or to leave. A signed file, which carries no secret.

The file goes to the organiser by any way (mail, a portal): it is the signature that counts, and what is asked for stands in the ledger with
it. A lost or stolen node key is replaced in the same way, since nothing of it needs a connection.
"""

from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from clients.errors import MemberError
from clients.home import NEXT, ClientHome
from clients.memory import MemberState
from clients.node_keys import make_node_key, public_of, public_text, read_public
from ledger.canonical import dump_json, load_json
from ledger.changes import RotationStatement, SignedRotation, SignedWithdrawal, WithdrawalStatement
from ledger.entries import decode_enrolment
from ledger.errors import FormatError
from ledger.evidence import write_durably
from ledger.identity import node_digest, public_key, signing_key
from ledger.schema import Section, absent, explain

MAX_SIZE = 1 << 14
LEFT = "withdrawal.json"


class ChangeRequest(Section):
    """The content of such a file; ``node_key`` is the public half of the new node key, in OpenSSH's format, with a rotation only."""

    format: Literal["lunaria-change/v1"] = "lunaria-change/v1"
    signed: SignedRotation | SignedWithdrawal
    node_key: str | None = Field(default=None, max_length=1024, exclude_if=absent)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return dump_json(self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> "ChangeRequest":
        """Read a request and check that it agrees with itself; whether it may be granted is for the ledger to say.

        Raises
        ------
        MemberError
            It cannot be read, is none, or names another key than it holds.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
            if len(data) > MAX_SIZE:
                raise MemberError(f"{path} is no request: it is larger than {MAX_SIZE} bytes")
            load_json(data, str(path))
            request = cls.model_validate_json(data)
        except OSError as error:
            raise MemberError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            raise MemberError(f"{path} is no request of a member: {explain(error)}") from error
        except FormatError as error:
            raise MemberError(str(error)) from error
        rotates = isinstance(request.signed, SignedRotation)
        if rotates != (request.node_key is not None):
            raise MemberError(f"{path}: a rotation comes with the new node key, a withdrawal with none")
        if isinstance(request.signed, SignedRotation) and request.node() != request.signed.statement.node:
            raise MemberError(f"{path}: the node key in it is not the one that was signed")
        return request

    def node(self) -> str | None:
        """Return the digest of the node key in it."""
        return None if self.node_key is None else node_digest(read_public(self.node_key.encode()))


def rotate(home: ClientHome) -> Path:
    """Make another node key, and a request to be reached by it; the same request where it was made before and is not granted yet.

    Raises
    ------
    MemberError
        The client has bound no node key.
    """
    state, key = _enrolled(home)
    if decode_enrolment(state.enrolment).statement.node is None:
        raise MemberError(f"{home.folder} enrolled without a node key: there is none to replace")
    try:
        if not (home.folder / NEXT).exists():
            home.create(NEXT, make_node_key("next")[0].encode())
        new, old = public_of(home.read(NEXT)), public_of(home.read("node.key"))
    except OSError as error:
        raise MemberError(f"cannot use {error.filename}: {error.strerror}") from error
    statement = RotationStatement(run=state.run, client=public_key(key), previous=node_digest(old), node=node_digest(new))
    request = ChangeRequest(signed=SignedRotation.sign(statement, key), node_key=public_text(new))
    path = home.folder / "rotation.json"
    write_durably(path, request.encode())
    return path


def leave(home: ClientHome) -> Path:
    """Sign a withdrawal from the run; the client takes no part any more, whatever the operator does with it.

    Raises
    ------
    MemberError
        The client has not enrolled.
    """
    state, key = _enrolled(home)
    signed = SignedWithdrawal.sign(WithdrawalStatement(run=state.run, client=public_key(key)), key)
    path = home.folder / LEFT
    write_durably(path, ChangeRequest(signed=signed).encode())
    return path


def _enrolled(home: ClientHome) -> tuple[MemberState, Ed25519PrivateKey]:
    """Return what a client that has enrolled remembers, and its identity."""
    member = home.member()
    if member.state is None:
        raise MemberError(f"{home.folder} has not enrolled in a run: there is nothing to change yet")
    return member.state, signing_key(member.secret)
