"""Fiat-Shamir transcript over SHAKE256: every item labelled and length-prefixed.

The state is one 32-byte chain value; absorbing hashes (state, label, item) injectively, a challenge is expanded from the state and
absorbed again, so that no two histories share a state. A statement absorbs itself (``statement.absorb(transcript)``): a caller
cannot forget a part of it.

Sources: Fiat and Shamir, CRYPTO 1986; the length-prefixing discipline of Merlin (https://merlin.cool).
"""

from zk.field import ORDER
from zk.hashing import expand


class Transcript:
    """One party's view of a public-coin protocol made non-interactive.

    Parameters
    ----------
    protocol : str
        Name and version of the protocol; two protocols never share challenges.
    """

    def __init__(self, protocol: str) -> None:
        self._state = expand("lunaria/v1/transcript", protocol.encode(), length=32)

    def absorb(self, label: str, data: bytes) -> None:
        """Bind ``data`` to everything that follows."""
        self._state = expand("absorb", self._state, label.encode(), data, length=32)

    def absorb_int(self, label: str, value: int) -> None:
        """Bind a non-negative integer below 2^64."""
        self.absorb(label, value.to_bytes(8, "big"))

    def challenge(self, label: str) -> int:
        """Return a scalar, uniform up to a bias below 2^-128 (64 bytes reduced modulo the group order)."""
        return self.challenges(label, 1)[0]

    def challenges(self, label: str, count: int) -> list[int]:
        """Return ``count`` independent scalars for one label."""
        stream = expand("challenge", self._state, label.encode(), length=64 * count)
        self._state = expand("after challenge", self._state, label.encode(), length=32)
        return [int.from_bytes(stream[i : i + 64], "big") % ORDER for i in range(0, len(stream), 64)]

    def short_challenges(self, label: str, count: int) -> list[int]:
        """Return ``count`` independent 128-bit scalars: half the length, half the cost of a multi-scalar product."""
        stream = expand("short challenge", self._state, label.encode(), length=16 * count)
        self._state = expand("after challenge", self._state, label.encode(), length=32)
        return [int.from_bytes(stream[i : i + 16], "big") for i in range(0, len(stream), 16)]

    def state(self) -> bytes:
        """Return the 32-byte chain value: what a hedged generator mixes in (see :mod:`zk.blinding`)."""
        return self._state
