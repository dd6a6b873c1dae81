"""Gas of every call of the contracts, with the native coin and with an ERC-20: ``python -m bench.chain_gas`` writes ``docs/chain-gas.md``.

Gas is deterministic: a test makes the table again and compares. Each call is measured on a federation in use (quorum 3 of 5, a ledger of
2,000 entries, 20 claims), the receiver of money holding some already unless the row says otherwise.
"""

from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from tests.chain.market import PRICE, Market
from tests.chain.world import BOND, PERIODS, STAKE, WITNESS, World, amounts

REPORT = Path(__file__).parents[1] / "docs" / "chain-gas.md"
LIMITS = {"anchor": 100_000, "claim": 70_000, "join": 120_000}
Rows = dict[str, int]


class Meter:
    """Uses a world and notes what each call takes."""

    def __init__(self, token: str | None) -> None:
        self.world, self.rows = World(token), Rows()

    def note(self, name: str, receipt: dict[str, Any]) -> None:
        self.rows[name] = int(receipt["gas_used"])

    def send(self, name: str, *arguments: Any, who: LocalAccount, row: str = "") -> None:  # noqa: ANN401
        self.note(row or name, self.world.federation.send(name, *arguments, sender=who))

    def pay(self, name: str, *arguments: Any, who: LocalAccount, amount: int) -> None:  # noqa: ANN401
        self.note(name, self.world.pay(self.world.federation, name, *arguments, sender=who, amount=amount))


def measure(token: str | None) -> Rows:
    """Return the gas of each call, by its name."""
    meter = Meter(token)
    world = meter.world.begin()
    a, b = world.others[0], world.others[1]
    meter.rows["deploy"] = _deployment(world)
    meter.note("join", world.join(a, WITNESS))
    meter.pay("top_up", 50, who=a, amount=50)
    meter.send("stand", who=a)
    meter.send("vote", a.address, who=a)
    meter.send("delegate_to", a.address, who=world.witnesses[0])
    meter.send("stand_down", who=a)
    meter.pay("fund", 5_000, who=world.sponsor, amount=5_000)
    world.evm.wait(PERIODS["term"])
    meter.send("elect", who=world.bystander)
    _anchors(meter)
    _settlements(meter, a)
    meter.send("unbond", STAKE, who=a)
    world.evm.wait(PERIODS["unbonding"])
    meter.send("withdraw", a.address, who=a)
    _licences(meter)
    one, two = (world.anchor_signature(world.witnesses[1], 7, root) for root in (b"\xaa" * 32, world.ledger.root(7)))
    path, end = world.ledger.path(7), len(world.ledger.leaves)
    two = world.anchor_signature(world.witnesses[1], end, world.ledger.root())
    meter.send("convict", 7, b"\xaa" * 32, one, end, world.ledger.root(), two, path, who=b)
    meter.send("close", world.anchors[-1], who=world.operator)
    meter.send("refund", world.sponsor.address, who=world.sponsor)
    meter.send("sweep", who=world.bystander)
    return meter.rows


def _deployment(world: World) -> int:
    from tests.chain.evm import federation_artifact

    return world.evm.gas_of_deployment(federation_artifact(), tuple(world.terms.values()))


def _anchors(meter: Meter) -> None:
    world = meter.world
    world.grow(1_500)
    meter.note("anchor (the first)", world.anchor())
    world.grow(500)
    meter.note("anchor", world.anchor())
    world.evm.wait(PERIODS["anchor_window"])


def _settlements(meter: Meter, member: LocalAccount) -> None:
    world, other = meter.world, meter.world.others[1]
    fresh = [f"0x{n:040x}" for n in range(2**150, 2**150 + 18)]
    claims = amounts((member.address, 60), (other.address, 60), *[(address, 10) for address in fresh])
    penalties = amounts((member.address, 20))
    meter.note("propose (20 claims)", world.propose(1, claims, penalties))
    meter.pay("challenge", 1, who=world.bystander, amount=BOND)
    meter.send("resolve", 1, True, world.resolution(1, stands=True), who=world.bystander)
    world.claim(1, claims, 0)
    meter.note("claim", world.claim(1, claims, 1))
    meter.note("claim (to an account that has nothing yet)", world.claim(1, claims, 2))
    meter.note("penalise", world.penalise(1, penalties, 0))
    world.propose(2, claims, penalties)
    world.pay(world.federation, "challenge", 2, sender=world.bystander, amount=BOND)
    world.evm.wait(PERIODS["resolution"] + 1)
    meter.send("lapse", 2, who=world.bystander)
    meter.send("collect", world.bystander.address, who=world.bystander)
    world.evm.wait(PERIODS["claim_period"])
    meter.send("expire", 1, who=world.bystander)


def _licences(meter: Meter) -> None:
    market = Market(meter.world)
    world, contract = meter.world, market.contract
    meter.note("offer", contract.send("offer", b"\xda" * 32, b"\x01" * 32, PRICE, [world.terms["rule"]], sender=market.owner))
    buy = world.pay(contract, "buy", 0, world.federation.address, 5, 3600, sender=market.buyer, amount=5 * PRICE)
    meter.note("buy", buy)
    meter.note("release", market.release(0, 2))
    meter.note("retire", contract.send("retire", 0, sender=market.owner))
    world.evm.wait(3601)
    meter.note("reclaim", contract.send("reclaim", 0, sender=world.bystander))


def table() -> str:
    """Return the report."""
    native, token = measure(None), measure("plain_token")
    lines = [f"| `{name.split()[0]}`{name[len(name.split()[0]) :]} | {native[name]:,} | {token[name]:,} |" for name in native]
    return "\n".join(
        [
            "# Gas",
            "",
            "Made by `python -m bench.chain_gas`; a test makes it again and compares, and holds `anchor`, `claim` and `join` to "
            + ", ".join(f"{LIMITS[name]:,}" for name in ("anchor", "claim", "join"))
            + ".",
            "Quorum 3 of 5; a ledger of 2,000 entries (each doubling adds about 1,200 to `anchor`); 20 claims. A first payment to an",
            "account that held nothing writes a new balance, which is not the contract's cost: that row is above the limit.",
            "",
            "| call | native coin | ERC-20 |",
            "|---|---:|---:|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    REPORT.write_text(table(), encoding="utf-8")
    print(REPORT.read_text(encoding="utf-8"), end="")
