"""Whether a server's processes live and it can do its work: asked every few seconds in a thread, answered at once.

A server is ready when a round can be done: the SuperLink answers, the ServerApp beats, the ledger can be read and its disk written, the
certificate is valid. How many clients are connected decides nothing: an orchestrator that sends clients only to a ready server would
keep them away for ever.
"""

import os
import shutil
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from cryptography import x509

from clients.monitoring import Check
from ledger.errors import LedgerError
from server.deployment.home import ServerHome
from server.deployment.ledger_figures import LedgerFigures, LedgerReader
from server.deployment.superlink import SuperLink

EVERY_SECONDS, SILENT_SECONDS, STARTING_SECONDS = 5.0, 60.0, 300.0
MINIMUM_FREE = 256 * 2**20
"""Bytes on the disk of the state folder below which a server is not ready."""


class Health:
    """What is known about a server's processes, kept fresh while the context lasts.

    Parameters
    ----------
    home : ServerHome
    link : SuperLink
    certificate : Path or None
        The certificate that is served.

    Attributes
    ----------
    clients : mapping of str to bool
        By the name of the node key (or, without keys, the node), whether the client is connected.
    expires : datetime or None
        When the certificate does.
    """

    def __init__(self, home: ServerHome, link: SuperLink, certificate: Path | None) -> None:
        self._home, self._link = home, link
        self._reader, self._lock = LedgerReader(home.folder), threading.Lock()
        self._began = self._answered = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="health", daemon=True)
        self.clients: Mapping[str, bool] = {}
        self.expires = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc if certificate else None

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join(EVERY_SECONDS)
        with self._lock:
            self._reader.close()

    def figures(self) -> LedgerFigures:
        """Return the ledger's numbers.

        Raises
        ------
        LedgerError
            It cannot be read.
        """
        with self._lock:
            return self._reader.read()

    def disk(self) -> tuple[int, int]:
        """Return size and free bytes of the disk of the state folder."""
        usage = shutil.disk_usage(self._home.folder)
        return usage.total, usage.free

    @property
    def days_left(self) -> int | None:
        """Days until the certificate expires; None without one."""
        return None if self.expires is None else (self.expires - datetime.now(UTC)).days

    def alive(self) -> bool:
        """Whether SuperLink and ServerApp live."""
        return self._superlink().ok and self._server_app().ok

    def checks(self) -> list[Check]:
        """Return what a server needs, with what is found."""
        return [self._superlink(), self._server_app(), self._ledger(), self._certificate(), self._connected()]

    def _ask(self) -> None:
        while True:
            try:
                self.clients = self._link.clients()
                self._answered = time.monotonic()
            except httpx.HTTPError:
                pass  # seen in the time since the last answer
            if self._stop.wait(EVERY_SECONDS):
                return

    def _superlink(self) -> Check:
        silent = time.monotonic() - self._answered
        return Check("superlink", self._link.alive() and silent < SILENT_SECONDS, f"answered {silent:.0f} s ago")

    def _server_app(self) -> Check:
        silent = self._home.silent_for()
        if silent is None:
            waited = time.monotonic() - self._began
            return Check("server-app", waited < STARTING_SECONDS, f"starting for {waited:.0f} s")
        return Check("server-app", silent < SILENT_SECONDS, f"beat {silent:.0f} s ago")

    def _ledger(self) -> Check:
        try:
            entries, (_, free) = self.figures().entries, self.disk()
        except (LedgerError, OSError) as error:
            return Check("ledger", ok=False, text=str(error))
        writable = os.access(self._home.folder, os.W_OK) and free >= MINIMUM_FREE
        return Check("ledger", writable, f"{entries} entries, {free / 2**20:,.0f} MiB free")

    def _certificate(self) -> Check:
        if self.expires is None:
            return Check("certificate", ok=True, text="none (--insecure)")
        left = self.expires - datetime.now(UTC)
        return Check("certificate", left.total_seconds() > 0, f"valid until {self.expires:%Y-%m-%d %H:%M} UTC, {left.days} days")

    def _connected(self) -> Check:
        connected = sum(self.clients.values())
        return Check("clients", bool(self.clients) and connected == len(self.clients), f"{connected} of {len(self.clients)}", decides=False)
