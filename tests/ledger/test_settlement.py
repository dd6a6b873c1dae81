"""Settling an epoch: what is due when, what follows from the verdicts, and claims that anybody can check."""

from typing import Any

import pytest

from ledger import merkle
from ledger.agreement import complete
from ledger.entries import CommitmentsEntry, Contributed, EnrolmentEntry, Reference, RoundEntry, SettlementEntry, SignedEnrolment, Verdict
from ledger.entries import Settled as Line
from ledger.errors import FormatError, VerificationError
from ledger.settlement import FAULTS, MISSED, Score, Tally, claim_proof, claims, claims_root, counts, pays
from ledger.state import RunState
from ledger.verdicts import Reason
from tests.ledger.test_entries import DIGEST, KEYS, changed, enrolment, opening_entry
from tests.ledger.test_state import after_rounds, closing, next_round, refused, statements
from zk.hashing import sha256

ACCOUNTS = ["0x" + f"{number + 1:02x}" * 20 for number in range(3)]
TERMS: dict[str, Any] = {"epoch": 2, "evaluation": DIGEST, "pot": 1000, "penalty": 50, "missed": 3}


def settling(*, rounds: int = 5, participants: int = 3, accounts: tuple[str | None, ...] = tuple(ACCOUNTS), **terms: Any) -> RunState:  # noqa: ANN401
    opening = opening_entry(rounds={"count": rounds, "participants": participants}, settlement={**TERMS, **terms})
    state = RunState.begin(opening)
    for number, account in enumerate(accounts):
        statement = changed(enrolment(state.run, number, 10 * (number + 1)), account=account)
        state.apply(EnrolmentEntry(enrolment=SignedEnrolment.sign(statement, KEYS[number])))
    return state


def do_rounds(state: RunState, count: int, **fields: Any) -> None:  # noqa: ANN401
    for _ in range(count):
        entry = next_round(state, **fields)
        state.apply(entry, statements(state, entry))


SCORES = {0: Score(300, 1), 1: Score(100, 1), 2: Score(-50, 1)}


def test_the_pot_goes_to_positive_scores_in_proportion() -> None:
    state = settling()
    do_rounds(state, 2)
    entry = state.settlement(SCORES)
    assert [line.contribution for line in entry.clients] == ["1500", "500", "0"]  # two rounds of 1000
    assert (entry.epoch, entry.first, entry.last, entry.total) == (1, 1, 2, "2000")
    state.apply(entry)
    assert (state.epochs, state.settled, state.tally.clients) == (1, 2, {})


def test_a_remainder_stays_in_the_pot() -> None:
    state = settling(pot=100)
    do_rounds(state, 2)
    entry = state.settlement({0: Score(1, 0), 1: Score(1, 0), 2: Score(1, 0)})
    assert [line.contribution for line in entry.clients] == ["66", "66", "66"]


@pytest.mark.parametrize(
    ("score", "paid"),
    [
        (Score(0, 0), False),
        (Score(-1, 0), False),
        (Score(20, 10), False),
        (Score(21, 10), True),
        (Score(9, 0), False),
        (Score(10, 0), True),
    ],
)
def test_noise_pays_nothing(score: Score, paid: bool) -> None:
    rules = complete(
        {
            "federation": {"name": "x", "clients": 3},
            "model": {"layers": [2, 3], "seed": DIGEST},
            "settlement": TERMS,
            "rounds": {"participants": 3},
        }
    ).settlement
    assert rules is not None
    assert pays(rules, score, [190, 10]) is paid  # the mean is 100, ten per cent of it pay


