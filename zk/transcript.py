"""Fiat-Shamir transcript over SHAKE256: every item labelled and length-prefixed.

The state is one 32-byte chain value. Absorbing hashes (state, label, item) injectively. Drawing hashes (kind of challenge, state, label,
how many) into the challenges and the next state, so that no two histories share a state. A statement absorbs itself
(``statement.absorb(transcript)``): a caller cannot forget a part of it.

Sources: Fiat and Shamir, CRYPTO 1986; the length-prefixing discipline of Merlin (https://merlin.cool).
"""

from zk.field import ORDER
from zk.hashing import expand

_STATE_BYTES = 32


class Transcript:
    """One party's view of a public-coin protocol made non-interactive.

    Parameters
    ----------
    protocol : str
        Name and version of the protocol; two protocols never share challenges.
    """

    def __init__(self, protocol: str) -> None:
        self._state = expand("lunaria/v1/transcript", protocol.encode(), length=_STATE_BYTES)

    def absorb(self, label: str, data: bytes) -> None:
        """Bind ``data`` to everything that follows."""
        self._state = expand("absorb", self._state, label.encode(), data, length=_STATE_BYTES)

    def absorb_int(self, label: str, value: int) -> None:
        """Bind a non-negative integer below 2^64."""
        self.absorb(label, value.to_bytes(8, "big"))

    def challenge(self, label: str) -> int:
        """Return a scalar, uniform up to a bias below 2^-128 (64 bytes reduced modulo the group order)."""
        return self.challenges(label, 1)[0]

    def challenges(self, label: str, count: int) -> list[int]:
        """Return ``count`` independent scalars for one label."""
        return [value % ORDER for value in self._draw("challenge", label, count, 64)]

    def short_challenges(self, label: str, count: int) -> list[int]:
        """Return ``count`` independent 128-bit scalars: half the length, half the cost of a multi-scalar product."""
        return self._draw("short challenge", label, count, 16)

    def state(self) -> bytes:
        """Return the 32-byte chain value: what a hedged generator mixes in (see :mod:`zk.blinding`)."""
        return self._state

    def _draw(self, kind: str, label: str, count: int, size: int) -> list[int]:
        """Return ``count`` integers of ``size`` bytes and bind that they were drawn."""
        drawn = expand(kind, self._state, label.encode(), count.to_bytes(8, "big"), length=_STATE_BYTES + size * count)
        self._state = drawn[:_STATE_BYTES]
        return [int.from_bytes(drawn[i : i + size], "big") for i in range(_STATE_BYTES, len(drawn), size)]
