"""What a training proof says, and all that it is bound to.

"Client *c*, in round *t*, took the samples that the beacon chose from the data set it committed to, started from the global model ``W₀``,
ran exactly the agreed local SGD, and ``Δ`` is the result." The statement absorbs itself: no caller can forget a part of it, and each
field changes every challenge of the proof. Which units dropout leaves out follows from beacon and client, so no caller can choose them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np

from zk.dropout import dropped_units
from zk.errors import EncodingError
from zk.group import POINT_BYTES
from zk.hashing import frame, sha256
from zk.pedersen import CommitmentKey
from zk.rule import Rule
from zk.tables import tables_digest
from zk.transcript import Transcript
from zk.vectors import IntArray

PROTOCOL = "lunaria/v1/training"
OPTIONAL = ("plan.coefficient_bits", "momentum", "decay", "dropout", "norm")
SUITE = b"BLS12-381 G1, Pedersen rows, SHAKE256"


@dataclass(frozen=True)
class TrainingStatement:
    """One client's training in one round, public update.

    Attributes
    ----------
    federation, run : bytes
        Which federation, and which run of it.
    round : int
    beacon : bytes
        The public randomness that chose the batches.
    client, public_key : bytes
        Who proves.
    dataset_root : bytes
        What the client committed to at enrolment.
    indices : tuple of int
        Positions of the samples in that data set, in the order of training: ``rule.samples`` of them. That the beacon chose them, and that
        ``rows`` stand at these positions of the enrolment, is for the caller to check against the ledger.
    rows : bytes
        The enrolled commitments of these samples, 48 bytes each.
    rule : Rule
    start, update : tuples of int64 arrays
        ``W₀`` and ``Δ``, shapes ``rule.shapes``, with ``rule.weight_bits`` and ``rule.local_bits`` fractional bits.

    Raises
    ------
    EncodingError
        A part has another type or shape than the rule says.
    RangeError
        ``W₀`` or ``W₀ + Δ`` leaves the agreed range of weights.
    """

    federation: bytes
    run: bytes
    round: int
    beacon: bytes
    client: bytes
    public_key: bytes
    dataset_root: bytes
    indices: tuple[int, ...]
    rows: bytes
    rule: Rule
    start: tuple[IntArray, ...]
    update: tuple[IntArray, ...]

    def __post_init__(self) -> None:
        """Refuse what the rule cannot have produced."""
        samples = self.rule.samples
        if len(self.indices) != samples or len(self.rows) != samples * POINT_BYTES:
            raise EncodingError(f"the rule trains on {samples} samples: give as many indices and row commitments")
        if not all(0 <= number < 1 << 64 for number in (self.round, *self.indices)):
            raise EncodingError("the round and the indices must be numbers from 0 to 2^64 - 1")
        for name, matrices in (("W0", self.start), ("the update", self.update)):
            if [(matrix.dtype, matrix.shape) for matrix in matrices] != [(np.dtype(np.int64), shape) for shape in self.rule.shapes]:
                raise EncodingError(f"{name} must be int64 matrices of shapes {self.rule.shapes}")
        for layer, (W, change) in enumerate(zip(self.start, self.update, strict=True)):
            self.rule.weight_bound(layer).check(int(W.min()), int(W.max()), "W0")
            bound = self.rule.local_bound(layer)
            most = 2 * bound.allowed.stop  # at most 2^62: clipped there, a change still leads out of the range, and no sum wraps
            trained = (W << self.rule.plan.coefficient_bits) + np.clip(change, -most, most)
            bound.check(int(trained.min()), int(trained.max()), "the trained weights")

    @cached_property
    def dropped(self) -> tuple[IntArray, ...]:
        """The hidden units that are dropped (:func:`zk.dropout.dropped_units`)."""
        return dropped_units(self.rule, self.beacon, self.client)

    def begin(self, key: CommitmentKey) -> Transcript:
        """Return a transcript that has absorbed all of it, and the generators."""
        transcript = Transcript(PROTOCOL)
        transcript.absorb("suite", SUITE)
        transcript.absorb_int("width", key.width)
        transcript.absorb("generators", key.digest)
        transcript.absorb("federation", self.federation)
        transcript.absorb("run", self.run)
        transcript.absorb("rule", encode_rule(self.rule))
        transcript.absorb_int("round", self.round)
        transcript.absorb("beacon", self.beacon)
        transcript.absorb("client", self.client)
        transcript.absorb("public key", self.public_key)
        transcript.absorb("dataset root", self.dataset_root)
        transcript.absorb("indices", b"".join(index.to_bytes(8, "big") for index in self.indices))
        transcript.absorb("rows", self.rows)
        transcript.absorb("start", _digest(encode_matrices(self.start)))
        transcript.absorb("update", encode_matrices(self.update))
        return transcript


@lru_cache(maxsize=4)
def _digest(encoded: bytes) -> bytes:
    """Return the SHA-256 of matrices; all clients of a round start from the same ones."""
    return sha256(encoded)


def encode_rule(rule: Rule) -> bytes:
    """Encode every number of a rule by its name, and the digest of its table.

    What a rule need not have (momentum, weight decay, dropout, a norm) is left out where it is zero, as it was before it existed.
    """
    numbers: dict[str, int | Fraction] = {f"plan.{field.name}": getattr(rule.plan, field.name) for field in fields(rule.plan)}
    numbers |= {f"layers.{i}": width for i, width in enumerate(rule.layers)} | {"batch": rule.batch, "steps": rule.steps}
    numbers |= {"momentum": rule.momentum, "decay": rule.decay, "dropout": rule.dropout, "norm": rule.norm or 0}
    parts = [f"{name}={value}".encode() for name, value in sorted(numbers.items()) if value or name not in OPTIONAL]
    return frame(*parts, rule.loss.value.encode(), tables_digest(rule).encode())


def encode_matrices(matrices: Sequence[IntArray]) -> bytes:
    """Encode int64 matrices, each with its shape: little-endian, row by row."""
    return frame(*(np.array(m.shape, dtype="<u4").tobytes() + np.ascontiguousarray(m).astype("<i8").tobytes() for m in matrices))
