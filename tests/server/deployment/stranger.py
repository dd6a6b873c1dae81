"""What a stranger on another host tries, as a process of its own: ``python stranger.py WHAT CA HOST PORT``."""

import socket
import ssl
import sys
import time
from contextlib import ExitStack
from http.client import HTTPSConnection

GIGABYTE, CHUNK = 10**9, b"\0" * 2**16
TILE = "/tile/0/000.p/1"
PAGES = ("GET", "/"), ("GET", "/checkpoint"), ("GET", TILE), ("GET", TILE), ("POST", "/checkpoint"), ("GET", "/evidence/x")
FORBIDDEN = (
    "/v1/control/list-runs",
    "/v1/control/start-run",
    "/v1/runtime/pull-task-input",
    "/v1/fleet/register-node",
    "/docs",
    "/metrics",
)


def paths(context: ssl.SSLContext, host: str, port: int) -> str:
    """Ask for what no stranger may reach; returns the status codes."""
    codes = set()
    for path in (
        "/v1/control/list-runs",
        "/v1/control/start-run",
        "/v1/runtime/pull-task-input",
        "/v1/fleet/register-node",
        "/docs",
        "/metrics",
    ):
        connection = HTTPSConnection(host, port, context=context, timeout=20)
        connection.request("POST", path, b"")
        codes.add(connection.getresponse().status)
        connection.close()
    return " ".join(map(str, sorted(codes)))


def gigabyte(context: ssl.SSLContext, host: str, port: int) -> str:
    """Send 1 GB without a node key; returns how many MB were taken, and the answer's status line."""
    with socket.create_connection((host, port), timeout=60) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
        connection.sendall(b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        sent = 0
        try:
            while sent < GIGABYTE:
                connection.sendall(CHUNK)
                sent += len(CHUNK)
        except OSError:
            pass
        try:
            answer = connection.recv(64).decode("latin-1").split("\r\n")[0]
        except OSError:
            answer = "closed"
    return f"{sent // 10**6} MB, {answer}"


def thousand(context: ssl.SSLContext, host: str, port: int) -> str:
    """Connect 1,000 times, one after the other; returns how often all went well."""
    good = 0
    for _ in range(1000):
        with socket.create_connection((host, port), timeout=20) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            good += connection.recv(100).startswith(b"HTTP/1.1 200")
    return str(good)


def loris(context: ssl.SSLContext, host: str, port: int, seconds: float = 20) -> str:
    """Hold 1,000 connections open: a third says nothing, a third stops in the middle of its headers; returns how many were ended."""
    with ExitStack() as stack:
        held: list[socket.socket] = []
        for i in range(1000):
            try:
                one: socket.socket = stack.enter_context(socket.create_connection((host, port), timeout=20))
                if i % 3:
                    one = stack.enter_context(context.wrap_socket(one, server_hostname=host))
                if i % 3 == 2:
                    one.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nX-Slow: ")
                held.append(one)
            except OSError:
                continue
        sys.stdout.write(f"{len(held)} held\n")
        sys.stdout.flush()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.5)
        return str(sum(_ended(one) for one in held))


def _ended(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def pages(context: ssl.SSLContext, host: str, port: int) -> str:
    """Read the ledger's pages as a browser does; returns the answers' status, and what they say about keeping them."""

    def ask(method: str, path: str) -> str:
        connection = HTTPSConnection(host, port, context=context, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return f"{answer.status} {answer.headers.get('Cache-Control', '-')}"

    seen = [ask(*page) for page in PAGES]
    one = f"GET {TILE} HTTP/1.1\r\nHost: {host}\r\n"
    with socket.create_connection((host, port), timeout=20) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
        connection.sendall((f"{one}\r\n" * 400 + f"{one}Connection: close\r\n\r\n").encode())
        answers = b""
        while chunk := connection.recv(2**16):
            answers += chunk
    counts = [answers.count(b"HTTP/1.1 %d " % status) for status in (200, 429)]
    return "\n".join([*seen, " ".join(map(str, counts))])


if __name__ == "__main__":
    what, ca, host, port = sys.argv[1:5]
    trust = ssl.create_default_context(cafile=ca)
    print({"paths": paths, "gigabyte": gigabyte, "thousand": thousand, "loris": loris, "pages": pages}[what](trust, host, int(port)))