def test_amounts_beyond_53_bits_are_exact() -> None:
    state = settling(pot=10**24 + 1)
    do_rounds(state, 2)
    entry = state.settlement({0: Score(1, 0), 1: Score(2, 0)})
    assert [line.contribution for line in entry.clients] == [str((2 * 10**24 + 2) // 3), str(2 * (2 * 10**24 + 2) // 3), "0"]


def test_a_licence_is_paid_for_each_round_that_counts() -> None:
    state = settling(licences={KEYS_HEX[2]: 7})
    do_rounds(state, 1)
    do_rounds(state, 1, reject=1)
    assert [line.licence for line in state.settlement({}).clients] == ["0", "0", "7"]


KEYS_HEX = [enrolment(DIGEST, number).client for number in range(3)]


def tallied(reason: Reason, *, rate: float = 1.0, **verdict: Any) -> Any:  # noqa: ANN401
    """Return what is counted for a client with this verdict."""
    opening = opening_entry(settlement=TERMS, proof={"rate": rate})
    tally = Tally(opening.agreement)
    state = after_rounds()
    entry = next_round(state)
    tally.add(changed(entry, verdicts=(Verdict(client=1, reason=reason, **verdict),)))
    return tally.clients[1]


def test_each_verdict_costs_what_its_cause_says() -> None:
    for reason in Reason:
        counted = tallied(reason)
        assert (counted.faults, counted.missed) == (int(reason in FAULTS), int(reason in MISSED)), reason
        assert counted.rounds == (reason is Reason.ACCEPTED)


def test_what_a_server_could_bring_about_costs_no_penalty() -> None:
    assert not FAULTS & {
        Reason.STALE_MODEL,
        Reason.WRONG_ROUND,
        Reason.WRONG_RUN,
        Reason.WRONG_BATCH,
        Reason.BAD_SIGNATURE,
        Reason.WRONG_CLIENT,
    }
    assert not FAULTS & {Reason.NO_REPLY, Reason.MALFORMED, Reason.DUPLICATE, Reason.EVIDENCE_MISMATCH, Reason.CLIENT_ERROR}


def test_where_proofs_are_asked_for_later_a_missing_one_is_the_servers_word() -> None:
    counted = tallied(Reason.NO_PROOF, rate=0.5)
    assert (counted.faults, counted.missed, counted.reasons) == (0, 1, {Reason.NO_PROOF})


def test_only_proved_updates_count() -> None:
    proof = Reference(digest=DIGEST, size=1, media_type="application/json")
    some, every = (opening_entry(proof={"rate": rate}).agreement for rate in (0.5, 1.0))
    unproved, proved = Verdict(client=0, reason=Reason.ACCEPTED), Verdict(client=0, reason=Reason.ACCEPTED, proof=proof)
    assert (counts(some, unproved), counts(some, proved), counts(every, unproved)) == (False, True, True)


def test_a_nonce_that_was_withheld_counts_once() -> None:
    tally = Tally(opening_entry(settlement=TERMS, proof={"rate": 0.5}).agreement)
    contributed = (Contributed(client=0, contribution=Reference(digest=DIGEST, size=1, media_type="application/json")),)
    tally.add(CommitmentsEntry(round=1, reveals=(), withheld=(2,), beacon=DIGEST, contributions=contributed))
    tally.add(changed(next_round(after_rounds()), withheld=(0,), verdicts=(Verdict(client=0, reason=Reason.WITHHELD),)))
    assert (tally.clients[2].missed, tally.clients[0].missed) == (1, 1)


def test_a_penalty_for_each_fault_and_each_missed_obligation() -> None:
    state = settling()
    do_rounds(state, 2, reject=1)  # client 2 does not reply
    line = state.settlement({}).clients[2]
    assert (line.penalty, line.missed, line.faults, line.reasons) == ("6", 2, 0, (Reason.NO_REPLY,))


# ---- when a settlement stands


def test_an_epoch_is_settled_before_the_next_round() -> None:
    state = settling()
    do_rounds(state, 1)
    assert not state.settlement_due
    do_rounds(state, 1)
    assert state.settlement_due
    refused(state, next_round(state), "round 3 begins before the rounds up to 2 are settled")
    state.apply(state.settlement(SCORES))
    do_rounds(state, 2)
    state.apply(state.settlement(SCORES))
    do_rounds(state, 1)
    assert state.settlement_due  # the last epoch is short
    refused(state, closing(state), "the run is closed before the rounds up to 5 are settled")
    entry = state.settlement(SCORES)
    assert (entry.epoch, entry.first, entry.last) == (3, 5, 5)
    state.apply(entry)
    state.apply(closing(state))
    assert state.size == 1 + 3 + 5 + 3 + 1


def test_an_epoch_is_settled_once() -> None:
    state = settling()
    do_rounds(state, 2)
    entry = state.settlement(SCORES)
    state.apply(entry)
    refused(state, entry, "a settlement without a round since the last one")


def test_an_epoch_that_is_cut_short_ends_the_run() -> None:
    state = settling()
    do_rounds(state, 1)
    refused(state, closing(state, outcome="interrupted"), "before the rounds up to 1 are settled")
    state.apply(state.settlement(SCORES))
    refused(state, next_round(state), "round 2 follows the settlement of an epoch that was cut short")
    state.apply(closing(state, outcome="interrupted"))


def test_a_run_without_settlements_has_none() -> None:
    entry = settled_entry()
    refused(after_rounds(None), entry, "the agreement has no section for it")


def settled_entry() -> SettlementEntry:
    state = settling()
    do_rounds(state, 2)
    return state.settlement(SCORES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epoch": 2}, "the settlement's epoch is 2 instead of 1"),
        ({"first": 2}, "the settlement's first is 2 instead of 1"),
        ({"last": 3}, "the settlement's last is 3 instead of 2"),
        ({"total": "2001"}, "the settlement's total is 2001 instead of 2000"),
        ({"root": "00" * 32}, f"the settlement's root is {'00' * 32} instead of"),
    ],
)
def test_a_settlement_says_what_follows(fields: dict[str, Any], message: str) -> None:
    state = settling()
    do_rounds(state, 2)
    refused(state, changed(state.settlement(SCORES), **fields), message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contribution": "1501"}, "client 0 is settled with contribution 1501 instead of 1500"),
        ({"account": ACCOUNTS[1]}, f"client 0 is settled with account {ACCOUNTS[1]} instead of {ACCOUNTS[0]}"),
        ({"account": None}, "client 0 is settled with account None"),
        ({"licence": "1"}, "client 0 is settled with licence 1 instead of 0"),
        ({"penalty": "50"}, "client 0 is settled with penalty 50 instead of 0"),
        ({"faults": 1}, "client 0 is settled with faults 1 instead of 0"),
        ({"missed": 1}, "client 0 is settled with missed 1 instead of 0"),
        ({"rounds": 1}, "client 0 is settled with rounds 1 instead of 2"),
        ({"reasons": (Reason.BAD_PROOF,)}, "client 0 is settled with reasons bad-proof instead of none"),
        ({"score": 301}, "client 0 is settled with contribution 1500 instead of 1501"),
        ({"error": 200}, "client 0 is settled with contribution 1500 instead of 0"),
    ],
)
def test_every_field_of_a_client_follows(fields: dict[str, Any], message: str) -> None:
    state = settling()
    do_rounds(state, 2)
    entry = state.settlement(SCORES)
    first: Line = changed(entry.clients[0], **fields)
    refused(state, changed(entry, clients=(first, *entry.clients[1:])), message)


