"""The federation on the chain for people, and its comparison with the ledger."""

from pathlib import Path

from rich.table import Table

from ledger.errors import LedgerError
from server.chain.anchoring import check_agrees
from server.chain.errors import Disagreement
from server.chain.federation import Federation, address
from server.chain.ledger_view import PublishedLedger, published, roots_of
from server.chain.session import Session, agreement_digest, rule_digest
from server.chain.settling import NEVER
from server.chain.statements import log_digest
from server.errors import ExitCode


def show(session: Session) -> None:
    """Print what stands on the chain."""
    federation = session.federation()
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _facts(federation):
        table.add_row(f"[bold]{name}[/bold]", value)
    session.console.print(table)
    for name, view in (("agreement", "agreement"), ("training rule", "rule")):  # whole, however narrow the terminal
        session.console.print(f"[bold]{name}[/bold]  {federation.get(view).hex()}", soft_wrap=True)


def _facts(federation: Federation) -> list[tuple[str, str]]:
    over, halted = federation.get("over_at"), federation.get("halted_at")
    last = federation.last_anchor()
    operator = federation.get("operator")
    state = "halted: its operator signed two histories" if halted else "over" if over else "open"
    if last is None:
        anchored = "nothing yet"
    else:
        final = "final" if federation.get("final", last.to_abi()) else "not final yet"
        anchored = f"{last.size} entries, {final}"
    return [
        ("federation", f"{federation.address} ({state})"),
        ("operator", f"{operator}, stake {federation.get('stake', operator):,}"),
        ("anchored", anchored),
        ("pot", f"{federation.get('pot'):,}"),
        ("quorum", f"{federation.get('quorum')} of {federation.get('seats')} seats"),
        ("settlements open", str(federation.get("unsettled"))),
    ]


def check(session: Session, run: Path) -> ExitCode:
    """Compare the chain with the ledger and print each check."""
    federation = session.federation()
    with published(run) as ledger:
        found = _disagreements(federation, ledger)
        for epoch, (_, entry) in ledger.settlements().items():
            due = federation.get("due", epoch)
            if due and federation.get("root", epoch) != bytes(32):
                total = federation.get("remaining", epoch) if due > federation.now() else int(entry.total)
                if (federation.get("root", epoch), federation.get("penalties", epoch), total) != (*roots_of(entry), int(entry.total)):
                    found.append(f"the settlement of epoch {epoch} on the chain is not the ledger's: challenge it")
                paid = int(entry.total) - federation.get("remaining", epoch)
                state = "challenged" if due == NEVER else "final" if due <= federation.now() else "proposed"
                session.console.print(f"epoch {epoch}: {state}, {paid:,} of {int(entry.total):,} paid")
        for epoch in set(federation.epochs()) - set(ledger.settlements()):
            if federation.get("due", epoch) and federation.get("root", epoch) != bytes(32):
                found.append(f"the ledger has no settlement of epoch {epoch}, the chain has: challenge it")
        for key, account in ledger.accounts().items():
            bound = federation.get("ledger_key", address(account)).hex()
            if bound != key:
                what = "has not joined" if bound == "00" * 32 else f"is bound to {bound[:16]} there"
                session.console.print(f"member {key[:16]}: {account} {what}")
    for line in found:
        session.console.print(f"[red]false[/red]  {line}")
    session.console.print("[red]chain and ledger disagree[/red]" if found else "chain and ledger agree")
    return ExitCode.FORK if found else ExitCode.OK


def _disagreements(federation: Federation, ledger: PublishedLedger) -> list[str]:
    found = []
    expected = {
        "run": bytes.fromhex(ledger.run),
        "log_digest": log_digest(ledger.checkpoint.origin),
        "agreement": agreement_digest(ledger),
        "rule": rule_digest(ledger),
    }
    for name, value in expected.items():
        if federation.get(name) != value:
            found.append(f"the contract's {name} is not the ledger's")
    try:
        for anchor in federation.anchors():
            check_agrees(anchor, ledger)
    except (Disagreement, LedgerError) as error:
        found.append(str(error))
    return found
