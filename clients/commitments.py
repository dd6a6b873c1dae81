"""What a client commits to: its data set, one row per sample, and its updates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ledger.agreement import LABEL_SLOTS
from zk.blinding import BlindingSource
from zk.group import Arkworks
from zk.pedersen import CommitmentKey, commitment_key
from zk.rule import Rule

IntArray = npt.NDArray[np.int64]


def data_rows(rule: Rule, width: int, x: IntArray, y: IntArray) -> IntArray:
    """Lay samples out as commitment rows: features, the constant one, zeros, and the label in the last 16 slots.

    Parameters
    ----------
    rule : Rule
        Whose first layer has as many inputs as there are features; the constant one is ``2^feature_bits``.
    width : int
        Values in a row.
    x, y : int64 arrays of shapes (n, features) and (n, outputs)

    Returns
    -------
    int64 array of shape (n, width)
    """
    rows = np.zeros((len(x), width), dtype=np.int64)
    rows[:, : x.shape[1]] = x
    rows[:, x.shape[1]] = 1 << rule.plan.feature_bits
    rows[:, width - LABEL_SLOTS : width - LABEL_SLOTS + y.shape[1]] = y
    return rows


def client_key(width: int) -> CommitmentKey:
    """Return the commitment key on the fast group: clients commit, they do not have to convince themselves."""
    return commitment_key(Arkworks, width)


def commit_data(key: CommitmentKey, rows: IntArray, blinds: Sequence[int]) -> bytes:
    """Commit to each row; 48 bytes a sample."""
    return key.encode([key.commit(row, blind) for row, blind in zip(rows, blinds, strict=True)])


def data_blinds(seed: bytes, count: int) -> list[int]:
    """Return the blinds of a data set, expanded from the secret seed that the client drew when it enrolled."""
    return BlindingSource(seed, deterministic=True).scalars("data rows", b"", count)
