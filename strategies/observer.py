"""What a run tells whoever watches it: a progress display, a log, a test."""

from dataclasses import dataclass

from ledger.entries import RoundEntry
from ledger.state import RunState


@dataclass(frozen=True)
class RoundReport:
    """A round that has been appended.

    Attributes
    ----------
    entry : RoundEntry
    waiting_s, verifying_s : float
        Seconds on the server's clock: for the clients, and for judging what they sent.
    proving_s : float
        The longest that a client says it took to prove, or how long the server waited for the proofs that it asked for later; 0 without
        proofs.
    """

    entry: RoundEntry
    waiting_s: float
    verifying_s: float
    proving_s: float


class Observer:
    """Does nothing; override what interests you. Calls come from the strategy's thread."""

    def waiting(self, connected: int, wanted: int) -> None:
        """Note how many clients are connected, of those that the agreement waits for."""

    def enrolling(self, clients: int) -> None:
        """Note that so many clients were asked to enrol."""

    def enrolled(self, state: RunState, refused: list[str]) -> None:
        """Note that enrolment is over; ``refused`` has one line for each enrolment that did not stand."""

    def resumed(self, state: RunState) -> None:
        """Note that the run goes on from a ledger that was there."""

    def round_begins(self, number: int, participants: int) -> None:
        """Note that a round was sent out to so many participants."""

    def delayed(self, reason: str) -> None:
        """Note, in one line, what the run waits for: witnesses of the next checkpoint, or clients."""

    def round_done(self, report: RoundReport) -> None:
        """Note that a round stands in the ledger."""
