"""Updates that are longer than agreed: the client says so, the server refuses them, the audit sees who does not."""

from pathlib import Path

import pytest

import ledger.judge
from ledger.agreement import Agreement
from ledger.audit import audit
from ledger.export import write_export
from ledger.report import Check, Report
from ledger.verdicts import Reason
from tests.federation import OK, Change, Contribution, Federation, LocalMember, Run, cheat, client, recommit, terms
from zk.errors import RangeError
from zk.field import decode_scalars

NORM = 1.5


def bounded(**training: object) -> Agreement:
    return terms(3, 1, training={"batch": 2, **training}, aggregation={"maximum-update-norm": NORM})


def long(times: float) -> Change:
    """Commit to an update of zeros but for one value, ``times`` the longest that is accepted."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        for layer in update:
            layer[:] = 0
        update[0][0, 0] = int(NORM * times * 2 ** member.rule().local_bits)
        return update, samples, recommit(member, update, decode_scalars(reply.blinds, 2), reply)

    return change


def run_and_audit(folder: Path, times: float, agreement: Agreement) -> tuple[Run, Report]:
    run = Federation(folder, [client(0), cheat(1, long(times)), client(2)], agreement).run()
    path = folder.parent / "export.tar"
    write_export(folder, path)
    return run, audit(path, backend="arkworks")


@pytest.mark.parametrize(("times", "reason"), [(1, OK), (1 + 2**-20, Reason.ABOVE_NORM), (4, Reason.ABOVE_NORM)])
@pytest.mark.parametrize("training", [{}, {"momentum": 0.9}], ids=["plain", "momentum"])
def test_an_update_that_is_too_long_is_refused(folder: Path, times: float, reason: Reason, training: dict[str, object]) -> None:
    run, report = run_and_audit(folder, times, bounded(**training))
    assert run.verdicts(1) == [OK, reason, OK]
    assert report.verified


@pytest.mark.parametrize(("times", "lenient"), [(4, True), (0.5, False)])
def test_a_server_that_judges_otherwise_is_found_out(folder: Path, times: float, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ledger.judge, "within_norm", lambda rule, update: lenient)
        run = Federation(folder, [client(0), cheat(1, long(times)), client(2)], bounded()).run()
    assert run.verdicts(1)[1] is (OK if lenient else Reason.ABOVE_NORM)
    path = folder.parent / "export.tar"
    write_export(folder, path)
    report = audit(path, backend="arkworks")
    assert not report.verified
    assert Check.VERDICTS in {finding.check for finding in report.findings}


def test_an_honest_client_says_that_its_update_is_too_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Witness(LocalMember):
        def contribute(self, *arguments: object) -> Contribution:
            try:
                return super().contribute(*arguments)  # type: ignore[arg-type]
            except RangeError as error:
                lines.append(str(error))
                raise

    agreement = terms(3, 1, aggregation={"maximum-update-norm": 0.0001})
    run = Federation(folder, [client(0), client(1, Witness), client(2)], agreement).run()
    assert run.verdicts(1) == [Reason.CLIENT_ERROR] * 3
    assert "above the agreed maximum of 0.0001: use a smaller learning rate" in lines[0]
