"""The witness over HTTP (C2SP tlog-witness): Starlette around :class:`ledger.witness.Witness`."""

import asyncio
from collections.abc import Callable
from logging import getLogger

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ledger.errors import StorageError
from ledger.witness import Answer, Witness
from ledger.witnessing import MAX_REQUEST_SIZE, PATH

BODY_SECONDS = 10.0
"""A request whose body takes longer is given up."""

log = getLogger("lunaria.witness")


def witness_app(witness: Witness) -> Starlette:
    """Return the application: ``POST /add-checkpoint``, and nothing else."""

    def answer(body: bytes, headers: Headers) -> Answer:
        found = witness.add_checkpoint(body)
        log.info("%d %s", found.status, "cosigned" if found.status == 200 else found.body.decode().strip())
        return found

    return Starlette(routes=[posted(PATH, answer)])


def posted(path: str, answer: Callable[[bytes, Headers], Answer]) -> Route:
    """Return a route on which a witness answers the body of a POST, in a thread: none that is too long, too slow or cut short."""

    async def respond(request: Request) -> Response:
        try:
            body = await read_body(request, MAX_REQUEST_SIZE, BODY_SECONDS)
        except TimeoutError:
            return PlainTextResponse("the request took too long\n", 408, {"Connection": "close"})
        except ClientDisconnect:
            return PlainTextResponse("the request ended early\n", 400)
        if body is None:
            return PlainTextResponse(f"a request is at most {MAX_REQUEST_SIZE} bytes\n", 413, {"Connection": "close"})
        try:
            found = await run_in_threadpool(answer, body, request.headers)
        except StorageError as error:
            log.error("%s", error)
            return PlainTextResponse("this witness cannot store anything now\n", 503)
        return Response(found.body, found.status, {"Content-Type": found.media_type})  # as it stands: no charset is added

    return Route(path, respond, methods=["POST"])


async def read_body(request: Request, limit: int, seconds: float) -> bytes | None:
    """Return the body of a request, or ``None`` once it is over the limit: no more than that is ever held.

    Raises
    ------
    TimeoutError
        It takes longer than ``seconds``.
    """
    body = bytearray()
    async with asyncio.timeout(seconds):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return None
    return bytes(body)
