"""Judging an enrolment: signature, evidence, and the proof that the client committed to samples as agreed and can open them."""

from ledger.entries import ENROLMENT_PROOF, POINTS, Reference, SignedEnrolment, decode_enrolment
from ledger.errors import VerificationError
from ledger.identity import has_small_order
from ledger.state import RunState
from zk import enrolment
from zk.batch import Check
from zk.errors import ZkError
from zk.group import POINT_BYTES
from zk.pedersen import CommitmentKey
from zk.rule import Rule

UNPROVED = "the enrolment proof does not verify: what it commits to are no samples as agreed, or it cannot open them"
PART_ROWS = 2048  # a larger data set is proved in parts of so many rows, which bounds the memory of whoever proves


def enrolment_claims(run: str, client: str, rows: bytes, rule: Rule) -> list[enrolment.EnrolmentStatement]:
    """Return what an enrolment proves, in parts: each bound to the run, to the client's key and to the place of its rows.

    Parameters
    ----------
    run, client : str
        Digest of entry 0 and public key, in hexadecimal.
    rows : bytes
        The commitments to the samples, 48 bytes each, one or more.
    rule : Rule

    Raises
    ------
    EncodingError
        ``rows`` is empty or has another length than a number of points.
    """
    step = PART_ROWS * POINT_BYTES
    context = b"lunaria/v1/enrolment" + bytes.fromhex(run) + bytes.fromhex(client)
    starts = range(0, max(1, len(rows)), step)
    return [
        enrolment.EnrolmentStatement(context + part.to_bytes(4, "big"), rows[start : start + step], rule)
        for part, start in enumerate(starts)
    ]


def enrolment_proof_bytes(samples: int, rule: Rule, width: int) -> int:
    """Return the exact size of the proof for so many samples, with a key of ``width`` generators."""
    parts = enrolment_claims("", "", bytes(samples * POINT_BYTES), rule)
    return sum(enrolment.proof_bytes(part, width) for part in parts)


def judge_enrolment(
    state: RunState, key: CommitmentKey, statement: bytes, rows: bytes, proof: bytes
) -> tuple[SignedEnrolment, list[Check]]:
    """Check an enrolment up to its proof, which :mod:`zk.batch` decides, alone or together with others.

    Raises
    ------
    ledger.errors.LedgerError
        The statement cannot be read, is not signed by its client, its evidence is not what it says, or its proof has another length.
    """
    signed = decode_enrolment(statement)
    signed.check()
    said = signed.statement
    who = f"client {said.client[:16]}"
    state.check_enrolment(said)
    if has_small_order(said.client):
        raise VerificationError(f"{who}: under this key one signature fits every message")
    evidence = (("rows are", said.rows, rows, POINTS), ("proof is", said.proof, proof, ENROLMENT_PROOF))
    for name, reference, data, media_type in evidence:
        if reference != Reference.of(data, media_type):
            raise VerificationError(f"{who}: the {name} not what was signed: its digest is another")
    if len(rows) != said.samples * POINT_BYTES:
        raise VerificationError(f"{who} commits to {len(rows) / POINT_BYTES:g} rows but states {said.samples} samples")
    checks: list[Check] = []
    try:
        for claim in enrolment_claims(state.run, said.client, rows, state.opening.agreement.rule):
            size = enrolment.proof_bytes(claim, key.width)
            checks.append(enrolment.EnrolmentProof(claim, proof[:size]))
            proof = proof[size:]
    except ZkError as error:
        raise VerificationError(f"{who}: {UNPROVED} ({error})") from error
    if proof:
        raise VerificationError(f"{who}: {len(proof)} bytes follow the enrolment proof")
    return signed, checks
