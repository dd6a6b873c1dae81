"""The state machine of a run: one honest run that it allows, and for each rule an entry that only this rule refuses."""

from typing import Any

import pytest

from ledger.beacon import participants
from ledger.canonical import digest
from ledger.entries import (
    SCALARS,
    STATEMENT,
    TENSOR,
    Aggregate,
    ClosingEntry,
    ContributionStatement,
    EnrolmentEntry,
    EnrolmentStatement,
    Entry,
    Reference,
    Reveal,
    RoundEntry,
    SignedEnrolment,
    Verdict,
    encode_entry,
)
from ledger.errors import VerificationError
from ledger.state import RunState
from ledger.verdicts import Reason
from tests.ledger.test_entries import DIGEST, KEYS, NAMES, changed, contribution, enrolment, opening_entry

NEXT_MODEL = Reference(digest="0a" * 32, size=328, media_type=TENSOR)
LAST_MODEL = Reference(digest="0b" * 32, size=328, media_type=TENSOR)
SAMPLES = (10, 20, 30)


def enrolled(state: RunState, number: int, samples: int = 0, **fields: Any) -> EnrolmentEntry:  # noqa: ANN401
    statement = changed(enrolment(state.run, number, samples or SAMPLES[number]), **fields)
    return EnrolmentEntry(enrolment=SignedEnrolment.sign(statement, KEYS[number]))


def after_enrolments(count: int = 3, **agreement: Any) -> RunState:  # noqa: ANN401
    state = RunState.begin(opening_entry(**agreement))
    for number in range(count):
        state.apply(enrolled(state, number))
    return state


def next_round(state: RunState, model: Reference = NEXT_MODEL, reject: int = 0, **fields: Any) -> RoundEntry:  # noqa: ANN401
    """Return an honest round: everybody reveals, and all but the last ``reject`` participants are accepted."""
    beacon = f"{state.rounds + 1:02x}" * 32
    chosen = state.participants(beacon)
    good = chosen[: len(chosen) - reject]
    verdicts = tuple(
        Verdict(
            client=number,
            reason=Reason.ACCEPTED if number in good else Reason.NO_REPLY,
            contribution=Reference(digest=DIGEST, size=900, media_type=STATEMENT) if number in good else None,
        )
        for number in chosen
    )
    samples = sum(state.members[number].samples for number in good)
    enough = len(good) >= max(1, state.opening.agreement.rounds.minimum_accepted)
    entry = RoundEntry(
        round=state.rounds + 1,
        reveals=tuple(Reveal(client=number, nonce=DIGEST) for number in sorted(state.pending)),
        withheld=(),
        beacon=beacon,
        model_before=state.model.digest,
        model_after=model if enough else state.model,
        verdicts=verdicts,
        aggregate=aggregate(samples) if enough else None,
        test=None,
    )
    return changed(entry, **fields)


def aggregate(samples: int) -> Aggregate:
    return Aggregate(
        samples=samples,
        sum=Reference(digest=DIGEST, size=328, media_type=TENSOR),
        blinds=Reference(digest=DIGEST, size=64, media_type=SCALARS),
    )


def statements(state: RunState, entry: RoundEntry) -> dict[int, ContributionStatement]:
    return {
        verdict.client: contribution(state.run, verdict.client, entry.round, SAMPLES[verdict.client])
        for verdict in entry.verdicts
        if verdict.accepted
    }


def after_rounds(*entries: RoundEntry | None, **agreement: Any) -> RunState:  # noqa: ANN401
    """Return the state after rounds; ``None`` is an honest one."""
    state = after_enrolments(**agreement)
    for given in entries:
        entry = next_round(state) if given is None else given
        state.apply(entry, statements(state, entry))
    return state


def closing(state: RunState, **fields: Any) -> ClosingEntry:  # noqa: ANN401
    return changed(ClosingEntry(outcome="completed", rounds=state.rounds, model=state.model.digest), **fields)


def snapshot(state: RunState) -> tuple[object, ...]:
    return (list(state.members), state.rounds, state.model, dict(state.pending), state.accepted, state.closed, state.size)


