"""Settlements on the chain: proposing, paying, challenging, all from the ledger's own entries."""

import json
from itertools import combinations
from pathlib import Path

from ledger import merkle
from ledger.settlement import Claim, claim_proof, claims
from server.chain.anchoring import check_agrees
from server.chain.errors import Disagreement
from server.chain.federation import Anchor, Federation, address
from server.chain.ledger_view import PublishedLedger, penalties, published, roots_of
from server.chain.session import Session
from server.chain.statements import Signature, signer
from server.chain.witness import from_hex
from server.errors import ServerError
from server.files import read_file

NEVER = 2**256 - 1
"""When a challenged settlement is due."""

_MAX_STATEMENTS = 1 << 24


def propose(session: Session, run: Path, epoch: int) -> bool:
    """Propose a settlement if there is none; returns whether it is final."""
    federation = session.federation()
    with published(run) as ledger:
        place, entry = ledger.settlement(epoch)
        root, fined = roots_of(entry)
        if federation.get("due", epoch) == 0:
            anchor = _final_anchor(federation, place)
            what = (epoch, root, fined, int(entry.total), len(claims(entry)))
            leaf = merkle.leaf_hash(ledger.store.entry(place))
            call = federation.call("propose", what, anchor.to_abi(), leaf, place, ledger.inclusion(place, anchor.size))
            attempt = federation.get("attempt", epoch)
            action = f"propose/{federation.address}/{epoch}/{attempt}"
            session.make(action, call, session.account(), done=lambda: bool(federation.get("due", epoch)))
    if session.dry:
        return False
    due, now = federation.get("due", epoch), federation.now()
    if due == NEVER:
        session.console.print(f"epoch {epoch} is challenged: the witnesses decide")
    elif due > now:
        session.console.print(f"epoch {epoch} is proposed; it is final in {due - now:,} s, run the command again then")
    return bool(due <= now)


def penalise(session: Session, run: Path, epoch: int) -> None:
    """Take the penalties of a final settlement that were not taken yet."""
    _each(session, run, epoch, "penalise", None)


def pay(session: Session, run: Path, epoch: int, account: str | None) -> None:
    """Have claims paid that were not paid yet."""
    _each(session, run, epoch, "claim", account)


