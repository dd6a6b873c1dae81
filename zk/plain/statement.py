"""Section 1, what the transcript binds: the chain of hashes, and the statement in it."""

from collections.abc import Sequence
from dataclasses import asdict
from struct import pack
from typing import Any, Protocol

from py_ecc.bls.point_compression import compress_G1

from zk.field import ORDER
from zk.hashing import expand, frame, sha256
from zk.rule import Rule, loss_table
from zk.training.statement import TrainingStatement

Point = Any


class Generators(Protocol):
    """What :func:`zk.pedersen.commitment_key` returns for py_ecc."""

    @property
    def generators(self) -> tuple[Point, ...]:
        """``G_0 … G_{width-1}``."""

    @property
    def blinding(self) -> Point:
        """``H``."""


class Transcript:
    """A 32-byte state; ``expand`` is SHAKE256 over parts that each stand behind their length (8 bytes, big-endian)."""

    def __init__(self, protocol: str) -> None:
        self.state = expand("lunaria/v1/transcript", protocol.encode(), length=32)

    def absorb(self, label: str, data: bytes) -> None:
        """Make everything that follows depend on ``data``."""
        self.state = expand("absorb", self.state, label.encode(), data, length=32)

    def challenges(self, label: str, count: int) -> list[int]:
        """Return ``count`` scalars of 64 bytes each, reduced; the first 32 bytes drawn are the next state, even if ``count`` is zero."""
        stream = expand("challenge", self.state, label.encode(), pack(">Q", count), length=32 + 64 * count)
        self.state, stream = stream[:32], stream[32:]
        return [int.from_bytes(stream[64 * i : 64 * i + 64], "big") % ORDER for i in range(count)]

    def challenge(self, label: str) -> int:
        """Return one scalar."""
        return self.challenges(label, 1)[0]


def begin(width: int, key: Generators, statement: TrainingStatement) -> Transcript:
    """Return a transcript that has absorbed the generators and every field of the statement."""
    encoded = b"".join(int(compress_G1(point)).to_bytes(48, "big") for point in (key.blinding, *key.generators))
    transcript = Transcript("lunaria/v1/training")
    transcript.absorb("suite", b"BLS12-381 G1, Pedersen rows, SHAKE256")
    transcript.absorb("width", width.to_bytes(8, "big"))
    transcript.absorb("generators", sha256(encoded))
    transcript.absorb("federation", statement.federation)
    transcript.absorb("run", statement.run)
    transcript.absorb("rule", encode_rule(statement.rule))
    transcript.absorb("round", statement.round.to_bytes(8, "big"))
    transcript.absorb("beacon", statement.beacon)
    transcript.absorb("client", statement.client)
    transcript.absorb("public key", statement.public_key)
    transcript.absorb("dataset root", statement.dataset_root)
    transcript.absorb("indices", b"".join(index.to_bytes(8, "big") for index in statement.indices))
    transcript.absorb("rows", statement.rows)
    transcript.absorb("start", sha256(encode_matrices([matrix.tolist() for matrix in statement.start])))
    transcript.absorb("update", encode_matrices([matrix.tolist() for matrix in statement.update]))
    return transcript


def encode_rule(rule: Rule) -> bytes:
    """Encode the numbers as ``name=decimal``, in the order of the names as text, then the loss and the digest of its table in hex."""
    numbers = {"batch": rule.batch, "steps": rule.steps}
    for layer, size in enumerate(rule.layers):
        numbers[f"layers.{layer}"] = size
    for name, value in asdict(rule.plan).items():
        numbers[f"plan.{name}"] = value
    table = b"".join(pack("<q", value) for value in loss_table(rule))
    texts = [f"{name}={numbers[name]}" for name in sorted(numbers)]
    return frame(*(text.encode() for text in texts), rule.loss.value.encode(), sha256(table).hex().encode())


def encode_matrices(matrices: Sequence[list[list[int]]]) -> bytes:
    """Encode each matrix as rows and columns (4 bytes each) and its values (8 bytes each, signed), all little-endian."""
    parts = []
    for matrix in matrices:
        values = b"".join(pack("<q", value) for row in matrix for value in row)
        parts.append(pack("<II", len(matrix), len(matrix[0])) + values)
    return frame(*parts)
