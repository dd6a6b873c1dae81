"""Where changes of memberships are handed in; what is granted stands in the entry of the round in progress."""

from collections.abc import Sequence

from ledger.changes import AnyChange, Rotation
from ledger.entries import RoundEntry, encode_entry
from ledger.errors import FormatError
from ledger.state import RunState


class Desk:
    """Nobody comes; override to let somebody. Calls come from the strategy's thread, some of them several times a second."""

    def changes(self, state: RunState) -> Sequence[AnyChange]:
        """Return what may stand in the entry of the round in progress: one for a client, ascending, as the state allows it."""
        return ()

    def granted(self, changes: Sequence[AnyChange]) -> None:
        """Note that these changes stand."""

    def leaving(self, state: RunState) -> set[int]:
        """Return the numbers of the clients that are not to be heard any more, though they still are members."""
        return {change.client for change in self.changes(state) if not isinstance(change, Rotation)}

    def reaches(self, state: RunState, client: int, node: str) -> bool:
        """Whether a member may be reached by the node key with this digest, now or from the next round on; empty: no node key."""
        rotations = [change for change in self.changes(state) if isinstance(change, Rotation)]
        asked = any((change.client, change.statement.node) == (client, node) for change in rotations)
        return asked or state.membership.reached_by(client, node or None)


def with_changes(entry: RoundEntry, changes: Sequence[AnyChange]) -> RoundEntry:
    """Return a round's entry with as many of these changes as it has room for; the others wait for the next round."""
    for count in range(len(changes), 0, -1):
        full = entry.model_copy(update={"changes": tuple(changes[:count])})
        try:
            encode_entry(full)
        except FormatError:
            continue
        return full
    return entry
