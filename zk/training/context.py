"""What every relation of the training proof needs: the channel, the sizes, and on the prover's side the values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zk.forms import Form, combine
from zk.hyrax import tensor_claim
from zk.pads import Channel
from zk.rule import LABEL_SLOTS
from zk.training.shape import DATA, Direction, Shape, limb_names
from zk.vectors import IntArray


@dataclass(frozen=True)
class Values:
    """Values that are never committed, for the prover's tables; lists run over layers.

    Attributes
    ----------
    inputs : list of int64 arrays, (steps, batch, width + 1), padded steps and batch
        What enters a layer, the constant one in the last column.
    errors : list of int64 arrays, (steps, batch, width out)
        Errors at a layer's output.
    propagated : list of int64 arrays, (steps, batch, width)
        ``E`` of the hidden layers.
    weights : list of int64 arrays, (steps, width + 1, width out)
        ``W[k]``; in padded steps, ``W[K]``.
    """

    inputs: list[IntArray]
    errors: list[IntArray]
    propagated: list[IntArray]
    weights: list[IntArray]


@dataclass(frozen=True)
class Context:
    """One run of the protocol.

    Attributes
    ----------
    channel : Channel
    shape : Shape
    width : int
        Values in a committed row.
    tensors : mapping from a name to flat values, or None on the verifier's side
    values : Values, or None on the verifier's side
    """

    channel: Channel
    shape: Shape
    width: int
    tensors: Mapping[str, IntArray] | None
    values: Values | None

    def at(self, name: str, point: Sequence[int], last: Sequence[int] = (1,)) -> Form:
        """Return the claim ``Σ eq(point, i)·last[j]·T[i, j]`` about a committed tensor."""
        return self.channel.claim(tensor_claim(name, self.width, point, last))

    def limbs(self, name: str, count: int, point: Sequence[int], last: Sequence[int] = (1,)) -> Form:
        """Return the same about a value that is committed in limbs."""
        bits = self.shape.rule.plan.limb_bits
        return combine((1 << (bits * i), self.at(limb, point, last)) for i, limb in enumerate(limb_names(name, count)))

    def features(self, point: Sequence[int], rows: Sequence[int]) -> Form:
        """Return ``Σ_i rows[i]·X(point, i)`` for weights of the features and the constant; no other slot counts."""
        return self.channel.claim(tensor_claim(DATA, self.width, point, self._columns(rows, 0)))

    def labels(self, point: Sequence[int], out: Direction) -> Form:
        """Return ``Y(point, out)``."""
        return self.channel.claim(tensor_claim(DATA, self.width, point, self._columns(out.dense, self.shape.data_width - LABEL_SLOTS)))

    def _columns(self, weights: Sequence[int], first: int) -> list[int]:
        columns = [0] * self.width
        columns[first : first + len(weights)] = weights
        return columns


def rounded(value: Form, remainder: Form, shift: int, one: int) -> Form:
    """Return ``Z`` with ``value = floor((Z + 2^(shift-1)) / 2^shift)``: ``2^shift·value + remainder - 2^(shift-1)·one``.

    ``one`` is the sum of the weights of the real entries: the extension of a constant one that padding does not have.
    """
    return combine([(1 << shift, value), (1, remainder), (-(1 << (shift - 1)), one)])
