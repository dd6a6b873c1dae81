"""The gate passes on a SuperNode's calls, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from clients.address import free_port
from server.deployment.gate import CALLS, gate_app, serving
from tests.server.deployment.test_certificates import pki

LIMIT = 1000


async def echo(request: Request) -> Response:
    body = await request.body()
    return Response(body, 201, {"x-path": request.url.path, "x-signature": request.headers.get("x-signature", "")})


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("gate")
    ca, certificate, key = pki(folder, "127.0.0.1")
    port = free_port()
    behind = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    with serving(behind, "127.0.0.1", port, certificate, key), TestClient(gate_app(f"127.0.0.1:{port}", ca, limit=LIMIT)) as client:
        yield client


@pytest.mark.parametrize("name", sorted(CALLS))
def test_calls_of_a_supernode_pass_unchanged(gate: Client, name: str) -> None:
    answer = gate.post(f"/v1/fleet/{name}", content=b"\x00body", headers={"x-signature": "s"})
    assert (answer.status_code, answer.content, answer.headers["x-path"]) == (201, b"\x00body", f"/v1/fleet/{name}")
    assert answer.headers["x-signature"] == "s"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/pull-task-input",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/..%2fcontrol%2fstart-run",
        "/v1/fleet/get-run/../../control/start-run",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_reachable(gate: Client, path: str) -> None:
    assert gate.post(path, content=b"").status_code in (404, 405)
    assert gate.get(path).status_code in (404, 405)


def test_a_body_over_the_limit_is_refused(gate: Client) -> None:
    assert gate.post("/v1/fleet/push-object", content=b"x" * LIMIT).status_code == 201
    assert gate.post("/v1/fleet/push-object", content=b"x" * (LIMIT + 1)).status_code == 413


def test_the_gate_says_that_it_is_up(gate: Client) -> None:
    assert gate.get("/health").text == "ok\n"


def test_a_superlink_that_is_gone_is_a_503(tmp_path: Path) -> None:
    ca, _, _ = pki(tmp_path, "127.0.0.1")
    with TestClient(gate_app(f"127.0.0.1:{free_port()}", ca)) as client:
        assert client.post("/v1/fleet/get-run", content=b"").status_code == 503
