"""A ledger over HTTP in the layout of C2SP tlog-tiles: static files, made from the store; and the explorer, a page that reads them.

Nothing beyond the published checkpoint is shown. Tiles and bundles never change and may be kept for ever; the
checkpoint may not.
"""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ledger.checkpoint import parse_checkpoint
from ledger.errors import FormatError, LedgerError
from ledger.log import published_checkpoint
from ledger.note import parse as parse_note
from ledger.store import Store
from ledger.tiles import HEIGHT, WIDTH, Bundle, Tile, encode_bundle, encode_tile, parse_path
from server.explorer_page import explorer_page

CHANGES = {"Cache-Control": "no-cache"}
STAYS = {"Cache-Control": "public, max-age=31536000, immutable"}


class Files:
    """The files of a run's ledger. Any thread may use it.

    Parameters
    ----------
    run
        The run's folder; a server may be writing to it.
    store
        Its store.
    """

    def __init__(self, run: Path, store: Store) -> None:
        self._run = run
        self._store = store

    def checkpoint(self) -> bytes | None:
        """Return the published checkpoint; None before the first."""
        return published_checkpoint(self._run)

    def tile(self, path: str) -> bytes | None:
        """Return the file at ``path``, ``tile/…``; None where the published tree has none.

        Raises
        ------
        StorageError
            The store cannot be read.
        """
        note = self.checkpoint()
        try:
            place = parse_path(path)
        except FormatError:
            return None
        level = 0 if isinstance(place, Bundle) else place.level
        size = 0 if note is None else parse_checkpoint(parse_note(note).text).size
        first = place.index * WIDTH
        if first + place.width > size >> HEIGHT * level:
            return None
        if isinstance(place, Tile):
            return encode_tile(place, self._store.node)
        return encode_bundle(list(self._store.entries(first, first + place.width)))


def read_routes(files: Files) -> list[Route]:
    """Return the routes ``/checkpoint`` and ``/tile/…``, for an application that may have others."""

    async def checkpoint(request: Request) -> Response:
        try:
            note = await run_in_threadpool(files.checkpoint)
        except LedgerError:
            return _unavailable()
        return _missing() if note is None else Response(note, media_type="text/plain; charset=utf-8", headers=CHANGES)

    async def tile(request: Request) -> Response:
        try:
            data = await run_in_threadpool(files.tile, f"tile/{request.path_params['path']}")
        except LedgerError:
            return _unavailable()
        return _missing() if data is None else Response(data, media_type="application/octet-stream", headers=STAYS)

    return [Route("/checkpoint", checkpoint), Route("/tile/{path:path}", tile)]


def explorer_route() -> Route:
    """Return the route ``/``: the page that shows and verifies what :func:`read_routes` serves beside it."""
    page = explorer_page()
    headers = CHANGES | {
        "Content-Security-Policy": f"{page.policy}; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def explorer(request: Request) -> Response:
        return Response(page.html, media_type="text/html; charset=utf-8", headers=headers)

    return Route("/", explorer)


def _missing() -> Response:
    return PlainTextResponse("not in this ledger\n", 404, CHANGES)


def _unavailable() -> Response:
    return PlainTextResponse("the ledger cannot be read now\n", 503, CHANGES)
