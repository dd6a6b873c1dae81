"""Paying into the pot, and taking out all that is one's own; each step looks at the chain first, so that none happens twice."""

from collections.abc import Callable

from eth_account.signers.local import LocalAccount

from server.chain.federation import NO_ANCHOR, Federation, address
from server.chain.session import Session
from server.chain.settling import NEVER


def fund(session: Session, total: int) -> None:
    """Pay into the pot what is missing until the account has paid in ``total``."""
    account, federation = session.account(), session.federation()

    def missing() -> int:
        return max(total - int(federation.get("paid_in", account.address)), 0)

    def pay() -> None:
        amount = missing()
        session.allow(federation, account, amount)
        action = f"fund/{federation.address}/{account.address}"
        session.make(action, federation.call("fund", amount), account, federation.payment(amount), done=lambda: not missing())

    _until(session, pay, lambda: not missing())


def unbond(session: Session, keep: int) -> None:
    """Take all stake but ``keep`` out of the votes; a candidate that keeps less than a witness needs stands down first."""
    account, federation = session.account(), session.federation()
    me = account.address

    def excess() -> int:
        return max(int(federation.get("stake", me)) - keep, 0)

    def start() -> None:
        call = federation.call("unbond", excess())
        session.make(f"unbond/{federation.address}/{me}", call, account, done=lambda: not excess())

    if keep < federation.get("witness_stake") and me in federation.candidates():
        done = lambda: me not in federation.candidates()  # noqa: E731
        session.make(f"stand_down/{federation.address}/{me}", federation.call("stand_down"), account, done=done)
    _until(session, start, lambda: not excess())
    waiting = federation.get("unbonding", me)
    if waiting:
        left = max(federation.get("release", me) - federation.now(), 0)
        session.console.print(f"{waiting:,} unbonding: 'lunaria chain withdraw' in {left:,} s")


def _until(session: Session, step: Callable[[], None], done: Callable[[], bool]) -> None:
    """Do a step again where the first ended what an earlier command, with another amount, had on its way."""
    step()
    if not session.dry and not done():
        step()


def close(session: Session) -> None:
    """End the federation: its operator at any time, anybody after long silence."""
    federation = session.federation()
    last = federation.last_anchor() or NO_ANCHOR
    call = federation.call("close", last.to_abi())
    session.make(f"close/{federation.address}", call, session.account(), done=lambda: federation.get("over_at") != 0)


def withdraw(session: Session, to: str | None) -> None:
    """Take out all that is due to the account now, and say what is not due yet.

    Parameters
    ----------
    session : Session
    to : str or None
        The account that is paid; None: the account itself. What is left of a pot without sponsors goes to its beneficiary.
    """
    account, federation = session.account(), session.federation()
    me, receiver = account.address, address(to or account.address)
    if _waits_for_settlements(federation, me):
        for epoch in federation.epochs():
            _clear(session, federation, account, epoch)
    now, made = federation.now(), False
    if federation.get("unbonding", me) and federation.get("release", me) <= now:
        made = _take(session, federation, account, "withdraw", lambda: federation.get("unbonding", me) == 0, receiver)
    if federation.get("credit", me):
        made = _take(session, federation, account, "collect", lambda: federation.get("credit", me) == 0, receiver) or made
    if federation.get("over_at") and not federation.get("unsettled"):
        if federation.get("paid_in", me):
            made = _take(session, federation, account, "refund", lambda: federation.get("paid_in", me) == 0, receiver) or made
        elif me == federation.get("beneficiary") and federation.get("pot") and not federation.get("paid_in_total"):
            made = _take(session, federation, account, "sweep", lambda: federation.get("pot") == 0) or made
    left = _left(federation, me)
    for line in left:
        session.console.print(line, soft_wrap=True)
    if not made and not left and not session.dry:
        session.console.print(f"{me} has nothing in the federation")


def _take(session: Session, federation: Federation, account: LocalAccount, name: str, done: Callable[[], bool], *to: str) -> bool:
    return session.make(f"{name}/{federation.address}/{account.address}", federation.call(name, *to), account, done=done)


def _waits_for_settlements(federation: Federation, me: str) -> bool:
    """Whether settlements that are open hold back money of an account; their end costs gas, which others need not pay."""
    concerned = (federation.get("operator"), federation.get("beneficiary"))
    return me in concerned or federation.get("paid_in", me) > 0 or any(federation.get("challenger", n) == me for n in federation.epochs())


def _clear(session: Session, federation: Federation, account: LocalAccount, epoch: int) -> None:
    """Give up a settlement that nobody decided or that a halt made void; return what nobody claimed in time."""
    due, now, halted = federation.get("due", epoch), federation.now(), federation.get("halted_at")
    attempt = federation.get("attempt", epoch)

    def ended() -> bool:
        return bool(federation.get("due", epoch) == 0 or federation.get("attempt", epoch) != attempt)

    undecided = due == NEVER and now > federation.get("deadline", epoch)
    void = 0 < halted < due != NEVER
    if undecided or void:
        session.make(f"lapse/{federation.address}/{epoch}/{attempt}", federation.call("lapse", epoch), account, done=ended)
    elif 0 < due < NEVER and federation.get("remaining", epoch) and now > due + federation.get("claim_period"):
        action = f"expire/{federation.address}/{epoch}/{attempt}"
        session.make(action, federation.call("expire", epoch), account, done=lambda: federation.get("remaining", epoch) == 0)


def _left(federation: Federation, me: str) -> list[str]:
    """Return a line for each sum that cannot be taken out yet, with what it waits for."""
    found, over = [], federation.get("over_at")
    stake, waiting, paid = (federation.get(name, me) for name in ("stake", "unbonding", "paid_in"))
    if stake:
        found.append(f"{stake:,} at stake: 'lunaria chain unbond' begins to take it out")
    if waiting:
        found.append(f"{waiting:,} unbonding: {max(federation.get('release', me) - federation.now(), 0):,} s to wait")
    if paid:
        what = f"{federation.get('unsettled')} settlements are claimed or expire" if over else "the federation is over"
        found.append(f"{paid:,} paid in: your part of what is left comes back when {what}")
    return found
