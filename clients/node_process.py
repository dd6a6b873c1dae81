"""What a deployed SuperNode starts for each message, in the place of Flower's ``flwr-clientapp``.

It is Flower's program with one difference: the app is the one installed here. Flower would run whatever code the server's bundle
holds; a data owner who does not trust the server runs only what they installed, and the bundle is not even unpacked.
"""

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
from clients.home import VARIABLE, ClientHome
from ledger.errors import LedgerError
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
        self._app = app
        self._log = home.log()

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        kind, began = message.metadata.message_type, time.monotonic()
        try:
            reply = self._app(message, context)
        except (ClientError, LedgerError, ZkError) as error:
            self._log.warning("message-refused", f"{kind}: refused: {error}", type=kind, reason=str(error))
            raise
        except Exception as error:
            text = f"{kind}: failed: {type(error).__name__}: {error}; the details are in supernode.log"
            self._log.error("message-failed", text, type=kind, reason=type(error).__name__)
            raise
        seconds = {"total": round(time.monotonic() - began, 3), **_stated(reply)}
        parts = [f"{name} {value:.1f} s" for name, value in seconds.items() if name != "total"]
        more = f" ({', '.join(parts)})" if parts else ""
        text = f"{kind}: answered in {seconds['total']:.1f} s{more}"
        self._log.info("message-answered", text, type=kind, seconds=seconds)
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

    home = ClientHome(Path(os.environ[VARIABLE]))
    app = LoggedApp(client_app(lambda context: home.member(), lambda member, context: home.keep(member)), home)
    replace = {"install_from_fab": lambda content, skip_prompt: None, "get_load_client_app_fn": lambda **options: lambda *bundle: app}
    for name, function in replace.items():
        if not hasattr(runtime, name):
            sys.exit(f"Flower's client process has no {name}: install the pinned version of Flower")
        setattr(runtime, name, function)
    flwr_clientapp()


if __name__ == "__main__":
    main()
