"""Every reason for which a contract refuses a call, and a call that it refuses; a reason without a case fails the last test."""

# mypy: disable-error-code="func-returns-value"

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import merkle
from server.chain.statements import sign
from tests.chain.evm import Reverted, federation_artifact
from tests.chain.market import DATA, PRICE, Market
from tests.chain.world import (
    BOND,
    HOUR,
    LOG,
    NO_ANCHOR,
    NONE,
    OPERATOR,
    PERIODS,
    STAKE,
    TERMS,
    WITNESS,
    ZERO,
    Tree,
    World,
    amounts,
    standing,
)

SOURCES = Path(__file__).parents[2] / "deploy" / "contracts"
KEY = b"\x07" * 32
Case = Callable[[], Any]


def deploy(**terms: object) -> Case:
    def call() -> None:
        world = standing()
        world.evm.deploy(federation_artifact(), tuple((world.terms | terms).values()))

    return call


def in_world(call: Callable[[World], Any], *, begin: bool = True, token: str | None = None) -> Case:
    def run() -> None:
        call(standing(token, begin=begin))

    return run


def send(name: str, *arguments: object, who: str = "bystander", value: int = 0, begin: bool = False) -> Case:
    return in_world(lambda w: w.federation.send(name, *arguments, sender=getattr(w, who), value=value), begin=begin)


def anchored(change: Callable[[World, list[Any]], None]) -> Case:
    """Anchor twice, the second time with changed arguments."""

    def call(world: World) -> None:
        world.grow(4)
        world.anchor()
        world.grow(2)
        arguments = world.anchor_call()
        change(world, arguments)
        world.federation.send("anchor", *arguments, sender=world.bystander)

    return in_world(call)


def put(place: int, value: object) -> Callable[[World, list[Any]], None]:
    return lambda _, arguments: arguments.__setitem__(place, value)


def resigned(size: int, root: bytes | None = None) -> Callable[[World, list[Any]], None]:
    """Say, with good signatures, that the ledger is another."""

    def change(world: World, arguments: list[Any]) -> None:
        digest = world.domain.anchor(LOG, size, root or arguments[2])
        arguments[1:3] = [size, root or arguments[2]]
        arguments[4:6] = [sign(digest, world.operator), world.quorum(digest)]

    return change


def settled(call: Callable[[World, Tree, Tree], Any], *, wait: bool = True, token: str | None = None) -> Case:
    """Settle epoch 1 with two claims and a penalty first."""

    def run(world: World) -> None:
        claims = amounts((world.others[0].address, 60), (world.others[1].address, 40))
        penalties = amounts((world.witnesses[4].address, 70))
        world.final_anchor()
        world.propose(1, claims, penalties)
        if wait:
            world.evm.wait(PERIODS["settlement_window"])
        call(world, claims, penalties)

    return in_world(run, token=token)


def proposed(change: Callable[[World, list[Any]], object], *, final: bool = True, who: str = "operator") -> Case:
    def run(world: World) -> None:
        if final:
            world.final_anchor()
        else:
            world.grow(1)
            world.anchor()
        arguments = world.proposal(1, amounts((world.others[0].address, 60)))
        change(world, arguments)
        world.federation.send("propose", *arguments, sender=getattr(world, who))

    return in_world(run)


def replaced(**fields: object) -> Callable[[World, list[Any]], None]:
    names = ("epoch", "root", "penalties", "total", "claims")

    def change(_: World, arguments: list[Any]) -> None:
        arguments[0] = tuple(fields.get(name, value) for name, value in zip(names, arguments[0], strict=True))

    return change


def claim_with(place: int, value: object, name: str = "claim") -> Case:
    def call(world: World, claims: Tree, penalties: Tree) -> None:
        arguments = world.claim_call(1, claims if name == "claim" else penalties, 0)
        arguments[place] = value
        if name == "claim":
            arguments[6] = arguments[2]
        world.federation.send(name, *(arguments if name == "claim" else arguments[:-1]), sender=world.bystander)

    return settled(call)


def challenge(world: World) -> None:
    world.pay(world.federation, "challenge", 1, sender=world.bystander, amount=BOND)


def resolve(world: World, *, stands: bool) -> None:
    world.federation.send("resolve", 1, stands, world.resolution(1, stands=stands), sender=world.bystander)


def challenged(call: Callable[[World], Any]) -> Case:
    def run(world: World, _: Tree, __: Tree) -> None:
        challenge(world)
        call(world)

    return settled(run, wait=False)


