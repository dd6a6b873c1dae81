"""Evaluation sets on the command line: made, named by an agreement, demanded and refused."""

from pathlib import Path

import numpy as np
import pytest

from ledger.agreement import read
from ledger.entries import encode_entry
from server.errors import ServerError
from server.evaluation_set import FILE, read_evaluation
from server.settlements_view import settlements_table
from tests.ledger.test_entries import EXAMPLES
from tests.server.conftest import Cli

TERMS = """
[federation]
name = "tests"
clients = 10
[model]
layers = [64, 8, 10]
seed = "0000000000000000000000000000000000000000000000000000000000000000"
"""


@pytest.fixture
def agreement(tmp_path: Path) -> Path:
    path = tmp_path / "agreement.toml"
    path.write_text(TERMS, encoding="utf-8")
    return path


def made(cli: Cli, agreement: Path, *options: object) -> str:
    """Make a set, add what the command says to the agreement, and return that."""
    done = cli("evaluation-set", agreement, "--data", "digits", "-o", FILE, *options)
    assert done.code == 0, done
    said = done.out.split("for the agreement:\n")[1]
    agreement.write_text(f"{TERMS}{said}epoch = 2\npot = 5\n", encoding="utf-8")
    return said


def test_what_the_command_says_makes_an_agreement_that_names_the_file(cli: Cli, agreement: Path) -> None:
    made(cli, agreement, "--samples", 100)
    accepted = read(agreement)
    assert read_evaluation(Path(FILE), accepted) == Path(FILE).read_bytes()
    assert np.load(FILE).shape == (100 * 74,)


def test_it_is_made_again_for_an_agreement_that_has_one(cli: Cli, agreement: Path) -> None:
    assert made(cli, agreement) == made(cli, agreement)
    assert made(cli, agreement) != made(cli, agreement, "--samples", 10)


def test_data_of_another_shape_is_refused(cli: Cli, agreement: Path) -> None:
    agreement.write_text(TERMS.replace("64, 8, 10", "30, 8, 10"), encoding="utf-8")
    assert (
        "digits has 64 features and 10 outputs, the model takes 30 and 10"
        in cli("evaluation-set", agreement, "--data", "digits", "-o", FILE).refused()
    )


@pytest.mark.parametrize(("name", "text"), [("missing.toml", "cannot read missing.toml"), ("junk.toml", "cannot read junk.toml")])
def test_an_agreement_that_cannot_be_read(cli: Cli, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "junk.toml").write_text("= 3", encoding="utf-8")
    assert text in cli("evaluation-set", name, "--data", "digits", "-o", FILE).refused()


def test_a_server_is_told_what_is_missing(cli: Cli, agreement: Path) -> None:
    with pytest.raises(ServerError, match="this one has none"):
        read_evaluation(Path(FILE), read(agreement))
    made(cli, agreement)
    accepted = read(agreement)
    with pytest.raises(ServerError, match="give the evaluation set that it names with --evaluation-set FILE"):
        read_evaluation(None, accepted)
    Path("other.npy").write_bytes(b"other")
    with pytest.raises(ServerError, match=r"other\.npy: it is not the evaluation set that the agreement names"):
        read_evaluation(Path("other.npy"), accepted)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--evaluation-set", "x.npy"], "without one, --pot makes it from the data"),
        (["--pot", "-1"], "-1"),
        (["--pot", 10**31], "settlement.pot"),
        (["--pot", "5", "--account", "me"], "account 'me': give 0x and 40 hexadecimal digits"),
    ],
)
def test_a_wrong_option_of_a_simulation(cli: Cli, options: list[object], text: str) -> None:
    assert text in cli("simulate", "--data", "digits", "--out", "run", *options).refused()


def test_a_table_of_what_was_settled() -> None:
    table = settlements_table([encode_entry(EXAMPLES["enrolment"]), encode_entry(EXAMPLES["settlement"])])
    assert table is not None
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells[1] == "0xabab…abab"
    assert cells[2:] == ["1", "-7", "0", "340282366920938463463374607431768211455", "0", "no-reply"]
    assert settlements_table([encode_entry(EXAMPLES["enrolment"])]) is None
