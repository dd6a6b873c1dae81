"""The systemd units: systemd finds nothing wrong with them, and they start commands that exist with options that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import typer

from clients.command import app as flower_client
from server.cli import app as lunaria
from server.deployment.command import app as flower_server
from server.deployment.health import SILENT_SECONDS

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COMMANDS = {
    "lunaria-server": (flower_server, "flower-server"),
    "lunaria-client": (flower_client, "flower-client"),
    "lunaria-witness": (lunaria, "lunaria"),
}


def command_line(name: str) -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", (UNITS / f"{name}.service").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1].split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_unit_starts_a_command_that_exists(name: str) -> None:
    application, expected = COMMANDS[name]
    command = typer.main.get_command(application)
    program, *options = command_line(name)
    assert Path(program).name == expected
    if isinstance(command, click.Group):
        command = command.commands[options[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    text = (UNITS / f"{name}.service").read_text(encoding="utf-8")
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace(command_line(name)[0], shutil.which("true") or "/bin/true"), encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["lunaria-server", "lunaria-client"])
def test_systemd_is_told_when_it_is_ready_and_that_it_lives(name: str) -> None:
    """The limit leaves time for what :mod:`server.deployment.health` calls silent, and for a slow machine."""
    text = (UNITS / f"{name}.service").read_text(encoding="utf-8")
    assert "\nType=notify\n" in text
    limit = re.search(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)
    assert limit
    assert int(limit[1]) >= 2 * SILENT_SECONDS
