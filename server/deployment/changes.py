"""Changes of memberships that wait for the end of the round: files in a server's state folder, which ``lunaria`` puts there.

::

    STATE/changes/NNNN-KIND.json   a change as it will stand in the ledger (ledger.changes), canonical JSON; NNNN is the client's number
    STATE/nodes/DIGEST.pub         the node key of a rotation

The folder is the operator's: whoever can write to it can sign checkpoints as well. What members signed is checked again when it is
appended, by the state machine that an audit runs.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from clients.node_keys import public_text
from ledger.canonical import digest
from ledger.changes import AnyChange, Rotation, decode_change, encode_change
from ledger.entries import AgreementEntry, EnrolmentEntry, RoundEntry, decode_entry, encode_entry
from ledger.errors import FormatError, VerificationError
from ledger.evidence import write_durably
from ledger.identity import node_digest
from ledger.membership import Membership
from ledger.storage import ledger_of
from server.deployment.node_keys import node_key
from server.errors import ServerError


def membership_in(run: Path) -> tuple[str, Membership]:
    """Return the name of the run in a folder, and who takes part in it after the entries so far; a server may be writing.

    Raises
    ------
    LedgerError
        It is not the folder of a run, or its ledger is not one.
    """
    store, _ = ledger_of(run)
    with store:
        name, membership = "", Membership.nobody()
        for data in store.entries(0, store.size()):
            entry = decode_entry(data)
            if isinstance(entry, AgreementEntry):
                name = digest(encode_entry(entry))
            elif isinstance(entry, EnrolmentEntry):
                membership = membership.enrol(entry.enrolment.statement.client, entry.enrolment.statement.node)
            elif isinstance(entry, RoundEntry):
                membership = membership.after(entry.changes, name)
    return name, membership


def barred(membership: Membership, waiting: Iterable[AnyChange]) -> set[str]:
    """Return the digests of node keys that nobody may connect with: of who left or is to leave, and those that were replaced."""
    changes = list(waiting)
    ending = {change.client for change in changes if not isinstance(change, Rotation)}
    rotating = {change.client: change.statement.node for change in changes if isinstance(change, Rotation)}
    current = {rotating.get(number, membership.nodes[number]) for number in membership.active if number not in ending}
    return {*membership.used, *rotating.values()} - {node for node in current if node is not None}


@dataclass(frozen=True)
class Changes:
    """The changes that wait in a server's state folder."""

    folder: Path

    def add(self, change: AnyChange, key: ec.EllipticCurvePublicKey | None = None) -> None:
        """Add a change, with the new node key of a rotation; one of the same kind that waits for the same client gives way."""
        if key is not None:
            write_durably(self._key(node_digest(key)), f"{public_text(key)}\n".encode())
        write_durably(self._path(change), encode_change(change))

    def mark(self) -> str:
        """Return what differs whenever the changes that wait do."""
        marks = []
        for path in sorted((self.folder / "changes").glob("*.json")):
            with suppress(FileNotFoundError):  # granted meanwhile
                marks.append(f"{path.name} {path.stat().st_mtime_ns}")
        return "\n".join(marks)

    def waiting(self) -> list[AnyChange]:
        """Return the changes that wait, those that end a membership before others of the same client.

        Raises
        ------
        ServerError
            A file is none.
        """
        found = []
        for path in sorted((self.folder / "changes").glob("*.json")):
            try:
                change = decode_change(path.read_bytes(), str(path))
            except FileNotFoundError:  # granted meanwhile
                continue
            except (OSError, FormatError) as error:
                raise ServerError(f"{path} is no change of a membership: remove it") from error
            found.append(change)
        return found

    def grantable(self, membership: Membership, run: str) -> tuple[list[AnyChange], list[tuple[AnyChange, str]]]:
        """Return what may stand in the entry of the round in progress, one for a client, and what may not, with the reason."""
        granted: list[AnyChange] = []
        refused: list[tuple[AnyChange, str]] = []
        for change in self.waiting():
            if granted and granted[-1].client == change.client:
                continue  # it is looked at again in the next round
            try:
                membership.after((*granted, change), run)
            except VerificationError as error:
                refused.append((change, str(error)))
            else:
                granted.append(change)
        return granted, refused

    def drop(self, changes: Iterable[AnyChange]) -> None:
        """Forget changes that stand, or that may not be made."""
        for change in changes:
            self._path(change).unlink(missing_ok=True)

    def node_keys(self) -> dict[str, ec.EllipticCurvePublicKey]:
        """Return the node keys of rotations, by their digests.

        Raises
        ------
        ServerError
            A file holds none.
        """
        keys = {}
        for path in sorted((self.folder / "nodes").glob("*.pub")):
            key = node_key(path)
            keys[node_digest(key)] = key
        return keys

    def _path(self, change: AnyChange) -> Path:
        kind = "rotation" if isinstance(change, Rotation) else "end"
        return self.folder / "changes" / f"{change.client:04d}-{kind}.json"

    def _key(self, node: str) -> Path:
        return self.folder / "nodes" / f"{node}.pub"
