"""Rotation, withdrawal and revocation: what each changes, from when, and everything that is refused."""

import json
from typing import Any

import pytest

from ledger.agreement import Agreement
from ledger.changes import (
    AnyChange,
    Revocation,
    RevocationReason,
    Rotation,
    RotationStatement,
    SignedRotation,
    SignedWithdrawal,
    Withdrawal,
    WithdrawalStatement,
    decode_change,
    encode_change,
    numbered,
)
from ledger.entries import RoundEntry, decode_entry, encode_entry
from ledger.errors import FormatError, VerificationError
from ledger.report import Check
from ledger.state import RunState
from tests.ledger.conftest import FIRST, LAST, Auditor, Forgery, Json, agreed, found, reasons
from tests.ledger.test_entries import KEYS, NAMES, changed
from tests.ledger.test_state import LAST_MODEL, after_enrolments, closing, enrolled, next_round, refused, snapshot, statements

NODES = [f"{number:02x}" * 32 for number in (10, 11, 12)]
NEW = "77" * 32
REVOKED = Revocation(client=1, reason=RevocationReason.RULES_BROKEN)


def bound(**agreement: Any) -> RunState:  # noqa: ANN401
    """Return a run of three clients, each with a node key of its own."""
    state = after_enrolments(0, **{"rounds": {"count": 5, "participants": 3, "minimum-accepted": 1}, **agreement})
    for number in range(3):
        state.apply(enrolled(state, number, node=NODES[number]))
    return state


def rotation(run: str, number: int = 1, *, signed_by: int | None = None, **claims: object) -> AnyChange:
    said = RotationStatement(**{"run": run, "client": NAMES[number], "previous": NODES[number], "node": NEW, **claims})  # type: ignore[arg-type]
    return numbered(SignedRotation.sign(said, KEYS[number if signed_by is None else signed_by]), number)


def withdrawal(run: str, number: int = 1, *, signed_by: int | None = None, **claims: str) -> AnyChange:
    said = WithdrawalStatement(**{"run": run, "client": NAMES[number], **claims})
    return numbered(SignedWithdrawal.sign(said, KEYS[number if signed_by is None else signed_by]), number)


def go_on(state: RunState, *changes: AnyChange) -> RoundEntry:
    entry = next_round(state, changes=changes)
    state.apply(entry, statements(state, entry))
    return entry


# ---- what changes do


def test_a_revocation_counts_from_the_next_round() -> None:
    state = bound()
    entry = go_on(state, REVOKED)
    assert [verdict.client for verdict in entry.verdicts] == [0, 1, 2]
    assert state.membership.active == [0, 2]
    assert state.membership.ended == {1: RevocationReason.RULES_BROKEN}
    assert state.participants("01" * 32) == [0, 2]
    assert sorted(state.pending) == [0, 2]  # its nonce is not asked for
    go_on(state)


def test_who_was_accepted_before_stays_accepted() -> None:
    """The round that an entry closes is the one that was drawn: a revocation takes nothing out of it."""
    state = bound()
    entry = next_round(state, changes=(REVOKED,))
    without = tuple(verdict for verdict in entry.verdicts if verdict.client != 1)
    refused(state, changed(entry, verdicts=without), "the verdicts are not about the clients that the beacon chose")


def test_a_revoked_members_nonce_is_neither_revealed_nor_withheld() -> None:
    state = bound()
    go_on(state, REVOKED)
    message = "reveals and withheld nonces are not those of the clients that had committed to one"
    refused(state, next_round(state, LAST_MODEL, withheld=(1,)), message)


def test_a_revoked_member_is_in_no_later_round() -> None:
    state = bound()
    before = next_round(state)
    go_on(state, REVOKED)
    entry = next_round(state, LAST_MODEL)
    message = "the verdicts are not about the clients that the beacon chose"
    refused(state, changed(entry, verdicts=before.verdicts, aggregate=before.aggregate), message)