def convict(first: tuple[int, bytes], second: tuple[int, bytes], path: list[bytes], who: tuple[int, int] = (4, 4)) -> Case:
    """Accuse accounts of two statements."""

    def call(world: World) -> None:
        one, two = (world.anchor_signature(world.evm.accounts[n], *what) for n, what in zip(who, (first, second), strict=True))
        world.federation.send("convict", *first, one, *second, two, path, sender=world.bystander)

    return in_world(call)


def twice(name: str, *arguments: object, who: str = "operator") -> Case:
    def call(world: World) -> None:
        for _ in range(2):
            world.federation.send(name, *arguments, sender=getattr(world, who))

    return in_world(call)


def crowded(world: World) -> None:
    """Fill all places with candidates of one vote weight; one more has as many."""
    for one in world.others[:12]:
        world.join(one, WITNESS)
        world.federation.send("vote", one.address, sender=one)
        world.federation.send("stand", sender=one)


def long_over(world: World) -> None:
    world.evm.wait(PERIODS["unbonding"])
    world.federation.send("close", NO_ANCHOR, sender=world.operator)


def market(call: Callable[[Market], Any], token: str | None = None) -> Case:
    return in_world(lambda world: call(Market(world)), token=token)


def sold(call: Callable[[Market, int], Any]) -> Case:
    return market(lambda m: call(m, m.buy(m.offer())))


def odd_token(fee: int = 0, surcharge: int = 0, *, false: bool = False) -> Callable[[World], None]:
    def change(world: World) -> None:
        assert world.token
        world.token.send("set", fee, surcharge, false, sender=world.operator)

    return change


def unbonded(world: World) -> None:
    world.join(world.bystander, STAKE)
    world.federation.send("unbond", STAKE, sender=world.bystander)


def paid_oddly(*odd: Any, **more: Any) -> Case:  # noqa: ANN401
    """Withdraw a stake in a token that turned odd."""

    def call(world: World) -> None:
        unbonded(world)
        world.evm.wait(PERIODS["unbonding"])
        odd_token(*odd, **more)(world)
        world.federation.send("withdraw", world.bystander.address, sender=world.bystander)

    return in_world(call, token="token")  # noqa: S106 - a contract


A, B = b"\xaa" * 32, b"\xbb" * 32
SMALL, OTHER = Tree([b"a", b"b", b"c"]), Tree([b"a", b"b", b"x", b"d", b"e"])

