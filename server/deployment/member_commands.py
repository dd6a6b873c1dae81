"""``lunaria revoke`` and ``lunaria change``: who takes part from the next round on, while a server runs or before it starts again."""

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric import ec

from clients.errors import MemberError
from clients.node_keys import read_public
from ledger.changes import AnyChange, Revocation, RevocationReason, Rotation, numbered
from ledger.errors import VerificationError
from ledger.identity import node_digest
from ledger.membership import Membership
from server.deployment.changes import Changes, membership_in
from server.deployment.node_keys import node_key
from server.errors import ServerError
from server.http import installed

member_app = typer.Typer()

_LEAST_DIGITS = 8


@member_app.command()
def revoke(
    state: Annotated[Path, typer.Argument(help="The state folder of flower-server.")],
    member: Annotated[str, typer.Argument(help="Its identity in the ledger, the first 8 digits or more; or NAME of members/NAME.pub.")],
    reason: Annotated[RevocationReason, typer.Option(help="Stands in the ledger, for everybody to read.")],
    members: Annotated[Path, typer.Option(help="The folder of node keys, for NAME.")] = Path("members"),
) -> None:
    """End a membership: its node key is refused at once, and from the next round on no beacon chooses it.

    What it contributed stands. The run goes on as long as enough clients are left.
    """
    run, membership = membership_in(state)
    number = _number(membership, member, members)
    _hand_over(state, run, membership, Revocation(client=number, reason=reason))


@member_app.command()
def change(
    state: Annotated[Path, typer.Argument(help="The state folder of flower-server.")],
    request: Annotated[Path, typer.Argument(help="The file that 'flower-client --rotate-node-key' or '--leave' wrote.")],
) -> None:
    """Grant what a member asks for and signed: another node key, or to leave."""
    with installed("federation"):  # it is written by a client
        from clients.change_requests import ChangeRequest
    try:
        asked = ChangeRequest.read(request)
    except MemberError as error:
        raise ServerError(str(error)) from error
    run, membership = membership_in(state)
    number = membership.number(asked.signed.statement.client)
    if number is None:
        raise ServerError(f"client {asked.signed.statement.client[:16]} takes no part in the run in {state}, or no longer")
    key = None if asked.node_key is None else read_public(asked.node_key.encode())
    _hand_over(state, run, membership, numbered(asked.signed, number), key)


def _hand_over(state: Path, run: str, membership: Membership, change: AnyChange, key: ec.EllipticCurvePublicKey | None = None) -> None:
    """Check that a change may be made now, and put it where the server finds it."""
    try:
        membership.after((change,), run)
    except VerificationError as error:
        raise ServerError(str(error)) from error
    Changes(state).add(change, key)
    when = "connects with its new node key from now on" if isinstance(change, Rotation) else "is let in no more"
    typer.echo(f"client {change.client} ({membership.keys[change.client][:16]}) {when}")
    typer.echo("the ledger says so with the entry of the round in progress, or of the next one where none is")


def _number(membership: Membership, member: str, members: Path) -> int:
    """Return the number of the active member that is meant."""
    path = members / f"{member}.pub"
    if path.is_file():
        node = node_digest(node_key(path))
        found = [number for number in membership.active if membership.nodes[number] == node]
        what = f"the node key in {path}"
    elif len(member) >= _LEAST_DIGITS and set(member.lower()) <= set("0123456789abcdef"):
        found = [number for number in membership.active if membership.keys[number].startswith(member.lower())]
        what = f"an identity that begins with {member}"
    else:
        raise ServerError(f"{path} does not exist, and {member!r} is not {_LEAST_DIGITS} digits or more of an identity in the ledger")
    if len(found) != 1:
        raise ServerError(f"{len(found)} clients that take part have {what}: 'lunaria log list' shows who enrolled")
    return found[0]
