"""The ``flower-client`` program: every expected error becomes one line and its exit code (those of ``server.errors``)."""

import os
import sys

import click
import typer

from clients.errors import EXPECTED, UNUSABLE
from clients.help import Lesson, teach

NOT_INSTALLED, INTERRUPTED = 4, 130

HELP = {
    "": Lesson(
        (
            "flower-client --invitation hospital-a.invitation.toml --data records.csv --state ~/federation    # the first time",
            "flower-client --data records.csv --state ~/federation    # from then on",
            "flower-client --data records.csv --state ~/federation --encrypt    # asks for a passphrase, now and at each start",
            "flower-client --state ~/federation --rotate-node-key",
        ),
        "identity, memory and logs into --state, which is secret; what happens, a line an event, to standard error",
        "0 stopped with SIGTERM or Ctrl-C, 2 it cannot take part or the input is unusable, 4 a part of the installation is missing",
    )
}


def main() -> None:
    """Run the command line."""
    try:
        from clients.command import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'lunaria[federation]'\n")
        sys.exit(NOT_INSTALLED)
    os.umask(0o077)  # keys and memory are for their owner
    try:
        sys.exit(teach(typer.main.get_command(app), HELP)(prog_name="flower-client", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(UNUSABLE)
    except click.ClickException as error:
        sys.stderr.write(f"error: {' '.join(error.format_message().split())} See 'flower-client --help'.\n")
        sys.exit(UNUSABLE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except EXPECTED as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(UNUSABLE)