def refused(state: RunState, entry: Entry, message: str) -> None:
    """Assert that the state refuses an entry with this message, and is what it was before."""
    before = snapshot(state)
    with pytest.raises(VerificationError) as caught:
        state.apply(entry, statements(state, entry) if isinstance(entry, RoundEntry) else None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(state) == before


def test_an_honest_run_goes_from_the_agreement_to_the_closing() -> None:
    opening = opening_entry()
    state = RunState.begin(opening)
    assert state.run == digest(encode_entry(opening))
    assert snapshot(state) == ([], 0, opening.model, {}, 0, False, 1)
    for number in range(3):
        state.apply(enrolled(state, number))
    assert state.keys == NAMES[:3]
    assert state.pending == {0: "00" * 32, 1: "01" * 32, 2: "02" * 32}
    for number, model in ((1, NEXT_MODEL), (2, LAST_MODEL)):
        entry = next_round(state, model)
        said = statements(state, entry)
        state.apply(entry, said)
        assert (state.rounds, state.model, state.accepted) == (number, model, 2)
        assert state.pending == {client: statement.nonce for client, statement in said.items()}
    state.apply(closing(state))
    assert state.closed
    assert state.size == 1 + 3 + 2 + 1


def test_participants_are_those_of_the_beacon_among_the_enrolled() -> None:
    state = after_enrolments()
    chosen = {tuple(state.participants(f"{i:02x}" * 32)) for i in range(20)}
    assert chosen == {(0, 1), (0, 2), (1, 2)}
    assert state.participants("05" * 32) == participants("05" * 32, NAMES[:3], 2)


def test_the_first_model_is_the_one_that_the_agreement_gives() -> None:
    initial = {"model": {"seed": None, "initial": "00" * 32}}
    assert RunState.begin(opening_entry(**initial)).model.digest == "00" * 32
    with pytest.raises(VerificationError, match="the first model is not the one whose digest the agreement gives"):
        RunState.begin(changed(opening_entry(**initial), model=NEXT_MODEL))
    assert RunState.begin(changed(opening_entry(), model=NEXT_MODEL)).model == NEXT_MODEL  # expanded from the seed


def test_two_runs_of_one_agreement_are_different_runs() -> None:
    assert RunState.begin(opening_entry()).run != RunState.begin(opening_entry(run="a6" * 32)).run


# ---- one test for each rule


def test_nothing_follows_the_closing() -> None:
    state = after_rounds(None)
    later = (next_round(state), closing(state, outcome="interrupted", rounds=1))
    state.apply(closing(state, outcome="interrupted"))
    for entry in later:
        refused(state, entry, "an entry follows the closing of the run")
    early = after_enrolments(1)
    late = enrolled(early, 1)
    early.apply(closing(early, outcome="interrupted"))
    refused(early, late, "an entry follows the closing of the run")


def test_there_is_one_agreement() -> None:
    for state in (after_enrolments(0), after_enrolments(), after_rounds(None)):
        refused(state, opening_entry(), "a second agreement: there is one, and it is entry 0")


def test_nobody_enrols_after_the_first_round() -> None:
    state = after_enrolments(2)
    entry = next_round(state)
    state.apply(entry, statements(state, entry))
    refused(state, enrolled(state, 2), "an enrolment after the first round")


def test_an_enrolment_names_this_run() -> None:
    state = after_enrolments(0)
    refused(state, enrolled(state, 0, run="ee" * 32), "the enrolment belongs to another run")


def test_only_members_enrol_where_the_agreement_lists_them() -> None:
    state = after_enrolments(0, federation={"members": [NAMES[0], NAMES[2]]})
    state.apply(enrolled(state, 0))
    refused(state, enrolled(state, 1), f"client {NAMES[1][:16]} is not among federation.members")
    state.apply(enrolled(state, 2))


@pytest.mark.parametrize(("samples", "allowed"), [(4, False), (5, True), (100, True), (101, False)])
def test_a_client_enrols_as_many_samples_as_the_agreement_takes(samples: int, allowed: bool) -> None:
    state = after_enrolments(0, federation={"minimum-samples": 5})
    entry = enrolled(state, 0, samples=samples)
    if allowed:
        state.apply(entry)
    else:
        refused(state, entry, f"client {NAMES[0][:16]} enrols {samples} samples; the agreement takes 5 to 100")


def test_enrolments_stand_in_the_order_of_their_keys_each_once() -> None:
    state = after_enrolments(0)
    state.apply(enrolled(state, 1))
    for number in (0, 1):
        refused(state, enrolled(state, number), "enrolments do not stand in the order of their keys, or a key enrols twice")
    refused(state, enrolled(state, 1, samples=11), "enrolments do not stand in the order of their keys, or a key enrols twice")
    state.apply(enrolled(state, 2))


def test_no_more_clients_enrol_than_the_agreement_has() -> None:
    state = after_enrolments(2, federation={"clients": 2})
    refused(state, enrolled(state, 2), "more enrolments than federation.clients")


def test_a_round_needs_the_minimum_of_clients() -> None:
    state = after_enrolments(1)
    refused(state, next_round(state), "a round with fewer clients than federation.minimum-clients")
    state.apply(enrolled(state, 1))
    entry = next_round(state)
    state.apply(entry, statements(state, entry))


@pytest.mark.parametrize("number", [1, 3])
def test_rounds_follow_each_other(number: int) -> None:
    state = after_rounds(None, rounds={"count": 5})
    refused(state, next_round(state, round=number), f"round {number} follows round 1")


def test_there_are_no_more_rounds_than_agreed() -> None:
    state = after_rounds(None, None)
    refused(state, next_round(state), "round 3 is beyond rounds.count (2)")


def test_the_run_does_not_go_on_after_a_round_with_too_few_accepted_updates() -> None:
    few: dict[str, Any] = {"rounds": {"minimum-accepted": 2}}
    state = after_rounds(next_round(after_enrolments(**few), reject=1), **few)
    assert state.accepted == 1
    refused(state, next_round(state), "a round follows one that had fewer accepted updates than rounds.minimum-accepted")


def test_the_run_goes_on_after_a_round_with_nothing_accepted_where_the_agreement_allows_it() -> None:
    none: dict[str, Any] = {"rounds": {"minimum-accepted": 0}}
    state = after_rounds(next_round(after_enrolments(**none), reject=2), None, **none)
    assert (state.rounds, state.accepted, state.model) == (2, 2, NEXT_MODEL)


def test_a_round_starts_from_the_model_of_the_entry_before() -> None:
    state = after_rounds(None)
    for model in (state.opening.model.digest, "ee" * 32):
        refused(state, next_round(state, LAST_MODEL, model_before=model), "model-before is not the model of the previous entry")


def reveals(*clients: int) -> tuple[Reveal, ...]:
    return tuple(Reveal(client=client, nonce=DIGEST) for client in clients)


@pytest.mark.parametrize(("revealed", "withheld"), [((1, 0, 2), ()), ((2,), (1, 0)), ((0, 0, 1, 2), ()), ((), (0, 1, 2, 2))])
def test_nonces_stand_in_the_order_of_the_clients_each_once(revealed: tuple[int, ...], withheld: tuple[int, ...]) -> None:
    state = after_enrolments()
    entry = next_round(state, reveals=reveals(*revealed), withheld=withheld)
    refused(state, entry, "reveals and withheld nonces do not stand in ascending order of the clients")


@pytest.mark.parametrize(("revealed", "withheld"), [((0, 1), ()), ((0, 1, 2, 3), ()), ((0, 1), (1, 2)), ((), ()), ((0, 1), (3,))])
def test_every_nonce_that_was_committed_is_revealed_or_withheld(revealed: tuple[int, ...], withheld: tuple[int, ...]) -> None:
    state = after_enrolments()
    entry = next_round(state, reveals=reveals(*revealed), withheld=withheld)
    refused(state, entry, "reveals and withheld nonces are not those of the clients that had committed to one")


@pytest.mark.parametrize(("revealed", "withheld"), [((0, 1, 2), ()), ((0, 2), (1,)), ((), (0, 1, 2))])
def test_a_nonce_may_be_withheld(revealed: tuple[int, ...], withheld: tuple[int, ...]) -> None:
    state = after_enrolments()
    entry = next_round(state, reveals=reveals(*revealed), withheld=withheld)
    state.apply(entry, statements(state, entry))
    assert state.rounds == 1


def test_only_accepted_clients_have_committed_to_the_next_nonce() -> None:
    state = after_rounds(next_round(after_enrolments(), reject=1))
    (accepted,) = state.pending
    others = sorted({0, 1, 2} - {accepted})
    message = "reveals and withheld nonces are not those of the clients that had committed to one"
    refused(state, next_round(state, LAST_MODEL, reveals=reveals(0, 1, 2)), message)
    refused(state, next_round(state, LAST_MODEL, withheld=tuple(others)), message)


def test_a_rejected_clients_statement_commits_to_nothing() -> None:
    state = after_enrolments()
    entry = next_round(state, reject=1)
    rejected = entry.verdicts[-1].client
    state.apply(entry, {**statements(state, entry), rejected: contribution(state.run, rejected)})
    assert rejected not in state.pending
    assert len(state.pending) == 1


def test_the_verdicts_are_about_the_clients_that_the_beacon_chose() -> None:
    state = after_enrolments()
    entry = next_round(state)
    message = "the verdicts are not about the clients that the beacon chose"
    first, second = entry.verdicts
    (missing,) = {0, 1, 2} - {first.client, second.client}
    # the number of samples fits in each case
    refused(state, changed(entry, verdicts=(second, first)), message)
    refused(state, changed(entry, verdicts=(first,), aggregate=aggregate(SAMPLES[first.client])), message)
    refused(state, changed(entry, verdicts=(first, second, Verdict(client=missing, reason=Reason.NO_REPLY))), message)
    refused(
        state,
        changed(entry, verdicts=(first, second, second), aggregate=aggregate(SAMPLES[first.client] + 2 * SAMPLES[second.client])),
        message,
    )
    swapped = tuple(sorted((first, changed(second, client=missing)), key=lambda verdict: verdict.client))
    refused(state, changed(entry, verdicts=swapped, aggregate=aggregate(SAMPLES[first.client] + SAMPLES[missing])), message)
    other = next(
        beacon for beacon in (f"{i:02x}" * 32 for i in range(2, 99)) if state.participants(beacon) != [first.client, second.client]
    )
    refused(state, changed(entry, beacon=other), message)


def test_an_aggregate_stands_where_enough_was_accepted() -> None:
    state = after_enrolments()
    message = "an aggregate stands exactly in a round with enough accepted updates"
    refused(state, next_round(state, aggregate=None, model_after=state.model), message)
    refused(state, next_round(state, reject=2, aggregate=aggregate(0), model_after=NEXT_MODEL), message)
    few = after_enrolments(rounds={"minimum-accepted": 2})
    entry = next_round(few, reject=1)
    samples = SAMPLES[entry.verdicts[0].client]
    refused(few, changed(entry, aggregate=aggregate(samples), model_after=NEXT_MODEL), message)


def test_nothing_accepted_is_never_enough_for_an_aggregate() -> None:
    state = after_enrolments(rounds={"minimum-accepted": 0})
    entry = next_round(state, reject=2)
    assert entry.aggregate is None
    refused(state, changed(entry, aggregate=aggregate(0)), "an aggregate stands exactly in a round with enough accepted updates")
    state.apply(entry, {})


def test_the_model_stays_in_a_round_without_an_aggregate() -> None:
    state = after_enrolments()
    entry = next_round(state, reject=2)
    message = "the model changes in a round without an aggregate"
    refused(state, changed(entry, model_after=NEXT_MODEL), message)
    refused(state, changed(entry, model_after=changed(state.model, size=329)), message)
    refused(state, changed(entry, model_after=changed(state.model, media_type=SCALARS)), message)


@pytest.mark.parametrize("error", [-1, 1])
def test_the_aggregate_counts_the_samples_of_the_accepted_clients(error: int) -> None:
    for reject in (0, 1):
        state = after_enrolments()
        entry = next_round(state, reject=reject)
        assert entry.aggregate is not None
        right = entry.aggregate.samples
        message = f"the aggregate counts {right + error} samples instead of {right}"
        refused(state, changed(entry, aggregate=aggregate(right + error)), message)


def test_the_closing_counts_the_rounds() -> None:
    state = after_rounds(None, None)
    for rounds in (1, 3):
        refused(state, closing(state, rounds=rounds), f"the closing entry counts {rounds} rounds instead of 2")


def test_the_closing_names_the_last_model() -> None:
    state = after_rounds(None, None)
    for model in (state.opening.model.digest, "ee" * 32):
        refused(state, closing(state, model=model), "the closing entry names another model than the last round")


def test_a_run_is_completed_after_all_its_rounds_only() -> None:
    for state in (after_enrolments(), after_rounds(None)):
        refused(state, closing(state), f"the run is closed as completed after {state.rounds} of 2 rounds")
    state = after_rounds(None, None)
    state.apply(closing(state))


def test_a_run_ends_for_too_few_updates_only_after_such_a_round() -> None:
    few: dict[str, Any] = {"rounds": {"minimum-accepted": 2}}
    message = "the run is closed for too few accepted updates, but the last round had enough"
    for state in (after_enrolments(**few), after_rounds(None, **few)):
        refused(state, closing(state, outcome="too-few-accepted"), message)
    state = after_rounds(next_round(after_enrolments(**few), reject=1), **few)
    state.apply(closing(state, outcome="too-few-accepted"))


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_run_can_be_interrupted_at_any_time(rounds: int) -> None:
    state = after_rounds(*[None] * rounds)
    state.apply(closing(state, outcome="interrupted"))
    assert state.closed


def test_an_enrolment_can_be_checked_before_it_is_appended() -> None:
    state = after_enrolments(0, federation={"members": [NAMES[0], NAMES[2]], "minimum-samples": 5})
    good = enrolment(state.run, 0)
    state.check_enrolment(good)
    bad: list[EnrolmentStatement] = [changed(good, run="ee" * 32), changed(good, client=NAMES[1]), changed(good, samples=4)]
    for statement in bad:
        with pytest.raises(VerificationError):
            state.check_enrolment(statement)
    assert state.members == []
