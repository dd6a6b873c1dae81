"""What the federation's contract does, case by case; what it refuses is in ``test_reverts.py``."""

import json

import pytest
from eth_account.signers.local import LocalAccount

from server.chain import artifacts
from tests.chain.evm import Contract, Reverted, test_artifact
from tests.chain.world import (
    BOND,
    LOG,
    NO_ANCHOR,
    OPERATOR,
    PERIODS,
    STAKE,
    WITNESS,
    ZERO,
    Tree,
    World,
    amounts,
    fork,
    standing,
)

A, B = b"\xaa" * 32, b"\xbb" * 32
ODD = "token"


def votes(world: World, who: LocalAccount) -> int:
    return int(world.federation.get("votes", who.address))


def stake(world: World, who: LocalAccount) -> int:
    return int(world.federation.get("stake", who.address))


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_what_is_shipped_is_what_the_sources_say(name: str) -> None:
    path = artifacts._SOURCES / f"{name}.vy"
    assert json.loads(artifacts.compiled(path)) == artifacts.artifact(name), "python -m server.chain.artifacts"


def test_members_are_bound_to_their_ledger_identity() -> None:
    world = standing()
    world.join(world.bystander, STAKE, b"\x2a" * 32)
    assert world.federation.get("ledger_key", world.bystander.address) == b"\x2a" * 32
    world.join(world.others[0], STAKE, b"\x2a" * 32)  # who claims another's key blocks nobody


def test_votes_follow_delegation_one_step() -> None:
    world = standing()
    a, b, c = world.others[:3]
    for one, amount in ((a, 1_000), (b, 2_000), (c, 4_000)):
        world.join(one, amount)
    world.federation.send("delegate_to", b.address, sender=a)
    world.federation.send("vote", c.address, sender=b)
    assert votes(world, c) == 3_000
    world.federation.send("delegate_to", a.address, sender=b)  # a cycle does no harm: each stake follows the other's choice
    assert votes(world, c) == 1_000, "what a delegated stays with b's choice; b's own follows a, who chose nobody"
    world.federation.send("vote", c.address, sender=a)
    assert votes(world, c) == 3_000
    world.pay(world.federation, "top_up", 500, sender=a, amount=500)
    assert votes(world, c) == 3_500
    world.federation.send("delegate_to", ZERO, sender=a)
    assert votes(world, c) == 3_500, "now both choose c"
    world.federation.send("vote", ZERO, sender=a)
    world.federation.send("vote", ZERO, sender=b)
    assert votes(world, c) == 0


def test_stake_that_leaves_counts_no_more_and_is_slashed_still() -> None:
    world = standing()
    a, b = world.others[:2]
    world.join(a, 3_000)
    world.federation.send("vote", b.address, sender=a)
    world.federation.send("unbond", 2_000, sender=a)
    assert votes(world, b) == 1_000
    penalties = amounts((a.address, 2_500))
    world.settle(1, Tree(), penalties)
    pot = world.federation.get("pot")
    world.penalise(1, penalties, 0)
    assert (world.federation.get("pot") - pot, stake(world, a), world.federation.get("unbonding", a.address)) == (2_500, 500, 0)
    assert votes(world, b) == 500


def test_the_candidates_with_the_most_votes_are_seated() -> None:
    world = standing()
    strong = world.others[0]
    world.join(strong, WITNESS * 2)
    world.federation.send("stand", sender=strong)
    world.federation.send("vote", strong.address, sender=strong)
    world.evm.wait(PERIODS["term"])
    world.federation.send("elect", sender=world.bystander)
    assert world.federation.get("seat", strong.address) == 1
    assert world.federation.get("seat", world.witnesses[4].address) == 0, "the last of those with as many votes made room"
    world.federation.send("unbond", WITNESS, sender=world.witnesses[4])


