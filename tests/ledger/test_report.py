"""The report: every check with its outcome, for people and for programs."""

import json

import pytest

from ledger.report import MEANING, Check, Finding, Report


def test_every_check_has_a_meaning() -> None:
    assert set(MEANING) == set(Check)
    assert all(text and "\n" not in text and not text.endswith(".") for text in MEANING.values())


def test_an_empty_report_is_verified_and_reached_nothing() -> None:
    report = Report()
    assert report.verified
    assert {report.outcome(check) for check in Check} == {"not reached"}


@pytest.mark.parametrize("check", Check)
def test_outcomes(check: Check) -> None:
    report = Report()
    report.count(check)
    report.count(check, 2)
    assert (report.counts[check], report.outcome(check), report.verified) == (3, "passed", True)
    report.find(check, 4, "because")
    assert (report.counts[check], report.outcome(check), report.verified) == (3, "failed", False)
    others = {report.outcome(other) for other in Check if other is not check}
    assert others == {"not reached"}


def test_a_check_that_fails_at_once_was_made_on_nothing() -> None:
    report = Report()
    report.find(Check.TREE, None, "because")
    assert (report.counts, report.outcome(Check.TREE)) == ({Check.TREE: 0}, "failed")


def test_counting_nothing_is_not_passing() -> None:
    report = Report()
    report.count(Check.SUMS, 0)
    assert report.outcome(Check.SUMS) == "not reached"


def test_a_finding_is_one_line() -> None:
    assert str(Finding(Check.SUMS, 5, "it is false")) == "sums: entry 5: it is false"
    assert str(Finding(Check.ARCHIVE, None, "it is false")) == "archive: it is false"


def test_as_json() -> None:
    report = Report(notes=["a note"], summary={"rounds": 2})
    report.count(Check.TREE, 7)
    report.find(Check.SUMS, 5, "it is false")
    value = json.loads(json.dumps(report.to_json()))
    assert (value["format"], value["verified"], value["summary"], value["notes"]) == ("lunaria-audit/v1", False, {"rounds": 2}, ["a note"])
    assert value["findings"] == [{"check": "sums", "entry": 5, "reason": "it is false"}]
    assert [check["check"] for check in value["checks"]] == [check.value for check in Check]
    assert [check for check in value["checks"] if check["outcome"] != "not reached"] == [
        {"check": "tree", "meaning": MEANING[Check.TREE], "outcome": "passed", "made": 7},
        {"check": "sums", "meaning": MEANING[Check.SUMS], "outcome": "failed", "made": 0},
    ]
