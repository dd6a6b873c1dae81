"""The systemd units: systemd finds nothing wrong with them, and they start commands that exist with options that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from clients.command import app as flower_client
from server.deployment.command import app as flower_server

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COMMANDS = {"lunaria-server": flower_server, "lunaria-client": flower_client}


def command_line(name: str) -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", (UNITS / f"{name}.service").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1].split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_unit_starts_a_command_that_exists(name: str) -> None:
    command = typer.main.get_command(COMMANDS[name])
    known = {option for parameter in command.params for option in parameter.opts}
    program, *options = command_line(name)
    assert Path(program).name == name.replace("lunaria", "flower")
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
