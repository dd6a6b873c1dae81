"""What a user can type wrong is one line on standard error and a documented exit code; what is right does what it says."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ledger.audit import audit as audit_export
from ledger.entries import decode_entry, encode_entry
from ledger.log import Log
from tests.federation import SIGNER
from tests.server.conftest import Cli, Outcome

DIGITS = ("simulate", "--data", "digits")
OTHER_KEY = "lunaria.local/other+8ec17ab9+AVc2eQjQ9rVTKXvOaqBwWYUVY5Ovz5ra7vJcSIJ9xKrb"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["nonsense"], "No such command 'nonsense'"),
            (["--nonsense"], "No such option"),
            (["simulate", "--nonsense"], "No such option"),
            (["simulate", "--seed", "x"], "not a valid integer"),
            (["simulate", "--clients", "1.5"], "not a valid integer"),
            (["simulate", "--data"], "requires an argument"),
            (["simulate", "too", "many"], "unexpected extra arguments"),
            (["audit"], "Missing argument 'EXPORT'"),
            (["audit", "a", "b"], "unexpected extra argument"),
            (["export", "run"], "Missing option '-o' / '--output'"),
            (["log", "nonsense"], "No such command"),
            (["log", "show", "run"], "Missing argument 'INDEX'"),
            (["log", "show", "run", "x"], "Invalid value for 'INDEX'"),
            (["log", "show", "run", "--", "-1"], "Invalid value for 'INDEX'"),
        ],
    )
    def test_a_wrong_command_line(self, cli: Cli, arguments: list[str], text: str) -> None:
        assert text in cli(*arguments).refused()

    @pytest.mark.parametrize("arguments", [[], ["log"]])
    def test_no_command_shows_the_help(self, cli: Cli, arguments: list[str]) -> None:
        shown = cli(*arguments)
        assert (shown.code, "Usage: " in shown.out + shown.err) == (2, True)

    @pytest.mark.parametrize("command", [[], ["simulate"], ["audit"], ["export"], ["log"], ["log", "show"]])
    def test_help_is_0(self, cli: Cli, command: list[str]) -> None:
        shown = cli(*command, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert "Usage: " in shown.out

    def test_a_missing_part_of_the_installation_is_4(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "server.planning", None)
        assert "pip install 'lunaria[federation]'" in cli("simulate").refused(4)


class TestSimulate:
    """Whatever is wrong with a simulation is found before Ray starts."""

    @pytest.fixture(autouse=True)
    def no_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def started(*arguments: object) -> None:
            pytest.fail("Ray would have been started")

        monkeypatch.setitem(sys.modules, "server.simulate", SimpleNamespace(simulate=started))

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["--seed", "0"], "--seed is 0"),
            (["--seed", "-3"], "--seed is -3"),
            (["--seed", 2**63], "--seed is 9223372036854775808"),
            (["--data", "nonsense"], "data set 'nonsense' is unknown"),
            (["--data", ""], "data set '' is unknown"),
            (["--data", "missing.csv"], "missing.csv: no such file"),
            (["--data", "missing.npz"], "missing.npz: no such file"),
            (["--data", "no.such.module:function"], "no"),
            (["--data", "json:loads"], "json:loads"),
            (["--partition", "nonsense"], "partition 'nonsense' is unknown"),
            (["--partition", "dirichlet"], "partition 'dirichlet' is unknown"),
            (["--partition", "dirichlet:x"], "unknown"),
            (["--partition", "dirichlet:0"], "unknown"),
            (["--partition", "dirichlet:-1"], "unknown"),
            (["--partition", "dirichlet:nan"], "unknown"),
            (["--samples", "0"], "0 samples per client: give at least 1"),
            (["--samples", "-1"], "-1 samples per client"),
            (["--samples", "144"], "10 clients with 144 samples each need 1440, there are 1438: at most 143"),
            (["--samples", 10**12], "there are 1438"),
            (["--clients", "0"], "federation.clients"),
            (["--clients", "-1"], "federation.clients"),
            (["--clients", "10001"], "federation.clients"),
            (["--clients", "2000"], "2000 clients"),
            (["--clients", "3", "--participants", "4"], "rounds.participants is 4, above federation.clients (3)"),
            (["--participants", "0"], "rounds.participants"),
            (["--participants", "201", "--clients", "300"], "rounds.participants"),
            (["--rounds", "0"], "rounds.count"),
            (["--rounds", "-5"], "rounds.count"),
            (["--rounds", 10**9], "rounds.count"),
            (["--model", "10-10"], "has 64 features and 10 outputs, the model takes 10 and 10"),
            (["--model", "64-8-11"], "the model takes 64 and 11"),
            (["--model", "64-0-10"], "all positive"),
            (["--model", "-".join(["64"] * 17)], "model.layers"),
            (["--agreement", "missing.toml"], "cannot read missing.toml"),
            (["--agreement", "."], "cannot read ."),
            (["--verify-backend", "sage"], "choose py_ecc or arkworks"),
        ],
    )
    def test_a_wrong_option(self, cli: Cli, options: list[object], text: str) -> None:
        assert text in cli(*DIGITS, "--out", "run", *options).refused()

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ("missing.keras", "there is no model file missing.keras"),
            ("junk.keras", "--model junk.keras"),
            ("64", "give widths such as 784-128-10"),
            ("", "give widths"),
            (":", "give widths"),
            ("no.such.module:function", "No module named"),
            ("os:nothing", "no attribute 'nothing'"),
            ("os:getcwd", "returned str instead of a Keras model"),
            ("os:open", "--model os:open"),
            ("wrong:raises", "ZeroDivisionError"),
            ("wrong:lines", "first"),
        ],
    )
    def test_a_wrong_model(self, cli: Cli, monkeypatch: pytest.MonkeyPatch, spec: str, text: str) -> None:
        Path("junk.keras").write_text("junk")
        Path("wrong.py").write_text("def raises():\n    raise ZeroDivisionError\ndef lines():\n    raise ValueError('first\\nsecond')\n")
        monkeypatch.syspath_prepend(".")
        sys.modules.pop("wrong", None)
        assert text in cli(*DIGITS, "--out", "run", "--model", spec).refused()

    @pytest.mark.parametrize(
        ("text", "options", "reason"),
        [
            ("x = ", [], "is not TOML"),
            ("\xff", [], "model.layers"),
            ("", [], "model.layers: Field required"),
            ("[model]\nlayers = [64, 10]\nseed = 5\n[federation]\nname = 'x'\nclients = 2\n", [], "model.seed"),
            ("GOOD", ["--clients", "3"], "--clients is part of the agreement"),
            ("GOOD", ["--participants", "1"], "--participants is part of the agreement"),
            ("GOOD", ["--rounds", "3"], "--rounds is part of the agreement"),
            ("GOOD", ["--model", "64-8-10"], "part of the agreement"),
            ("GOOD", ["--samples", "8"], "the agreement takes 16 to 20"),
            ("GOOD", ["--samples", "21"], "the agreement takes 16 to 20"),
            ("GOOD\n[more]\nx = 1\n", [], "more: unknown field"),
            ("GOOD\n[witnesses]\nquorum = 1\n", [], "witnesses.quorum is 1, above the number of witnesses (0)"),
            ("WIDE", [], "the model takes 65 and 10"),
            ("DIGEST", [], "give the model itself with --model"),
        ],
    )
    def test_a_wrong_agreement(self, cli: Cli, text: str, options: list[str], reason: str) -> None:
        good = (
            "[federation]\nname = 'x'\nclients = 2\nminimum-samples = 16\nmaximum-samples = 20\n"
            f"[rounds]\nparticipants = 2\n[model]\nlayers = [64, 10]\nseed = '{'5' * 64}'\n"
        )
        wide, by_digest = good.replace("64, 10", "65, 10"), good.replace("seed =", "initial =")
        written = text.replace("GOOD", good).replace("WIDE", wide).replace("DIGEST", by_digest)
        Path("agreement.toml").write_text(written, encoding="latin-1" if text == "\xff" else "utf-8")
        if text == "\xff":
            reason = "is not TOML"
        found = cli(
            *DIGITS, "--out", "run", "--agreement", "agreement.toml", *([] if "--samples" in options else ["--samples", "16"]), *options
        )
        assert reason in found.refused()

    def test_an_output_that_cannot_be_used(self, cli: Cli) -> None:
        Path("full").mkdir()
        Path("full/file").touch()
        assert "full is not empty" in cli(*DIGITS, "--out", "full").refused()
        assert "cannot make the folder full/file" in cli(*DIGITS, "--out", "full/file").refused()
        assert "cannot make the folder" in cli(*DIGITS, "--out", "full/file/run").refused()
        assert "cannot make the folder" in cli(*DIGITS, "--out", "/proc/run").refused()
        assert [path.name for path in Path("full").iterdir()] == ["file"]

    def test_after_a_wrong_option_the_same_folder_can_be_used(self, cli: Cli) -> None:
        cli(*DIGITS, "--out", "run", "--clients", "0").refused()
        assert not Path("run").exists()

    def test_a_data_set_that_does_not_fit_the_loss(self, cli: Cli) -> None:
        np.savez("odd.npz", x=np.zeros((40, 64)), y=np.linspace(0, 1, 40))
        Path("agreement.toml").write_text(
            f"[federation]\nname = 'x'\nclients = 2\n[rounds]\nparticipants = 2\n[model]\nlayers = [64, 10]\nseed = '{'5' * 64}'\n"
        )
        cli("simulate", "--data", "odd.npz", "--agreement", "agreement.toml", "--out", "run").refused()


class TestAudit:
    def test_it_lists_every_check(self, cli: Cli, export: Path) -> None:
        done = cli("audit", export, "--verify-backend", "arkworks")
        assert (done.code, done.err) == (0, "")
        report = audit_export(export, backend="arkworks")
        for check, count in report.counts.items():
            assert re.search(rf"^\s*{check.value}\s+passed\s+{count} ", done.out, re.MULTILINE)
        assert "verified  federation tests, clients 3, rounds 2, outcome completed" in done.out
        assert all(note in done.out for note in report.notes)

    def test_as_json(self, cli: Cli, export: Path) -> None:
        done = cli("audit", export, "--json", "--verify-backend", "arkworks")
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out) == audit_export(export, backend="arkworks").to_json()

    @pytest.mark.parametrize("as_json", [True, False])
    def test_false_is_1_and_named(self, cli: Cli, copy: Path, as_json: bool) -> None:
        data = bytearray(copy.read_bytes())
        data[-1100] ^= 1  # in the last file or behind it
        copy.write_bytes(data)
        done = cli("audit", copy, "--verify-backend", "arkworks", *(["--json"] if as_json else []))
        assert (done.code, done.err) == (1, "")
        if as_json:
            assert not json.loads(done.out)["verified"]
        else:
            assert re.search(r"^false (archive|evidence): .*", done.out, re.MULTILINE)
            assert "not verified" in done.out

    def test_what_is_in_an_export_is_not_taken_for_markup(self, cli: Cli, copy: Path, tmp_path: Path) -> None:
        from tests.ledger.conftest import Forgery, write_files

        path = write_files(tmp_path / "markup.tar", Forgery.load(copy).files() | {"evidence/[bold]x[/bold]\\[/]": b"x"})
        assert "evidence/[bold]x[/bold]\\[/]: nothing in the ledger refers to it" in cli("audit", path, "--verify-backend", "arkworks").out

    def test_a_known_key_and_agreement(self, cli: Cli, export: Path, run_folder: Path, tmp_path: Path) -> None:
        import tomli_w

        opening = decode_entry(next(iter(leaves(run_folder))))
        fields = opening.agreement.to_json()  # type: ignore[union-attr]  # entry 0 is the agreement
        fields["model"].pop("initial")
        fields["aggregation"].pop("maximum-update-norm")
        (tmp_path / "agreed.toml").write_text(tomli_w.dumps(fields))
        key = str(SIGNER.verifier.key)
        good = ("audit", export, "--key", key, "--agreement", tmp_path / "agreed.toml", "--verify-backend", "arkworks")
        assert cli(*good).code == 0
        fields["data"]["terms"] = "other terms"
        (tmp_path / "agreed.toml").write_text(tomli_w.dumps(fields))
        changed = cli(*good)
        assert (changed.code, "agreement: entry 0" in changed.out) == (1, True)

    def test_another_key_is_false(self, cli: Cli, export: Path) -> None:
        done = cli("audit", export, "--key", valid_key())
        assert (done.code, "not the one that was given to the audit" in done.out) == (1, True)

    @pytest.mark.parametrize("key", ["", "x", "lunaria.local/attacks", "lunaria.local/attacks+00000000+AAAA"])
    def test_a_key_that_is_none(self, cli: Cli, export: Path, key: str) -> None:
        cli("audit", export, "--key", key).refused()

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["--agreement", "missing.toml"], "cannot read missing.toml"),
            (["--agreement", "bad.toml"], "is not TOML"),
            (["--verify-backend", "sage"], "choose py_ecc or arkworks"),
            (["--verify-backend", ""], "choose py_ecc or arkworks"),
        ],
    )
    def test_a_wrong_option(self, cli: Cli, export: Path, options: list[str], text: str) -> None:
        Path("bad.toml").write_text("x =")
        assert text in cli("audit", export, *options).refused()

    @pytest.mark.parametrize("what", ["missing", "folder", "empty", "text"])
    def test_a_file_that_is_no_export(self, cli: Cli, what: str) -> None:
        Path("folder").mkdir()
        Path("empty").touch()
        Path("text").write_text("hello\n" * 1000)
        assert what in cli("audit", what).refused()


def valid_key() -> str:
    from ledger.note import Ed25519Signer

    return str(Ed25519Signer("lunaria.local/attacks", bytes([9] * 32)).verifier.key)


def leaves(run: Path) -> list[bytes]:
    from ledger.store import Store

    with Store.open(run / "ledger.db", create=False) as store:
        return list(store.entries(0, store.size()))


class TestExport:
    def test_it_writes_what_an_audit_reads(self, cli: Cli, run_folder: Path, export: Path) -> None:
        done = cli("export", run_folder, "-o", "out.tar")
        assert done == Outcome(0, f"out.tar: 7 entries, {export.stat().st_size:,} bytes\n", "")
        assert Path("out.tar").read_bytes() == export.read_bytes()

    def test_without_updates(self, cli: Cli, run_folder: Path) -> None:
        assert cli("export", run_folder, "-o", "out.tar", "--no-updates").code == 0
        assert cli("audit", "out.tar", "--verify-backend", "arkworks").code == 0

    @pytest.mark.parametrize(
        ("run", "output", "text"),
        [
            ("nowhere", "out.tar", "it holds no ledger.db"),
            (".", "out.tar", "it holds no ledger.db"),
            ("file", "out.tar", "it holds no ledger.db"),
            ("RUN", "no/out.tar", "cannot write no/out.tar"),
            ("RUN", "file/out.tar", "cannot write"),
            ("RUN", ".", "cannot write"),
            ("RUN", "/proc/out.tar", "cannot write"),
            ("damaged", "out.tar", "is not a ledger"),
            ("empty", "out.tar", "has no entry yet"),
        ],
    )
    def test_a_wrong_place(self, cli: Cli, run_folder: Path, run: str, output: str, text: str) -> None:
        Path("file").touch()
        Path("damaged").mkdir()
        Path("damaged/ledger.db").write_bytes(b"x" * 9999)
        with Log.open(Path("empty"), SIGNER, create=True):
            pass
        assert text in cli("export", run_folder if run == "RUN" else run, "-o", output).refused()
        assert not Path("out.tar").exists()

    def test_missing_evidence(self, cli: Cli, run_folder: Path, tmp_path: Path) -> None:
        run = Path(shutil.copytree(run_folder, tmp_path / "run"))
        shutil.rmtree(run / "evidence")
        assert "is missing" in cli("export", run, "-o", "out.tar").refused()


class TestLog:
    def test_list_has_a_line_for_each_entry(self, cli: Cli, run_folder: Path) -> None:
        done = cli("log", "list", run_folder)
        assert (done.code, done.err) == (0, "")
        kinds = [line.split()[:2] for line in done.out.splitlines()]
        assert kinds == [[str(i), kind] for i, kind in enumerate(["agreement", *["enrolment"] * 3, *["round"] * 2, "closing"])]

    @pytest.mark.parametrize("index", range(7))
    def test_show_prints_the_entry(self, cli: Cli, run_folder: Path, index: int) -> None:
        done = cli("log", "show", run_folder, index)
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out) == json.loads(leaves(run_folder)[index])

    @pytest.mark.parametrize("index", range(7))
    def test_proof_prints_a_tlog_proof(self, cli: Cli, run_folder: Path, index: int) -> None:
        done = cli("log", "proof", run_folder, index)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("c2sp.org/tlog-proof@v1\nextra ")
        bare = cli("log", "proof", run_folder, index, "--no-entry")
        assert bare.out.startswith(f"c2sp.org/tlog-proof@v1\nindex {index}\n")

    def test_proof_wants_one_entry(self, cli: Cli, run_folder: Path) -> None:
        assert cli("log", "proof", run_folder, "--round", 1).out == cli("log", "proof", run_folder, 4).out
        for entry in ([], [4, "--round", 1]):
            assert "say which entry" in cli("log", "proof", run_folder, *entry).refused()

    @pytest.mark.parametrize("command", ["show", "proof"])
    @pytest.mark.parametrize("index", [7, 8, 10**6, 2**63, 2**70])
    def test_an_entry_that_does_not_exist(self, cli: Cli, run_folder: Path, command: str, index: int) -> None:
        cli("log", command, run_folder, index).refused()

    @pytest.mark.parametrize("command", [["list"], ["show", "0"], ["proof", "0"]])
    def test_a_wrong_folder(self, cli: Cli, command: list[str]) -> None:
        assert "it holds no ledger.db" in cli("log", command[0], "nowhere", *command[1:]).refused()

    def test_a_ledger_of_something_else(self, cli: Cli) -> None:
        with Log.open(Path("run"), SIGNER, create=True) as log:
            log.append(b"hello")
        cli("log", "list", "run").refused()
        cli("log", "show", "run", 0).refused()

    def test_an_entry_of_a_later_version(self, cli: Cli, run_folder: Path) -> None:
        data = encode_entry(decode_entry(leaves(run_folder)[0])).replace(b'"version":1}', b'"version":2}')
        with Log.open(Path("run"), SIGNER, create=True) as log:
            log.append(data)
        assert "version" in cli("log", "list", "run").refused()


def test_a_reader_that_goes_away_is_no_traceback(run_folder: Path) -> None:
    """``lunaria log list RUN | head -1``."""
    command = [sys.executable, "-c", "import time; from server.cli import main; time.sleep(0.5); main()", "log", "list", str(run_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, 1)


def test_the_commands_are_installed() -> None:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert set(scripts) == {"lunaria", "flower-server", "flower-client"}
    for module, _, function in (entry.partition(":") for entry in scripts.values()):
        assert callable(getattr(importlib.import_module(module), function))
