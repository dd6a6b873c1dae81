"""The state folder of a deployed server: the run folder of :mod:`server.run`, and what its processes tell each other.

::

    STATE/deployment.json  what ``flower-server`` was started with, for the process of the ServerApp
    STATE/outcome.json     how the run ended
    STATE/stop             is there as soon as the run is to end
    STATE/server.log       a line an event;  STATE/superlink.log  what Flower had to say
    STATE/superlink/       certificate and files of the SuperLink, made anew at each start
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from clients.event_log import writer
from ledger.errors import StorageError
from ledger.evidence import write_durably
from server.errors import ExitCode, ServerError

VARIABLE = "LUNARIA_SERVER_STATE"
"""The environment variable that tells the ServerApp where the state folder is."""


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
class ServerHome:
    """A server's state folder."""

    folder: Path

    def prepare(self, deployment: Deployment) -> None:
        """Make the folder and note what the run goes by.

        Raises
        ------
        ServerError
            It holds a run already, or cannot be written.
        """
        if any((self.folder / name).exists() for name in ("ledger.db", "agreement.toml", "keys")):
            raise ServerError(f"{self.folder} holds a run already: a run is not resumed yet, give a new folder with --state")
        try:
            (self.folder / "superlink").mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("stop", "outcome.json"):
                (self.folder / name).unlink(missing_ok=True)
            write_durably(self.folder / "deployment.json", json.dumps(asdict(deployment)).encode())
        except OSError as error:
            raise ServerError(f"cannot write the state folder {self.folder}: {error.strerror}") from error

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

    def log(self) -> logging.Logger:
        """Return a logger that appends to ``server.log``."""
        return writer(self.folder / "server.log")