def _each(session: Session, run: Path, epoch: int, name: str, only: str | None) -> None:
    federation = session.federation()
    with published(run) as ledger:
        entry = ledger.settlement(epoch)[1]
    leaves = claims(entry) if name == "claim" else penalties(entry)
    sender = session.account()
    for leaf in _chosen(leaves, only):
        who, path = address(leaf.account), claim_proof(leaves, leaf.index)
        rest = [who] if name == "claim" else []
        call = federation.call(name, epoch, leaf.index, who, leaf.amount, len(leaves), path, *rest)

        def done(leaf: Claim = leaf) -> bool:
            word, width = ("claimed", 255) if name == "claim" else ("penalised", 256)
            return bool(federation.get(word, epoch, leaf.index // width) >> (leaf.index % width) & 1)

        if done():
            session.console.print(f"{name}: {leaf.amount:,} of {who} is done already")
        elif session.make(f"{name}/{federation.address}/{epoch}/{leaf.index}", call, sender, done=done):
            session.console.print(f"  {leaf.amount:,} {'to' if name == 'claim' else 'from'} {who}")


def _chosen(leaves: list[Claim], only: str | None) -> list[Claim]:
    found = [leaf for leaf in leaves if only is None or leaf.account == only.lower()]
    if only is not None and not found:
        raise ServerError(f"{only} has no claim in this epoch")
    return found


def proofs(run: Path, epoch: int, only: str | None) -> str:
    """Return the claims of an epoch with their proofs, as JSON: all that a claim on the chain takes."""
    with published(run) as ledger:
        entry = ledger.settlement(epoch)[1]
    leaves = claims(entry)
    found = [
        {
            "epoch": epoch,
            "index": leaf.index,
            "account": address(leaf.account),
            "amount": str(leaf.amount),
            "claims": len(leaves),
            "path": ["0x" + node.hex() for node in claim_proof(leaves, leaf.index)],
        }
        for leaf in _chosen(leaves, only)
    ]
    return json.dumps(found, indent=2)


def challenge_settlement(session: Session, run: Path, epoch: int) -> None:
    """Challenge a settlement that is not the ledger's; one that is the ledger's is not challenged."""
    federation = session.federation()
    attempt = federation.get("attempt", epoch)

    def done() -> bool:
        return bool(federation.get("due", epoch) == NEVER)

    with published(run) as ledger:
        if not done() and is_the_ledgers(federation, ledger, epoch):
            raise ServerError(f"the settlement of epoch {epoch} on the chain is the ledger's: challenging it would cost the bond")
    account, bond = session.account(), federation.get("challenge_bond")
    session.allow(federation, account, bond)
    action = f"challenge/{federation.address}/{epoch}/{attempt}"
    session.make(action, federation.call("challenge", epoch), account, federation.payment(bond), done=done)


def is_the_ledgers(federation: Federation, ledger: PublishedLedger, epoch: int) -> bool:
    """Whether a settlement that is not final yet is the one in the ledger: claims, penalties and their sum.

    Raises
    ------
    Disagreement
        This copy of the ledger is not what is anchored.
    ServerError
        Nothing was proposed for this epoch.
    """
    check_copy(federation, ledger)
    if not federation.get("due", epoch):
        raise ServerError(f"no settlement of epoch {epoch} stands on the chain")
    found = ledger.settlements().get(epoch)
    proposed = federation.get("root", epoch), federation.get("penalties", epoch), federation.get("remaining", epoch)
    return found is not None and proposed == (*roots_of(found[1]), int(found[1].total))


def check_copy(federation: Federation, ledger: PublishedLedger) -> None:
    """Hold every entry of a copy of the ledger, wherever it came from, against the last anchor.

    Raises
    ------
    Disagreement
        Entries are missing, or are others.
    """
    last = federation.last_anchor()
    if last is None:
        return
    check_agrees(last, ledger)
    if merkle.root_of([merkle.leaf_hash(entry) for entry in ledger.store.entries(0, last.size)]) != last.root:
        raise Disagreement("entries of this copy of the ledger are not those that are anchored")


def convict(session: Session, run: Path, files: list[Path]) -> None:
    """Show the contract two statements of one signer that contradict each other.

    Raises
    ------
    ServerError
        No two of them do.
    """
    federation = session.federation()
    said = {(size, root): signature for file in files for size, root, signature in _statements(file)}
    log = federation.get("log_digest")
    signers = {key: signer(federation.domain.anchor(log, *key), signature) for key, signature in said.items()}
    with published(run) as ledger:
        for first, second in combinations(sorted(said), 2):
            path = _contradiction(ledger, first, second) if signers[first] == signers[second] else None
            if path is not None:
                break
        else:
            raise ServerError("no two of these statements contradict each other: nobody can be convicted with them")
    guilty = signers[first]
    call = federation.call("convict", *first, said[first], *second, said[second], path)
    session.make(f"convict/{federation.address}/{guilty}", call, session.account(), done=lambda: not _slashable(federation, guilty))


def _slashable(federation: Federation, who: str) -> int:
    return int(federation.get("stake", who)) + int(federation.get("unbonding", who))


def _contradiction(ledger: PublishedLedger, first: tuple[int, bytes], second: tuple[int, bytes]) -> list[bytes] | None:
    """Return the path that the contract takes, None where two statements agree, or the ledger cannot show that they do not."""
    if first[0] == second[0]:
        return []
    size = ledger.checkpoint.size
    if second[0] > size or ledger.root(second[0]) != second[1] or ledger.root(first[0]) == first[1]:
        return None
    return ledger.path(first[0], second[0])


def _statements(file: Path) -> list[tuple[int, bytes, Signature]]:
    try:
        lines = [json.loads(line) for line in read_file(file, _MAX_STATEMENTS).decode().splitlines()]
        return [(int(line["size"]), bytes.fromhex(line["root"]), from_hex(line["signature"])) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"{file} is not a file of statements that a witness kept") from error


def _final_anchor(federation: Federation, place: int) -> Anchor:
    """Return the first final anchor that has an entry.

    Raises
    ------
    ServerError
        None has: anchor the ledger, and wait for the window.
    """
    found = [anchor for anchor in federation.anchors() if anchor.size > place]
    for anchor in found:
        if federation.get("final", anchor.to_abi()):
            return anchor
    if found:
        left = found[0].time + federation.get("anchor_window") - federation.now()
        raise ServerError(f"the anchor of entry {place} is final in {max(left, 0):,} s: run the command again then")
    raise ServerError(f"entry {place} is not anchored yet: 'lunaria chain anchor' first")
