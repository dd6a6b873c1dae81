"""The node keys of those who may connect: a folder of the organiser's."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from clients.errors import MemberError
from clients.node_keys import read_public
from server.errors import ServerError


def read_members(folder: Path) -> dict[str, ec.EllipticCurvePublicKey]:
    """Return the node keys in a folder, ``NAME.pub`` each, by name.

    Raises
    ------
    ServerError
        There is none, a file holds no such key, or two hold the same.
    """
    members: dict[str, ec.EllipticCurvePublicKey] = {}
    try:
        paths = sorted(folder.glob("*.pub"))
        for path in paths:
            key = read_public(path.read_bytes())
            twin = next((name for name, other in members.items() if other == key), None)
            if twin is not None:
                raise ServerError(f"{path} and {twin}.pub in the same folder hold one key: each member needs its own")
            members[path.stem] = key
    except OSError as error:
        raise ServerError(f"cannot read {error.filename}: {error.strerror}") from error
    except MemberError as error:
        raise ServerError(f"{path} holds no node key: make one with 'lunaria keygen' or 'lunaria invite'") from error
    if not members:
        raise ServerError(f"{folder} holds no node key (NAME.pub): 'lunaria invite' puts them there")
    return members
