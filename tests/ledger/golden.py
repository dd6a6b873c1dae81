"""Ledgers that earlier versions exported, which every later version must audit: ``python -m tests.ledger.golden NAME`` writes new ones.

Existing files are never written again. In each run one client sends a broken proof in round 1.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from clients.member import IntArray, Trainer
from ledger.entries import TRAINING_PROOF, Reference
from ledger.export import write_export
from ledger.messages import LedgerView, ProveReply, ProveRequest, TrainRequest
from tests.attacks.test_proof_rate import forged
from tests.federation import Contribution, Federation, LocalMember, client, terms

FOLDER = Path(__file__).parent / "golden"
RATES = {"all-proved": 1.0, "some-proved": 0.6}


def broken(proof: bytes) -> bytes:
    """Return another proof of the same length."""
    return proof[:-1] + bytes([proof[-1] ^ 1])


class Careless(LocalMember):
    """Sends a broken proof in round 1."""

    def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
        update, samples, reply = super().contribute(request, view, weights, trainer)
        if request.round == 1 and reply.proof:
            signed = self.resign(reply, proof=Reference.of(broken(reply.proof), TRAINING_PROOF))
            reply = type(reply)(signed.statement, reply.commitment, reply.blinds, broken(reply.proof))
        return update, samples, reply

    def prove(self, request: ProveRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> ProveReply:
        reply = super().prove(request, view, weights, trainer)
        return forged(self, reply, broken(reply.proof)) if request.round == 1 else reply


def make(name: str) -> None:
    """Write the exports of new runs."""
    FOLDER.mkdir(exist_ok=True)
    for kind, rate in RATES.items():
        path = FOLDER / f"{name}-{kind}.tar"
        if path.exists():
            raise SystemExit(f"{path} is there already: a golden ledger is never written again")
        work = Path(tempfile.mkdtemp())
        agreement = terms(3, 2, proof={"kind": "training", "rate": rate}, rounds={"reply-timeout": 60})
        Federation(work / "run", [client(0), client(1, Careless), client(2)], agreement, backend="py_ecc").run()
        write_export(work / "run", path)
        shutil.rmtree(work)


if __name__ == "__main__":
    make(sys.argv[1])
