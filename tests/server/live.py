"""Real HTTP servers on this machine, each in a thread: ours, and hostile ones."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from starlette.applications import Starlette


@contextmanager
def served(application: Starlette, port: int = 0) -> Iterator[str]:
    """Serve an application on a free port (or ``port``); yields its URL."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve whatever ``answer`` writes to each request; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            answer(self)

        do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def reply(status: int, body: bytes, media_type: str = "text/plain", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer that is always the same."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", media_type)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, for ever."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass


def flood(request: BaseHTTPRequestHandler) -> None:
    """Answer without end."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(bytes(1 << 16))
    except OSError:
        pass