def test_nobody_is_left_out_or_named_twice() -> None:
    state = settling()
    do_rounds(state, 2)
    entry = state.settlement(SCORES)
    for lines in (entry.clients[:2], (*entry.clients, entry.clients[2]), entry.clients[::-1]):
        refused(state, changed(entry, clients=lines), "the settlement is about the clients")


def test_a_client_without_a_round_that_counts_has_no_score() -> None:
    state = settling()
    do_rounds(state, 2, reject=1)
    entry = state.settlement(SCORES)
    assert (entry.clients[2].rounds, entry.clients[2].score) == (0, 0)
    forged = changed(entry.clients[2], score=5)
    refused(state, changed(entry, clients=(*entry.clients[:2], forged)), "client 2 is settled with score 5 instead of 0")


# ---- claims


def test_claims_are_those_with_an_account_and_something_earned() -> None:
    state = settling(accounts=(ACCOUNTS[0], None, ACCOUNTS[2]))
    do_rounds(state, 2)
    entry = state.settlement({0: Score(1, 0), 1: Score(2, 0), 2: Score(1, 0)})
    assert [(claim.index, claim.client, claim.account, claim.amount) for claim in claims(entry)] == [
        (0, 0, ACCOUNTS[0], 500),
        (1, 2, ACCOUNTS[2], 500),
    ]
    assert entry.total == "1000"


