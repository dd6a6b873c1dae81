"""Committed pads: every secret message of an interactive proof is sent as ``message - pad``.

Before its first message the prover commits to uniform pads ``p``, and to rows ``U``, ``V`` and ``U∘V`` for products. A message ``m`` is
sent as ``m̂ = m - p_i``, so the verifier knows ``m`` as the affine form ``m̂ + p_i`` (:mod:`zk.forms`) and each of its checks becomes a
linear equation between committed values. Two secret evaluations ``u``, ``v`` that are multiplied are masked by ``U_i`` and ``V_i``:

    ``u·v = û·v̂ + û·V_i + v̂·U_i + (U∘V)_i``.

The verifier's algebra is written once, over a :class:`Channel`, and runs on both sides: :class:`Sender` knows the messages and pads,
:class:`Receiver` reads the masked messages, :class:`Counter` only counts how many pads there must be. What remains of the whole proof is
a list of forms that must vanish (``equations``); :mod:`zk.closing` proves them together, and that the product row is a product.

Every message is absorbed into the transcript as it is sent: sending, absorbing and recording cannot be separated.
Source: Frigo and shelat, "Anonymous credentials from ECDSA" (Longfellow), ePrint 2024/2010, section 4; draft-google-cfrg-libzk.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from zk.errors import CommitmentError
from zk.field import ORDER, encode_scalars
from zk.forms import Form
from zk.transcript import Transcript
from zk.vectors import Vector


class Row(StrEnum):
    """The committed rows that the channel itself uses."""

    PADS = "pads"
    LEFT = "left factors"
    RIGHT = "right factors"
    PRODUCTS = "products"
    TAIL = "closing pads"


class Spot(NamedTuple):
    """One committed value: an entry of one of the channel's own rows."""

    row: Row
    position: int


@dataclass(frozen=True, eq=False)
class Claim:
    """A public linear function of the committed rows of one block: ``Σ_i eq(point, i)·⟨row_i, columns⟩``.

    Attributes
    ----------
    block : str
        Name of a block of ``2^len(point)`` rows (:class:`zk.hyrax.Block`).
    point : tuple of int
        Weights of the rows.
    columns : Vector
        Weights of the columns, at most the width of a row.
    """

    block: str
    point: tuple[int, ...]
    columns: Vector


@dataclass(frozen=True)
class Budget:
    """How many values of each kind a protocol uses."""

    pads: int
    products: int


@dataclass(frozen=True)
class Pads:
    """The secret pads of one proof; ``products[i] = left[i]·right[i]``."""

    pads: Sequence[int]
    left: Sequence[int]
    right: Sequence[int]
    tail: Sequence[int]

    @property
    def products(self) -> list[int]:
        """Return the row ``U∘V``."""
        return [u * v % ORDER for u, v in zip(self.left, self.right, strict=True)]


