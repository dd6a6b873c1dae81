"""A ledger of any length that audits: real enrolments, and rounds to which nobody replied, so that what takes time is the ledger itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clients.commitments import prove_enrolment
from ledger import merkle
from ledger.agreement import complete
from ledger.beacon import beacon, commit_nonce
from ledger.canonical import dump_vector
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.enrolment import enrolment_claims
from ledger.entries import (
    ENROLMENT_PROOF,
    POINTS,
    TENSOR,
    AgreementEntry,
    EnrolmentEntry,
    EnrolmentStatement,
    Reference,
    Reveal,
    RoundEntry,
    SignedEnrolment,
    Verdict,
    encode_entry,
)
from ledger.evidence import EvidenceStore
from ledger.identity import public_key, signing_key
from ledger.note import Ed25519Signer
from ledger.state import RunState
from ledger.store import Store
from ledger.verdicts import Reason
from zk.blinding import BlindingSource
from zk.group import Arkworks
from zk.hashing import sha256
from zk.pedersen import commitment_key
from zk.sgd import flatten, initial_weights
from zk.tables import tables_digest
from zk.training.shape import Shape
from zk.training.witness import sample_rows

CLIENTS, SAMPLES, CHUNK = 10, 4, 1000
SIGNER = Ed25519Signer("lunaria.local/bench", bytes(32))
AGREED = {
    "federation": {"name": "bench", "clients": CLIENTS},
    "model": {"layers": [5, 4, 3], "seed": bytes(32).hex()},
    "training": {"batch": 2, "local-steps": 2, "learning-rate": 0.125},
    "rounds": {"count": 100_000, "participants": CLIENTS, "minimum-accepted": 0},
    "proof": {"kind": "none"},
}


def write_run(folder: Path, size: int) -> None:
    """Write a ledger of ``size`` entries into a new folder: an agreement, ten enrolments, and rounds of ten participants each."""
    evidence = EvidenceStore(folder / "evidence")
    edge = merkle.Frontier()
    folder.mkdir()
    with Store.open(folder / "ledger.db", create=True) as store:
        chunk: list[bytes] = []
        for entry in _entries(size, evidence, edge):
            edge.append([merkle.leaf_hash(entry)])
            chunk.append(entry)
            if len(chunk) == CHUNK or edge.size == size:
                signed = sign_checkpoint(Checkpoint(SIGNER.verifier.key.name, edge.size, edge.root()), SIGNER)
                store.replicate(chunk, [signed], edge.size - len(chunk))
                chunk = []
    (folder / "checkpoint").write_bytes(signed)


def _entries(size: int, evidence: EvidenceStore, edge: merkle.Frontier) -> Iterator[bytes]:
    opening = _opening(evidence)
    state = RunState.begin(opening)
    yield encode_entry(opening)
    nonces: dict[str, str] = {}
    for secret in sorted((bytes([number]) * 32 for number in range(CLIENTS)), key=lambda one: public_key(signing_key(one))):
        nonces |= {public_key(signing_key(secret)): sha256(secret).hex()}
        enrolment = _enrolment(state, secret, evidence)
        state.apply(enrolment)
        yield encode_entry(enrolment)
    for number in range(1, size - CLIENTS):
        reveals = tuple(Reveal(client=client, nonce=nonces[state.keys[client]]) for client in sorted(state.pending))
        checkpoint = Checkpoint(SIGNER.verifier.key.name, edge.size, edge.root())
        drawn = beacon(state.run, number, checkpoint, {reveal.client: reveal.nonce for reveal in reveals})
        verdicts = tuple(Verdict(client=client, reason=Reason.NO_REPLY) for client in state.participants(drawn))
        entry = RoundEntry(
            round=number,
            reveals=reveals,
            withheld=(),
            beacon=drawn,
            model_before=state.model.digest,
            model_after=state.model,
            verdicts=verdicts,
            aggregate=None,
            test=None,
        )
        state.apply(entry)
        yield encode_entry(entry)


def _opening(evidence: EvidenceStore) -> AgreementEntry:
    agreement = complete(AGREED)
    model = dump_vector(flatten(initial_weights(agreement.rule, bytes(32))))
    evidence.put(model)
    return AgreementEntry(
        run=sha256(b"bench").hex(),
        origin=SIGNER.verifier.key.name,
        log_key=str(SIGNER.verifier.key),
        model=Reference.of(model, TENSOR),
        tables=tables_digest(agreement.rule),
        agreement=agreement,
    )


def _enrolment(state: RunState, secret: bytes, evidence: EvidenceStore) -> EnrolmentEntry:
    agreement = state.opening.agreement
    rule, identity, key = agreement.rule, signing_key(secret), commitment_key(Arkworks, agreement.row_width)
    client, source = public_key(identity), BlindingSource(secret, deterministic=True)
    values = sample_rows(Shape(rule), np.zeros((SAMPLES, rule.layers[0]), np.int64), np.eye(rule.layers[-1], dtype=np.int64)[[0] * SAMPLES])
    blinds = list(range(1, SAMPLES + 1))
    rows = key.encode([key.commit(row, blind) for row, blind in zip(values, blinds, strict=True)])
    proof = prove_enrolment(key, enrolment_claims(state.run, client, rows, rule), values, blinds, source)
    for data in (rows, proof):
        evidence.put(data)
    statement = EnrolmentStatement(
        run=state.run,
        client=client,
        samples=SAMPLES,
        rows=Reference.of(rows, POINTS),
        proof=Reference.of(proof, ENROLMENT_PROOF),
        nonce=commit_nonce(state.run, client, sha256(secret)),
    )
    return EnrolmentEntry(enrolment=SignedEnrolment.sign(statement, identity))