def test_a_weak_candidate_gives_way_to_a_strong_one() -> None:
    world = standing()
    for one in world.others[:11]:
        world.join(one, WITNESS)
        world.federation.send("stand", sender=one)
    late = world.others[11]
    world.join(late, WITNESS)
    world.federation.send("vote", late.address, sender=late)
    world.federation.send("stand", sender=late)
    assert world.federation.get("candidates", 5).lower() == late.address.lower()
    world.federation.send("stand_down", sender=late)
    with pytest.raises(Reverted):
        world.federation.get("candidates", 15)


def test_an_anchor_is_final_after_its_window() -> None:
    world = standing()
    world.grow(5)
    world.anchor()
    assert not world.federation.get("final", world.anchors[0])
    world.evm.wait(PERIODS["anchor_window"])
    assert world.federation.get("final", world.anchors[0])
    assert not world.federation.get("final", (*world.anchors[0][:3], world.anchors[0][3] - 1))


def test_anchors_of_every_size_follow_each_other() -> None:
    world = standing()
    for step in (1, 1, 2, 3, 5, 8):
        world.grow(step)
        world.anchor()
    assert [size for _, size, _, _ in world.anchors] == [2, 3, 5, 8, 13, 21]


def test_an_operator_that_signed_two_roots_for_one_size_loses_its_stake_and_the_federation_is_halted() -> None:
    world = standing()
    one, two = (world.anchor_signature(world.operator, 9, root) for root in (A, B))
    world.federation.send("convict", 9, A, one, 9, B, two, [], sender=world.bystander)
    assert stake(world, world.operator) == 0
    assert world.federation.get("credit", world.bystander.address) == OPERATOR // 10
    assert world.federation.get("pot") == 10_000 + OPERATOR - OPERATOR // 10
    assert world.federation.get("halted_at") == world.federation.get("over_at") > 0
    before = world.holds(world.bystander.address)
    world.federation.send("collect", world.beneficiary.address, sender=world.bystander)
    assert world.holds(world.bystander.address) <= before


def test_a_witness_that_signed_a_fork_loses_stake_and_seat() -> None:
    world = standing()
    world.grow(9)
    guilty = world.witnesses[1]
    other = fork([*world.ledger.leaves[:3], b"x", *world.ledger.leaves[4:7]])
    one = world.anchor_signature(guilty, 7, other.root())
    two = world.anchor_signature(guilty, 10, world.ledger.root())
    path = world.ledger.path(7)
    world.federation.send("convict", 7, other.root(), one, 10, world.ledger.root(), two, path, sender=world.bystander)
    assert (stake(world, guilty), world.federation.get("seat", guilty.address)) == (0, 0)
    assert world.federation.get("over_at") == 0
    assert world.federation.get("seat", world.witnesses[4].address) == 2, "the last one took the seat that became free"
    world.anchor()


def test_histories_that_agree_convict_nobody() -> None:
    world = standing()
    world.grow(9)
    for old in range(1, 10):
        one = world.anchor_signature(world.operator, old, world.ledger.root(old))
        two = world.anchor_signature(world.operator, 10, world.ledger.root())
        with pytest.raises(Reverted, match="no contradiction"):
            world.federation.send(
                "convict", old, world.ledger.root(old), one, 10, world.ledger.root(), two, world.ledger.path(old), sender=world.bystander
            )


def test_claims_are_paid_to_their_account_whoever_sends_them() -> None:
    world = standing()
    a, b = world.others[:2]
    claims = amounts((a.address, 60), (b.address, 40))
    world.settle(1, claims)
    assert world.federation.get("pot") == 9_900
    before = world.holds(a.address)
    world.claim(1, claims, 0)
    assert world.holds(a.address) - before == 60
    world.federation.send("claim", *world.claim_call(1, claims, 1, world.beneficiary.address), sender=b)
    assert world.federation.get("unsettled") == 0


