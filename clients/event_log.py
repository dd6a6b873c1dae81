"""Events: what a server or a client did, a JSON object a line, in a file that one process appends to and another follows.

::

    {"time": "2026-11-22T19:09:22.123Z", "level": "info", "event": "round-done", "message": "round 3: 3 accepted ...", "round": 3, ...}

``time`` (RFC 3339, UTC), ``level``, ``event`` and ``message`` are in every line; the other fields are those of the event
(``docs/operations.md``). A message is for people and may change; the rest is for programs and does not.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partialmethod
from pathlib import Path

Value = str | int | float | bool | None | Mapping[str, int] | Mapping[str, float]
LEVELS = ("debug", "info", "warning", "error")
_COMMON = ("time", "level", "event", "message")


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes
    ----------
    level : str
        One of :data:`LEVELS`.
    event : str
        What it is, in a word for programs.
    message : str
        The same for a person.
    fields : mapping of str to JSON value
    time : str
        RFC 3339, UTC.
    """

    level: str
    event: str
    message: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    def encode(self) -> str:
        """Return the event as one line of JSON, without its end."""
        common = {name: getattr(self, name) for name in _COMMON}
        return json.dumps({**common, **{name: value for name, value in self.fields.items() if name not in common}}, ensure_ascii=False)

    @classmethod
    def decode(cls, line: str) -> "Event":
        """Return the event in a line; a line that holds none is one of its own, ``text``."""
        try:
            found = json.loads(line)
            level, event, message, time = (found.pop(name) for name in ("level", "event", "message", "time"))
            datetime.fromisoformat(time)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls("info", "text", line)
        return cls(level if level in LEVELS else "info", str(event), str(message), found, time)


class EventFile:
    """Appends events to a file. A disk that is full loses lines of it, and stops nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, level: str, event: str, message: str, **fields: Value) -> None:
        """Append an event."""
        self.append(Event(level, event, message, fields))

    def append(self, event: Event) -> bool:
        """Append an event; whether it could be written."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write((event.encode() + "\n").encode(errors="replace"))  # one call: lines of several processes do not mix
        except OSError:
            return False
        return True

    debug = partialmethod(write, "debug")
    info = partialmethod(write, "info")
    warning = partialmethod(write, "warning")
    error = partialmethod(write, "error")


class Tail:
    """Gives the lines that are new in a file, from its end at the time of creation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """Return the whole lines appended since the last call."""
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._place:  # it was rotated
                    self._place = 0
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _ = data.rpartition(b"\n")
        self._place += len(whole) + len(newline)
        return whole.decode(errors="replace").split("\n") if newline else []


class Events(EventFile):
    """A file of events whose new ones, its own and those of other processes, are passed on.

    Parameters
    ----------
    path : Path
    listeners : callables that take an Event
    """

    def __init__(self, path: Path, *listeners: Callable[[Event], None]) -> None:
        super().__init__(path)
        self._tail, self._listeners = Tail(path), listeners

    def append(self, event: Event) -> bool:
        """Append an event and pass on what is new; one that could not be written is passed on all the same."""
        written = super().append(event)
        self.follow()
        if not written:
            self._pass_on(event)
        return written

    def follow(self) -> None:
        """Pass on what is new."""
        for line in self._tail.lines():
            self._pass_on(Event.decode(line))

    def _pass_on(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
