"""A federation on hosts of their own, over a network and with members as they come: cut off, too slow, and one that sends a gigabyte."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.entries import RoundEntry, decode_entry
from ledger.storage import ledger_of
from ledger.verdicts import Reason
from server.deployment.demo import CLIENT, LUNARIA, command
from server.errors import ExitCode
from tests.hosts import Hosts, hosts_or_skip
from tests.server.deployment.consortium import Consortium, memory
from tests.server.deployment.test_network import MEGABYTE, agreement

pytestmark = pytest.mark.slow
TIMEOUT = 60
BLOATED = """
import sys
if "clients.prepared" in sys.orig_argv or "clients.node_process" in sys.orig_argv:
    import numpy as np
    from flwr.app import Array, ArrayRecord
    from clients import app as honest

    made = honest.client_app

    def client_app(*arguments):
        inner = made(*arguments)
        def answer(message, context):
            reply = inner(message, context)
            if message.metadata.message_type.startswith("train"):
                noise = np.random.default_rng(1).integers(0, 2**63, 125_000_000)
                reply.content["more"] = ArrayRecord({"noise": Array(noise)})
            return reply
        return answer

    honest.client_app = client_app
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with hosts_or_skip(("server", "a", "b", "c")) as made:
        yield made


def asked(number: int) -> str:
    return f"round {number}: 3 clients are asked to train"


def test_a_run_goes_on_whatever_the_network_and_its_members_do(hosts: Hosts, tmp_path: Path) -> None:
    terms = agreement(**{"count": 5, "minimum-accepted": 1, "reply-timeout": TIMEOUT})
    with Consortium(tmp_path, hosts, terms) as site:
        site.certify()
        for name in ("a", "b", "c"):
            (tmp_path / f"{name}.npz").write_bytes((tmp_path / f"hospital-{name}.npz").read_bytes())
            site.invite_one(name)
        site.serve()
        for name in ("a", "b", "c"):
            site.start_client(name)

        site.wait_for("server", asked(1))  # a partition that heals
        hosts.cut("c")
        site.wait_for("server", asked(2))
        hosts.heal("c")

        site.wait_for("server", asked(3))  # a client that is too slow for the round
        frozen = tree(site.pid("b"))
        signal_all(frozen, signal.SIGSTOP)
        site.wait_for("server", "round 3: ")
        site.wait_for("server", asked(4))
        signal_all(frozen, signal.SIGCONT)

        site.stop("a")  # a client that sends a gigabyte
        (tmp_path / "sitecustomize.py").write_text(BLOATED, encoding="utf-8")
        path = f"PYTHONPATH={tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        before = memory(site.pid("server"))
        site.start_line("a", "a", ["env", path, *command(CLIENT, "--data", "a.npz", "--state", "state-a")])
        site.wait_for("server", asked(5))
        assert memory(site.pid("server")) - before < 700 * MEGABYTE  # 256 MiB in one process, and what is copied of it
        assert site.wait_for_end() == ExitCode.OK

        site.run(LUNARIA, "fsck", "run")
        site.run(LUNARIA, "export", "run", "-o", "export.tar")
        site.run(LUNARIA, "audit", "export.tar", "--agreement", "agreement.toml")
    for number, reasons in enumerate(verdicts(tmp_path / "run"), start=1):
        sys.stdout.write(f"round {number}: {reasons}\n")
        assert set(reasons) <= {Reason.ACCEPTED, Reason.NO_REPLY, Reason.CLIENT_ERROR}
        assert Reason.ACCEPTED in reasons
    for number in (3, 4, 5):  # the slow one, and twice the one that sends too much
        assert Reason.NO_REPLY in verdicts(tmp_path / "run")[number - 1]


def verdicts(run: Path) -> list[list[Reason]]:
    with ledger_of(run)[0] as store:
        entries = [decode_entry(data) for data in store.entries(0, store.size())]
    return [[verdict.reason for verdict in entry.verdicts] for entry in entries if isinstance(entry, RoundEntry)]


def tree(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    found = [pid]
    for one in found:
        for task in (Path("/proc") / str(one) / "task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
