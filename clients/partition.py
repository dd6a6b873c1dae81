"""Deals one data set out to the clients of a simulated federation.

- ``iid``: every client draws from the whole, without replacement.
- ``dirichlet:ALPHA``: label skew after Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
  Visual Classification" (arXiv:1909.06335): every client draws its class proportions from a Dirichlet distribution and fills up with
  samples of these classes. The smaller ALPHA, the fewer classes a client has; 0.5 is a common choice, 100 is nearly ``iid``.

The concentration of class c is ``ALPHA · k · p_c``, where ``p_c`` is its share of the data and k the number of classes: on balanced
classes this is the symmetric ``Dir(ALPHA, ..., ALPHA)`` of Flower's partitioners, and as ALPHA grows every client tends to the mix of the
whole, as in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clients.errors import DataError

Indices = npt.NDArray[np.int64]

MIN_ALPHA, MAX_ALPHA = 1e-3, 1e6
TARGET_BINS = 10
_MOST_LABELS = 16


@dataclass(frozen=True)
class Partition:
    """A scheme for dealing out samples.

    Attributes
    ----------
    kind : "iid" or "dirichlet"
        The scheme.
    alpha : float
        The concentration of ``dirichlet``; infinite for ``iid``, its limit.
    """

    kind: Literal["iid", "dirichlet"]
    alpha: float = math.inf


def parse_partition(text: str) -> Partition:
    """Read ``iid`` or ``dirichlet:ALPHA``, with ALPHA from 0.001 to 1000000."""
    if text == "iid":
        return Partition("iid")
    kind, _, number = text.partition(":")
    try:
        alpha = float(number)
    except ValueError:
        alpha = math.nan
    if kind != "dirichlet" or not MIN_ALPHA <= alpha <= MAX_ALPHA:
        raise DataError(
            f"partition {text!r} is unknown: give iid, or dirichlet:ALPHA with ALPHA from 0.001 to 1000000 (for example dirichlet:0.5)"
        )
    return Partition("dirichlet", alpha)


def indices(partition: Partition, y: npt.NDArray[np.generic], clients: int, samples_per_client: int | None, seed: int) -> list[Indices]:
    """Deal out samples.

    Parameters
    ----------
    partition : Partition
        The scheme.
    y : array of shape (N,) or (N, k)
        Targets, one-hot where k > 1, as in ``DataSet.y_train``. A column of more than 16 distinct values is a regression target:
        ``dirichlet`` then skews over ten bins of it, cut at its deciles.
    clients : int
        How many, at least 1.
    samples_per_client : int or None
        Exactly so many for every client. None: all samples, the first ``N mod clients`` clients get one more than the others.
    seed : int
        The result is a function of the arguments (``numpy.random.default_rng``).

    Returns
    -------
    list of int64 arrays
        For every client the indices of its samples, in random order; no index appears twice. Under ``dirichlet`` a client whose classes
        have run out fills up from those that are left, so the less is left over, the milder the skew of the last clients.

    Raises
    ------
    DataError
        Where there are too few samples, with the largest possible number.
    """
    sizes = _sizes(len(y), clients, samples_per_client)
    rng = np.random.default_rng(seed)
    if partition.kind == "iid":
        ends = np.cumsum(sizes)
        return np.split(rng.permutation(len(y))[: ends[-1]], ends[:-1])
    return _dirichlet(_labels(y), sizes, partition.alpha, rng)


def _sizes(available: int, clients: int, samples_per_client: int | None) -> list[int]:
    """Return how many samples every client gets."""
    if clients < 1:
        raise DataError(f"{clients} clients: give at least 1")
    if samples_per_client is None:
        if available < clients:
            raise DataError(f"{clients} clients need at least one sample each, there are {available}: at most {available} clients")
        return [available // clients + (i < available % clients) for i in range(clients)]
    if samples_per_client < 1:
        raise DataError(f"{samples_per_client} samples per client: give at least 1")
    if clients * samples_per_client > available:
        limits = ((available // clients, "samples per client"), (available // samples_per_client, "clients"))
        advice = " or ".join(f"at most {number} {what}" for number, what in limits if number) or "give more data"
        raise DataError(
            f"{clients} clients with {samples_per_client} samples each need {clients * samples_per_client}, there are {available}: {advice}"
        )
    return [samples_per_client] * clients


def _labels(y: npt.NDArray[np.generic]) -> Indices:
    """Return the class, or the bin, of every sample as 0, 1, ..., each of which occurs."""
    column = np.argmax(y, axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    distinct, label = np.unique(column, return_inverse=True)
    if len(distinct) > _MOST_LABELS:
        edges = np.quantile(label, np.arange(1, TARGET_BINS) / TARGET_BINS)
        _, label = np.unique(np.searchsorted(edges, label, side="right"), return_inverse=True)
    return np.asarray(label, np.int64)


def _dirichlet(label: Indices, sizes: list[int], alpha: float, rng: np.random.Generator) -> list[Indices]:
    """Fill client after client from shuffled stacks, one for each class."""
    stock = np.bincount(label)
    order = rng.permutation(len(label))
    stacks = [order[label[order] == c] for c in range(len(stock))]
    concentration = alpha * len(stock) * stock / len(label)
    taken = np.zeros_like(stock)
    result = []
    for size in sizes:
        counts = _draw(rng.dirichlet(concentration), stock - taken, size, rng)
        picks = [stack[start : start + n] for stack, start, n in zip(stacks, taken, counts, strict=True)]
        taken += counts
        result.append(rng.permutation(np.concatenate(picks)))
    return result


def _draw(proportions: npt.NDArray[np.float64], left: Indices, size: int, rng: np.random.Generator) -> Indices:
    """Draw ``size`` labels; a class that has run out is drawn no more, the others keep their ratio."""
    counts = np.zeros_like(left)
    while (missing := size - int(counts.sum())) > 0:
        rest = left - counts
        weight = np.where(rest > 0, proportions, 0.0)
        if weight.sum() < np.finfo(np.float64).tiny:  # only classes this client does not have are left
            weight = rest.astype(np.float64)
        counts += np.minimum(rng.multinomial(missing, weight / weight.sum()), rest)
    return counts
