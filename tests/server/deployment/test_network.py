"""A server and its clients on hosts of their own, behind the real proxy: who is let in, who is not, and what strangers can do to it.

The server waits for members while strangers try; at the end it is stopped, and its ledger audits.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.deployment.certificates import make_server, read_issued, write_issued
from server.deployment.demo import CLIENT, LUNARIA, command
from server.errors import ExitCode
from tests.hosts import Hosts, hosts_or_skip
from tests.server.deployment.consortium import PAGES_PORT, PORT, Consortium, memory, stranger_line

HERE = Path(__file__).parents[3]
HOSTS = ("server", "proxy", "a", "b", "c", "stranger")
MEGABYTE = 10**6


def agreement(**rounds: object) -> dict[str, object]:
    """Return an agreement for three clients, without proofs: here it is about the network."""
    return {
        "federation": {"name": "network test", "clients": 3, "minimum-clients": 3},
        "model": {"layers": [64, 10], "seed": "11" * 32},
        "training": {"loss": "softmax-cross-entropy", "batch": 16, "local-steps": 2},
        "proof": {"kind": "none"},
        "rounds": {"count": 1, "participants": 3, **rounds},
    }


def proxy_config(folder: Path) -> Path:
    """Return the checked-in configuration, with the test's certificate; skips the test where there is no nginx."""
    modules = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None or not modules.exists():
        pytest.skip("nginx is not installed (Debian packages nginx and libnginx-mod-stream)")
    text = (HERE / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace("/tmp/", f"{folder}/proxy-").replace("/etc/nginx/tls/ledger", str(folder / "certs" / "server"))  # noqa: S108
    path = folder / "nginx.conf"
    path.write_text(text.replace("server ledger:8000", "server server:8000"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with hosts_or_skip(HOSTS) as made:
        yield made


@pytest.fixture(scope="module")
def site(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with Consortium(tmp_path_factory.mktemp("site"), hosts, agreement()) as consortium:
        consortium.certify()
        for name in ("a", "c", "former"):
            consortium.invite_one(name)
        consortium.invite_one("b", f"proxy.example:{PORT}")
        (consortium.folder / "members" / "former.pub").unlink()
        consortium.serve()
        yield consortium


@pytest.fixture(autouse=True)
def alive(site: Consortium, request: pytest.FixtureRequest) -> Iterator[None]:
    before = site.alive("server")
    yield
    assert not before or "stopped" in request.node.name or site.alive("server"), site.said("server")


def client(site: Consortium, *options: str) -> tuple[int, str]:
    """Run a client on the stranger's host until it gives up; returns its exit code and its last line."""
    line = command(CLIENT, "--data", "digits", "--state", f"state-{time.monotonic_ns()}", *options)
    done = site.on("stranger", *line)
    return done.returncode, done.stderr.splitlines()[-1]


def test_a_wrong_ca_is_refused(site: Consortium) -> None:
    site.run(LUNARIA, "certs", "--host", "server.example", "-o", "other")
    code, line = client(site, "--invitation", "a.invitation.toml", "--ca", "other/ca.crt")
    assert (code, "cannot prove who it is" in line) == (ExitCode.UNUSABLE, True), line


def test_an_unknown_node_key_is_refused(site: Consortium) -> None:
    site.run(LUNARIA, "keygen", "stranger.key")
    code, line = client(site, "--server", f"server.example:{PORT}", "--ca", "certs/ca.crt", "--key", "stranger.key")
    assert (code, "did not let this client in" in line) == (ExitCode.UNUSABLE, True), line


@pytest.mark.slow
def test_a_member_whose_key_was_taken_out_is_refused(site: Consortium) -> None:
    code, line = client(site, "--invitation", "former.invitation.toml")
    assert (code, "did not let this client in" in line) == (ExitCode.UNUSABLE, True), line


def test_an_expired_certificate_is_refused(site: Consortium) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    ca = read_issued(site.folder / "certs" / "ca.crt", site.folder / "certs" / "ca.key")
    write_issued(make_server(ca, ["server.example"], days=0), site.folder / "old.crt", site.folder / "old.key")
    site.start_line("old", "server", [openssl, "s_server", "-accept", "9444", "-cert", "old.crt", "-key", "old.key", "-www"])
    site.wait_for("old", "ACCEPT")
    code, line = client(site, "--invitation", "a.invitation.toml", "--server", "server.example:9444")
    assert (code, "certificate has expired" in line) == (ExitCode.UNUSABLE, True), line


def test_nothing_but_the_fleet_interface_is_there(site: Consortium) -> None:
    assert site.stranger("paths") == "404"
    open_ports = site.on("server", "ss", "-Hltn").stdout
    assert {line.split()[3] for line in open_ports.splitlines() if "127.0.0.1" not in line} <= {f"0.0.0.0:{PORT}", "*:9444", "0.0.0.0:9444"}


def test_a_gigabyte_from_a_stranger_is_not_taken(site: Consortium) -> None:
    before = memory(site.pid("server"))
    taken, answer = site.stranger("gigabyte").split(", ")
    assert int(taken.removesuffix(" MB")) < 20
    assert answer in ("HTTP/1.1 401 Unauthorized", "closed")
    assert memory(site.pid("server")) - before < 50 * MEGABYTE


def test_a_thousand_connections_are_answered(site: Consortium) -> None:
    before = memory(site.pid("server"))
    assert site.stranger("thousand") == "1000"
    assert memory(site.pid("server")) - before < 50 * MEGABYTE


def test_a_member_gets_in_past_a_thousand_slow_strangers(site: Consortium) -> None:
    site.start_line("stranger", "stranger", stranger_line("loris"))
    site.wait_for("stranger", "held")
    site.start_client("a")
    site.wait_for("a", "connected to server.example")
    site.wait_for("server", "1 of 3 are connected")


@pytest.fixture(scope="module")
def proxy(site: Consortium) -> None:
    """Put the proxy before the server."""
    site.proxy(proxy_config(site.folder))


@pytest.mark.usefixtures("proxy")
def test_a_member_gets_in_through_the_proxy(site: Consortium) -> None:
    site.start_client("b")
    site.wait_for("b", "connected to proxy.example")
    assert site.stranger("paths", "proxy.example") == "404"


def test_slow_strangers_are_turned_out(site: Consortium) -> None:
    assert site.ends("stranger") == 0
    held, ended = site.said("stranger").split("held")
    assert (int(held), int(ended)) == (1000, 1000)


def test_a_server_that_is_stopped_leaves_a_whole_ledger(site: Consortium) -> None:
    assert site.stop("server") == ExitCode.INTERRUPTED
    site.run(LUNARIA, "fsck", "run")
    site.run(LUNARIA, "export", "run", "-o", "export.tar")
    site.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")


@pytest.mark.usefixtures("proxy")
def test_the_ledger_is_read_through_the_proxy(site: Consortium) -> None:
    site.start_line("ledger", "server", command(LUNARIA, "serve", "run", "--host", "0.0.0.0"))  # noqa: S104
    site.wait_for("ledger", "Uvicorn running")
    page, checkpoint, tile, again, post, evidence, many = site.stranger("pages", "proxy.example", PAGES_PORT).splitlines()
    assert (page, checkpoint) == ("200 no-cache", "200 no-cache")
    assert tile == again == "200 public, max-age=31536000, immutable"
    assert (post, evidence) == ("405 -", "404 -")
    answered, refused = map(int, many.split())
    assert answered + refused == 401
    assert refused > 100  # 50 a second are allowed, and 100 at once
    assert '"GET /tile/0/000.p/1 HTTP/1.1" 200 32 HIT' in site.said("proxy")
