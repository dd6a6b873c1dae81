"""What the documents for operators tell them to type exists."""

import re
import shlex

import pytest

from clients.command import app as flower_client
from server.cli import app as lunaria
from server.deployment.command import app as flower_server
from tests.deploy.dockerfile import ROOT
from tests.deploy.test_compose import known_options

PROGRAMS = {"lunaria": lunaria, "flower-server": flower_server, "flower-client": flower_client}
DOCUMENTS = ("deployment.md", "runbook.md")


def command_lines(name: str) -> list[list[str]]:
    """Return the words of each of our commands in a document's code blocks."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    parts = [part.strip() for block in blocks for line in block.splitlines() for part in re.split(r"&&|\||  #", line)]
    return [shlex.split(part) for part in parts if part.partition(" ")[0] in PROGRAMS]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_and_options_exist(name: str) -> None:
    lines = command_lines(name)
    assert len(lines) > 5
    for program, *words in lines:
        known = known_options(PROGRAMS[program], words)
        if program == "lunaria":
            assert words[0] in {"log"} or known, words
        options = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert options <= known, (program, words)


def test_every_kind_of_trouble_has_its_part() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    parts = set(re.findall(r"^## (.*)$", text, re.MULTILINE))
    wanted = {"Backup", "Restore", "Upgrade", "Lost keys", "A bad client", "A full disk", "Clocks differ", "A certificate ends"}
    wanted |= {"Another machine for the server", "PostgreSQL is down", "A witness is down", "A partition"}
    assert wanted <= parts