def test_a_challenge_that_fails_costs_the_challenger() -> None:
    world = standing()
    claims = amounts((world.others[0].address, 60))
    world.final_anchor()
    world.propose(1, claims)
    world.pay(world.federation, "challenge", 1, sender=world.bystander, amount=BOND)
    world.federation.send("resolve", 1, True, world.resolution(1, stands=True), sender=world.sponsor)
    world.claim(1, claims, 0)
    assert world.federation.get("pot") == 10_000 - 60 + BOND


def test_a_challenge_that_succeeds_costs_the_operator_and_the_epoch_is_settled_again() -> None:
    world = standing()
    world.final_anchor()
    world.propose(1, amounts((world.operator.address, 9_000)))
    world.pay(world.federation, "challenge", 1, sender=world.bystander, amount=BOND)
    decision = world.resolution(1, stands=False)
    world.federation.send("resolve", 1, False, decision, sender=world.sponsor)
    assert world.federation.get("credit", world.bystander.address) == 2 * BOND
    assert stake(world, world.operator) == OPERATOR - BOND
    world.pay(world.federation, "top_up", BOND, sender=world.operator, amount=BOND)
    world.propose(1, amounts((world.operator.address, 9_000)))
    world.pay(world.federation, "challenge", 1, sender=world.bystander, amount=BOND)
    with pytest.raises(Reverted, match="not by seated"):
        world.federation.send("resolve", 1, False, decision, sender=world.sponsor)


def test_silence_of_the_witnesses_settles_nothing_and_costs_nothing() -> None:
    world = standing()
    world.final_anchor()
    world.propose(1, amounts((world.others[0].address, 60)))
    world.pay(world.federation, "challenge", 1, sender=world.bystander, amount=BOND)
    world.evm.wait(PERIODS["resolution"] + 1)
    world.federation.send("lapse", 1, sender=world.sponsor)
    assert (world.federation.get("pot"), world.federation.get("credit", world.bystander.address)) == (10_000, BOND)


def test_a_settlement_that_was_not_final_when_the_federation_was_halted_is_void() -> None:
    world = standing()
    world.final_anchor()
    world.propose(1, amounts((world.others[0].address, 60)))
    one, two = (world.anchor_signature(world.operator, 9, root) for root in (A, B))
    world.federation.send("convict", 9, A, one, 9, B, two, [], sender=world.bystander)
    world.evm.wait(PERIODS["settlement_window"])
    world.federation.send("lapse", 1, sender=world.bystander)
    assert world.federation.get("unsettled") == 0


def test_a_fine_that_leaves_too_little_costs_the_seat() -> None:
    world = standing()
    penalties = amounts((world.witnesses[0].address, 1))
    world.settle(1, Tree(), penalties)
    world.penalise(1, penalties, 0)
    assert world.federation.get("seat", world.witnesses[0].address) == 0


def test_sponsors_share_what_is_left() -> None:
    world = standing()
    world.fund(5_000, world.bystander)
    world.settle(1, amounts((world.others[0].address, 3_000)))
    world.federation.send("close", world.anchors[-1], sender=world.operator)
    world.evm.wait(PERIODS["claim_period"] + 1)
    world.federation.send("expire", 1, sender=world.others[3])
    for sponsor, amount in ((world.sponsor, 10_000), (world.bystander, 5_000)):
        pot = world.federation.get("pot")
        world.federation.send("refund", world.others[9].address, sender=sponsor)
        assert pot - world.federation.get("pot") == amount
    assert world.federation.get("pot") == 0


def test_anybody_ends_a_federation_whose_operator_is_silent() -> None:
    world = standing()
    world.anchor()
    world.evm.wait(PERIODS["silence"] + 1)
    world.federation.send("close", world.anchors[-1], sender=world.bystander)
    silent = standing(begin=False)
    silent.evm.wait(PERIODS["silence"] + 1)
    silent.federation.send("close", NO_ANCHOR, sender=silent.bystander)
    silent.federation.send("sweep", sender=silent.bystander)


