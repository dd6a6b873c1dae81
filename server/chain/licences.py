"""The market for data: offers, licences, and what witnesses sign so that proved rounds are paid."""

import json
from dataclasses import dataclass
from pathlib import Path

from ledger.entries import EnrolmentEntry, RoundEntry, decode_entry
from ledger.settlement import counts
from server.chain.artifacts import artifact
from server.chain.contract import Contract
from server.chain.decisions import read_signed, seated
from server.chain.federation import Federation
from server.chain.ledger_view import PublishedLedger, published
from server.chain.session import Session
from server.chain.settling import check_copy
from server.chain.statements import sign
from server.chain.witness import to_hex
from server.errors import ServerError

DAY = 86_400


@dataclass(frozen=True)
class Offer:
    """A data set on offer: ``price``, in the smallest unit, for each proved round."""

    owner: str
    data: bytes
    terms: bytes
    price: int
    retired: bool


@dataclass(frozen=True)
class Licence:
    """A licence for ``rounds`` rounds, of which ``paid`` are paid; ``escrow`` is what is held for the rest."""

    offer: int
    buyer: str
    federation: str
    agreement: bytes
    rounds: int
    paid: int
    end: int
    escrow: int

    @property
    def used(self) -> int:
        """The rounds that it answers for: all that can still be paid for, then those that were."""
        return self.rounds if self.escrow else self.paid


class Market(Contract):
    """The market that ``chain.toml`` names.

    Raises
    ------
    ServerError
        It names none, or there is none.
    """

    def __init__(self, session: Session) -> None:
        config = session.config
        if config.market is None:
            raise ServerError("chain.toml names no market: 'lunaria chain licence deploy' makes one")
        super().__init__(session.node, "data_licence", config.market, config.market_block)

    def offer(self, number: int) -> Offer:
        """Return an offer; raises ServerError where there is none."""
        if number >= self.get("offer_count"):
            raise ServerError(f"there is no offer {number}")
        return Offer(*self.get("offers", number))

    def licence(self, number: int) -> Licence:
        """Return a licence; raises ServerError where there is none."""
        if number >= self.get("licence_count"):
            raise ServerError(f"there is no licence {number}")
        return Licence(*self.get("licences", number))

    def licences_for(self, federation: str) -> dict[int, Licence]:
        """Return all licences that were bought for a federation, by number."""
        found = (event["args"]["licence"] for event in self.events("Bought", {"federation": federation}))
        return {number: self.licence(number) for number in found}


def deploy(session: Session, token: str) -> None:
    """Deploy a market whose prices are in a token, and write its address into ``chain.toml``."""
    if session.config.market:
        session.console.print(f"deployed already: {session.config.market}")
        return
    found = artifact("data_licence")
    call = session.node.web3.eth.contract(abi=found["abi"], bytecode=found["bytecode"]).constructor(token)

    def keep(receipt: dict[str, object]) -> None:
        known = {"market": str(receipt["contractAddress"]), "market_block": int(str(receipt["blockNumber"]))}
        session.config.model_copy(update=known).write(session.file)
        session.console.print(f"market {receipt['contractAddress']}; written into {session.file}", soft_wrap=True)

    account = session.account()
    session.make(f"deploy-market/{account.address}", call, account, then=keep)


def offer(session: Session, data: bytes, terms: bytes, price: int, rules: list[bytes]) -> None:
    """Offer a data set, unless the account offers it like that already."""
    market, account = Market(session), session.account()

    def same() -> int | None:
        for event in market.events("Offered", {"owner": account.address, "data": data}):
            number = int(event["args"]["offer"])
            found = market.offer(number)
            if (found.terms, found.price, found.retired) == (terms, price, False) and all(market.get("rules", number, r) for r in rules):
                return number
        return None

    call = market.call("offer", data, terms, price, rules)
    action = f"offer/{market.address}/{account.address}/{data.hex()}"
    if session.make(action, call, account, done=lambda: same() is not None):
        session.console.print(f"offer {same()}")


def retire(session: Session, number: int) -> None:
    """Sell no more licences of an offer."""
    market = Market(session)
    market.offer(number)
    action = f"retire/{market.address}/{number}"
    session.make(action, market.call("retire", number), session.account(), done=lambda: market.offer(number).retired)


def buy(session: Session, number: int, rounds: int, days: int) -> None:
    """Buy what is missing until the account's licences of an offer, for this federation, are for so many rounds."""
    market, federation, account = Market(session), session.federation(), session.account()
    price = market.offer(number).price

    def mine() -> dict[int, Licence]:
        found = market.licences_for(federation.address).items()
        return {n: one for n, one in found if (one.offer, one.buyer) == (number, account.address)}

    def missing() -> int:
        now = federation.now()
        return max(rounds - sum(one.rounds if one.end >= now else one.paid for one in mine().values()), 0)

    lacking = missing()
    session.allow(market, account, lacking * price)
    call = market.call("buy", number, federation.address, lacking, days * DAY)
    action = f"buy/{market.address}/{federation.address}/{number}/{account.address}"
    if session.make(action, call, account, market.payment(lacking * price), done=lambda: not missing()):
        session.console.print(f"licences of offer {number}: {', '.join(map(str, mine()))}")


