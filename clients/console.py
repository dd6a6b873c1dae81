"""Events on standard error: as text for people, as JSON for programs, and under systemd as its journal wants them.

The journal keeps the time and the level of each line itself. Where standard error is connected to it (``JOURNAL_STREAM``,
systemd.exec(5)) text comes without the time, and every line with its level as a prefix (``<4>``, sd-daemon(3)).
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TextIO

import typer

from clients.event_log import Event

Options = ParamSpec("Options")
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}


class LogFormat(StrEnum):
    """How a long-running command says what happens."""

    TEXT = "text"
    JSON = "json"


class Console:
    """Shows events of level ``info`` and above.

    Parameters
    ----------
    form : LogFormat
    stream : text file, optional
        Standard error by default.
    environment : mapping of str to str, optional
    """

    def __init__(self, form: LogFormat, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self.form = form
        self._stream = stream or sys.stderr
        self._journal = _is_journal(self._stream, environment)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.level == "debug":
            return
        prefix = f"<{_PRIORITY[event.level]}>" if self._journal else ""
        line = event.encode() if self.form is LogFormat.JSON else self._text(event)
        self._stream.write(f"{prefix}{line}\n")
        self._stream.flush()

    @property
    def structured(self) -> bool:
        """Whether a line carries more than its text."""
        return self._journal or self.form is LogFormat.JSON

    def _text(self, event: Event) -> str:
        level = f"{event.level}: " if event.level in ("warning", "error") else ""
        text = printable(level + event.message)
        return text if self._journal else f"{datetime.fromisoformat(event.time).astimezone():%Y-%m-%d %H:%M:%S} {text}"


def shows_failures(
    expected: tuple[type[Exception], ...], code: Callable[[Exception], int]
) -> Callable[[Callable[Options, None]], Callable[Options, None]]:
    """Decorate a command that has an option ``log_format``: an expected error becomes its last event, ``failed``, where one is wanted.

    Parameters
    ----------
    expected : tuple of exception types
    code : callable from exception to int
        The exit code that it stands for.
    """

    def decorate(command: Callable[Options, None]) -> Callable[Options, None]:
        @wraps(command)
        def run(*arguments: Options.args, **options: Options.kwargs) -> None:
            try:
                command(*arguments, **options)
            except expected as error:
                console = Console(LogFormat(str(options["log_format"])))
                if not console.structured:
                    raise
                number = int(code(error))
                console(Event("error", "failed", " ".join(str(error).split()), {"exit_code": number}))
                raise typer.Exit(number) from error

        return run

    return decorate


class EventHandler(logging.Handler):
    """Shows what libraries log, uvicorn for one, as events ``log``."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        level = "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "info"
        self._console(Event(level, "log", record.getMessage(), {"logger": record.name}))


def printable(text: str) -> str:
    """Return one line without control characters: part of it may be a stranger's."""
    return "".join(character if character.isprintable() else " " for character in text)


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is connected to the journal, and has not been redirected since."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