def test_a_withdrawal_ends_a_membership_without_a_reason() -> None:
    state = bound()
    go_on(state, withdrawal(state.run))
    assert state.membership.ended == {1: None}
    assert state.membership.number(NAMES[1]) is None
    assert state.membership.number(NAMES[2]) == 2


def test_a_rotation_binds_another_node_key() -> None:
    state = bound()
    go_on(state, rotation(state.run))
    assert state.membership.nodes == (NODES[0], NEW, NODES[2])
    assert [state.membership.reached_by(1, node) for node in (NODES[1], NEW, None)] == [False, True, False]
    assert state.membership.active == [0, 1, 2]


def test_who_bound_no_node_key_is_reached_by_any_until_it_binds_one() -> None:
    state = after_enrolments(3)
    assert state.membership.reached_by(1, "ee" * 32)
    assert state.membership.reached_by(1, None)
    go_on(state, rotation(state.run, previous=None))
    assert not state.membership.reached_by(1, "ee" * 32)


def test_the_run_ends_when_too_few_are_left() -> None:
    state = bound(federation={"minimum-clients": 3})
    refused(state, closing(state, outcome="too-few-clients"), "the run is closed for too few clients")
    go_on(state)
    refused(state, closing(state, outcome="too-few-clients"), "the run is closed for too few clients")
    go_on(state, REVOKED)
    refused(state, next_round(state, LAST_MODEL), "a round with fewer clients than federation.minimum-clients")
    state.apply(closing(state, outcome="too-few-clients"))


def test_a_round_without_changes_is_written_as_it_always_was() -> None:
    entry = next_round(bound())
    assert b"changes" not in encode_entry(entry)
    with_empty = encode_entry(entry).replace(b'"kind":"round"', b'"changes":[],"kind":"round"')
    with pytest.raises(FormatError, match="leaves fields out"):
        decode_entry(with_empty)


def test_changes_are_read_back() -> None:
    state = bound()
    entry = next_round(state, changes=(rotation(state.run, 0), REVOKED, withdrawal(state.run, 2)))
    assert decode_entry(encode_entry(entry)) == entry
    for change in entry.changes:
        assert decode_change(encode_change(change), "it") == change


# ---- what is refused


def cases(state: RunState) -> list[tuple[str, tuple[AnyChange, ...]]]:
    run, other = state.run, "ee" * 32
    mine, leaves = rotation(run), withdrawal(run)
    assert isinstance(mine, Rotation)
    assert isinstance(leaves, Withdrawal)
    return [
        ("the signature is not by client", (rotation(run, signed_by=0),)),
        ("the signature is not by client", (withdrawal(run, signed_by=2),)),
        ("the signature is not by client", (changed(mine, statement=changed(mine.statement, node=other)),)),
        ("the signature is not by client", (changed(mine, signature=leaves.signature),)),
        ("belongs to another run", (rotation(other),)),
        ("belongs to another run", (withdrawal(other),)),
        ("is signed for another client", (changed(mine, client=2),)),
        ("is signed for another client", (leaves.model_copy(update={"client": 0}),)),
        ("replaces another node key than the one that is bound to it", (rotation(run, previous=None),)),
        ("replaces another node key than the one that is bound to it", (rotation(run, previous=NODES[0]),)),
        ("was bound in this run already", (rotation(run, node=NODES[0]),)),
        ("was bound in this run already", (rotation(run, node=NODES[1]),)),
        ("was bound in this run already", (rotation(run, 0), rotation(run, 1))),
        ("of client 3, but 3 are enrolled", (changed(REVOKED, client=3),)),
        ("one for each", (REVOKED, REVOKED)),
        ("one for each", (REVOKED, leaves)),
        ("one for each", (rotation(run, 2), REVOKED)),
    ]


@pytest.mark.parametrize("place", range(17))
def test_a_change_that_may_not_be_made(place: int) -> None:
    state = bound()
    message, changes = cases(state)[place]
    members = state.membership
    refused(state, next_round(state, changes=changes), message)
    assert state.membership == members


