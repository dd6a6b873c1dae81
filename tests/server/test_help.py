"""``--help`` teaches: every command has examples, and they are of commands and options that exist."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path

import click
import click.testing
import pytest
import typer

from clients.command import app as client_app
from clients.entry import HELP
from clients.help import Lesson, teach
from server.cli import app as lunaria_app
from server.deployment.command import app as server_app
from server.lessons import LUNARIA, SERVER

PROGRAMS = {
    "lunaria": teach(typer.main.get_command(lunaria_app), LUNARIA),
    "flower-server": teach(typer.main.get_command(server_app), SERVER),
    "flower-client": teach(typer.main.get_command(client_app), HELP),
}
LESSONS: list[Lesson] = [*LUNARIA.values(), *SERVER.values(), *HELP.values()]
COMMANDS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def leaves(command: click.Command, path: str = "") -> dict[str, click.Command]:
    """Return every command that does something, by its path."""
    if not isinstance(command, click.Group):
        return {path: command}
    return {name: leaf for part, inner in command.commands.items() for name, leaf in leaves(inner, f"{path} {part}".strip()).items()}


def test_every_command_has_a_lesson() -> None:
    assert set(leaves(PROGRAMS["lunaria"])) == set(LUNARIA)


@pytest.mark.parametrize("example", [example for lesson in LESSONS for example in lesson.examples])
def test_every_example_can_be_parsed(example: str) -> None:
    program, *words = shlex.split(re.split(" >>? ", example)[0], comments=True)
    command = PROGRAMS[program]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(program, words)  # raises where an option does not exist or something is missing


@pytest.mark.parametrize("name", ["flower-server", "flower-client"])
def test_every_option_is_documented(name: str) -> None:
    options = {option for parameter in PROGRAMS[name].params for option in parameter.opts}
    assert len(options) > 8
    assert not [option for option in options if option not in COMMANDS]


def test_help_ends_with_examples_and_exit_codes_and_keeps_what_is_in_brackets() -> None:
    command = PROGRAMS["flower-server"]
    assert click.testing.CliRunner().invoke(command, ["--help"], env={"COLUMNS": "200"}).output.count("[default: none]") == 2
    assert str(command.epilog).startswith("Examples:")
    assert "75 a process ended" in str(command.epilog)


@pytest.mark.skipif(
    tuple(map(int, version("click").split(".")[:2])) >= (8, 5), reason="typer loses it with click 8.5: pip install -c constraints.txt"
)
def test_arguments_are_explained() -> None:
    for name, command in leaves(PROGRAMS["lunaria"]).items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"lunaria {name}: {parameter.name}"
