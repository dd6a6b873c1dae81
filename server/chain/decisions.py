"""What elected witnesses decide, each from its own copy of the ledger, and how their signatures reach the contract.

A witness signs what its copy shows, not what it is told; the copy may come from anybody, since it is held against the anchors. What it
signed is a JSON object in a file, which whoever sends the transaction collects.
"""

import json
from pathlib import Path
from typing import Any

from server.chain.federation import Federation
from server.chain.ledger_view import published
from server.chain.session import Session
from server.chain.settling import NEVER, is_the_ledgers
from server.chain.statements import sign
from server.chain.witness import from_hex, to_hex
from server.errors import ServerError
from server.files import read_file

_MAX_FILE = 4096


def decision(session: Session, run: Path, epoch: int) -> str:
    """Return a witness's signed decision about a challenged settlement, as JSON.

    Raises
    ------
    Disagreement
        This copy of the ledger is not what is anchored.
    ServerError
        The settlement is not challenged, or this account has no seat.
    """
    federation = session.federation()
    account = seated(session, federation)
    if federation.get("due", epoch) != NEVER:
        raise ServerError(f"the settlement of epoch {epoch} is not challenged: there is nothing to decide")
    with published(run) as ledger:
        stands = is_the_ledgers(federation, ledger, epoch)
    attempt, root = federation.get("attempt", epoch), federation.get("root", epoch)
    signature = sign(federation.domain.resolution(epoch, attempt, root, stands=stands), account)
    said = {"epoch": epoch, "attempt": attempt, "root": root.hex(), "stands": stands, "signature": to_hex(signature)}
    return json.dumps(said)


def resolve(session: Session, epoch: int, files: list[Path]) -> None:
    """Decide a challenge with the decisions of a quorum.

    Raises
    ------
    ServerError
        The files are not decisions about this settlement, or too few seated witnesses decided alike.
    """
    federation = session.federation()

    def done() -> bool:
        return bool(federation.get("due", epoch) != NEVER)

    attempt, root = federation.get("attempt", epoch), federation.get("root", epoch)
    if done():
        stands = federation.get("due", epoch) != 0
        session.console.print(f"epoch {epoch}: no challenge is open; {'a settlement stands' if stands else 'no settlement stands'}")
        return
    said = [
        one for one in map(read_signed, files) if (one.get("epoch"), one.get("attempt"), one.get("root")) == (epoch, attempt, root.hex())
    ]
    if not said:
        raise ServerError(f"none of these files is a decision about the settlement of epoch {epoch} that is challenged now")
    stands = 2 * sum(one.get("stands") is True for one in said) > len(said)
    digest = federation.domain.resolution(epoch, attempt, root, stands=stands)
    signatures = federation.in_order(digest, [one["signature"] for one in said if one.get("stands") is stands])
    call = federation.call("resolve", epoch, stands, signatures)
    if session.make(f"resolve/{federation.address}/{epoch}/{attempt}", call, session.account(), done=done):
        session.console.print(f"epoch {epoch}: the settlement {'stands and is final' if stands else 'is void: it can be proposed anew'}")


def seated(session: Session, federation: Federation) -> Any:  # noqa: ANN401
    """Return the account that signs, which has a seat."""
    account = session.account()
    if not federation.get("seat", account.address):
        raise ServerError(f"{account.address} is not a seated witness: its signature would not count")
    return account


def read_signed(file: Path) -> dict[str, Any]:
    """Read a file with what one witness signed; its ``signature`` is parsed.

    Raises
    ------
    ServerError
        It is not such a file.
    """
    try:
        found: dict[str, Any] = json.loads(read_file(file, _MAX_FILE))
        return {**found, "signature": from_hex(found["signature"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServerError(f"{file} is not what a witness signed ('lunaria chain decide')") from error
