"""The clients' data in :mod:`bench.chaos`, and clients whose secrets are the same each time.

Whoever loads data from here has no fresh randomness: blinds and nonces then depend on the identity and on what they are for, as in a
seeded simulation. Two runs from copies of the same state folders can so be compared to the bit. It is part of the data set on purpose: the
product has no switch for it, and no real data set does this.
"""

import numpy as np
import numpy.typing as npt

from zk.blinding import BlindingSource

Samples = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def hospital_a() -> Samples:
    """Return the first client's samples."""
    return _samples("hospital-a")


def hospital_b() -> Samples:
    """Return the second client's samples."""
    return _samples("hospital-b")


def hospital_c() -> Samples:
    """Return the third client's samples."""
    return _samples("hospital-c")


def _samples(name: str) -> Samples:
    BlindingSource.secret_bytes = _without_randomness  # type: ignore[method-assign, assignment]
    with np.load(f"{name}.npz") as file:
        return file["x"], file["y"]


_secret_bytes = BlindingSource.secret_bytes


def _without_randomness(source: BlindingSource, label: str, context: bytes, length: int) -> bytes:
    source._deterministic = True
    return _secret_bytes(source, label, context, length)
