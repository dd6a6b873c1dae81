"""What ``--help`` says after the options: how a command is used, what it writes, how it ends."""

from collections.abc import Mapping
from dataclasses import dataclass

import click

USUAL = "0 done, 2 the input is unusable, 4 a part of the installation is missing, 130 interrupted with Ctrl-C"


@dataclass(frozen=True)
class Lesson:
    """What a command's help ends with.

    Attributes
    ----------
    examples : tuple of str
        Whole command lines.
    writes : str
        What it writes, and where.
    codes : str
        Its exit codes.
    """

    examples: tuple[str, ...]
    writes: str = "nothing"
    codes: str = USUAL

    def text(self) -> str:
        """Return it as the paragraphs of an epilog."""
        heading = "Examples:" if len(self.examples) > 1 else "Example:"
        return "\n\n".join(
            [heading, *(f"$ {example}" for example in self.examples), f"Writes: {self.writes}.", f"Exit codes: {self.codes}."]
        )


def teach(command: click.Command, lessons: Mapping[str, Lesson], path: str = "") -> click.Command:
    """Put the lessons into the help of a command and those under it; returns the command.

    Parameters
    ----------
    command : click.Command
    lessons : mapping of str to Lesson
        By the names of the command under this one, with spaces between; the command itself is the empty text.
    """
    for option in command.params:
        if isinstance(option, click.Option) and option.help:
            option.help = option.help.replace("[default:", r"\[default:")  # it would be taken for markup
    if path in lessons:
        command.epilog = lessons[path].text()
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            teach(inner, lessons, f"{path} {name}".strip())
    return command
