"""``lunaria log verify``: the whole way from a run folder to one fact that is checked offline."""

from pathlib import Path

import pytest

from ledger import note
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.proof import TlogProof
from tests.federation import SIGNER
from tests.server.conftest import Cli

KEY = str(SIGNER.verifier.key)
OTHER_KEY = str(note.Ed25519Signer("lunaria.local/other", bytes([9] * 32)).verifier.key)
WITNESS = CosignatureSigner("w.example", ED25519_COSIGNATURE, bytes([7] * 32), lambda: 1_700_000_000)


@pytest.fixture
def proof(cli: Cli, run_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "round-2.tlog-proof"
    path.write_text(cli("log", "proof", run_folder, "--round", 2).out, encoding="utf-8")
    return path


def test_a_proof_verifies_and_shows_its_entry(cli: Cli, proof: Path, run_folder: Path) -> None:
    done = cli("log", "verify", proof, "--key", KEY)
    assert (done.code, done.err) == (0, "entry 5 of 7 in lunaria.local/attacks\n")
    assert done.out == cli("log", "show", run_folder, 5).out


def test_an_entry_beside_the_proof(cli: Cli, proof: Path, tmp_path: Path) -> None:
    whole = TlogProof.parse(proof.read_bytes())
    proof.write_bytes(TlogProof(whole.index, whole.hashes, whole.checkpoint).encode())
    assert "give the entry with --entry FILE" in cli("log", "verify", proof, "--key", KEY).refused()
    (tmp_path / "entry").write_bytes(whole.extra or b"")
    assert cli("log", "verify", proof, "--key", KEY, "--entry", tmp_path / "entry").code == 0
    (tmp_path / "entry").write_bytes(b"another")
    assert cli("log", "verify", proof, "--key", KEY, "--entry", tmp_path / "entry").code == 1


def test_what_is_false_is_1(cli: Cli, proof: Path) -> None:
    done = cli("log", "verify", proof, "--key", OTHER_KEY)
    assert (done.code, done.out, done.err) == (1, "", "false: the note is signed by none of the known keys\n")
    proof.write_bytes(proof.read_bytes().replace(b"index 5", b"index 4"))
    done = cli("log", "verify", proof, "--key", KEY)
    assert (done.code, done.out) == (1, "")
    assert "inclusion of entry 4 in a tree of 7" in done.err


def test_witnesses_are_demanded(cli: Cli, proof: Path) -> None:
    options = ("--key", KEY, "--witness", WITNESS.verifier.key)
    assert "0 of the 1 cosignatures" in cli("log", "verify", proof, *options).err
    assert cli("log", "verify", proof, *options, "--quorum", 0).code == 0
    whole = TlogProof.parse(proof.read_bytes())
    signed = note.sign(note.parse(whole.checkpoint).text, SIGNER, WITNESS)
    proof.write_bytes(TlogProof(whole.index, whole.hashes, signed, whole.extra).encode())
    done = cli("log", "verify", proof, *options)
    assert (done.code, done.err.splitlines()[1]) == (0, "cosigned by w.example at 2023-11-14 22:13:20 UTC")


@pytest.mark.parametrize("data", [None, b"", b"nonsense", bytes(1 << 22)], ids=["missing", "empty", "nonsense", "large"])
def test_what_is_no_proof_is_2(cli: Cli, tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "x"
    if data is not None:
        path.write_bytes(data)
    cli("log", "verify", path, "--key", KEY).refused()


@pytest.mark.parametrize("options", [["--key", "x"], ["--key", KEY, "--witness", KEY], ["--key", KEY, "--quorum", "1"]])
def test_keys_that_are_none_are_2(cli: Cli, proof: Path, options: list[str]) -> None:
    cli("log", "verify", proof, *options).refused()
