"""Whatever is called in whatever order: nothing is owed that is not there, nobody is paid twice, and in the end all money can leave.

The invariants are those of ``docs/chain.md``. A call that the contract refuses changes nothing; that each kind of call got through is
checked at the end, so that the machine cannot run idle.
"""

from collections import Counter
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.chain.evm import Reverted, test_artifact
from tests.chain.world import BOND, HOUR, NO_ANCHOR, PERIODS, WITNESS, ZERO, Tree, amounts, standing

THROUGH: Counter[str] = Counter()
WHO = st.integers(0, 9)
EPOCH = st.integers(1, 3)
AMOUNT = st.sampled_from([1, 1_000, 2_000, 5_000])
ALL = {
    *("join", "top_up", "unbond", "withdraw", "vote", "delegate_to", "stand", "stand_down", "elect", "fund", "anchor", "propose"),
    *("challenge", "resolve", "lapse", "claim", "penalise", "expire", "convict", "collect", "close", "refund", "sweep"),
}


class Federation(RuleBasedStateMachine):
    """Calls of ten accounts: the operator, a sponsor, a bystander, five witnesses, two more."""

    token: str | None = None

    @initialize(seated=st.booleans())
    def begin(self, seated: bool) -> None:
        self.world, self.changed = standing(self.token), True
        self.reader = self.world.evm.deploy(test_artifact("reader"))
        world = self.world
        self.actors: list[LocalAccount] = [world.operator, world.sponsor, world.bystander, *world.witnesses, *world.others[:2]]
        self.trees: dict[int, tuple[Tree, Tree]] = {}
        self.paid: Counter[int] = Counter()
        self.done: set[tuple[str, int, int]] = set()
        self.supply = sum(world.holds(one.address) for one in world.evm.accounts) + world.holds()
        if not seated:
            self.wait(PERIODS["term"])

    def attempt(self, name: str, *arguments: Any, who: LocalAccount, amount: int | None = None) -> bool:  # noqa: ANN401
        try:
            if amount is None:
                self.world.federation.send(name, *arguments, sender=who)
            else:
                self.world.pay(self.world.federation, name, *arguments, sender=who, amount=amount)
        except Reverted:
            return False
        THROUGH[name] += 1
        self.changed = True
        return True

    @rule(who=WHO, amount=AMOUNT)
    def join(self, who: int, amount: int) -> None:
        self.attempt("join", b"\x09" * 32, amount, who=self.actors[who], amount=amount)

    @rule(who=WHO, amount=AMOUNT)
    def top_up(self, who: int, amount: int) -> None:
        self.attempt("top_up", amount, who=self.actors[who], amount=amount)

    @rule(who=WHO, amount=AMOUNT)
    def unbond(self, who: int, amount: int) -> None:
        self.attempt("unbond", amount, who=self.actors[who])

    @rule(who=WHO, to=WHO)
    def withdraw(self, who: int, to: int) -> None:
        self.attempt("withdraw", self.actors[to].address, who=self.actors[who])

    @rule(who=WHO, other=st.integers(0, 10))
    def vote(self, who: int, other: int) -> None:
        self.attempt("vote", ZERO if other == 10 else self.actors[other].address, who=self.actors[who])

    @rule(who=WHO, other=st.integers(0, 10))
    def delegate(self, who: int, other: int) -> None:
        self.attempt("delegate_to", ZERO if other == 10 else self.actors[other].address, who=self.actors[who])

    @rule(who=WHO, down=st.booleans())
    def stand(self, who: int, down: bool) -> None:
        self.attempt("stand_down" if down else "stand", who=self.actors[who])

    @rule()
    def elect(self) -> None:
        self.attempt("elect", who=self.actors[2])

    @rule(who=WHO, amount=AMOUNT)
    def fund(self, who: int, amount: int) -> None:
        self.attempt("fund", amount, who=self.actors[who], amount=amount)

    @rule(hours=st.sampled_from([1, 5, 25, 73]))
    def wait(self, hours: int) -> None:
        self.world.evm.wait(hours * HOUR)

    @rule(epoch=EPOCH, shares=st.lists(st.tuples(WHO, st.integers(0, 900)), max_size=4), fined=WHO, total=st.sampled_from([None, 0, 300]))
    def settle(self, epoch: int, shares: list[tuple[int, int]], fined: int, total: int | None) -> None:
        """Anchor, wait, propose; the total may be less than the claims."""
        world = self.world
        try:
            world.final_anchor()
        except (Reverted, IndexError, KeyError):
            return
        THROUGH["anchor"] += 1
        claims = amounts(*[(self.actors[who].address, amount) for who, amount in shares])
        penalties = amounts((self.actors[fined].address, 400))
        if self.attempt("propose", *world.proposal(epoch, claims, penalties, total), who=world.operator):
            assert self.paid[epoch] == 0, "an epoch of which something was paid is not settled again"
            self.trees[epoch] = (claims, penalties)

    @rule(epoch=EPOCH, who=WHO)
    def challenge(self, epoch: int, who: int) -> None:
        self.attempt("challenge", epoch, who=self.actors[who], amount=BOND)

    @rule(epoch=EPOCH, stands=st.booleans())
    def resolve(self, epoch: int, stands: bool) -> None:
        try:
            signatures = self.world.resolution(epoch, stands=stands)
        except Reverted:
            return
        self.attempt("resolve", epoch, stands, signatures, who=self.actors[2])

    @rule(epoch=EPOCH)
    def lapse(self, epoch: int) -> None:
        self.attempt("lapse", epoch, who=self.actors[2])

    @rule(epoch=EPOCH, index=st.integers(0, 3), penalty=st.booleans(), sender=WHO)
    def claim(self, epoch: int, index: int, penalty: bool, sender: int) -> None:
        name = "penalise" if penalty else "claim"
        tree = self.trees.get(epoch, (Tree(), Tree()))[penalty]
        if index >= len(tree.leaves):
            return
        arguments = self.world.claim_call(epoch, tree, index)
        total = self.world.federation.get("remaining", epoch)
        if self.attempt(name, *(arguments[:-1] if penalty else arguments), who=self.actors[sender]):
            assert (name, epoch, index) not in self.done
            self.done.add((name, epoch, index))
            if not penalty:
                self.paid[epoch] += arguments[3]
                assert arguments[3] <= total

    @rule(epoch=EPOCH)
    def expire(self, epoch: int) -> None:
        self.attempt("expire", epoch, who=self.actors[2])

    @rule(who=st.sampled_from([0, 3, 4, 8]), reporter=WHO)
    def convict(self, who: int, reporter: int) -> None:
        guilty = self.actors[who]
        one, two = (self.world.anchor_signature(guilty, 9, root) for root in (b"\xaa" * 32, b"\xbb" * 32))
        self.attempt("convict", 9, b"\xaa" * 32, one, 9, b"\xbb" * 32, two, [], who=self.actors[reporter])

    @rule(who=WHO)
    def collect(self, who: int) -> None:
        self.attempt("collect", self.actors[who].address, who=self.actors[who])

    @rule(who=st.sampled_from([0, 2, 2, 2]))
    def close(self, who: int) -> None:
        self.attempt("close", self.world.anchors[-1] if self.world.anchors else NO_ANCHOR, who=self.actors[who])

    @rule(who=WHO)
    def refund(self, who: int) -> None:
        self.attempt("refund", self.actors[who].address, who=self.actors[who])

    def read(self, *views: tuple[Any, ...]) -> list[int]:
        """Return what many views say, in one call."""
        calls = [bytes.fromhex(self.world.federation.data(*view)[2:]) for view in views]
        return [int.from_bytes(word, "big") for word in self.reader.get("read", self.world.federation.address, calls)]

    @invariant()
    def what_always_holds(self) -> None:
        if not self.changed:
            return
        self.changed = False
        self.owes_what_it_holds()
        self.tallies_are_the_stakes_behind_them()

    def owes_what_it_holds(self) -> None:
        of_epochs = [(name, epoch) for epoch in (1, 2, 3) for name in ("remaining", "bond")]
        of_members = [(name, one.address) for one in self.actors for name in ("stake", "unbonding", "credit")]
        assert self.world.holds() == sum(self.read(("pot",), *of_epochs, *of_members))

    def tallies_are_the_stakes_behind_them(self) -> None:
        """Tally is the sum of the stakes whose choice somebody is; and whoever is seated is bonded."""
        names = ("stake", "choice", "delegate", "votes", "seat")
        over, *found = self.read(("over_at",), *[(name, one.address) for one in self.actors for name in names])
        state = {int(one.address, 16): dict(zip(names, found[5 * n : 5 * n + 5], strict=True)) for n, one in enumerate(self.actors)}
        tally = Counter[int]()
        for who, fields in state.items():
            tally[state[fields["delegate"] or who]["choice"]] += fields["stake"]
        for who, fields in state.items():
            assert fields["votes"] == tally[who]
            assert over or not fields["seat"] or fields["stake"] >= WITNESS

    def teardown(self) -> None:
        """Everybody leaves; the contract is then empty, and nothing was made or lost."""
        if not hasattr(self, "world"):
            return
        world = self.world
        self.close(0)
        world.evm.wait(PERIODS["settlement_window"] + PERIODS["resolution"] + 1)
        for epoch in (1, 2, 3):
            self.lapse(epoch)
        for one in self.actors:
            self.attempt("unbond", world.federation.get("stake", one.address), who=one)
        world.evm.wait(PERIODS["claim_period"] + PERIODS["unbonding"] + 1)
        for epoch in (1, 2, 3):
            self.expire(epoch)
        for number, one in enumerate(self.actors):
            self.withdraw(number, number)
            self.collect(number)
            self.attempt("refund", one.address, who=one)
        self.attempt("sweep", who=world.bystander)
        assert world.holds() == 0
        if world.token:
            assert sum(world.holds(one.address) for one in world.evm.accounts) == self.supply


class InToken(Federation):
    """The same with stakes and rewards in an ERC-20, where the sum of all balances is seen to the last unit."""

    token = "token"  # noqa: S105 - a contract


@pytest.mark.parametrize("machine", [Federation, InToken])
def test_whatever_is_called(machine: type[Federation]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=5,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Federation, InToken])
def test_whatever_is_called_at_length(machine: type[Federation]) -> None:
    more = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=more)
    assert set(THROUGH) >= ALL


def test_the_machine_did_not_run_idle() -> None:
    assert sum(THROUGH.values()) > 100 or not THROUGH, "most calls were refused"