CASES: list[tuple[str, Case]] = [
    ("an agreement is needed", deploy(agreement=NONE)),
    ("a ledger is needed", deploy(log_digest=NONE)),
    ("stakes", deploy(minimum_stake=0)),
    ("stakes", deploy(witness_stake=STAKE - 1)),
    ("stakes", deploy(operator_stake=STAKE - 1)),
    ("a period is too long", deploy(claim_period=10 * 365 * 86400 + 1)),
    ("a period is too long", deploy(silence=2**255)),
    ("a period is too long", deploy(resolution=2**255)),
    ("unbonding is too short", deploy(unbonding=12 * HOUR)),
    ("a quorum of the seats", deploy(quorum=6)),
    ("a quorum of the seats", deploy(seats=9, quorum=8)),
    ("a quorum is more than half", deploy(seats=6, quorum=3)),
    ("an operator is needed", deploy(operator=ZERO)),
    ("a beneficiary is needed", deploy(beneficiary=ZERO)),
    # members
    ("a key is needed", send("join", NONE, STAKE, value=STAKE)),
    ("joined already", in_world(lambda w: w.join(w.operator, STAKE))),
    ("below the minimum stake", send("join", KEY, STAKE - 1, value=STAKE - 1)),
    ("below the minimum stake", in_world(lambda w: (w.join(w.bystander, STAKE), w.federation.send("unbond", 1, sender=w.bystander)))),
    ("below the minimum stake", in_world(lambda w: w.federation.send("top_up", 0, sender=w.operator))),
    ("value is not the amount", send("join", KEY, STAKE, value=STAKE + 1)),
    ("this federation uses a token", in_world(lambda w: w.federation.send("fund", 1, sender=w.sponsor, value=1), token="token")),  # noqa: S106
    ("not a member", send("top_up", 1, value=1)),
    ("more than the stake", send("unbond", 1)),
    ("more than the stake", in_world(lambda w: w.federation.send("unbond", 0, sender=w.operator))),
    ("the operator's bond stays", in_world(lambda w: w.federation.send("unbond", OPERATOR, sender=w.operator))),
    ("seated until the next election", in_world(lambda w: w.federation.send("unbond", WITNESS, sender=w.witnesses[0]))),
    ("nothing is unbonding", send("withdraw", ZERO)),
    ("still unbonding", in_world(lambda w: (unbonded(w), w.federation.send("withdraw", ZERO, sender=w.bystander)))),
    ("no credit", send("collect", ZERO)),
    ("delegating to oneself", in_world(lambda w: w.federation.send("delegate_to", w.operator.address, sender=w.operator))),
    ("no receiver", in_world(lambda w: (unbonded(w), long_over(w), w.federation.send("withdraw", ZERO, sender=w.bystander)))),
    (
        "no receiver",
        in_world(lambda w: (unbonded(w), long_over(w), w.federation.send("withdraw", w.federation.address, sender=w.bystander))),
    ),
    ("token refused", in_world(lambda w: (odd_token(false=True)(w), w.fund(1)), token="token")),  # noqa: S106
    ("token refused", paid_oddly(false=True)),
    ("token took too much", paid_oddly(surcharge=5)),
    ("nothing arrived", in_world(lambda w: (odd_token(fee=100)(w), w.fund(10)), token="token")),  # noqa: S106
    # witnesses
    ("below the witness stake", send("stand")),
    ("a candidate already", in_world(lambda w: w.federation.send("stand", sender=w.witnesses[0]))),
    ("all candidates have as many votes", in_world(crowded)),
    ("not a candidate", send("stand_down")),
    ("the term is not over", in_world(lambda w: w.federation.send("elect", sender=w.bystander))),
    # anchors
    ("the first anchor extends nothing", in_world(lambda w: w.federation.send("anchor", *w.anchor_call(0, A), sender=w.bystander))),
    ("not the last anchor", anchored(put(0, (0, 5, A, 1)))),
    ("not the last anchor", in_world(lambda w: (w.anchor(), w.federation.send("close", NO_ANCHOR, sender=w.bystander)))),
    ("does not extend the last anchor", anchored(resigned(7, A))),
    ("sizes must grow", anchored(resigned(5))),
    ("sizes must grow", anchored(resigned(3))),
    ("path too long", anchored(lambda _, a: a[3].append(A))),
    ("path too short", anchored(lambda _, a: a[3].pop())),
    ("path too short", anchored(put(3, []))),
    ("the operator's bond is missing", in_world(lambda w: w.federation.send("anchor", *unelected(w), sender=w.bystander), begin=False)),
    ("not signed by the operator", anchored(lambda w, a: a.__setitem__(4, w.anchor_signature(w.bystander, a[1], a[2])))),
    ("fewer than a quorum", anchored(lambda _, a: a[5].pop())),
    ("not by seated witnesses in order", anchored(lambda _, a: a.__setitem__(5, [a[5][0], a[5][0], a[5][1]]))),
    ("not by seated witnesses in order", anchored(lambda _, a: a.__setitem__(5, a[5][::-1]))),
    ("not by seated witnesses in order", anchored(lambda _, a: a.__setitem__(5, [*a[5][:2], a[4]]))),
    ("bad signature", anchored(put(4, (NONE, NONE)))),
    ("malleable signature", anchored(lambda _, a: a.__setitem__(4, high(a[4])))),
    ("the operator is not silent", send("close", NO_ANCHOR)),
    ("the federation is over", twice("close", NO_ANCHOR)),
    ("the federation is over", in_world(lambda w: (long_over(w), w.fund(1)))),
    ("the federation is over", in_world(lambda w: (long_over(w), w.federation.send("elect", sender=w.bystander)))),
    ("the federation is over", proposed(lambda w, _: w.federation.send("close", w.anchors[-1], sender=w.operator))),
    # equivocation
    ("two signers", convict((3, A), (3, B), [], (4, 5))),
    ("no contradiction", convict((3, A), (3, A), [])),
    ("no contradiction", convict((3, A), (3, B), [A])),
    ("no contradiction", convict((2, SMALL.root(2)), (3, SMALL.root()), SMALL.path(2))),
    ("the path leads elsewhere", convict((2, A), (3, B), SMALL.path(2))),
    ("sizes must grow", convict((0, A), (3, SMALL.root()), SMALL.path(2))),
    ("nothing to slash", convict((3, A), (3, B), [], (3, 3))),
    # settlements
    ("only the operator", proposed(lambda *_: None, who="bystander")),
    ("the anchor is not final", proposed(lambda *_: None, final=False)),
    ("the anchor is not final", proposed(put(1, (0, 2, A, 1)))),
    ("the entry is not in the ledger", proposed(put(2, A))),
    ("no such leaf", proposed(put(3, 2))),
    ("path too long", proposed(put(4, [A, A]))),
    ("path too short", proposed(put(4, []))),
    ("the pot is too small", proposed(replaced(total=10_001))),
    ("too many claims", proposed(replaced(claims=10_201))),
    ("this epoch is settled already", settled(lambda w, c, p: w.propose(1, c, p))),
    ("no settlement to challenge", in_world(challenge)),
    ("no settlement to challenge", challenged(challenge)),
    ("the settlement is final", settled(lambda w, *_: challenge(w))),
    (
        "the bond did not arrive in full",
        settled(lambda w, *_: (odd_token(fee=1)(w), challenge(w)), wait=False, token="token"),  # noqa: S106
    ),
    ("not challenged", settled(lambda w, *_: resolve(w, stands=True), wait=False)),
    ("the time to decide is over", challenged(lambda w: (w.evm.wait(PERIODS["resolution"] + 1), resolve(w, stands=True)))),
    ("no settlement", send("lapse", 1)),
    ("there is time to decide", challenged(lambda w: w.federation.send("lapse", 1, sender=w.bystander))),
    ("the settlement stands", settled(lambda w, *_: w.federation.send("lapse", 1, sender=w.bystander))),
    ("the settlement is not final", settled(lambda w, c, _: w.claim(1, c, 0), wait=False)),
    ("the settlement is not final", challenged(lambda w: w.claim(1, amounts((w.others[0].address, 1)), 0))),
    ("the settlement is void", settled(lambda w, c, _: (halt(w), w.evm.wait(5 * HOUR), w.claim(1, c, 0)), wait=False)),
    ("only the account names another receiver", settled(lambda w, c, _: stolen(w, c))),
    ("no such claim", claim_with(3, 61)),
    ("no such claim", claim_with(2, "0x" + "11" * 20)),
    ("no such claim", settled(lambda w, c, _: (expire(w), w.claim(1, c, 0)))),
    ("no such leaf", claim_with(1, 2)),
    ("claimed already", settled(lambda w, c, _: (w.claim(1, c, 1), w.claim(1, c, 1)))),
    ("more than the total", in_world(lambda w: understated(w))),
    ("no such penalty", claim_with(3, 71, "penalise")),
    ("penalised already", settled(lambda w, _, p: (w.penalise(1, p, 0), w.penalise(1, p, 0)))),
    ("there is time to claim", settled(lambda w, *_: w.federation.send("expire", 1, sender=w.bystander))),
    ("expired already", settled(lambda w, *_: (expire(w), expire(w)))),
    ("not settled yet", in_world(lambda w: w.federation.send("refund", w.sponsor.address, sender=w.sponsor))),
    ("not settled yet", settled(lambda w, *_: (close(w), w.federation.send("refund", w.sponsor.address, sender=w.sponsor)))),
    ("nothing paid in", in_world(lambda w: (long_over(w), w.federation.send("refund", w.bystander.address, sender=w.bystander)))),
    ("there are sponsors to refund", in_world(lambda w: (long_over(w), w.federation.send("sweep", sender=w.bystander)))),
    # licences
    ("data, a price and rules are needed", market(lambda m: m.contract.send("offer", DATA, TERMS, PRICE, [], sender=m.owner))),
    ("data, a price and rules are needed", market(lambda m: m.contract.send("offer", DATA, TERMS, 0, [A], sender=m.owner))),
    ("data, a price and rules are needed", market(lambda m: m.contract.send("offer", NONE, TERMS, PRICE, [A], sender=m.owner))),
    ("only the owner", market(lambda m: m.contract.send("retire", m.offer(), sender=m.buyer))),
    ("retired already", market(lambda m: [m.contract.send("retire", n, sender=m.owner) for n in [m.offer()] * 1 + [0]])),
    ("no such offer", market(lambda m: m.buy(0))),
    ("no such offer", market(lambda m: (m.contract.send("retire", m.offer(), sender=m.owner), m.buy(0)))),
    ("rounds and time are needed", market(lambda m: m.buy(m.offer(), 0))),
    ("not for this training", market(lambda m: m.buy(m.offer(A)))),
    ("value is not the amount", market(lambda m: m.buy(m.offer(), 5, PRICE))),
    ("the price did not arrive in full", market(lambda m: (odd_token(fee=1)(m.world), m.buy(m.offer(), 500)), "token")),
    ("nothing in escrow", market(lambda m: m.contract.send("reclaim", 0, sender=m.buyer))),
    ("nothing in escrow", sold(lambda m, n: (m.release(n, 5), m.release(n, 5)))),
    ("not more rounds than are paid, or more than were bought", sold(lambda m, n: (m.release(n, 2), m.release(n, 2)))),
    ("not more rounds than are paid, or more than were bought", sold(lambda m, n: m.release(n, 6))),
    ("fewer than a quorum", sold(lambda m, n: m.contract.send("release", n, 1, m.proven(n, 1, 2), sender=m.owner))),
    ("not by seated witnesses in order", sold(lambda m, n: m.contract.send("release", n, 2, m.proven(n, 1), sender=m.owner))),
    ("no quorum", market(lambda m: false_federation(m))),
    ("the licence has not ended", sold(lambda m, n: m.contract.send("reclaim", n, sender=m.buyer))),
]


