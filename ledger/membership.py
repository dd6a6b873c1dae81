"""Who takes part in a run, and by which node key: what enrolments began and changes went on with."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger.changes import AnyChange, Revocation, RevocationReason, Withdrawal
from ledger.errors import VerificationError


@dataclass(frozen=True)
class Membership:
    """The members of a run after the entries so far.

    Attributes
    ----------
    keys : tuple of str
        The public keys of all that enrolled, by client number.
    nodes : tuple of str or None
        By client number, the digest of the node key that the member is reached by; ``None`` where none is bound.
    ended : dict of int to RevocationReason or None
        By client number, those that take part no longer, and why they were revoked; ``None`` for who withdrew.
    used : frozenset of str
        Every digest of a node key that was ever bound.
    """

    keys: tuple[str, ...]
    nodes: tuple[str | None, ...]
    ended: dict[int, RevocationReason | None]
    used: frozenset[str]

    @classmethod
    def nobody(cls) -> "Membership":
        """Return the membership before anybody enrolled."""
        return cls((), (), {}, frozenset())

    @property
    def active(self) -> list[int]:
        """The numbers of those that take part, ascending."""
        return [number for number in range(len(self.keys)) if number not in self.ended]

    def number(self, key: str) -> int | None:
        """Return the number of an active member by its public key; None for anybody else."""
        found = next((number for number, known in enumerate(self.keys) if known == key), None)
        return None if found in self.ended else found

    def reached_by(self, number: int, node: str | None) -> bool:
        """Whether a member may be reached by a node key; one that bound none by any."""
        return self.nodes[number] in (None, node)

    def enrol(self, key: str, node: str | None) -> "Membership":
        """Return the membership with one more member.

        Raises
        ------
        VerificationError
            Its node key is another member's.
        """
        return replace(self, keys=(*self.keys, key), nodes=(*self.nodes, node), used=self._with(node, key))

    def after(self, changes: Iterable[AnyChange], run: str) -> "Membership":
        """Return the membership after the changes of one round.

        Raises
        ------
        VerificationError
            One of them may not be made: it is not signed by its member, belongs to another run, replaces another node key than the
            bound one, or is about nobody who takes part; or they are not one for each client, in ascending order.
        """
        result, last = self, -1
        for change in changes:
            if change.client <= last:
                raise VerificationError("changes of memberships do not stand in ascending order of the clients, one for each")
            result, last = result._changed(change, run), change.client
        return result

    def _changed(self, change: AnyChange, run: str) -> "Membership":
        number, who = change.client, f"client {change.client}"
        if number >= len(self.keys):
            raise VerificationError(f"a {change.change} of {who}, but {len(self.keys)} are enrolled")
        if number in self.ended:
            raise VerificationError(f"a {change.change} of {who}, which takes part no longer")
        if isinstance(change, Revocation):
            return replace(self, ended={**self.ended, number: change.reason})
        said = change.statement
        if said.run != run:
            raise VerificationError(f"the {change.change} of {who} belongs to another run")
        if said.client != self.keys[number]:
            raise VerificationError(f"the {change.change} of {who} is signed for another client")
        change.check()
        if isinstance(change, Withdrawal):
            return replace(self, ended={**self.ended, number: None})
        if change.statement.previous != self.nodes[number]:
            raise VerificationError(f"the rotation of {who} replaces another node key than the one that is bound to it")
        nodes = (*self.nodes[:number], change.statement.node, *self.nodes[number + 1 :])
        return replace(self, nodes=nodes, used=self._with(change.statement.node, said.client))

    def _with(self, node: str | None, key: str) -> frozenset[str]:
        if node is None:
            return self.used
        if node in self.used:
            raise VerificationError(f"the node key of client {key[:16]} was bound in this run already: a member needs one of its own")
        return self.used | {node}
