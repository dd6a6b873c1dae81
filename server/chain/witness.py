"""Where an elected witness signs: a C2SP witness (:mod:`ledger.witness`) that also signs for the contract, and keeps what operators signed.

``POST /sign-anchor`` takes the operator's compact signature in the header ``Lunaria-Operator``, 64 bytes in hexadecimal, over a body of
``add-checkpoint``. It answers 200 with 64 bytes in hexadecimal; otherwise as ``add-checkpoint`` does. A witness never signs two checkpoints
that disagree, and every statement of an operator is kept in a file first: two that disagree are what ``lunaria chain challenge`` takes.
"""

import json
import os
from pathlib import Path

from eth_account.signers.local import LocalAccount
from starlette.applications import Starlette

from ledger import note
from ledger.checkpoint import parse_checkpoint
from ledger.errors import FormatError, StorageError
from ledger.witness import Answer, Witness
from ledger.witnessing import AddCheckpoint
from server.chain.statements import Domain, Signature, log_digest, sign, signer
from server.witness_app import posted

PATH, HEADER = "/sign-anchor", "Lunaria-Operator"


class AnchorWitness:
    """Signs anchors of one contract.

    Parameters
    ----------
    witness : Witness
        Remembers what was signed last, durably.
    account : LocalAccount
        The elected account.
    domain : Domain
    operator : str
        The operator's address.
    kept : Path
        Gets a JSON line for each statement that an operator signed.
    """

    def __init__(self, witness: Witness, account: LocalAccount, domain: Domain, operator: str, kept: Path) -> None:
        self._witness, self._account, self._domain, self._operator, self._kept = witness, account, domain, operator, kept

    def sign(self, body: bytes, header: str) -> Answer:
        """Answer a request; raises StorageError where nothing can be kept, and then signs nothing."""
        try:
            checkpoint = parse_checkpoint(note.parse(AddCheckpoint.parse(body).checkpoint).text)
            statement = self._domain.anchor(log_digest(checkpoint.origin), checkpoint.size, checkpoint.root)
            by_operator = from_hex(header)
            if signer(statement, by_operator).lower() != self._operator.lower():
                return Answer(403, b"not signed by the operator\n")
        except (ValueError, FormatError) as error:
            return Answer(400, f"{error}\n".encode())
        self._keep({"size": checkpoint.size, "root": checkpoint.root.hex(), "signature": to_hex(by_operator)})
        answer = self._witness.add_checkpoint(body)
        if answer.status != 200:
            return answer
        return Answer(200, f"{to_hex(sign(statement, self._account))}\n".encode())

    def _keep(self, line: dict[str, object]) -> None:
        try:
            with self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._kept}: {error.strerror}") from error


def anchor_witness_app(witness: AnchorWitness) -> Starlette:
    """Return the application: ``POST /sign-anchor``, and nothing else."""
    return Starlette(routes=[posted(PATH, lambda body, headers: witness.sign(body, headers.get(HEADER, "")))])


def to_hex(signature: Signature) -> str:
    """Return a compact signature as 128 hexadecimal digits."""
    return (signature[0] + signature[1]).hex()


def from_hex(text: str) -> Signature:
    """Read what :func:`to_hex` writes; raises ValueError for anything else."""
    data = bytes.fromhex(text.strip())
    if len(data) != 64:
        raise ValueError("a compact signature is 64 bytes in hexadecimal")
    return data[:32], data[32:]