def proven(session: Session, run: Path, number: int) -> str:
    """Return how many rounds of a licence are proved by a witness's copy of the ledger, signed, as JSON.

    A proved round counts for one licence: earlier ones of the same owner's data, for the same federation, come first.

    Raises
    ------
    Disagreement
        This copy of the ledger is not what is anchored.
    ServerError
        The licence is for another federation, its owner is not whom the enrolment names, or this account has no seat.
    """
    market, federation = Market(session), session.federation()
    account, licence = seated(session, federation), market.licence(number)
    sold = market.offer(licence.offer)
    if licence.federation != federation.address:
        raise ServerError(f"licence {number} is for the federation {licence.federation}")
    with published(run) as ledger:
        total = _rounds(federation, ledger, sold)
    for other, one in market.licences_for(federation.address).items():
        first = market.offer(one.offer)
        if other < number and (first.owner, first.data) == (sold.owner, sold.data):
            total -= one.used
    rounds = min(max(total, 0), licence.rounds)
    signature = sign(market.domain.proven(number, rounds), account)
    return json.dumps({"market": market.address, "licence": number, "rounds": rounds, "signature": to_hex(signature)})


def _rounds(federation: Federation, ledger: PublishedLedger, sold: Offer) -> int:
    """Return in how many anchored rounds an update from a data set was accepted, and proved where the agreement asks for proofs."""
    last = federation.last_anchor()
    if last is None:
        raise ServerError("nothing is anchored yet: 'lunaria chain anchor' first")
    check_copy(federation, ledger)
    clients, client, rounds = 0, -1, 0
    for entry in map(decode_entry, ledger.store.entries(0, last.size)):
        if isinstance(entry, EnrolmentEntry):
            said = entry.enrolment.statement
            if said.rows.digest == sold.data.hex():
                if (said.account or "").lower() != sold.owner.lower():
                    raise ServerError(f"the enrolment of this data set does not name {sold.owner}: the offer is not its owner's")
                client = clients
            clients += 1
        elif isinstance(entry, RoundEntry) and entry.aggregate is not None:
            agreement = ledger.opening.agreement
            rounds += any(one.client == client and counts(agreement, one) for one in entry.verdicts)
    if client < 0:
        raise ServerError("no enrolment in this ledger has this data set")
    return rounds


def release(session: Session, number: int, files: list[Path]) -> None:
    """Pay the owner the rounds that a quorum signed: the most that enough of the files agree on."""
    market, federation = Market(session), session.federation()
    licence = market.licence(number)
    said: dict[int, list[tuple[bytes, bytes]]] = {}
    for one in map(read_signed, files):
        if (one.get("market"), one.get("licence")) != (market.address, number) or not isinstance(one.get("rounds"), int):
            raise ServerError(f"one of these files is not about licence {number}: 'lunaria chain licence proven' makes them")
        said.setdefault(one["rounds"], []).append(one["signature"])
    refused: ServerError | None = None
    for rounds in sorted(said, reverse=True):
        try:
            signatures = federation.in_order(market.domain.proven(number, rounds), said[rounds])
            break
        except ServerError as error:
            refused = refused or error
    else:
        raise refused or ServerError("no files")
    if rounds <= licence.paid:
        session.console.print(f"release: {licence.paid} rounds are paid already")
        return
    action = f"release/{market.address}/{number}/{rounds}"
    call = market.call("release", number, rounds, signatures)
    if session.make(action, call, session.account(), done=lambda: market.licence(number).paid >= rounds):
        session.console.print(f"licence {number}: {rounds} of {licence.rounds} rounds paid")


def reclaim(session: Session, number: int) -> None:
    """Return to the buyer what is left of a licence that has ended."""
    market = Market(session)
    market.licence(number)
    action = f"reclaim/{market.address}/{number}"
    session.make(action, market.call("reclaim", number), session.account(), done=lambda: not market.licence(number).escrow)


def show(session: Session) -> None:
    """Print the offers, and the licences for this federation."""
    market, say = Market(session), session.console.print
    say(f"market {market.address}", soft_wrap=True)
    for number in range(market.get("offer_count")):
        one = market.offer(number)
        state = ", retired" if one.retired else ""
        say(f"offer {number}: data {one.data.hex()}, {one.price:,} a round, by {one.owner}{state}", soft_wrap=True)
    if session.config.contract is None:
        return
    federation = session.federation()
    now = federation.now()
    for number, bought in market.licences_for(federation.address).items():
        ends = f"ends in {bought.end - now:,} s" if bought.end >= now else "has ended"
        say(f"licence {number} of offer {bought.offer}: {bought.paid} of {bought.rounds} rounds paid, {bought.escrow:,} in escrow, {ends}")
