"""Certificates as real TLS endpoints judge them, and node keys as Flower reads them."""

from pathlib import Path

import pytest
from flwr.cli.supernode.register import try_load_public_key
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from clients.address import free_port, is_loopback, parse_address, reach
from clients.errors import MemberError
from clients.node_keys import make_node_key
from server.deployment.certificates import make_ca, make_server, write_issued
from server.deployment.gate import serving
from server.deployment.node_keys import read_members
from server.errors import ServerError


def pki(folder: Path, *hosts: str) -> tuple[Path, Path, Path]:
    """Write a CA's certificate, and certificate and key of a server."""
    ca = make_ca("test")
    paths = folder / "ca.crt", folder / "server.crt", folder / "server.key"
    write_issued(ca, paths[0], folder / "ca.key")
    write_issued(make_server(ca, list(hosts)), paths[1], paths[2])
    return paths


def hello() -> Starlette:
    return Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])


def test_a_client_trusts_the_server_of_its_ca_and_no_other(tmp_path: Path) -> None:
    ca, certificate, key = pki(tmp_path / "mine", "127.0.0.1", "localhost")
    other, _, _ = pki(tmp_path / "other", "127.0.0.1")
    port = free_port()
    assert not reach("127.0.0.1", port, ca)
    with serving(hello(), "127.0.0.1", port, certificate, key):
        assert reach("127.0.0.1", port, ca)
        assert reach("localhost", port, ca)
        with pytest.raises(MemberError, match="cannot prove who it is"):
            reach("127.0.0.1", port, other)


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    ca, certificate, key = pki(tmp_path, "federation.example")
    port = free_port()
    with serving(hello(), "127.0.0.1", port, certificate, key), pytest.raises(MemberError, match="cannot prove who it is"):
        reach("127.0.0.1", port, ca)


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    ca = make_ca("test")
    write_issued(ca, tmp_path / "ca.crt", tmp_path / "ca.key")
    write_issued(make_server(ca, ["127.0.0.1"], days=0), tmp_path / "s.crt", tmp_path / "s.key")
    port = free_port()
    with serving(hello(), "127.0.0.1", port, tmp_path / "s.crt", tmp_path / "s.key"), pytest.raises(MemberError, match="expired"):
        reach("127.0.0.1", port, tmp_path / "ca.crt")


def test_a_server_without_tls_is_refused(tmp_path: Path) -> None:
    ca, _, _ = pki(tmp_path, "127.0.0.1")
    port = free_port()
    with serving(hello(), "127.0.0.1", port, None, None), pytest.raises(MemberError, match="does not speak TLS"):
        reach("127.0.0.1", port, ca)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    with serving(hello(), "127.0.0.1", port, None, None), pytest.raises(ServerError, match="cannot listen"):  # noqa: SIM117
        with serving(hello(), "127.0.0.1", port, None, None):
            pass


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    _, certificate, _ = pki(tmp_path / "a", "127.0.0.1")
    _, _, key = pki(tmp_path / "b", "127.0.0.1")
    with pytest.raises(ServerError, match="not a certificate and its key"), serving(hello(), "127.0.0.1", free_port(), certificate, key):
        pass


@pytest.mark.parametrize("hosts", [[], ["bücher.example"]])
def test_a_certificate_needs_names(hosts: list[str]) -> None:
    with pytest.raises(ServerError):
        make_server(make_ca("test"), hosts)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    pki(tmp_path, "127.0.0.1")
    with pytest.raises(ServerError, match="exists"):
        write_issued(make_ca("again"), tmp_path / "ca.crt", tmp_path / "ca.key")


def test_flower_reads_our_node_keys(tmp_path: Path) -> None:
    _, public = make_node_key("a")
    (tmp_path / "a.pub").write_text(public, encoding="utf-8")
    assert try_load_public_key(tmp_path / "a.pub")
    assert set(read_members(tmp_path)) == {"a"}


def test_members_need_keys_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="holds no node key"):
        read_members(tmp_path)
    _, public = make_node_key("a")
    for name in ("a.pub", "b.pub"):
        (tmp_path / name).write_text(public, encoding="utf-8")
    with pytest.raises(ServerError, match="hold one key"):
        read_members(tmp_path)
    (tmp_path / "b.pub").write_text("nonsense", encoding="utf-8")
    with pytest.raises(ServerError, match="holds no node key"):
        read_members(tmp_path)


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x"])
def test_addresses_are_checked(text: str) -> None:
    with pytest.raises(MemberError, match="HOST:PORT"):
        parse_address(text)


def test_addresses_are_read() -> None:
    assert parse_address("[::1]:9443") == ("::1", 9443)
    assert is_loopback("127.0.0.2")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")  # noqa: S104
    assert not is_loopback("federation.example")
