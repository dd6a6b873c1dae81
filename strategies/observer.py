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
    waiting_s, beacon_s : float
        Seconds on the server's clock for the clients: from the beginning of the round to the last reply, and of these until the
        beacon was drawn.
    verifying_s, aggregating_s : float
        Seconds for what they sent: to judge and aggregate it, and of these after the last verdict.
    appending_s : float
        Seconds to evaluate the new model, append the entry, and publish its checkpoint, with the cosignatures that it needs.
    proofs_s : float
        Seconds for proofs that were asked for after the contributions stood (``proof.rate`` below 1); in none of the others.
    proving_s : float
        The longest that a client says it took to prove, or ``proofs_s``; 0 without proofs.
    entries : int
        Size of the ledger, this round's entry included.
    """

    entry: RoundEntry
    waiting_s: float
    beacon_s: float
    verifying_s: float
    aggregating_s: float
    appending_s: float
    proofs_s: float
    proving_s: float
    entries: int

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of each phase, in order; together they are the round."""
        return {
            "beacon": self.beacon_s,
            "waiting": self.waiting_s - self.beacon_s,
            "proofs": self.proofs_s,
            "verifying": self.verifying_s - self.aggregating_s,
            "aggregating": self.aggregating_s,
            "appending": self.appending_s,
        }


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
