# pragma version ==0.4.3
"""
@title Federation
@notice The rules, stakes and rewards of one federation: docs/chain.md has the state machine and the invariants.
"""

import anchors
import members
import merkle
import money
import settlements
import signing
import witnesses

initializes: money
initializes: members[money := money]
initializes: witnesses[members := members]
initializes: anchors[members := members, witnesses := witnesses]
initializes: settlements[anchors := anchors, members := members, money := money, witnesses := witnesses]

exports: (
    money.token,
    members.minimum_stake, members.unbonding_period, members.ledger_key, members.stake, members.unbonding, members.release,
    members.delegate, members.delegated, members.choice, members.votes, members.credit,
    members.join, members.top_up, members.withdraw, members.collect, members.vote, members.delegate_to,
    witnesses.witness_stake, witnesses.seats, witnesses.quorum, witnesses.term, witnesses.candidates, witnesses.seated,
    witnesses.seat, witnesses.term_end, witnesses.stand, witnesses.stand_down, witnesses.check_quorum,
    anchors.operator, anchors.operator_stake, anchors.anchor_window, anchors.silence, anchors.deployed,
    anchors.log_digest, anchors.head, anchors.anchored, anchors.over_at, anchors.halted_at,
    anchors.anchor, anchors.close, anchors.final,
    settlements.challenge_bond, settlements.settlement_window, settlements.resolution, settlements.claim_period,
    settlements.beneficiary, settlements.pot, settlements.paid_in, settlements.paid_in_total, settlements.unsettled,
    settlements.due, settlements.root, settlements.penalties, settlements.remaining, settlements.attempt,
    settlements.challenger, settlements.bond, settlements.deadline, settlements.claimed, settlements.penalised,
    settlements.fund, settlements.propose, settlements.challenge, settlements.resolve, settlements.lapse,
    settlements.claim, settlements.penalise, settlements.expire, settlements.refund, settlements.sweep,
)

struct Terms:
    token: address  # 0: the native coin
    operator: address
    beneficiary: address
    run: bytes32
    log_digest: bytes32
    agreement: bytes32
    terms: bytes32
    rule: bytes32
    minimum_stake: uint256
    operator_stake: uint256
    witness_stake: uint256
    challenge_bond: uint256
    seats: uint256
    quorum: uint256
    term: uint256
    anchor_window: uint256
    settlement_window: uint256
    resolution: uint256
    claim_period: uint256
    unbonding: uint256
    silence: uint256

LONGEST: constant(uint256) = 10 * 365 * 86400  # of any period: nothing can be locked for ever

run: public(immutable(bytes32))  # digest of the ledger's entry 0
agreement: public(immutable(bytes32))
terms: public(immutable(bytes32))  # of data use, in words
rule: public(immutable(bytes32))  # of training


@deploy
def __init__(t: Terms):
    assert t.agreement != empty(bytes32), "an agreement is needed"
    assert t.minimum_stake > 0 and t.witness_stake >= t.minimum_stake and t.operator_stake >= t.minimum_stake, "stakes"
    assert max(max(t.term, t.claim_period), max(t.unbonding, t.silence)) <= LONGEST, "a period is too long"
    assert t.anchor_window <= LONGEST and t.settlement_window <= LONGEST and t.resolution <= LONGEST, "a period is too long"
    assert t.unbonding > t.anchor_window + t.settlement_window + t.resolution, "unbonding is too short"
    run = t.run
    agreement = t.agreement
    terms = t.terms
    rule = t.rule
    money.__init__(t.token)
    members.__init__(t.minimum_stake, t.unbonding)
    witnesses.__init__(t.witness_stake, t.seats, t.quorum, t.term)
    anchors.__init__(t.log_digest, t.operator, t.operator_stake, t.anchor_window, t.silence)
    settlements.__init__(t.challenge_bond, t.settlement_window, t.resolution, t.claim_period, t.beneficiary)


@external
@nonreentrant
def elect():
    """
    @notice Seat those with the most votes, when the term is over or too few are seated.
    """
    anchors.check_open()
    witnesses.elect()


@external
@nonreentrant
def unbond(amount: uint256):
    """
    @notice Take stake out of the votes, to be withdrawn after the unbonding period.
    """
    members.start_unbonding(msg.sender, amount)
    left: uint256 = members.stake[msg.sender]
    assert left == 0 or left >= members.minimum_stake, "below the minimum stake"
    if anchors.over_at == 0:
        assert witnesses.seat[msg.sender] == 0 or left >= witnesses.witness_stake, "seated until the next election"
        assert msg.sender != anchors.operator or left >= anchors.operator_stake, "the operator's bond stays"


@external
@nonreentrant
def convict(
    first_size: uint256,
    first_root: bytes32,
    first_signature: signing.Signature,
    second_size: uint256,
    second_root: bytes32,
    second_signature: signing.Signature,
    path: DynArray[bytes32, merkle.DEPTH],
):
    """
    @notice Show that one key signed two histories: its stake goes to the pot, a tenth to the caller.
    """
    settlements.pot += anchors.convict(
        first_size, first_root, first_signature, second_size, second_root, second_signature, path
    )
