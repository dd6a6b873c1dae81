"""``lunaria chain``: deploy, join, anchor, settle, claim, challenge, status, and what elections, decisions and leaving take.

Keys come from an encrypted keystore or the environment (:mod:`server.chain.config`), never from an argument. Every call can be made again:
what is done already is not done twice.
"""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.console import LogFormat
from server.chain.licence_command import licence_app
from server.chain.options import FILE, Dry, Epoch, File, Run, Signed, opened
from server.errors import ServerError
from server.http import Format, Metrics

if TYPE_CHECKING:
    from server.chain.session import Session

chain_app = typer.Typer(help="Stakes, anchors and rewards on Ethereum (docs/chain.md).", no_args_is_help=True)
chain_app.add_typer(licence_app, name="licence")

_INTERVAL = 5.0


@chain_app.command()
def deploy(run: Run, chain: File = FILE, dry_run: Dry = False) -> None:
    """Deploy the contract of a federation whose ledger has begun; its address is written into chain.toml."""
    from server.chain.ledger_view import published

    session = opened(chain, dry=dry_run)
    if session.config.contract:
        session.console.print(f"deployed already: {session.config.contract}")
        return
    account = session.account()

    def keep(receipt: dict[str, object]) -> None:
        session.config.deployed(str(receipt["contractAddress"]), int(str(receipt["blockNumber"]))).write(chain)
        session.console.print(f"contract {receipt['contractAddress']}, operator {account.address}; written into {chain}", soft_wrap=True)

    with published(run) as ledger:
        session.make(f"deploy/{ledger.run}", session.deployment(ledger, account), account, then=keep)


