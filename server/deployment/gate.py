"""The only part of a SuperLink that strangers reach: Flower's Fleet API, behind TLS.

A SuperLink has all of its interfaces on one port, and whoever reaches the control interface can start programs. So it listens on
loopback, and this gate passes on the calls that a SuperNode makes, by name, and nothing else. Every such call is signed with a node
key, which is checked here before the body is read (:mod:`server.deployment.door`), and by the SuperLink again. Bodies stream through
and are never held.
"""

import ssl
import threading
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from server.deployment.door import Allowance, Door, ImpatientLoop, caller, protocol
from server.errors import ServerError
from server.http import KEEP_ALIVE_SECONDS

CALLS = frozenset(
    {
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    }
)
"""What a SuperNode asks."""

SELF_REGISTRATION = frozenset({"register-node", "unregister-node"})
"""What it asks as well where there are no node keys; with them, who is known is the organiser's business."""

MAX_BODY = 64 * 2**20
"""Bytes of one call; Flower sends large arrays in many of 5 MiB."""

MAX_REPLY = 256 * 2**20
"""Bytes of all calls with which a member answers one message: some ten times an update of a million parameters with its proof."""

_REPLIES = frozenset({"push-messages", "push-object"})
_HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade"})
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_SECONDS_TO_STOP = 10.0


class TooLargeError(Exception):
    """A body, or a reply, is over the limit."""


def gate_app(
    superlink: str,
    ca: Path,
    members: Container[bytes] | None = None,
    calls: frozenset[str] = CALLS,
    limit: int = MAX_BODY,
    reply: int = MAX_REPLY,
    door: Door | None = None,
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    superlink : str
        HOST:PORT of the SuperLink.
    ca : Path
        The certificate that the SuperLink's is signed with.
    members : container of bytes or None
        The node keys, PEM, whose calls are passed on; what is taken out is refused from the next call on. None: everybody's.
    calls : set of str
        What is passed on.
    limit : int
        Bytes that the body of a call may have.
    reply : int
        Bytes that a member may send in answer to one message.
    door : Door or None
        Is told on which connections members call.
    """
    client = httpx.AsyncClient(base_url=f"https://{superlink}", verify=ssl.create_default_context(cafile=str(ca)), timeout=_TIMEOUT)

    allowance = Allowance(reply)

    async def body(request: Request, name: str, key: bytes) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit or (name in _REPLIES and not allowance.take(key, len(chunk))):
                raise TooLargeError
            yield chunk

    async def forward(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in calls:
            return PlainTextResponse("not found\n", 404)
        key = b"" if members is None else caller(request.headers, members)
        if key is None:
            return PlainTextResponse("this call is not signed with the node key of a member\n", 401, {"Connection": "close"})
        if door is not None and request.client is not None:
            door.knows((request.client.host, request.client.port))
        headers = [(header, value) for header, value in request.headers.raw if header.decode("latin-1").lower() not in _HOP_BY_HOP]
        onward = client.build_request("POST", f"/v1/fleet/{name}", headers=headers, content=body(request, name, key))
        try:
            answer = await client.send(onward, stream=True)
        except TooLargeError:
            text = f"a call is at most {limit} bytes, and the answer to one message {reply}\n"
            return PlainTextResponse(text, 413, {"Connection": "close"})
        except httpx.TransportError:
            return PlainTextResponse("the SuperLink does not answer\n", 503)
        if name == "pull-messages" and answer.headers.get("content-length") != "0":
            allowance.renew(key)
        kept = {header: value for header, value in answer.headers.items() if header.lower() not in _HOP_BY_HOP}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/v1/fleet/{name}", forward, methods=["POST"]), Route("/health", health)])


@contextmanager
def serving(
    application: Starlette, host: str, port: int, certificate: Path | None, key: Path | None, door: Door | None = None
) -> Iterator[None]:
    """Serve an application in a thread as long as the context lasts; without TLS where there is no certificate, with ``door`` before it.

    Raises
    ------
    ServerError
        The certificate does not fit the key, or the address cannot be listened on.
    """
    if certificate is not None:
        check_pair(certificate, key)
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=protocol(door or Door()),
        loop=f"{ImpatientLoop.__module__}:{ImpatientLoop.__qualname__}",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        lifespan="off",
        ws="none",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server,), name="gate")
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            thread.join(0.05)
        if not server.started:
            raise ServerError(f"cannot listen at {host}:{port}: choose another --host or --port")
        yield
    finally:
        server.should_exit = True
        thread.join(_SECONDS_TO_STOP)


def _run(server: uvicorn.Server) -> None:
    try:
        server.run()
    except SystemExit:  # uvicorn's way to say that it cannot listen
        return


def check_pair(certificate: Path, key: Path | None) -> None:
    """Refuse a certificate that cannot be used with its key.

    Raises
    ------
    ServerError
        In one line.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ServerError(f"{certificate} and {key} are not a certificate and its key ({error.reason})") from error
    except OSError as error:
        raise ServerError(f"cannot read {certificate} or {key}: {error.strerror}") from error
