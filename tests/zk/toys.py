"""Small arguments for the tests of the proof's building blocks."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from zk.argument import Argument, Given, prove, verify
from zk.blinding import BlindingSource
from zk.equations import hold
from zk.errors import ZkError
from zk.group import Arkworks
from zk.hyrax import Block, as_block_rows, tensor_block
from zk.pads import Budget, Channel, Counter
from zk.pedersen import CommitmentKey, commitment_key
from zk.transcript import Transcript
from zk.vectors import IntArray

WIDTH = 64
Tensors = Mapping[str, IntArray]
Run = Callable[[Channel, int, Tensors | None], None]


def key() -> CommitmentKey:
    return commitment_key(Arkworks, WIDTH)


@dataclass
class Toy(Argument):
    """A protocol about tensors of given sizes; the one named ``given`` is committed by the statement."""

    sizes: dict[str, int]
    protocol: Run
    points: bytes = b""
    magic: bytes = field(default=b"toy", init=False)

    def begin(self, key: CommitmentKey) -> Transcript:
        transcript = Transcript("toy")
        transcript.absorb("generators", key.digest)
        transcript.absorb("points", self.points)
        return transcript

    @property
    def given(self) -> tuple[Block, ...]:
        return tuple(self._block(name) for name in self.sizes if name == "given")

    @property
    def committed(self) -> tuple[Block, ...]:
        return tuple(self._block(name) for name in self.sizes if name != "given")

    @property
    def budget(self) -> Budget:
        counter = Counter(Transcript("count"))
        self.run(counter, WIDTH, None)
        return counter.used

    def run(self, channel: Channel, width: int, tensors: Tensors | None) -> None:
        self.protocol(channel, width, tensors)

    def _block(self, name: str) -> Block:
        return tensor_block(name, self.sizes[name], self.sizes[name], WIDTH)


def prove_toy(toy: Toy, tensors: Tensors, prover: Toy | None = None) -> tuple[bytes, bytes]:
    """Return a proof and the commitments of ``given``; a cheating ``prover`` follows its own protocol."""
    rows = {block.name: as_block_rows(block, tensors[block.name], WIDTH) for block in toy.given}
    blinds = [secrets.randbits(250) for block in rows.values() for _ in block]
    values = [row.tolist() for block in rows.values() for row in block]
    toy.points = key().encode([key().commit(row, blind) for row, blind in zip(values, blinds, strict=True)])
    chosen = prover or toy
    chosen.points = toy.points
    source = BlindingSource(secrets.token_bytes(32))
    return prove(chosen, key(), tensors, Given(rows, blinds), source), toy.points


def accepts(toy: Toy, proof: bytes, points: bytes) -> bool:
    """Whether the verifier accepts."""
    toy.points = points
    try:
        equation = verify(toy, key(), key().decode(points, len(points) // 48), proof)
    except ZkError:
        return False
    return hold(key(), [equation])


def int64(*values: int) -> IntArray:
    return np.array(values, dtype=np.int64)
