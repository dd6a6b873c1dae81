"""An elected witness over HTTP: what it cannot read or keep it does not sign, and it says so."""

from pathlib import Path

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from ledger import merkle
from ledger.witness import Witness
from ledger.witnessing import MAX_REQUEST_SIZE
from server.chain.statements import Domain, log_digest, sign
from server.chain.witness import HEADER, PATH, AnchorWitness, anchor_witness_app, to_hex
from tests.ledger.test_messages import ORIGIN, TREE
from tests.ledger.test_witness import KEYS, request
from tests.server.live import served

DOMAIN = Domain(31337, "0x" + "11" * 20)
OPERATOR, STRANGER, SEATED = (Account.from_key(bytes([number] * 32)) for number in (1, 2, 3))


def post(folder: Path, body: bytes, size: int = 5, by: LocalAccount = OPERATOR, kept: str = "kept.jsonl") -> httpx.Response:
    witness = AnchorWitness(Witness(folder / "state.db", [], KEYS), SEATED, DOMAIN, OPERATOR.address, folder / kept)
    statement = DOMAIN.anchor(log_digest(ORIGIN), size, merkle.root(size, TREE.read))
    with served(anchor_witness_app(witness)) as url:
        return httpx.post(url + PATH, content=body, headers={HEADER: to_hex(sign(statement, by))})


def test_it_signs_and_keeps_what_the_operator_signed(tmp_path: Path) -> None:
    assert post(tmp_path, request(0, 5)).status_code == 200
    assert (tmp_path / "kept.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"old 0", 400), (bytes(MAX_REQUEST_SIZE + 1), 413), (request(0, 4), 403)])
def test_what_is_malformed_too_long_or_signed_for_another_size(tmp_path: Path, body: bytes, status: int) -> None:
    assert post(tmp_path, body).status_code == status
    assert not (tmp_path / "kept.jsonl").exists()


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    assert post(tmp_path, request(0, 5), by=STRANGER).status_code == 403


def test_where_nothing_can_be_kept_it_signs_nothing(tmp_path: Path) -> None:
    found = post(tmp_path, request(0, 5), kept="nowhere/kept.jsonl")
    assert (found.status_code, found.text) == (503, "this witness cannot store anything now\n")
    assert post(tmp_path, request(0, 5)).status_code == 200  # the checkpoint was not taken for signed
