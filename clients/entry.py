"""The ``flower-client`` program: every expected error becomes one line and its exit code (those of ``server.errors``)."""

import os
import sys

import click

from clients.errors import EXPECTED, UNUSABLE

NOT_INSTALLED, INTERRUPTED = 4, 130


def main() -> None:
    """Run the command line."""
    try:
        from clients.command import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'lunaria[federation]'\n")
        sys.exit(NOT_INSTALLED)
    os.umask(0o077)  # keys and memory are for their owner
    try:
        sys.exit(app(standalone_mode=False))
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
