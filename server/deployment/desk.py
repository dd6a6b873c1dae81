"""The desk of a deployment: what ``lunaria`` put into the state folder is granted, or dropped with a line that says why."""

from collections.abc import Sequence

from clients.event_log import EventFile
from ledger.changes import AnyChange, describe
from ledger.state import RunState
from server.deployment.changes import Changes
from server.errors import ServerError
from strategies.desk import Desk


class FolderDesk(Desk):
    """Grants the changes in a folder.

    Parameters
    ----------
    changes : Changes
    log : EventFile
        Is told what was granted and what was not.
    """

    def __init__(self, changes: Changes, log: EventFile) -> None:
        self._changes, self._log = changes, log
        self._said = ""

    def changes(self, state: RunState) -> Sequence[AnyChange]:
        """Return what may stand now; what may not is dropped."""
        try:
            granted, refused = self._changes.grantable(state.membership, state.run)
        except ServerError as error:  # a file that somebody damaged does not stop the run
            if str(error) != self._said:
                self._said = str(error)
                self._log.warning("change-unreadable", str(error))
            return ()
        for change, reason in refused:
            self._log.warning("change-refused", f"not granted: {reason}", client=change.client, change=change.change)
        self._changes.drop(change for change, _ in refused)
        return granted

    def granted(self, changes: Sequence[AnyChange]) -> None:
        """Note what stands."""
        for change in changes:
            self._log.info("membership", describe(change), client=change.client, change=change.change)
        self._changes.drop(changes)
