"""Section 1, what the transcript binds: the chain of hashes, and the statement in it.

And what follows from the statement: the coefficients of momentum and weight decay, and the units that dropout leaves out.
"""

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from math import floor
from struct import pack
from typing import Any, Protocol

from py_ecc.bls.point_compression import compress_G1

from zk.field import ORDER
from zk.hashing import expand, frame, sha256
from zk.rule import Rule
from zk.tables import loss_table
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
    numbers["dropout"] = rule.dropout
    fractions = {"momentum": rule.momentum, "decay": rule.decay, "norm": rule.norm or Fraction(0)}
    for name, value in asdict(rule.plan).items():
        numbers[f"plan.{name}"] = value
    table = b"".join(pack("<q", value) for value in loss_table(rule))
    written = {name: str(number) for name, number in numbers.items()}
    for name, fraction in fractions.items():
        whole = fraction.denominator == 1
        written[name] = f"{fraction.numerator}" if whole else f"{fraction.numerator}/{fraction.denominator}"
    for name in ("plan.coefficient_bits", "momentum", "decay", "dropout", "norm"):  # what a rule need not have
        if written[name] == "0":
            del written[name]
    texts = [f"{name}={written[name]}" for name in sorted(written)]
    return frame(*(text.encode() for text in texts), rule.loss.value.encode(), sha256(table).hex().encode())


def encode_matrices(matrices: Sequence[list[list[int]]]) -> bytes:
    """Encode each matrix as rows and columns (4 bytes each) and its values (8 bytes each, signed), all little-endian."""
    parts = []
    for matrix in matrices:
        values = b"".join(pack("<q", value) for row in matrix for value in row)
        parts.append(pack("<II", len(matrix), len(matrix[0])) + values)
    return frame(*parts)


def coefficients(rule: Rule) -> tuple[list[int], list[int]]:
    """Return ``a_k`` (in units of ``2^-h``) and ``c(n)`` (in units of ``2^-l``), ``k`` and ``n`` from 0 to ``K``, as fractions rounded."""
    rest, unit = 1 - rule.decay, 2**rule.plan.coefficient_bits
    kept = [floor(unit * rest**k + Fraction(1, 2)) for k in range(rule.steps + 1)]
    counted = [0]
    for n in range(1, rule.steps + 1):
        total = sum((rest ** (n - 1 - i) * rule.momentum**i for i in range(n)), Fraction(0))
        counted.append(floor(rule.plan.rate_numerator * total + Fraction(1, 2)))
    return kept, counted


def dropped_units(statement: TrainingStatement) -> list[list[list[int]]]:
    """Return for each hidden layer, sample and unit whether it is dropped: 1 where its 4 bytes are a multiple of ``dropout``."""
    rule = statement.rule
    found = []
    for layer, width in enumerate(rule.layers[1:-1]):
        dropped = [[0] * width for _ in range(rule.samples)]
        if rule.dropout:
            number = layer.to_bytes(4, "big")
            stream = expand("lunaria/v1/dropout", statement.beacon, statement.client, number, length=4 * rule.samples * width)
            for n in range(rule.samples):
                for unit in range(width):
                    place = 4 * (n * width + unit)
                    dropped[n][unit] = int(int.from_bytes(stream[place : place + 4], "big") % rule.dropout == 0)
        found.append(dropped)
    return found