def test_a_leaf_is_what_a_contract_packs() -> None:
    claim = claims(settled_entry())[1]
    assert claim.leaf == (1).to_bytes(32, "big") + bytes.fromhex("02" * 20) + (500).to_bytes(32, "big")


@pytest.mark.parametrize("earning", [1, 2, 3])
def test_a_proof_of_a_claim_leads_to_the_root(earning: int) -> None:
    state = settling(threshold=0)
    do_rounds(state, 2)
    entry = state.settlement({number: Score(number + 1, 0) for number in range(earning)})
    due = claims(entry)
    assert len(due) == earning
    for claim in due:
        leaf = merkle.leaf_hash(claim.leaf)
        merkle.verify_inclusion(leaf, claim.index, len(due), claim_proof(due, claim.index), bytes.fromhex(entry.root))
    with pytest.raises(VerificationError, match=f"there is no claim {earning}"):
        claim_proof(due, earning)


def test_without_claims_the_root_is_that_of_the_empty_tree() -> None:
    assert claims_root([]) == sha256()


# ---- the agreement


def test_an_agreement_without_settlements_keeps_its_bytes() -> None:
    assert "settlement" not in opening_entry().agreement.to_json()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"pot": 1.5}, "settlement.pot"),
        ({"pot": -1}, "settlement.pot"),
        ({"pot": "01"}, "settlement.pot"),
        ({"pot": 10**30}, "settlement.pot"),
        ({"evaluation": "12"}, "settlement.evaluation"),
        ({"epoch": 0}, "settlement.epoch"),
        ({"method": "guess"}, "settlement.method"),
        ({"licences": {"me": 1}}, "settlement.licences"),
        ({"similarity": 20}, "settlement.similarity"),
    ],
)
def test_false_terms_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        opening_entry(settlement={**TERMS, **terms})


def test_exact_values_are_for_ten_participants_at_most() -> None:
    many = {"federation": {"clients": 11, "minimum-clients": 2, "maximum-samples": 100}, "rounds": {"participants": 11, "count": 2}}
    with pytest.raises(FormatError, match="choose gtg-shapley"):
        opening_entry(settlement={**TERMS, "method": "shapley"}, **many)


def test_a_settlement_that_does_not_fit_an_entry_is_refused() -> None:
    many = {"federation": {"clients": 200, "maximum-samples": 100}, "rounds": {"participants": 100, "count": 2}}
    with pytest.raises(FormatError, match=r"shorten settlement\.epoch"):
        opening_entry(settlement=TERMS, **many)


def test_the_longest_line_fits_its_share_of_an_entry() -> None:
    line = Line(
        client=9999,
        account=ACCOUNTS[0],
        rounds=100_000,
        score=1 - 2**53,
        error=2**53 - 1,
        contribution="9" * 39,
        licence="9" * 39,
        penalty="9" * 39,
        faults=100_000,
        missed=100_000,
        reasons=tuple(sorted(FAULTS | MISSED)),
    )
    assert len(line.model_dump_json()) < 512


def test_prices_may_be_numbers_or_text() -> None:
    assert opening_entry(settlement={**TERMS, "pot": "1000"}) == opening_entry(settlement={**TERMS, "pot": 1000})


def test_rounds_without_an_aggregate_add_no_pot() -> None:
    state = settling(rounds=4)
    do_rounds(state, 1)
    empty: RoundEntry = changed(next_round(state, reject=3), aggregate=None, model_after=state.model)
    state.apply(empty, {})
    assert [line.contribution for line in state.settlement(SCORES).clients] == ["750", "250", "0"]
