"""Exports that are false in more than one place: the audit still ends in a report, whatever follows from what it has found already."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.archive import ArchiveReader
from ledger.audit import audit
from ledger.canonical import digest, dump_json
from ledger.entries import POINTS, STATEMENT
from ledger.export import evidence_name, write_export
from ledger.report import Check
from tests.federation import Federation, client
from tests.ledger.conftest import FIRST, Auditor, Forgery, Json, agreed, found, reasons, write_files
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


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Forgery:
    """Return a run in which all contributions are proved, after they stand in the ledger."""
    folder = tmp_path_factory.mktemp("some") / "run"
    terms = agreed(model={"layers": [5, 3]}, proof={"kind": "training", "rate": 0.999}, rounds={"participants": 3})
    run = Federation(folder, [client(number) for number in range(3)], terms).run()
    write_export(folder, folder.parent / "export.tar")
    with ArchiveReader(folder.parent / "export.tar") as archive:
        files = [archive.read(name, 2**30) for name in archive.names() if name.startswith("evidence/")]
    return Forgery([json.loads(leaf) for leaf in run.leaves], {digest(data): data for data in files})


@pytest.mark.parametrize("case", ["honest", "statement of the round before", "proof of the round before", "proof of another client"])
def test_another_proof_than_the_one_asked_for(honest: Forgery, tmp_path: Path, case: str) -> None:
    """Server and client agree to pass off another proof as the one that the second beacon asked for."""
    forgery = replace(honest, entries=deepcopy(honest.entries), evidence=dict(honest.evidence))
    first, last = (position for position, entry in enumerate(honest.entries) if isinstance(entry, dict) and entry["kind"] == "round")
    before, verdict = forgery[first]["verdicts"][0], forgery[last]["verdicts"][0]
    earlier, said, others = (
        json.loads(forgery.evidence[one["proof"]["digest"]])["statement"] for one in (before, verdict, forgery[last]["verdicts"][1])
    )
    if case == "statement of the round before":
        verdict["proof"] = before["proof"]
    elif case != "honest":
        said["proof"] = (earlier if case == "proof of the round before" else others)["proof"]
        verdict["proof"] = forgery.put(dump_json(forgery.sign("proof", said, said["client"])), STATEMENT)
    kept = {reference["digest"] for entry in (forgery[first], forgery[last]) for reference in proofs(forgery, entry)}
    unused = {reference["digest"] for entry in (honest[first], honest[last]) for reference in proofs(honest, entry)} - kept
    files = forgery.files() | {evidence_name(name): data for name, data in forgery.evidence.items() if name not in unused}
    report = audit(write_files(tmp_path / "forged.tar", files), backend="arkworks")
    assert found(report) == (set() if case == "honest" else {(Check.PROOFS, last)}), reasons(report)


def proofs(forgery: Forgery, entry: Json) -> Iterator[Json]:
    """Yield the references to statements about proofs, and to the proofs."""
    for verdict in entry["verdicts"]:
        yield verdict["proof"]
        yield json.loads(forgery.evidence[verdict["proof"]["digest"]])["statement"]["proof"]
