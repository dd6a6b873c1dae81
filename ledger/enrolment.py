"""Judging an enrolment: signature, evidence, and the proof that the client can open the commitments to its data."""

from ledger.entries import OPENING_PROOF, POINTS, Reference, SignedEnrolment, decode_enrolment
from ledger.errors import VerificationError
from ledger.identity import has_small_order
from ledger.state import RunState
from zk.equations import Equation
from zk.errors import ZkError
from zk.opening import RowOpenings, verify
from zk.pedersen import CommitmentKey


def opening_context(run: str, client: str) -> bytes:
    """Return what a proof of openings is bound to: the run and the client's key."""
    return b"lunaria/v1/enrolment" + bytes.fromhex(run) + bytes.fromhex(client)


def judge_enrolment(
    state: RunState, key: CommitmentKey, statement: bytes, rows: bytes, opening_proof: bytes
) -> tuple[SignedEnrolment, Equation]:
    """Check an enrolment up to one equation, which :mod:`zk.equations` decides, alone or together with others.

    Raises
    ------
    ledger.errors.LedgerError
        The statement cannot be read, is not signed by its client, or its evidence is not what it says.
    """
    signed = decode_enrolment(statement)
    signed.check()
    said = signed.statement
    state.check_enrolment(said)
    if has_small_order(said.client):
        raise VerificationError(f"client {said.client[:16]}: under this key one signature fits every message")
    evidence = (("rows", said.rows, rows, POINTS), ("opening-proof", said.opening_proof, opening_proof, OPENING_PROOF))
    for name, reference, data, media_type in evidence:
        if reference != Reference.of(data, media_type):
            raise VerificationError(f"client {said.client[:16]}: the {name} are not those whose digest was signed")
    claim = RowOpenings(opening_context(state.run, said.client), rows)
    if claim.count != said.samples:
        raise VerificationError(f"client {said.client[:16]} commits to {claim.count} rows but states {said.samples} samples")
    try:
        return signed, verify(key, claim, opening_proof)
    except ZkError as error:
        raise VerificationError(f"client {said.client[:16]}: {error}") from error
