"""What a deployed SuperNode starts for each message, in the place of Flower's ``flwr-clientapp``.

It is Flower's program with one difference: the app is the one installed here. Flower would run whatever code the server's bundle
holds; a data owner who does not trust the server runs only what they installed, and the bundle is not even unpacked.
"""

import fcntl
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message, MetricRecord

from clients import launch
from clients.app import client_app
from clients.errors import ClientError
from clients.event_log import Value
from clients.home import VARIABLE, ClientHome
from clients.vault import Vault
from ledger.errors import LedgerError
from ledger.messages import RECORD
from zk.errors import ZkError

NAME = "flwr-clientapp"


def write_launcher(folder: Path, state: Path) -> None:
    """Write the program that the SuperNode finds by Flower's name before Flower's own; it asks :mod:`clients.prepared` in ``state``."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / NAME
    options = shlex.join([sys.executable, "-I", "-S", launch.__file__, str(state), "clients.node_process"])
    path.write_text(f'#!/bin/sh\nexec {options} "$@"\n', encoding="utf-8")
    path.chmod(0o700)


class LoggedApp:
    """A client app that writes a line for each message into the state folder's log."""

    def __init__(self, app: Callable[[Message, Context], Message], home: ClientHome) -> None:
        self._app, self._folder = app, home.folder
        self._log = home.log()

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message, one at a time: a process that was left behind by a SuperNode that was killed first finishes what it signs."""
        kind, began = message.metadata.message_type, time.monotonic()
        record = message.content.config_records.get(RECORD)
        number = record.get("round") if record is not None else None
        about: dict[str, Value] = {"type": kind}
        what = kind
        if isinstance(number, int):
            about, what = {**about, "round": number}, f"{kind} of round {number}"
        try:
            with (self._folder / "answering").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                reply = self._app(message, context)
        except (ClientError, LedgerError, ZkError) as error:
            self._log.warning("message-refused", f"{what}: refused: {error}", **about, reason=str(error))
            raise
        except Exception as error:
            text = f"{what}: failed: {type(error).__name__}: {error}; the details are in supernode.log"
            self._log.error("message-failed", text, **about, reason=type(error).__name__)
            raise
        seconds = {"total": round(time.monotonic() - began, 3), **_stated(reply)}
        parts = [f"{name} {value:.1f} s" for name, value in seconds.items() if name != "total"]
        more = f" ({', '.join(parts)})" if parts else ""
        text = f"{what}: answered in {seconds['total']:.1f} s{more}"
        self._log.info("message-answered", text, **about, seconds=seconds)
        return reply


def _stated(reply: Message) -> dict[str, float]:
    """Return the seconds that the member measured itself."""
    metrics = reply.content.metric_records.get("metrics") or MetricRecord()
    values = {name: metrics.get(f"{name}-s") for name in ("training", "proving")}
    return {name: round(value, 3) for name, value in values.items() if isinstance(value, float)}


def main() -> None:
    """Run Flower's client process with the installed app."""
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    from flwr.supernode.runtime import run_clientapp as runtime

    home = ClientHome(Path(os.environ[VARIABLE]), Vault.held())
    app = LoggedApp(client_app(lambda context: home.member(), lambda member, context: home.keep(member)), home)
    replace = {"install_from_fab": lambda content, skip_prompt: None, "get_load_client_app_fn": lambda **options: lambda *bundle: app}
    for name, function in replace.items():
        if not hasattr(runtime, name):
            sys.exit(f"Flower's client process has no {name}: install the pinned version of Flower")
        setattr(runtime, name, function)
    flwr_clientapp()


if __name__ == "__main__":
    main()
