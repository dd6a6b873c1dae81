"""Node keys: what a client's SuperNode shows to the server, ECDSA on P-384 in OpenSSH's formats, as Flower wants them.

They say who may reach the server at all. Who a client is in the ledger is another key, which never leaves the client.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.errors import ServerError

CURVES = ("secp256r1", "secp384r1", "secp521r1")


def make_node_key(name: str) -> tuple[str, str]:
    """Return a fresh private key, and its public half with ``name`` as its comment; a file's text each."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), f"{public.decode()} {name}\n"


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
            key = serialization.load_ssh_public_key(path.read_bytes())
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
                raise ValueError
            twin = next((name for name, other in members.items() if other == key), None)
            if twin is not None:
                raise ServerError(f"{path} and {twin}.pub in the same folder hold one key: each member needs its own")
            members[path.stem] = key
    except OSError as error:
        raise ServerError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ServerError(f"{path} holds no node key: make one with 'lunaria keygen' or 'lunaria invite'") from error
    if not members:
        raise ServerError(f"{folder} holds no node key (NAME.pub): 'lunaria invite' puts them there")
    return members
