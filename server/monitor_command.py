"""``lunaria monitor``: follows a ledger that somebody else serves, and says so loudly when something is wrong."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import FormatError, StorageError, VerificationError
from ledger.fork import ForkError
from ledger.monitor import Fetch, Monitor, Outcome
from server.errors import ExitCode, ServerError
from server.http import installed

LONGEST_PAUSE = 300.0


def monitor(
    url: Annotated[str, typer.Argument(help="Where the ledger is served: the prefix before /checkpoint.")],
    key: Annotated[str, typer.Option(help="The log's public key, as you know it from elsewhere.")],
    state: Annotated[Path, typer.Option(help="The folder that remembers what was seen.")],
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
) -> None:
    """Follow a ledger until its run is closed: 0 all is well, 1 what it serves is false, 2 it cannot be read, 5 it has forked."""
    with fetching(url) as fetch, Monitor(state, key, fetch) as following:
        try:
            follow(following, interval, once=once)
        except ForkError as error:
            typer.echo(f"FORK: {error}", err=True)
            raise typer.Exit(ExitCode.FORK) from error
        except (FormatError, VerificationError) as error:
            typer.echo(f"false: {error}", err=True)
            raise typer.Exit(ExitCode.FALSE) from error


def follow(following: Monitor, interval: float, *, once: bool, sleep: Callable[[float], None] = time.sleep) -> None:
    """Step until the run is closed, saying what changes; a log that cannot be reached is tried again, less and less often.

    Raises
    ------
    LedgerError
        As :meth:`ledger.monitor.Monitor.step`; a StorageError only when looking once.
    """
    pause = interval
    while True:
        try:
            step = following.step()
        except StorageError as error:
            if once:
                raise
            typer.echo(f"{error}; trying again in {pause:.0f} seconds", err=True)
            sleep(pause)
            pause = min(2 * pause, max(LONGEST_PAUSE, interval))
            continue
        pause = interval
        if step.outcome is Outcome.STALE:
            typer.echo(f"stale: it shows {step.checkpoint.size} entries, fewer than it has shown before", err=True)
        elif once or step.outcome is Outcome.GREW:
            typer.echo(f"{step.checkpoint.size} entries, root {step.checkpoint.root.hex()[:16]}, all verified")
        if once or step.closed:
            return
        sleep(interval)


@contextmanager
def fetching(url: str) -> Iterator[Fetch]:
    """Yield what reads a log at ``url``.

    Raises
    ------
    ServerError
        It is no URL.
    """
    with installed():
        import httpx

        from server.fetch import client, fetch
    prefix = url.rstrip("/")

    with client([prefix]) as session:

        def read(path: str, limit: int) -> bytes:
            try:
                response = fetch(session, f"{prefix}/{path}", limit)
            except (httpx.HTTPError, ServerError) as error:
                raise StorageError(f"cannot read {prefix}/{path}: {error or type(error).__name__}") from error
            if response.status != 200:
                raise StorageError(f"cannot read {prefix}/{path}: it answers {response.status}")
            return response.body

        yield read
