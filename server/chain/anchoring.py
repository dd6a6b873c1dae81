"""Anchoring a ledger: the published checkpoint, the operator's signature, a quorum of witnesses', one transaction; and so on.

Training never waits for this: it runs in a process of its own (``flower-server --chain``, ``lunaria chain anchor --follow``) and only reads
the run folder. Each step begins with what the chain says, so that a node that was restarted, rolled back or changed is told what it lacks.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
from eth_account.signers.local import LocalAccount

from ledger.errors import LedgerError
from ledger.witnessing import SIZE_TYPE, AddCheckpoint, parse_size
from server.chain.errors import Disagreement, Refused
from server.chain.federation import NO_ANCHOR, Anchor, Federation
from server.chain.ledger_view import PublishedLedger, published
from server.chain.statements import Signature, log_digest, sign
from server.chain.witness import HEADER, PATH, from_hex, to_hex
from server.errors import ServerError
from server.fetch import client, fetch

_MAX_ANSWER = 4096


class Anchorer:
    """Anchors the ledger of a run folder.

    Parameters
    ----------
    run : Path
    federation : Federation
    operator : LocalAccount
        Signs the anchors, and pays for them.
    """

    def __init__(self, run: Path, federation: Federation, operator: LocalAccount) -> None:
        self._run, self._federation, self._operator = run, federation, operator
        self._sizes: dict[str, int] = {}

    def step(self) -> tuple[Anchor, bool] | None:
        """Anchor the published checkpoint if the chain does not have it yet.

        Returns
        -------
        (Anchor, bool) or None
            The last anchor and whether it is of a closed ledger; None before the first, when there was nothing to anchor.

        Raises
        ------
        Disagreement
            The chain holds another history, or another ledger's.
        Unreachable, Refused, ServerError
            It could not be done now.
        """
        with published(self._run) as ledger:
            checkpoint = ledger.checkpoint
            if self._federation.get("log_digest") != log_digest(checkpoint.origin):
                raise Disagreement(f"the contract is about another ledger than {checkpoint.origin}")
            last = self._federation.last_anchor()
            check_agrees(last, ledger)
            if last is None or last.size < checkpoint.size:
                self._anchor(last, ledger)
                last = self._federation.last_anchor()
            if last is None:
                return None
            return last, ledger.closed() and last.size == checkpoint.size

    def call(self, last: Anchor | None, ledger: PublishedLedger) -> list[object]:
        """Return the arguments of the call, with a quorum's signatures."""
        checkpoint = ledger.checkpoint
        statement = self._federation.domain.anchor(log_digest(checkpoint.origin), checkpoint.size, checkpoint.root)
        mine = sign(statement, self._operator)
        signatures = self._federation.in_order(statement, self._collect(ledger, mine))
        path = ledger.path(last.size, checkpoint.size) if last else []
        return [(last or NO_ANCHOR).to_abi(), checkpoint.size, checkpoint.root, path, mine, signatures]

    def _anchor(self, last: Anchor | None, ledger: PublishedLedger) -> None:
        size = ledger.checkpoint.size

        def done() -> bool:
            now = self._federation.last_anchor()
            return now is not None and now.size >= size

        action = f"anchor/{self._federation.address}/{last.digest.hex() if last else 'first'}"
        try:
            call = self._federation.call("anchor", *self.call(last, ledger))
            self._federation.node.send(action, call, self._operator, done=done)
        except Refused:
            if not done():  # somebody else was faster
                raise

    def _collect(self, ledger: PublishedLedger, mine: Signature) -> list[Signature]:
        """Ask every witness; whoever does not answer well is left out."""
        urls = self._federation.node.config.witnesses
        found: list[Signature] = []
        with client(urls) as http:
            for url in urls:
                signature = self._ask(http, url.rstrip("/"), ledger, mine)
                if signature is not None:
                    found.append(signature)
        return found

    def _ask(self, http: httpx.Client, url: str, ledger: PublishedLedger, mine: Signature) -> Signature | None:
        try:
            for _ in range(2):  # a witness that knows another size than we thought says which
                old = min(self._sizes.get(url, 0), ledger.checkpoint.size)
                body = AddCheckpoint(old, tuple(ledger.consistency(old)), ledger.note).encode()
                answer = fetch(http, url + PATH, _MAX_ANSWER, body=body, headers={HEADER: to_hex(mine)})
                if answer.status == 200:
                    self._sizes[url] = ledger.checkpoint.size
                    return from_hex(answer.body.decode())
                if answer.status != 409 or answer.media_type != SIZE_TYPE:
                    return None
                self._sizes[url] = parse_size(answer.body)
        except (httpx.HTTPError, LedgerError, ServerError, ValueError):
            return None
        return None


def check_agrees(last: Anchor | None, ledger: PublishedLedger) -> None:
    """Refuse to go on where the chain holds another history.

    Raises
    ------
    Disagreement
        It does: the ledger here is an old copy, or forked.
    """
    if last is None:
        return
    if last.size > ledger.checkpoint.size:
        raise Disagreement(
            f"the chain has {last.size} entries anchored, this ledger {ledger.checkpoint.size}: it is an old copy, or forked"
        )
    if ledger.root(last.size) != last.root:
        raise Disagreement(f"the chain holds another root for the first {last.size} entries: this ledger was forked")


def follow(anchorer: Anchorer, stop: threading.Event, say: Callable[[str], None], interval: float) -> None:
    """Anchor until the closed ledger is anchored, or until it is told to stop; whatever fails is tried again.

    Raises
    ------
    Disagreement
        Going on would be wrong.
    """
    told, size = "", 0
    while not stop.is_set():
        try:
            found = anchorer.step()
            if found and found[0].size != size:
                size, told = found[0].size, ""
                say(f"anchored: {size} entries")
            if found and found[1]:
                return
        except Disagreement:
            raise
        except (ServerError, LedgerError) as error:
            if str(error) != told:
                told = str(error)
                say(told)
        stop.wait(interval)
