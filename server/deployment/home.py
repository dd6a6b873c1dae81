"""The state folder of a deployed server: the run folder of :mod:`server.run`, and what its processes tell each other.

::

    STATE/deployment.json  what ``flower-server`` was started with, for the process of the ServerApp
    STATE/outcome.json     how the run ended
    STATE/stop             is there as soon as the run is to end
    STATE/heartbeat        its time is that of the ServerApp's last sign of life
    STATE/server.log       a line of JSON an event;  STATE/superlink.log  what Flower had to say
    STATE/superlink/       certificate and files of the SuperLink, made anew at each start
    STATE/lock             held while a ``flower-server`` runs;  STATE/app.lock  while the process of the ServerApp does
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clients.event_log import EventFile
from clients.private import only_user
from ledger.agreement import Agreement, read
from ledger.entries import AgreementEntry, ClosingEntry, decode_entry
from ledger.errors import StorageError
from ledger.evidence import write_durably
from ledger.storage import FILE, Storage
from server.errors import ExitCode, ServerError
from server.files import PROVENANCE

VARIABLE = "LUNARIA_SERVER_STATE"
"""The environment variable that tells the ServerApp where the state folder is."""

HERE = Storage()
"""Ledger and evidence in the state folder itself."""

_FREE_SECONDS, _POLL_SECONDS = 30.0, 0.2


@dataclass(frozen=True)
class Deployment:
    """What a server was started with.

    Attributes
    ----------
    agreement : str
        Path of the ``agreement.toml``.
    test_data : str
        The server's own data set to evaluate models on; empty for none.
    model : str
        The first model where the agreement names it by digest; empty otherwise.
    witnesses : tuple of str
        Where the agreement's witnesses are reached.
    verify_backend : str
    evaluation : str
        Path of the evaluation set; empty where the agreement has no settlements.
    """

    agreement: str
    test_data: str
    model: str
    witnesses: tuple[str, ...]
    verify_backend: str
    evaluation: str = ""


@dataclass(frozen=True)
class Standing:
    """A run that a state folder holds: what was agreed, and how it was closed, if it was."""

    agreement: Agreement
    closing: ClosingEntry | None

    def ended(self, folder: Path) -> bool:
        """Whether nothing is left to do: the ledger is closed and the model written."""
        return self.closing is not None and (folder / PROVENANCE).exists()

    def outcome(self) -> tuple[ExitCode, str]:
        """Return the exit code of a closed run, and a line that says how it ended."""
        closing = self.closing
        if closing is None:
            raise ServerError("the run is not closed")
        codes = {
            "completed": ExitCode.OK,
            "too-few-accepted": ExitCode.FAILED,
            "too-few-clients": ExitCode.FAILED,
            "interrupted": ExitCode.INTERRUPTED,
        }
        return codes[closing.outcome], f"the run is closed already: {closing.outcome} after {closing.rounds} rounds"


@dataclass(frozen=True)
class ServerHome:
    """A server's state folder."""

    folder: Path

    def held(self) -> AbstractContextManager[None]:
        """Use the folder alone as long as the context lasts; raises ServerError where another ``flower-server`` does."""
        return only_user(self.folder, "flower-server", ServerError)

    @contextmanager
    def app_running(self) -> Iterator[None]:
        """Hold what shows that the ServerApp runs; after the one of an earlier start has let go of it."""
        with (self.folder / "app.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def app_runs(self) -> bool:
        """Whether the ServerApp runs now."""
        return _locked(self.folder / "app.lock")

    def prepare(self, deployment: Deployment, storage: Storage = HERE) -> Standing | None:
        """Make the folder and note what the run goes by; returns the run that it holds already.

        ``storage`` says where a new run keeps its ledger and evidence; one that stands keeps them where it did.

        Raises
        ------
        ServerError
            It holds a run under another agreement, or elsewhere than in ``storage``, or cannot be written; nothing was changed.
        LedgerError
            ``storage`` cannot be used, or holds another ledger.
        """
        stands = self.standing()
        if stands is not None and stands.agreement != read(Path(deployment.agreement)):
            raise ServerError(
                f"{self.folder} holds a run under another agreement than {deployment.agreement}: give that one (a copy is in "
                f"{self.folder / 'agreement.toml'}), or a new folder with --state"
            )
        noted = Storage.of(self.folder)
        if storage not in (HERE, noted) and (stands is not None or noted != HERE):
            raise ServerError(f"{self.folder} keeps its ledger elsewhere (see {self.folder / FILE}): leave out --database and --evidence")
        if stands is None and noted == HERE:
            storage.check()
        try:
            (self.folder / "superlink").mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("stop", "outcome.json", "heartbeat"):
                (self.folder / name).unlink(missing_ok=True)
            write_durably(self.folder / "deployment.json", json.dumps(asdict(deployment)).encode())
            if storage != HERE:
                storage.save(self.folder)
        except OSError as error:
            raise ServerError(f"cannot write the state folder {self.folder}: {error.strerror}") from error
        return stands

    def standing(self) -> Standing | None:
        """Return the run that the folder holds; None where none has begun.

        Raises
        ------
        ServerError
            Its key is gone.
        LedgerError
            Its ledger cannot be read.
        """
        if not (self.folder / "keys" / "log.key").exists():
            if (self.folder / "ledger.db").exists():
                raise ServerError(f"{self.folder} holds a ledger, but not its key keys/log.key: bring it back from your backup")
            return None
        with Storage.of(self.folder).open_store(self.folder, create=True) as store:
            if not store.size():
                return None
            first, last = decode_entry(store.entry(0)), decode_entry(store.entry(store.size() - 1))
        if not isinstance(first, AgreementEntry):
            raise ServerError(f"{self.folder} holds a ledger that does not begin with an agreement: see 'lunaria fsck'")
        return Standing(first.agreement, last if isinstance(last, ClosingEntry) else None)

    def wait_until_free(self) -> None:
        """Return once the processes of an earlier start have ended; if they do not, opening the ledger says so."""
        deadline = time.monotonic() + _FREE_SECONDS
        while (self.app_runs() or _locked(self.folder / "ledger.lock")) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def deployment(self) -> Deployment:
        """Return what :meth:`prepare` noted."""
        fields = json.loads((self.folder / "deployment.json").read_bytes())
        return Deployment(**{**fields, "witnesses": tuple(fields["witnesses"])})

    def ask_to_stop(self) -> None:
        """Ask the ServerApp to close the ledger and end."""
        (self.folder / "stop").touch()

    def asked_to_stop(self) -> bool:
        """Whether it was asked."""
        return (self.folder / "stop").exists()

    def beat(self) -> None:
        """Note that the ServerApp lives."""
        with suppress(OSError):  # a disk that is full is another's business
            (self.folder / "heartbeat").touch()

    def silent_for(self) -> float | None:
        """Return the seconds since the ServerApp's last sign of life, None before its first."""
        try:
            return max(0.0, time.time() - (self.folder / "heartbeat").stat().st_mtime)
        except OSError:
            return None

    def end(self, code: ExitCode, message: str) -> None:
        """Note how the run ended."""
        write_durably(self.folder / "outcome.json", json.dumps({"code": int(code), "message": message}).encode())

    def outcome(self) -> tuple[ExitCode, str] | None:
        """Return how the run ended, or None while it goes on."""
        try:
            fields = json.loads((self.folder / "outcome.json").read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self.folder / 'outcome.json'}: {error.strerror}") from error
        return ExitCode(fields["code"]), fields["message"]

    def log(self) -> EventFile:
        """Return what appends to ``server.log``."""
        return EventFile(self.folder / "server.log")


def _locked(path: Path) -> bool:
    """Whether another process holds the lock of a file."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
