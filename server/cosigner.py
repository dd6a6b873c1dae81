"""Collects the cosignatures that a checkpoint needs before the server publishes it (C2SP tlog-witness, the log's side).

All witnesses are asked at once, again and again until a quorum has answered: a missing quorum delays a
checkpoint, and the entries under it are safe meanwhile. What a witness answers is trusted in nothing: cosignatures
are verified, sizes only choose the proof that is sent next.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import httpx

from ledger import note
from ledger.checkpoint import parse_checkpoint
from ledger.errors import FormatError, StorageError, VerificationError
from ledger.quorum import Policy
from ledger.witnessing import PATH, SIZE_TYPE, AddCheckpoint, parse_size
from server.errors import ServerError
from server.fetch import client, fetch

MAX_ANSWER_SIZE = 1 << 17
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two rounds of requests: the pause doubles from the first to the longest."""

Consistency = Callable[[int], list[bytes]]


class Cosigner:
    """Asks the witnesses at ``urls`` for cosignatures (see :data:`ledger.log.Cosign`).

    Parameters
    ----------
    policy
        What the agreement demands.
    urls
        Where witnesses are reached: the prefix before ``/add-checkpoint``. Any of them may be any of the policy's witnesses.
    notify
        Is told, in one line, when the quorum is missing, once for each checkpoint.
    stop
        Ends the waiting: a checkpoint that has no quorum by then is not published.
    pause
        Seconds before witnesses are asked a second time.

    Raises
    ------
    ServerError
        There are fewer addresses than the quorum needs, or one is none.
    """

    def __init__(
        self,
        policy: Policy,
        urls: Sequence[str],
        *,
        notify: Callable[[str], None],
        stop: threading.Event | None = None,
        pause: float = FIRST_PAUSE,
    ) -> None:
        check_addresses(policy.quorum, urls)
        self._policy = policy
        self._sizes: dict[str, int] = {}
        self._urls = list(dict.fromkeys(url.rstrip("/") for url in urls))
        self._notify = notify
        self._stop = stop or threading.Event()
        self._pause = pause
        self._client = client(self._urls)

    def __call__(self, signed: bytes, consistency: Consistency) -> bytes:
        """Return the note ``signed`` with the cosignatures of a quorum.

        Raises
        ------
        StorageError
            It was told to stop before there was a quorum.
        """
        size, pause, told = parse_checkpoint(note.parse(signed).text).size, self._pause, False
        if self._policy.quorum and not self._missing(signed):
            return signed
        while True:
            answers, reasons = self._ask_all(signed, size, consistency)
            signed = self._policy.cosigned(signed, answers)
            missing = self._missing(signed)
            if not missing:
                return signed
            if not told:
                why = "; ".join(reasons) or "their keys are not those of the agreement"
                self._notify(f"waiting for witnesses of the log {self._policy.log.key}: {missing}; {why}")
                told = True
            if self._stop.wait(pause):
                raise StorageError(f"{missing}: no entry is lost, and 'lunaria publish' publishes it when the witnesses can be reached")
            pause = min(2 * pause, LONGEST_PAUSE)

    def _missing(self, signed: bytes) -> str:
        """Return what a checkpoint lacks, nothing if it has its quorum."""
        try:
            self._policy.open(signed)
        except VerificationError as error:
            return str(error)
        return ""

    def _ask_all(self, signed: bytes, size: int, consistency: Consistency) -> tuple[list[bytes], list[str]]:
        """Return the answers of all witnesses, and why some of them are no cosignatures."""
        reasons: list[str] = []
        with ThreadPoolExecutor(max(1, len(self._urls))) as pool:
            answers = list(pool.map(lambda url: self._ask(url, signed, size, consistency, reasons), self._urls))
        return answers, reasons

    def _ask(self, url: str, signed: bytes, size: int, consistency: Consistency, reasons: list[str]) -> bytes:
        """Return what a witness answers, cosignature lines if all is well; adds the reason to ``reasons`` if not."""
        try:
            for _ in range(2):  # a witness that knows another size than we thought says which
                old = min(self._sizes.get(url, 0), size)
                proof = consistency(old) if old > 0 else []
                body = AddCheckpoint(old, tuple(proof), signed).encode()
                answer = fetch(self._client, url + PATH, MAX_ANSWER_SIZE, body=body)
                if answer.status == 200:
                    self._sizes[url] = size
                    return answer.body
                if answer.status != 409 or answer.media_type != SIZE_TYPE:
                    reason = answer.body[:200].decode(errors="replace").strip()
                    reasons.append(f"{url} answers {answer.status} ({reason})")
                    return b""
                known = parse_size(answer.body)
                if known > size:
                    reasons.append(f"{url} has cosigned {known} entries, more than this ledger has: it is an old copy, or forked")
                    return b""
                self._sizes[url] = known
            reasons.append(f"{url} contradicts itself about the size that it cosigned last")
        except (httpx.HTTPError, FormatError, ServerError) as error:
            reasons.append(f"{url}: {error or type(error).__name__}")
        return b""

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections, and let an error through."""
        self._client.close()


def check_addresses(quorum: int, urls: Sequence[str]) -> None:
    """Refuse too few addresses of witnesses.

    Raises
    ------
    ServerError
        There are fewer than the quorum needs.
    """
    if len(set(urls)) < quorum:
        raise ServerError(
            f"the agreement demands {quorum} cosignatures, and {len(set(urls))} addresses of witnesses are given: "
            "give one --witness URL for each"
        )
