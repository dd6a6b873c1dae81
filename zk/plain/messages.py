"""Section 4, masked messages: what is read from the prover is ``message - pad``, so the verifier knows ``masked + pad``."""

from collections.abc import Sequence

from zk.errors import CommitmentError
from zk.field import encode_scalars
from zk.plain.algebra import Affine, interpolate
from zk.plain.statement import Transcript
from zk.plain.tensors import CLOSING_PADS, LEFT, PADS, PRODUCTS, RIGHT


class Conversation:
    """Reads the messages of a proof in order, keeps the transcript, and collects the equations that committed values must satisfy.

    Attributes
    ----------
    equations : list of (str, Affine)
        What must be zero, and what it says, in the order in which the powers of the last challenge are dealt out.
    """

    def __init__(self, transcript: Transcript, messages: Sequence[int]) -> None:
        self.transcript = transcript
        self.equations: list[tuple[str, Affine]] = []
        self._messages = list(messages)
        self._used = {PADS: 0, LEFT: 0, RIGHT: 0, PRODUCTS: 0, CLOSING_PADS: 0}

    def challenge(self, label: str) -> int:
        """Draw a challenge."""
        return self.transcript.challenge(label)

    def read(self, label: str, count: int, row: str = PADS) -> list[Affine]:
        """Read ``count`` messages, absorbed together, each masked by the next entry of ``row``."""
        masked = self._take(label, count)
        return [Affine(value, {self._next(row): 1}) for value in masked]

    def read_product(self, label: str) -> tuple[Affine, Affine, Affine]:
        """Read two factors and return them with their product: ``uv = û·v̂ + û·V + v̂·U + UV``."""
        u, v = self._take(label, 2)
        left, right, both = self._next(LEFT), self._next(RIGHT), self._next(PRODUCTS)
        return Affine(u, {left: 1}), Affine(v, {right: 1}), Affine(u * v, {right: u, left: v, both: 1})

    def sumcheck(self, label: str, claim: Affine, rounds: int, degree: int = 3, row: str = PADS) -> tuple[list[int], Affine]:
        """Return a random point and what the summed polynomial must be there; each round sends ``g(0), g(2) … g(degree)``."""
        point = []
        for _ in range(rounds):
            at_zero, *others = self.read(label, degree, row)
            x = self.challenge(label)
            claim = interpolate([at_zero, claim - at_zero, *others], x)
            point.append(x)
        return point, claim

    def must_vanish(self, reason: str, value: Affine) -> None:
        """Demand that committed values make ``value`` zero."""
        self.equations.append((reason, value))

    def finish(self) -> None:
        """Refuse what was never read."""
        if self._messages:
            raise CommitmentError(f"{len(self._messages)} messages of the proof belong to no step of the protocol")

    def _take(self, label: str, count: int) -> list[int]:
        if count > len(self._messages):
            raise CommitmentError(f"the messages end before those of {label!r}")
        masked, self._messages = self._messages[:count], self._messages[count:]
        self.transcript.absorb(label, encode_scalars(masked))
        return masked

    def _next(self, row: str) -> tuple[str, int]:
        self._used[row] += 1
        return row, self._used[row] - 1
