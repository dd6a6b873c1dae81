"""Who may keep a connection to the gate: members, who show it with every call; strangers few at a time, and not for long.

A SuperNode signs the time with its node key and puts key, time and signature into the headers of each call. So a call is known before
its body is read, and nobody else makes the SuperLink, which reads a body to its end before it asks who sent it, hold anything. A
connection on which no such call came is a stranger's, even if it never finishes its TLS handshake or its headers.
"""

import asyncio
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any

from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature
from uvicorn.protocols.http.auto import AutoHTTPProtocol

STRANGERS, STRANGER_SECONDS = 256, 15.0
"""How many connections of strangers there are at once, and for how long each."""

_HANDSHAKE_SECONDS = 10.0
Peer = tuple[str, int]
"""The far end of a connection: address and port."""


def caller(headers: Mapping[str, str], members: Container[bytes]) -> bytes | None:
    """Return the node key among ``members`` (PEM each) that signed a call in the last five minutes; None where none did."""
    try:
        key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER], validate=True)
        stated = headers[TIMESTAMP_HEADER]
        age = (now() - datetime.fromisoformat(stated)).total_seconds()
        timely = -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
        known = timely and key in members and verify_signature(bytes_to_public_key(key), stated.encode("ascii"), signature)
    except (KeyError, ValueError, TypeError, Base64Error):
        return None
    return key if known else None


class Allowance:
    """How much each member may still send in answer to the message that it was given last.

    A SuperLink keeps what it is sent in memory until the reply is fetched, however much that is.

    Parameters
    ----------
    size : int
        Bytes of one reply, with all of its parts.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._sent: dict[bytes, int] = {}

    def renew(self, key: bytes) -> None:
        """Begin anew: a member was given a message."""
        self._sent.pop(key, None)

    def take(self, key: bytes, size: int) -> bool:
        """Count what a member sends; whether it may."""
        self._sent[key] = self._sent.get(key, 0) + size
        return self._sent[key] <= self.size


class Door:
    """Connections of strangers: where there are too many the oldest goes, and each goes when its time is up.

    Parameters
    ----------
    places : int
        How many there may be.
    seconds : float
        How long one may last.
    """

    def __init__(self, places: int = STRANGERS, seconds: float = STRANGER_SECONDS) -> None:
        self._places, self._seconds = places, seconds
        self._strangers: dict[Peer, asyncio.Transport] = {}  # the oldest first
        self._timers: dict[Peer, asyncio.TimerHandle] = {}

    def came(self, peer: Peer, transport: asyncio.Transport) -> None:
        """Take in a connection."""
        if len(self._strangers) >= self._places:
            self._turn_out(next(iter(self._strangers)))
        self._strangers[peer] = transport
        self._timers[peer] = asyncio.get_running_loop().call_later(self._seconds, self._turn_out, peer)

    def knows(self, peer: Peer) -> None:
        """Let a connection stay: a member's call came on it; the same as when it has gone by itself."""
        self._strangers.pop(peer, None)
        timer = self._timers.pop(peer, None)
        if timer is not None:
            timer.cancel()

    def _turn_out(self, peer: Peer) -> None:
        transport = self._strangers.get(peer)
        self.knows(peer)
        if transport is not None:
            transport.abort()


def protocol(door: Door) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with this door before it."""

    class Guarded(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.peer = transport.get_extra_info("peername")[:2]
            door.came(self.peer, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            door.knows(self.peer)
            super().connection_lost(exc)

    return Guarded


class ImpatientLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers give a TLS handshake 10 s, not a minute."""

    async def create_server(self, *arguments: Any, ssl: Any = None, **options: Any) -> asyncio.Server:  # noqa: ANN401 - asyncio's own
        """Create a server as asyncio does."""
        seconds = _HANDSHAKE_SECONDS if ssl else None
        return await super().create_server(*arguments, ssl=ssl, ssl_handshake_timeout=seconds, **options)