def unelected(world: World) -> list[Any]:
    digest = world.domain.anchor(LOG, 1, world.ledger.root())
    return [NO_ANCHOR, 1, world.ledger.root(), [], sign(digest, world.operator), []]


def high(signature: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return a signature with the largest s that a compact signature can hold, above half the order."""
    return signature[0], (2**255 - 1).to_bytes(32, "big")


def halt(world: World) -> None:
    signatures = [world.anchor_signature(world.operator, 3, root) for root in (A, B)]
    world.federation.send("convict", 3, A, signatures[0], 3, B, signatures[1], [], sender=world.bystander)


def close(world: World) -> None:
    world.federation.send("close", NO_ANCHOR, sender=world.operator)


def expire(world: World) -> None:
    world.evm.wait(PERIODS["claim_period"] + 1)
    world.federation.send("expire", 1, sender=world.bystander)


def stolen(world: World, claims: Tree) -> None:
    world.federation.send("claim", *world.claim_call(1, claims, 0, world.bystander.address), sender=world.bystander)


def understated(world: World) -> None:
    """Pay claims of 100 from a total of 60."""
    claims = amounts((world.others[0].address, 60), (world.others[1].address, 40))
    world.final_anchor()
    world.propose(1, claims, total=60)
    world.evm.wait(PERIODS["settlement_window"])
    world.claim(1, claims, 0)
    world.claim(1, claims, 1)


def false_federation(market: Market) -> None:
    """Buy for a contract that agrees to everything, and then says no."""
    from tests.chain.evm import test_artifact

    fake = market.world.evm.deploy(test_artifact("no_quorum"))
    number = market.offer()
    market.contract.send("buy", number, fake.address, 1, HOUR, sender=market.buyer, value=PRICE)
    market.contract.send("release", 0, 1, [], sender=market.owner)


@pytest.mark.parametrize(("reason", "case"), CASES, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(CASES)])
def test_a_call_is_refused(reason: str, case: Case) -> None:
    with pytest.raises(Reverted) as found:
        case()
    assert str(found.value) == reason


def test_every_reason_has_a_case() -> None:
    found = {reason for path in SOURCES.glob("*.vy") for reason in re.findall(r'(?:assert .*, |raise )"([^"]+)"$', path.read_text(), re.M)}
    assert found == {reason for reason, _ in CASES}
    assert len(found) > 80


def test_a_root_of_an_empty_tree_pays_nothing() -> None:
    world = standing()
    world.settle(1, Tree())
    assert world.federation.get("root", 1) == merkle.EMPTY_ROOT
    with pytest.raises(Reverted, match="no such leaf"):
        world.federation.send("claim", 1, 0, world.bystander.address, 0, 0, [], world.bystander.address, sender=world.bystander)


def test_contract_without_code_for_money_refuses_plain_payments() -> None:
    world = standing()
    with pytest.raises(Reverted):
        world.evm.send(world.federation.address, "0x", world.sponsor, 5)


def test_an_anchor_signed_for_one_contract_is_nothing_to_another() -> None:
    world = standing()
    arguments = world.anchor_call()
    other = World(evm=world.evm).federation
    for one in (world.operator, *world.witnesses):
        other.send("join", KEY, OPERATOR, sender=one, value=OPERATOR)
    with pytest.raises(Reverted, match="not signed by the operator"):
        other.send("anchor", *arguments, sender=world.bystander)
