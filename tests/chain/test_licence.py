"""The market for data; what it refuses is in ``test_reverts.py``."""

import pytest

from tests.chain.evm import Reverted
from tests.chain.market import DATA, PRICE, Market
from tests.chain.world import AGREEMENT, HOUR, RULE, standing


@pytest.fixture
def market() -> Market:
    return Market(standing())


def test_a_licence_is_bound_to_the_agreement_and_pays_for_proved_rounds(market: Market) -> None:
    licence = market.buy(market.offer(AGREEMENT), 5)
    found = market.contract.get("licences", licence)
    assert found[3] == AGREEMENT
    before = market.world.evm.balance(market.owner.address)
    market.release(licence, 2)
    market.release(licence, 5)
    assert market.world.evm.balance(market.owner.address) - before == 5 * PRICE
    assert market.world.evm.balance(market.contract.address) == 0


def test_what_was_not_used_goes_back_to_the_buyer(market: Market) -> None:
    licence = market.buy(market.offer(RULE, DATA), 5)
    market.release(licence, 1)
    market.world.evm.wait(24 * HOUR + 1)
    before = market.world.evm.balance(market.buyer.address)
    market.contract.send("reclaim", licence, sender=market.world.bystander)
    assert market.world.evm.balance(market.buyer.address) - before == 4 * PRICE
    with pytest.raises(Reverted, match="nothing in escrow"):
        market.release(licence, 5)


def test_a_licence_outlives_its_offer(market: Market) -> None:
    number = market.offer()
    licence = market.buy(number, 1)
    market.contract.send("retire", number, sender=market.owner)
    market.release(licence, 1)


def test_licences_of_one_offer_are_paid_apart(market: Market) -> None:
    number = market.offer()
    one, two = market.buy(number, 2), market.buy(number, 3)
    market.release(one, 2)
    assert market.contract.get("licences", two)[7] == 3 * PRICE
    with pytest.raises(Reverted, match="not by seated"):
        market.contract.send("release", two, 2, market.proven(one, 2), sender=market.owner)


def test_prices_in_a_token() -> None:
    market = Market(standing("token"))
    licence = market.buy(market.offer(), 4)
    assert market.world.holds(market.contract.address) == 4 * PRICE
    market.release(licence, 4)
    assert market.world.holds(market.contract.address) == 0
