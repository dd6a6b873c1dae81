"""A ledger for people, and proofs of inclusion that others' tools can check."""

import base64
from pathlib import Path

import pytest

from ledger import merkle
from ledger.checkpoint import open_checkpoint
from ledger.entries import encode_entry
from ledger.errors import FormatError, StorageError
from ledger.log import Log
from ledger.store import Store
from server.log_view import entry_line, inclusion_proof, round_index
from tests.federation import SIGNER, opening_of
from tests.ledger.conftest import Forgery, agreed


@pytest.mark.parametrize("index", range(7))
def test_a_proof_verifies(run_folder: Path, index: int) -> None:
    with Store.open(run_folder / "ledger.db", create=False) as store:
        proof, leaf = inclusion_proof(store, index), store.entry(index)
    head, _, note = proof.encode().decode().partition("\n\n")
    label, extra, stated, *hashes = head.split("\n")
    assert (label, extra, stated) == ("c2sp.org/tlog-proof@v1", f"extra {base64.b64encode(leaf).decode()}", f"index {index}")
    checkpoint = open_checkpoint(note.encode(), SIGNER.verifier, "lunaria.local/attacks")
    path = [base64.b64decode(line, validate=True) for line in hashes]
    merkle.verify_inclusion(merkle.leaf_hash(leaf), index, checkpoint.size, path, checkpoint.root)


@pytest.mark.parametrize("index", [7, 8, 2**62])
def test_there_is_no_proof_of_what_is_not_there(run_folder: Path, index: int) -> None:
    with Store.open(run_folder / "ledger.db", create=False) as store, pytest.raises(StorageError, match="the ledger has 7"):
        inclusion_proof(store, index)


def test_there_is_no_proof_without_a_checkpoint(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db", create=True) as store:
        store.append([b"x"], expected_size=0)
        with pytest.raises(StorageError, match="the ledger has 0"):
            inclusion_proof(store, 0)


def test_one_entry_has_an_empty_proof(tmp_path: Path) -> None:
    with Log.open(tmp_path, SIGNER, create=True) as log:
        log.append(encode_entry(opening_of(agreed())))
    with Store.open(tmp_path / "ledger.db", create=False) as store:
        text = inclusion_proof(store, 0, entry=False).encode()
    assert text.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\nlunaria.local/attacks\n1\n")


def test_a_round_is_found_by_its_number(run_folder: Path) -> None:
    with Store.open(run_folder / "ledger.db", create=False) as store:
        assert [round_index(store, number) for number in (1, 2)] == [4, 5]
        with pytest.raises(StorageError, match="no round 3"):
            round_index(store, 3)


def test_lines_say_what_an_entry_is(export: Path) -> None:
    forgery = Forgery.load(export)
    lines = [entry_line(index, leaf) for index, leaf in enumerate(forgery.leaves())]
    assert lines[0] == f"     0  agreement   tests, 2 rounds, first model {forgery[0]['model']['digest'][:16]}"
    assert lines[1] == f"     1  enrolment   client {forgery[1]['enrolment']['statement']['client'][:16]} with 6 samples"
    assert lines[4] == f"     4  round       1: 2 accepted, model {forgery[4]['model-after']['digest'][:16]}"
    assert lines[6] == f"     6  closing     completed after 2 rounds, model {forgery[6]['model'][:16]}"


def test_verdicts_are_counted_accepted_ones_first() -> None:
    forgery = Forgery.begin(agreed(rounds={"participants": 3}))
    forgery.open_round(4)
    forgery.judge(4, 1)
    forgery.settle(4)
    assert "1: 1 accepted, 2 no-reply, model" in entry_line(4, forgery.leaf(4))


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(FormatError):
        entry_line(0, b"{}")