def test_there_is_a_test_for_every_case() -> None:
    assert len(cases(bound())) == 17


@pytest.mark.parametrize("ended", ["revocation", "withdrawal"])
def test_nothing_changes_about_who_takes_part_no_longer(ended: str) -> None:
    state = bound()
    go_on(state, REVOKED if ended == "revocation" else withdrawal(state.run))
    for change in (REVOKED, withdrawal(state.run), rotation(state.run)):
        refused(state, next_round(state, LAST_MODEL, changes=(change,)), "which takes part no longer")


def test_an_old_rotation_fits_no_second_time() -> None:
    state = bound()
    first = rotation(state.run)
    go_on(state, first)
    go_on(state, rotation(state.run, previous=NEW, node="78" * 32))
    refused(state, next_round(state, changes=(first,)), "replaces another node key")
    back = rotation(state.run, previous="78" * 32, node=NODES[1])
    refused(state, next_round(state, changes=(back,)), "was bound in this run already")


def test_two_members_do_not_enrol_with_one_node_key() -> None:
    state = after_enrolments(0)
    state.apply(enrolled(state, 0, node=NODES[0]))
    before = snapshot(state)
    with pytest.raises(VerificationError, match="was bound in this run already: a member needs one of its own"):
        state.apply(enrolled(state, 1, node=NODES[0]))
    assert snapshot(state) == before


def test_the_agreement_may_demand_node_keys() -> None:
    state = after_enrolments(0, federation={"node-keys": True})
    refused(state, enrolled(state, 0), "binds no node key, which federation.node-keys demands")
    state.apply(enrolled(state, 0, node=NODES[0]))


@pytest.mark.parametrize(
    "edit",
    [
        {"reason": "I do not like it"},
        {"reason": None},
        {"change": "expulsion"},
        {"round": 2},
        {"client": -1},
        {"client": 1.0},
    ],
)
def test_a_revocation_has_no_freedom(edit: Json) -> None:
    value = {**json.loads(encode_change(REVOKED)), **edit}
    with pytest.raises(FormatError):
        decode_change(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), "it")


# ---- what an audit says


@pytest.fixture
def agreement() -> Agreement:
    return agreed()


def forged(agreement: Agreement, changes: list[Json]) -> Forgery:
    forgery = Forgery.begin(agreement)
    forgery.full_round(FIRST)
    forgery[FIRST]["changes"] = changes
    return forgery


def test_an_audit_shows_a_revocation_and_verifies(agreement: Agreement, auditor: Auditor) -> None:
    forgery = forged(agreement, [{"change": "revocation", "client": 1, "reason": "unreachable"}])
    forgery.full_round(LAST)
    forgery.close()
    assert {verdict["client"] for verdict in forgery[LAST]["verdicts"]} == {0, 2}
    report = auditor(forgery)
    assert report.verified, reasons(report)
    assert "after round 1, client 1 was revoked by the operator (unreachable)" in report.notes


def test_an_audit_finds_a_member_that_goes_on_after_it(agreement: Agreement, auditor: Auditor) -> None:
    forgery = forged(agreement, [])
    del forgery[FIRST]["changes"]
    forgery.full_round(LAST)
    forgery[FIRST]["changes"] = [{"change": "revocation", "client": 1, "reason": "unreachable"}]
    report = auditor(forgery)
    assert (Check.BEACON, LAST) in found(report) or (Check.SEQUENCE, LAST) in found(report), reasons(report)


def test_an_audit_finds_a_forged_withdrawal(agreement: Agreement, auditor: Auditor) -> None:
    forgery = forged(agreement, [])
    keys = forgery.state(FIRST).keys
    signed = forgery.sign("withdrawal", {"run": forgery.run, "client": keys[0]}, keys[1])
    forgery[FIRST]["changes"] = [{"change": "withdrawal", "client": 0, **signed}]
    report = auditor(forgery)
    assert found(report) == {(Check.SEQUENCE, FIRST)}
    assert "the signature is not by client" in reasons(report)
