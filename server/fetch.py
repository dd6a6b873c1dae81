"""HTTP requests to parties that are not trusted: limits on time and size, no redirects, no compression bombs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from server.errors import ServerError

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 30.0
"""Seconds for a connection, and for a whole answer, however slowly it trickles."""


@dataclass(frozen=True)
class Response:
    """Status code, media type without parameters, body."""

    status: int
    media_type: str
    body: bytes


def client(urls: Sequence[str]) -> httpx.Client:
    """Return a client for these addresses.

    Raises
    ------
    ServerError
        One is not an http or https URL.
    """
    for url in urls:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ServerError(f"{url} is not a URL: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ServerError(f"{url} is not the URL of a server: it begins with http:// or https://")
    headers = {"Accept-Encoding": "identity", "User-Agent": "lunaria"}
    return httpx.Client(timeout=httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS), headers=headers, follow_redirects=False)


def fetch(session: httpx.Client, url: str, limit: int, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """GET a URL, or POST ``body`` to it; whatever the status code is.

    Raises
    ------
    ServerError
        The answer is larger than ``limit`` bytes, compressed though nobody asked for that, or takes too long.
    httpx.HTTPError
        There is no answer.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    with session.stream("GET" if body is None else "POST", url, content=body, headers=headers) as response:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ServerError(f"{url} answers with a compression that was not asked for")
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > limit:
                raise ServerError(f"{url} answers with more than {limit} bytes")
            if time.monotonic() > deadline:
                raise ServerError(f"{url} takes more than {TOTAL_SECONDS:.0f} seconds to answer")
        return Response(response.status_code, response.headers.get("content-type", "").split(";")[0].strip(), bytes(data))