class Channel(ABC):
    """One side of a proof: sends or receives masked messages, keeps the forms and the transcript.

    Attributes
    ----------
    transcript : Transcript
        Must already have absorbed the statement and every commitment.
    atoms : list of Spot or Claim
        What the numbers in forms stand for; each use adds one, so two claims never collapse into one.
    equations : list of (str, Form)
        Forms that must vanish, and what each of them says.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.atoms: list[Spot | Claim] = []
        self.equations: list[tuple[str, Form]] = []
        self._used = dict.fromkeys(Row, 0)
        self._message_row = Row.PADS

    def message(self, label: str, count: int, values: Sequence[int] | None) -> list[Form]:
        """Exchange ``count`` secret values; the prover's side passes them, the verifier's ``None``."""
        spots = [self._next(self._message_row) for _ in range(count)]
        masked = self._exchange(label, spots, values)
        return [Form(value, {self._atom(spot): 1}) for value, spot in zip(masked, spots, strict=True)]

    def product(self, label: str, values: Sequence[int] | None) -> tuple[Form, Form, Form]:
        """Exchange two secret values ``u``, ``v`` and return the forms of ``u``, ``v`` and ``u·v``."""
        spots = [self._next(Row.LEFT), self._next(Row.RIGHT)]
        u, v = self._exchange(label, spots, values)
        left, right, both = (self._atom(spot) for spot in (*spots, self._next(Row.PRODUCTS)))
        return Form(u, {left: 1}), Form(v, {right: 1}), Form(u * v % ORDER, {right: u, left: v, both: 1})

    def claim(self, claim: Claim) -> Form:
        """Return the value of ``claim`` as a form; nothing is sent."""
        return Form(0, {self._atom(claim): 1})

    def vanish(self, label: str, form: Form) -> None:
        """Demand that ``form`` is zero; ``label`` is for people."""
        self.equations.append((label, form))

    def challenge(self, label: str) -> int:
        """Draw a challenge from the transcript."""
        return self.transcript.challenge(label)

    def challenges(self, label: str, count: int) -> list[int]:
        """Draw several."""
        return self.transcript.challenges(label, count)

    def begin_closing(self) -> None:
        """Mask the following messages by the row of closing pads: the others take part in what is being closed."""
        self._message_row = Row.TAIL

    @property
    def used(self) -> Budget:
        """What has been used so far."""
        return Budget(self._used[Row.PADS], self._used[Row.LEFT])

    def _next(self, row: Row) -> Spot:
        spot = Spot(row, self._used[row])
        self._used[row] += 1
        return spot

    def _atom(self, atom: Spot | Claim) -> int:
        self.atoms.append(atom)
        return len(self.atoms) - 1

    def _exchange(self, label: str, spots: list[Spot], values: Sequence[int] | None) -> list[int]:
        masked = self._transmit(spots, values)
        self.transcript.absorb(label, encode_scalars(masked))
        return masked

    @abstractmethod
    def _transmit(self, spots: list[Spot], values: Sequence[int] | None) -> list[int]:
        """Send ``values`` masked by ``spots``, or receive as many."""


class Sender(Channel):
    """The prover's side.

    Attributes
    ----------
    sent : list of int
        Every masked message so far, in order: a part of the proof.
    """

    def __init__(self, transcript: Transcript, pads: Pads) -> None:
        super().__init__(transcript)
        self.sent: list[int] = []
        self._pads = {Row.PADS: pads.pads, Row.LEFT: pads.left, Row.RIGHT: pads.right, Row.TAIL: pads.tail}

    def _transmit(self, spots: list[Spot], values: Sequence[int] | None) -> list[int]:
        if values is None or len(values) != len(spots):
            raise ValueError(f"a prover must pass exactly {len(spots)} values")
        masked = [(value - self._pads[spot.row][spot.position]) % ORDER for value, spot in zip(values, spots, strict=True)]
        self.sent += masked
        return masked


class Receiver(Channel):
    """The verifier's side.

    Parameters
    ----------
    transcript : Transcript
    received : sequence of int
        The masked messages of a proof.
    """

    def __init__(self, transcript: Transcript, received: Sequence[int]) -> None:
        super().__init__(transcript)
        self._received = received
        self._position = 0

    def finish(self) -> None:
        """Refuse a proof with more messages than the protocol has."""
        if self._position != len(self._received):
            raise CommitmentError(f"the proof has {len(self._received)} messages, the protocol {self._position}")

    def _transmit(self, spots: list[Spot], values: Sequence[int] | None) -> list[int]:
        start, self._position = self._position, self._position + len(spots)
        if self._position > len(self._received):
            raise CommitmentError(f"the proof ends after {len(self._received)} messages, too early")
        return list(self._received[start : self._position])


class Counter(Channel):
    """Neither side: runs the algebra on zeros to count what it uses."""

    def _transmit(self, spots: list[Spot], values: Sequence[int] | None) -> list[int]:
        return [0] * len(spots)
