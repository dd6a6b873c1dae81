"""A stranger's call is refused before its body is read, and a stranger's connection does not keep others out."""

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes, sign_message
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from clients.address import free_port
from server.deployment.door import Door, caller
from server.deployment.gate import gate_app, serving
from tests.server.deployment.test_certificates import pki

PRIVATE, PUBLIC = generate_key_pairs()
MEMBER = public_key_to_bytes(PUBLIC)
PLACES, SECONDS, REPLY = 8, 1.0, 1000


def signed(key: bytes = MEMBER, age: float = 0.0, signs: str = "") -> dict[str, str]:
    """Return the headers of a call."""
    stated = (now() - timedelta(seconds=age)).isoformat()
    signature = sign_message(PRIVATE, (signs or stated).encode())
    values = {FLEET_HTTP_PUBLIC_KEY_HEADER: key, FLEET_HTTP_SIGNATURE_HEADER: signature}
    return {TIMESTAMP_HEADER: stated} | {name: b64encode(value).decode() for name, value in values.items()}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed().items() if key != name}


def test_a_member_is_known_by_its_signature() -> None:
    assert caller(signed(), {MEMBER}) == MEMBER
    assert caller(signed(age=290), {MEMBER}) == MEMBER


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(key=public_key_to_bytes(generate_key_pairs()[1])),
        signed(key=b"no key"),
        signed(age=310),
        signed(age=-3600),  # much: the headers are made when tests are collected
        signed(signs="another time"),
        signed() | {TIMESTAMP_HEADER: "nonsense"},
        signed() | {TIMESTAMP_HEADER: "2026-11-22T19:00:00"},
        signed() | {FLEET_HTTP_SIGNATURE_HEADER: "?"},
        *(without(name) for name in signed()),
    ],
)
def test_whoever_does_not_sign_is_a_stranger(headers: dict[str, str]) -> None:
    assert caller(headers, {MEMBER}) is None


def test_a_key_that_signs_but_is_no_members_is_a_strangers() -> None:
    assert caller(signed(), set()) is None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext, list[int]]]:
    """Serve a gate for one member; give its port, how to trust it, and the sizes of the bodies that it passed on."""
    folder, sizes = tmp_path_factory.mktemp("door"), list[int]()
    ca, certificate, key = pki(folder, "127.0.0.1")

    async def take(request: Request) -> Response:
        sizes.append(len(await request.body()))
        return PlainTextResponse("" if request.url.path.endswith("pull-messages") and sizes[-1] == 0 else "taken")

    behind, port, door = free_port(), free_port(), Door(PLACES, SECONDS)
    gate = gate_app(f"127.0.0.1:{behind}", ca, {MEMBER}, reply=REPLY, door=door)
    with (
        serving(Starlette(routes=[Route("/{path:path}", take, methods=["POST"])]), "127.0.0.1", behind, certificate, key),
        serving(gate, "127.0.0.1", port, certificate, key, door),
    ):
        yield port, ssl.create_default_context(cafile=str(ca)), sizes


Address = tuple[int, ssl.SSLContext, list[int]]


def member(address: Address) -> httpx.Client:
    return httpx.Client(base_url=f"https://127.0.0.1:{address[0]}", verify=address[1])


def connection(address: Address, stack: ExitStack) -> ssl.SSLSocket:
    plain = stack.enter_context(socket.create_connection(("127.0.0.1", address[0]), timeout=10))
    return stack.enter_context(address[1].wrap_socket(plain, server_hostname="127.0.0.1"))


def test_a_strangers_body_is_not_read(address: Address) -> None:
    before = len(address[2])
    with ExitStack() as stack:
        stranger = connection(address, stack)
        stranger.sendall(b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")
    assert len(address[2]) == before
    with member(address) as client:
        assert client.post("/v1/fleet/push-object", content=b"12345", headers=signed()).text == "taken"
    assert address[2][-1] == 5


def test_an_answer_to_one_message_has_a_limit(address: Address) -> None:
    def push(size: int) -> int:
        return client.post("/v1/fleet/push-object", content=b"x" * size, headers=signed()).status_code

    def pull(content: bytes) -> None:
        assert client.post("/v1/fleet/pull-messages", content=content, headers=signed()).status_code == 200

    with member(address) as client:
        pull(b"a message")
        assert [push(REPLY // 2), push(REPLY // 2), push(1)] == [200, 200, 413]
        pull(b"")  # no message
        assert push(1) == 413
        pull(b"a message")
        assert push(REPLY) == 200
        pull(b"a message")


def test_a_stranger_is_turned_out_when_its_time_is_up(address: Address) -> None:
    with ExitStack() as stack:
        stranger, began = connection(address, stack), time.monotonic()
        stranger.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nX-Slow: ")
        for _ in range(1000):  # a header that never ends, a byte at a time
            try:
                stranger.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
    assert SECONDS - 0.5 < time.monotonic() - began < SECONDS + 5


def test_a_member_stays(address: Address) -> None:
    ends = set()
    with member(address) as client:
        for _ in range(4):
            answer = client.post("/v1/fleet/pull-messages", headers=signed())
            assert answer.status_code == 200
            ends.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.5)
    assert len(ends) == 1


def test_many_strangers_do_not_keep_a_member_out(address: Address) -> None:
    with ExitStack() as stack, member(address) as client:
        client.post("/v1/fleet/pull-messages", headers=signed())
        for _ in range(4 * PLACES):
            connection(address, stack)
        assert client.post("/v1/fleet/pull-messages", headers=signed()).status_code == 200
        with member(address) as late:
            assert late.post("/v1/fleet/pull-messages", headers=signed()).status_code == 200
