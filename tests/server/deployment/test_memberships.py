"""Rotation, withdrawal and revocation with the real processes: a client's keys encrypted, a connection cut while the run goes on."""

import json
from pathlib import Path

import pytest

from clients.vault import MAGIC
from ledger.audit import audit
from server.deployment.changes import membership_in
from server.deployment.demo import CLIENT, CLIENTS, LUNARIA, Demo
from server.errors import ExitCode

A, B, C = CLIENTS


@pytest.mark.slow
def test_a_member_rotates_its_node_key_another_leaves_and_one_is_revoked(tmp_path: Path) -> None:
    with Demo(tmp_path, rounds=6) as demo:
        (tmp_path / "words").write_text("correct horse battery\n", encoding="utf-8")
        text = (
            (tmp_path / "agreement.toml")
            .read_text(encoding="utf-8")
            .replace("minimum-clients = 3", "minimum-clients = 1\nnode-keys = true")
        )
        (tmp_path / "agreement.toml").write_text(text, encoding="utf-8")
        demo.invite()
        demo.start_server()
        state = ("--data", f"{A}.npz", "--state", f"state-{A}", "--passphrase-file", "words")
        demo.start(A, CLIENT, "--invitation", f"{A}.invitation.toml", "--encrypt", *state)
        demo.start_client(B)
        demo.start_client(C)
        demo.wait_for("server", "round 1: 3 accepted")
        for name in ("identity.key", "member.json", "node.key"):
            assert (tmp_path / f"state-{A}" / name).read_bytes().startswith(MAGIC)

        demo.run(LUNARIA, "revoke", "run", C, "--reason", "rules-broken")
        demo.wait_for("server", f"the node key of {C} is let in no more")
        demo.wait_for("server", "was revoked by the operator (rules-broken)")

        assert demo.stop(A) == ExitCode.OK
        demo.run(CLIENT, *state, "--rotate-node-key")
        before = (tmp_path / f"state-{A}" / "node.key").read_bytes()
        demo.start(A, CLIENT, *state)
        demo.wait_for(A, "connected to")
        demo.run(LUNARIA, "change", "run", f"state-{A}/rotation.json")
        demo.wait_for(A, "the server accepts the new node key")
        demo.wait_for("server", "took another node key")
        assert (tmp_path / f"state-{A}" / "node.key").read_bytes() != before

        demo.stop(B)
        demo.run(CLIENT, "--state", f"state-{B}", "--leave")
        demo.run(LUNARIA, "change", "run", f"state-{B}/withdrawal.json")
        assert demo.wait_for_end() == ExitCode.OK
        demo.run(LUNARIA, "export", "run", "-o", "export.tar")
    _, membership = membership_in(tmp_path / "run")
    assert len(membership.active) == 1
    assert sorted(map(str, membership.ended.values())) == ["None", "rules-broken"]
    assert not list((tmp_path / "run" / "changes").iterdir())
    report = audit(tmp_path / "export.tar", backend="arkworks")
    assert report.verified
    notes = " ".join(report.notes)
    assert all(text in notes for text in ("revoked by the operator (rules-broken)", "took another node key", "withdrew"))
    secret = json.loads((tmp_path / f"state-{B}" / "member.json").read_bytes())["nonce"]  # in clear: it did not ask for more
    assert secret.encode() not in (tmp_path / "run" / "server.log").read_bytes()
