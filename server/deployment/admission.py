"""Which node keys are let in: those in ``members/`` and those that members rotated to, without those of who left."""

from collections.abc import Iterable, Mapping

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from clients.event_log import Events
from ledger.changes import AnyChange, Rotation
from ledger.errors import LedgerError
from ledger.identity import node_digest
from ledger.membership import Membership
from server.deployment.changes import Changes, barred, membership_in
from server.deployment.home import ServerHome
from server.deployment.superlink import SuperLink
from server.errors import ServerError

Named = tuple[str, ec.EllipticCurvePublicKey]


class Admission:
    """Keeps gate and SuperLink up with the changes in a state folder.

    Parameters
    ----------
    home : ServerHome
    link : SuperLink
    known : mapping of str to EllipticCurvePublicKey
        The node keys in ``members/``, by name; empty where anybody on this machine is let in.
    events : Events
        Is told who is let in anew, and who no more.

    Attributes
    ----------
    keys : set of bytes
        The node keys that are let in, PEM: it changes as they do.
    """

    def __init__(self, home: ServerHome, link: SuperLink, known: Mapping[str, ec.EllipticCurvePublicKey], events: Events) -> None:
        self._folder, self._link, self._events = home.folder, link, events
        self._known = {node_digest(key): (name, key) for name, key in known.items()}
        self._changes = Changes(home.folder)
        self._nodes: dict[str, int] = {}  # Flower's id by the digest of each key that is let in
        self._cut: set[str] = set()
        self.keys: set[bytes] = set()
        self._mark = self._changes.mark()
        self._update(self._wanted(begun=home.standing() is not None), quietly=True)

    def look(self) -> None:
        """Let in and cut off what changed since the last look; what cannot be read changes nothing."""
        mark = self._changes.mark()
        if mark == self._mark or not self._known:
            return
        self._mark = mark
        try:
            wanted = self._wanted(begun=True)
            self._update(wanted)
        except (ServerError, LedgerError) as error:
            self._events.warning("change-unreadable", str(error))
        except httpx.HTTPError:  # the SuperLink does not answer now
            self._mark = ""

    def _update(self, wanted: Mapping[str, Named], *, quietly: bool = False) -> None:
        for node in self._nodes.keys() - wanted.keys():
            name, key = self._known[node]
            self.keys.discard(public_key_to_bytes(key))
            self._link.cut(self._nodes[node])
            del self._nodes[node]
            self._cut.add(node)
            self._events.info("node-key-cut", f"the node key of {name} is let in no more", name=name, node=node)
        for node in wanted.keys() - self._nodes.keys() - self._cut:
            name, key = self._known[node] = wanted[node]
            self._nodes[node] = self._link.admit(name, key)
            self.keys.add(public_key_to_bytes(key))
            if not quietly:
                self._events.info("node-key-new", f"the node key of {name} is let in", name=name, node=node)

    def _wanted(self, *, begun: bool) -> dict[str, Named]:
        """Return names and keys by digest."""
        if not begun or not self._known:
            return dict(self._known)
        waiting = self._changes.waiting()  # before the ledger is read: what is granted meanwhile is in one of them
        _, membership = membership_in(self._folder)
        out, names = barred(membership, waiting), self._names(membership, waiting)
        rotated = {node: (names[node], key) for node, key in self._changes.node_keys().items() if node in names}
        return {node: named for node, named in {**rotated, **self._known}.items() if node not in out}

    def _names(self, membership: Membership, waiting: Iterable[AnyChange]) -> dict[str, str]:
        """Return what to call the members that took other node keys, by the digests of these."""
        numbers = {node: number for number, node in enumerate(membership.nodes) if node is not None}
        numbers |= {change.statement.node: change.client for change in waiting if isinstance(change, Rotation)}
        return {node: f"client {number} ({membership.keys[number][:16]})" for node, number in numbers.items()}
