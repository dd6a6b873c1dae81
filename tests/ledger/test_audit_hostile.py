"""Exports that are false in more than one place: the audit still ends in a report, whatever follows from what it has found already."""

from ledger.entries import POINTS
from ledger.report import Check
from tests.ledger.conftest import FIRST, Auditor, Forgery, agreed, found
from zk.group import POINT_BYTES


def test_a_proof_about_samples_that_were_never_committed(auditor: Auditor) -> None:
    """An enrolment states six samples and has the rows of three: the false one is named, and a proof about the others no way out."""
    forgery = Forgery.begin(agreed(model={"layers": [5, 3]}, proof={"kind": "training"}, rounds={"participants": 3}))
    for position in range(1, FIRST):
        said = forgery[position]["enrolment"]["statement"]
        rows = forgery.evidence[said["rows"]["digest"]]
        few = forgery.put(rows[: 3 * POINT_BYTES], POINTS)
        number = next(n for n in range(3) if forgery.enrolment(n)["enrolment"]["statement"]["client"] == said["client"])
        forgery.entries[position] = forgery.enrolment(number, claims={"rows": few})
    forgery.open_round(FIRST)
    for place in range(3):
        forgery.judge(FIRST, place, contribution=forgery.contribution(FIRST, place, parts={"proof": b"proof"}))
    forgery.settle(FIRST)
    report = auditor(forgery)
    assert {(Check.ENROLMENTS, position) for position in range(1, FIRST)} <= found(report)
