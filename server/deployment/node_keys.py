"""The node keys of those who may connect: a folder of the organiser's."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from clients.errors import MemberError
from clients.node_keys import read_public
from server.errors import ServerError


def node_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Read the public node key in a file.

    Raises
    ------
    ServerError
        It cannot be read, or holds none.
    """
    try:
        return read_public(path.read_bytes())
    except OSError as error:
        raise ServerError(f"cannot read {path}: {error.strerror}") from error
    except MemberError as error:
        raise ServerError(f"{path} holds no node key: make one with 'lunaria keygen' or 'lunaria invite'") from error


def read_members(folder: Path) -> dict[str, ec.EllipticCurvePublicKey]:
    """Return the node keys in a folder, ``NAME.pub`` each, by name.

    Raises
    ------
    ServerError
        There is none, a file holds no such key, or two hold the same.
    """
    members: dict[str, ec.EllipticCurvePublicKey] = {}
    for path in sorted(folder.glob("*.pub")):
        key = node_key(path)
        twin = next((name for name, other in members.items() if other == key), None)
        if twin is not None:
            raise ServerError(f"{path} and {twin}.pub in the same folder hold one key: each member needs its own")
        members[path.stem] = key
    if not members:
        raise ServerError(f"{folder} holds no node key (NAME.pub): 'lunaria invite' puts them there")
    return members
