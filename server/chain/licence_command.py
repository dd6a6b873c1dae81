"""``lunaria chain licence``: offering data, buying its use, and having proved rounds paid."""

from pathlib import Path
from typing import Annotated

import typer

from server.chain.options import FILE, Dry, File, Run, Signed, opened
from server.errors import ServerError
from server.files import file_digest

licence_app = typer.Typer(help="Licences for data, paid by the proved round (docs/chain.md).", no_args_is_help=True)

Number = Annotated[int, typer.Argument(min=0, help="The number of the licence.")]
OfferNumber = Annotated[int, typer.Argument(min=0, help="The number of the offer.")]
_MOST_RULES = 8


@licence_app.command()
def deploy(
    token: Annotated[str, typer.Option(help="The ERC-20 that prices are in. [default: the native coin]")] = "0x" + "00" * 20,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Deploy a market; its address is written into chain.toml. A federation can use one that others deployed."""
    session = opened(chain, dry=dry_run)
    from server.chain.federation import address
    from server.chain.licences import deploy as make

    make(session, address(token))


@licence_app.command()
def offer(
    data: Annotated[str, typer.Option(help="Digest of the rows in the data set's enrolment, 64 hexadecimal digits.")],
    terms: Annotated[Path, typer.Option(help="The terms of use: their SHA-256 stands in the offer.")],
    price: Annotated[int, typer.Option(min=1, help="For each proved round, in the smallest unit.")],
    rule: Annotated[list[str], typer.Option(help="Digest of an agreement or a training rule that may use it ('chain status').")],
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Offer a data set, for agreements or training rules that you name; nothing of an offer can be changed."""
    if len(rule) > _MOST_RULES:
        raise ServerError(f"an offer names at most {_MOST_RULES} rules: make a second offer")
    rules, rows = [_digest("--rule", one) for one in rule], _digest("--data", data)
    digest = bytes.fromhex(file_digest(terms)[0])
    session = opened(chain, dry=dry_run)
    from server.chain.licences import offer as make

    make(session, rows, digest, price, rules)


@licence_app.command()
def buy(
    number: OfferNumber,
    rounds: Annotated[int, typer.Option(min=1, help="For how many proved rounds you then have licences altogether.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Within how many days.")],
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Buy the use of a data set for this federation; what is not used can be reclaimed after the end."""
    session = opened(chain, dry=dry_run)
    from server.chain.licences import buy as make

    make(session, number, rounds, days)


@licence_app.command()
def proven(run: Run, number: Number, chain: File = FILE) -> None:
    """As an elected witness, sign how many rounds of a licence your copy of the ledger shows to be proved; printed as JSON."""
    session = opened(chain)
    from server.chain.licences import proven as statement

    typer.echo(statement(session, run, number))


@licence_app.command()
def release(number: Number, signed: Signed, chain: File = FILE, dry_run: Dry = False) -> None:
    """Pay the owner the rounds that a quorum of the witnesses signed ('lunaria chain licence proven'); anybody may send it."""
    session = opened(chain, dry=dry_run)
    from server.chain.licences import release as pay

    pay(session, number, signed)


@licence_app.command()
def reclaim(number: Number, chain: File = FILE, dry_run: Dry = False) -> None:
    """After the end of a licence, return to its buyer what was not used."""
    session = opened(chain, dry=dry_run)
    from server.chain.licences import reclaim as back

    back(session, number)


@licence_app.command()
def retire(number: OfferNumber, chain: File = FILE, dry_run: Dry = False) -> None:
    """Sell no more licences of your offer; those that were sold stay."""
    session = opened(chain, dry=dry_run)
    from server.chain.licences import retire as end

    end(session, number)


@licence_app.command()
def status(chain: File = FILE) -> None:
    """Show the offers, and the licences for this federation."""
    session = opened(chain)
    from server.chain.licences import show

    show(session)


def _digest(option: str, text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ServerError(f"{option} is a digest of 64 hexadecimal digits")
    return found
