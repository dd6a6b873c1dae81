"""HOST:PORT, and whether a server that can prove its name is there."""

import ipaddress
import socket
import ssl
from pathlib import Path

from clients.errors import MemberError

SECONDS = 10.0


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[IPv6]:PORT``.

    Raises
    ------
    MemberError
        It is neither.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise MemberError(f"{text!r} is no address: give HOST:PORT, as in federation.example:9443")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reach(host: str, port: int, ca: Path | None) -> bool:
    """Connect once; False if nobody answers.

    Parameters
    ----------
    ca : Path or None
        The certificate that the server's must be signed with; None connects without TLS.

    Raises
    ------
    MemberError
        Somebody answers who cannot prove to be ``host``, or ``ca`` holds no certificate.
    """
    context = None
    if ca is not None:
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except OSError as error:  # ssl.SSLError is one
            raise MemberError(f"{ca} holds no certificate: ask the organiser for ca.crt") from error
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            if context is not None:
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        raise MemberError(
            f"the server at {host}:{port} cannot prove who it is ({error.verify_message}): check the address, and {ca}"
        ) from error
    except ssl.SSLError as error:
        raise MemberError(f"what answers at {host}:{port} does not speak TLS ({error.reason}): check the address") from error
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port on loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
