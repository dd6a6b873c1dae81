"""What a client commits to: its data set, one row per sample, and its updates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zk import enrolment
from zk.blinding import BlindingSource
from zk.group import Arkworks
from zk.pedersen import CommitmentKey, commitment_key

IntArray = npt.NDArray[np.int64]


def client_key(width: int) -> CommitmentKey:
    """Return the commitment key on the fast group: clients commit, they do not have to convince themselves."""
    return commitment_key(Arkworks, width)


def commit_data(key: CommitmentKey, rows: IntArray, blinds: Sequence[int]) -> bytes:
    """Commit to each row; 48 bytes a sample."""
    return key.encode([key.commit(row, blind) for row, blind in zip(rows, blinds, strict=True)])


def data_blinds(seed: bytes, count: int) -> list[int]:
    """Return the blinds of a data set, expanded from the secret seed that the client drew when it enrolled."""
    return BlindingSource(seed, deterministic=True).scalars("data rows", b"", count)


def prove_enrolment(
    key: CommitmentKey, claims: Sequence[enrolment.EnrolmentStatement], rows: IntArray, blinds: Sequence[int], source: BlindingSource
) -> bytes:
    """Prove each part of an enrolment (:func:`ledger.enrolment.enrolment_claims`); the proofs stand one after the other.

    Raises
    ------
    zk.errors.ZkError
        The rows are not samples as agreed.
    """
    proofs, done = [], 0
    for claim in claims:
        part = slice(done, done + claim.count)
        proofs.append(enrolment.prove(key, claim, rows[part], blinds[part], source))
        done += claim.count
    return b"".join(proofs)