@chain_app.command()
def join(
    stake: Annotated[int, typer.Option(min=1, help="The stake, in the smallest unit.")],
    identity: Annotated[str, typer.Option(help="Your identity in the ledger, 64 hexadecimal digits, as flower-client prints it.")],
    stand: Annotated[bool, typer.Option("--stand", help="Be a candidate for witness, and vote for yourself.")] = False,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Become a member with a stake; your enrolment must name this account ('flower-client --account')."""
    session = opened(chain, dry=dry_run)
    account, federation = session.account(), session.federation()
    try:
        key = bytes.fromhex(identity)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ServerError("--identity is 64 hexadecimal digits")

    def joined() -> bool:
        found = federation.get("ledger_key", account.address)
        if found not in (bytes(32), key):
            raise ServerError(f"{account.address} is bound to the identity {found.hex()} already: another identity needs another account")
        return bool(found == key)

    session.allow(federation, account, stake)
    session.make(f"join/{federation.address}", federation.call("join", key, stake), account, federation.payment(stake), done=joined)
    if stand and not dry_run:
        _stand(session)


def _stand(session: "Session") -> None:
    account, federation = session.account(), session.federation()
    me = account.address
    session.make(f"stand/{federation.address}", federation.call("stand"), account, done=lambda: me in federation.candidates())
    session.make(f"vote/{me}", federation.call("vote", me), account, done=lambda: federation.get("choice", me) == me)


@chain_app.command()
def vote(
    candidate: Annotated[str, typer.Argument(help="The candidate's account.")],
    delegate: Annotated[bool, typer.Option("--delegate", help="Let your stake follow this account's choice instead.")] = False,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Choose a witness with your stake, or somebody who chooses for you."""
    from server.chain.federation import address

    session, who = opened(chain, dry=dry_run), address(candidate)
    account, federation = session.account(), session.federation()
    name, view = ("delegate_to", "delegate") if delegate else ("vote", "choice")
    session.make(f"{name}/{who}", federation.call(name, who), account, done=lambda: federation.get(view, account.address) == who)


@chain_app.command()
def elect(chain: File = FILE, dry_run: Dry = False) -> None:
    """Seat the candidates with the most votes, when the term is over."""
    session = opened(chain, dry=dry_run)
    federation = session.federation()
    end = federation.get("term_end")
    session.make(f"elect/{end}", federation.call("elect"), session.account(), done=lambda: federation.get("term_end") != end)


@chain_app.command()
def fund(
    total: Annotated[int, typer.Option(min=1, help="What you then have paid in altogether, in the smallest unit.")],
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Pay into the pot, until you have paid in the total; made again, it pays nothing more."""
    session = opened(chain, dry=dry_run)
    from server.chain.leaving import fund as pay

    pay(session, total)


@chain_app.command()
def unbond(
    keep: Annotated[int, typer.Option(min=0, help="The stake that stays, in the smallest unit.")] = 0,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Take stake out of the votes; it can be withdrawn when the unbonding period is over."""
    session = opened(chain, dry=dry_run)
    from server.chain.leaving import unbond as start

    start(session, keep)


@chain_app.command()
def withdraw(
    to: Annotated[str | None, typer.Option(help="Pay to this account. [default: your own]")] = None,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Take out all that is due: unbonded stake, bonds and bounties and, when all is over, your part of the pot."""
    session = opened(chain, dry=dry_run)
    from server.chain.leaving import withdraw as take_out

    take_out(session, to)


@chain_app.command()
def close(chain: File = FILE, dry_run: Dry = False) -> None:
    """End the federation: its operator at any time, anybody after a long silence of the operator."""
    session = opened(chain, dry=dry_run)
    from server.chain.leaving import close as end

    end(session)


@chain_app.command()
def anchor(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the closed ledger is anchored; errors are tried again.")] = False,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Anchor the published checkpoint, with the signatures of the elected witnesses."""
    session = _open_when_there(chain) if follow else opened(chain, dry=dry_run)
    from server.chain.anchoring import Anchorer, check_agrees
    from server.chain.anchoring import follow as follow_ledger
    from server.chain.ledger_view import published

    account, federation = session.account(), session.federation()
    anchorer = Anchorer(run, federation, account)
    if dry_run:
        with published(run) as ledger:
            last = federation.last_anchor()
            check_agrees(last, ledger)
            session.make("anchor", federation.call("anchor", *anchorer.call(last, ledger)), account)
        return
    if follow:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        follow_ledger(anchorer, stop, lambda line: session.console.print(line, soft_wrap=True), _INTERVAL)
        return
    found = anchorer.step()
    if found:
        session.console.print(f"anchored: {found[0].size} entries, root {found[0].root.hex()}", soft_wrap=True)


def _open_when_there(chain: Path) -> "Session":
    """Wait for the file, its contract and the node: a server starts before its contract is deployed."""
    import time

    from server.chain.config import ChainConfig
    from server.chain.errors import Unreachable

    while True:
        try:
            if chain.exists() and ChainConfig.read(chain).contract:
                return opened(chain)
        except Unreachable:
            pass
        time.sleep(_INTERVAL)


@chain_app.command()
def settle(run: Run, epoch: Epoch, chain: File = FILE, dry_run: Dry = False) -> None:
    """Propose the settlement of an epoch from the ledger; once it is final, take its penalties."""
    from server.chain.settling import penalise, propose

    session = opened(chain, dry=dry_run)
    if propose(session, run, epoch):
        penalise(session, run, epoch)


@chain_app.command()
def claim(
    run: Run,
    epoch: Epoch,
    account: Annotated[str | None, typer.Option(help="Only the claim of this account. [default: all]")] = None,
    proof: Annotated[bool, typer.Option("--proof", help="Print the claims with their proofs as JSON; nothing is sent.")] = False,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Have claims of a final settlement paid: each goes to its own account, whoever sends it."""
    from server.chain.settling import pay, proofs

    if proof:
        typer.echo(proofs(run, epoch, account))
    else:
        pay(opened(chain, dry=dry_run), run, epoch, account)


@chain_app.command()
def challenge(
    run: Run,
    epoch: Annotated[int | None, typer.Option(min=1, help="Challenge the settlement of this epoch, with the bond.")] = None,
    statements: Annotated[list[Path] | None, typer.Option(help="Files in which witnesses kept what an operator signed.")] = None,
    chain: File = FILE,
    dry_run: Dry = False,
) -> None:
    """Challenge a settlement that is not the ledger's, or show that an operator signed two histories."""
    from server.chain.settling import challenge_settlement, convict

    if (epoch is None) == (not statements):
        raise ServerError("say what to challenge: --epoch N, or --statements FILE")
    session = opened(chain, dry=dry_run)
    if epoch is not None:
        challenge_settlement(session, run, epoch)
    else:
        convict(session, run, statements or [])


@chain_app.command()
def decide(run: Run, epoch: Epoch, chain: File = FILE) -> None:
    """As an elected witness, sign whether a challenged settlement is that of your copy of the ledger; printed as JSON."""
    session = opened(chain)
    from server.chain.decisions import decision

    typer.echo(decision(session, run, epoch))


@chain_app.command()
def resolve(epoch: Epoch, signed: Signed, chain: File = FILE, dry_run: Dry = False) -> None:
    """Decide a challenge with what a quorum of the witnesses signed ('lunaria chain decide'); anybody may send it."""
    session = opened(chain, dry=dry_run)
    from server.chain.decisions import resolve as send

    send(session, epoch, signed)


@chain_app.command()
def witness(
    key: Annotated[str, typer.Option("--log", help="Public key of the ledger's log.")],
    state: Annotated[Path, typer.Option(help="The SQLite file with what was signed: never restore an old copy.")] = Path(
        "anchor-witness.db"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
    chain: File = FILE,
    metrics: Metrics = "",
    log_format: Format = LogFormat.TEXT,
) -> None:
    """Sign anchors as an elected witness: only of ledgers that grow, and never two that disagree."""
    session = opened(chain)
    from ledger.note import VerifierKey
    from ledger.witness import Witness
    from server.chain.witness import PATH, AnchorWitness, anchor_witness_app
    from server.http import Telling, serve

    federation = session.federation()
    remembered, kept = Witness(state, [], [VerifierKey.parse(key)]), state.with_suffix(".statements.jsonl")
    signing = AnchorWitness(remembered, session.account(), federation.domain, federation.get("operator"), kept)
    serve(anchor_witness_app(signing), host, port, [PATH.strip("/")], Telling(metrics, log_format))


@chain_app.command()
def status(run: Annotated[Path | None, typer.Argument(help="The folder of a run, to compare with.")] = None, chain: File = FILE) -> None:
    """Show the federation on the chain; with a run, check it against the ledger: 0 they agree, 5 they do not."""
    session = opened(chain)
    from server.chain.status import check, show

    show(session)
    if run is not None:
        raise typer.Exit(check(session, run))
