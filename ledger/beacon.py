"""The beacon: public randomness that no single party can steer, and what is chosen with it.

The beacon of a round hashes the last checkpoint and the nonces that clients reveal after that checkpoint is fixed, each committed to
one message earlier. The server would have to know the nonces before it writes the entry they are mixed with; a client would have to
change a nonce it has committed to. What is left to either is to withhold (a client its nonce, the server a reply): both stand in the
ledger. With the beacon, clients are ranked by hash, and each client's samples are shuffled by an expansion of it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ledger.checkpoint import Checkpoint, format_checkpoint
from zk.hashing import expand, frame, sha256

NONCE_BYTES = 32


def commit_nonce(run: str, client: str, nonce: bytes) -> str:
    """Return the commitment to a nonce: SHA-256 over the run, the client's key and the nonce, in hexadecimal."""
    return sha256(frame(b"lunaria/v1/nonce", bytes.fromhex(run), bytes.fromhex(client), nonce)).hex()


def first_link(run: str, client: str, nonce: bytes) -> bytes:
    """Return a nonce that is itself a commitment to ``nonce``.

    A client that is to reveal twice commits to this one: first it is revealed for the beacon that chooses the provers, then ``nonce`` for
    that of the next round.
    """
    return bytes.fromhex(commit_nonce(run, client, nonce))


def beacon(run: str, round_number: int, checkpoint: Checkpoint, nonces: Mapping[int, str]) -> str:
    """Return a beacon of a round, in hexadecimal: by the checkpoint, that of the participants and that of the provers differ.

    Parameters
    ----------
    run : str
        The digest of entry 0.
    round_number : int
        From 1.
    checkpoint : Checkpoint
        The last one before the entry that the beacon stands in: its text without signatures is hashed.
    nonces : mapping of int to str
        The revealed nonces (hexadecimal) by client number; hashed in ascending order of the number.
    """
    revealed = [part for client in sorted(nonces) for part in (client.to_bytes(4, "big"), bytes.fromhex(nonces[client]))]
    text = format_checkpoint(checkpoint).encode()
    return sha256(frame(b"lunaria/v1/beacon", bytes.fromhex(run), round_number.to_bytes(4, "big"), text, *revealed)).hex()


def participants(beacon_hex: str, clients: Sequence[str], count: int) -> list[int]:
    """Choose ``count`` of the enrolled clients (their keys, in order of their numbers); returns ascending numbers."""
    if count >= len(clients):
        return list(range(len(clients)))

    def rank(number: int) -> bytes:
        return sha256(frame(b"lunaria/v1/participant", bytes.fromhex(beacon_hex), bytes.fromhex(clients[number])))

    return sorted(sorted(range(len(clients)), key=rank)[:count])


def provers(beacon_hex: str, contributions: Mapping[int, str], count: int) -> list[int]:
    """Choose ``count`` of the contributions (their digests by client number) to be proved; returns ascending numbers."""

    def rank(number: int) -> bytes:
        return sha256(frame(b"lunaria/v1/prover", bytes.fromhex(beacon_hex), bytes.fromhex(contributions[number])))

    return sorted(sorted(contributions, key=rank)[:count])


def batch_indices(beacon_hex: str, client: str, enrolled: int, wanted: int) -> npt.NDArray[np.int64]:
    """Choose the samples of a client's local training, in order.

    Samples are drawn without replacement; a client that enrolled fewer than ``wanted`` goes through a new shuffle of all its samples
    as often as needed.

    Returns
    -------
    int64 array of shape (wanted,)
        Positions in the client's committed data set.
    """
    passes: list[npt.NDArray[np.int64]] = []
    for number in range(-(-wanted // enrolled)):
        stream = expand(
            "lunaria/v1/batch", bytes.fromhex(beacon_hex), bytes.fromhex(client), number.to_bytes(4, "big"), length=8 * enrolled
        )
        passes.append(np.argsort(np.frombuffer(stream, dtype=">u8"), kind="stable").astype(np.int64))
    return np.concatenate(passes)[:wanted]


def batch_digest(indices: Iterable[int]) -> str:
    """Return the digest of a batch: SHA-256 over the positions, 4 bytes each, big-endian, in hexadecimal."""
    return sha256(b"".join(int(index).to_bytes(4, "big") for index in indices)).hex()
