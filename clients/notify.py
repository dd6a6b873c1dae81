"""What systemd is told: that we are ready, what we do, and that we live (sd_notify(3), sd_watchdog_enabled(3)).

The protocol is a datagram of ``NAME=VALUE`` lines to the socket in ``NOTIFY_SOCKET``. Without systemd nothing happens.
"""

import os
import socket
import time
from collections.abc import MutableMapping

from clients.event_log import Event

_ENDS = frozenset({"stopping", "ended", "stopped"})


class Notifier:
    """Tells systemd. The variables are taken out of the environment, so that no child speaks for us.

    Parameters
    ----------
    environment : mutable mapping of str to str, optional
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address, process = environment.pop("NOTIFY_SOCKET", ""), environment.pop("WATCHDOG_PID", "")
        limit = environment.pop("WATCHDOG_USEC", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pause = int(limit) / 1e6 / 4 if limit.isdecimal() and process in ("", str(os.getpid())) else None
        self._fed = -float("inf")

    def ready(self) -> None:
        """Say that what others need is there."""
        self._send("READY=1")

    def show(self, event: Event) -> None:
        """Say what an event says, which ``systemctl status`` shows, and that we end where it says so."""
        if event.event in _ENDS:
            self._send("STOPPING=1")
        if event.level != "debug":
            self._send("STATUS=" + " ".join(event.message.split()))

    def alive(self, *, lives: bool) -> None:
        """Feed the watchdog if all that belongs to us lives, and it is time; to be called often."""
        if lives and self._pause is not None and time.monotonic() - self._fed >= self._pause:
            self._fed = time.monotonic()
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            try:
                connection.settimeout(1.0)
                connection.sendto(text.encode(errors="replace"), self._address)
            except OSError:  # a systemd that does not listen is no reason to end
                return