def test_the_last_checkpoint_can_be_anchored_after_the_close() -> None:
    world = standing()
    world.federation.send("close", NO_ANCHOR, sender=world.operator)
    world.anchor()


def test_a_token_with_a_fee_is_credited_as_it_arrives() -> None:
    world = standing(ODD)
    assert world.token
    world.token.send("set", 10, 0, False, sender=world.operator)
    world.join(world.bystander, 2_000)
    world.fund(1_000)
    assert (stake(world, world.bystander), world.federation.get("pot")) == (1_800, 10_900)
    world.federation.send("unbond", 1_800, sender=world.bystander)
    world.evm.wait(PERIODS["unbonding"])
    held = world.holds()
    world.federation.send("withdraw", world.bystander.address, sender=world.bystander)
    assert held - world.holds() == 1_800


def test_a_token_that_returns_nothing_is_taken() -> None:
    world = World("silent_token")
    world.join(world.bystander, STAKE)
    world.federation.send("unbond", STAKE, sender=world.bystander)
    world.evm.wait(PERIODS["unbonding"])
    world.federation.send("withdraw", world.bystander.address, sender=world.bystander)
    assert world.holds() == 0


@pytest.mark.parametrize("name", ["claim", "fund", "withdraw", "collect", "expire", "sweep", "elect"])
def test_a_token_that_calls_back_gets_nowhere(name: str) -> None:
    world = standing(ODD)
    assert world.token
    claims = amounts((world.others[0].address, 60), (world.token.address, 40))
    world.settle(1, claims)
    arguments = {
        "claim": world.claim_call(1, claims, 1),
        "fund": [5],
        "withdraw": [world.token.address],
        "collect": [world.token.address],
        "expire": [1],
    }.get(name, [])
    world.token.send("attack", world.federation.address, bytes.fromhex(world.federation.data(name, *arguments)[2:]), sender=world.operator)
    world.claim(1, claims, 0)
    assert not world.token.get("called")
    assert world.token.get("refusal") == b"", "refused by the lock, which has no words"
    assert world.federation.get("remaining", 1) == 40


def test_a_member_that_calls_back_when_it_is_paid_gets_nowhere() -> None:
    world = standing()
    member = world.evm.deploy(test_artifact("member"))
    claims = amounts((member.address, 60), (world.others[0].address, 40))
    world.settle(1, claims)
    again = bytes.fromhex(world.federation.data("claim", *world.claim_call(1, claims, 0))[2:])
    member.send("on_payment", False, world.federation.address, again, sender=world.operator)
    world.claim(1, claims, 0)
    assert not member.get("called")
    assert (world.evm.balance(member.address), world.federation.get("remaining", 1)) == (60, 40)


def test_a_member_that_refuses_money_keeps_only_itself_from_it() -> None:
    world = standing()
    member = world.evm.deploy(test_artifact("member"))
    claims = amounts((member.address, 60), (world.others[0].address, 40))
    world.settle(1, claims)
    member.send("on_payment", True, ZERO, b"", sender=world.operator)
    with pytest.raises(Reverted):
        world.claim(1, claims, 0)
    world.claim(1, claims, 1)
    call = bytes.fromhex(world.federation.data("claim", *world.claim_call(1, claims, 0, world.bystander.address))[2:])
    member.send("do", world.federation.address, call, sender=world.operator)
    assert world.federation.get("unsettled") == 0


def test_statements_of_one_contract_are_nothing_to_another() -> None:
    world = standing()
    one = world.anchor_signature(world.operator, 9, A)
    other = World(evm=world.evm)
    assert isinstance(other.federation, Contract)
    two = other.anchor_signature(world.operator, 9, B)
    with pytest.raises(Reverted, match="two signers"):
        world.federation.send("convict", 9, A, one, 9, B, two, [], sender=world.bystander)
    assert other.domain.anchor(LOG, 9, A) != world.domain.anchor(LOG, 9, A)
