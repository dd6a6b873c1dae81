"""The state machine of a run: which entry may follow which, and what each one changes.

The server moves it forward as it appends; an audit replays it from the export. Both therefore refuse the same ledgers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.beacon import participants
from ledger.canonical import digest
from ledger.entries import (
    AgreementEntry,
    ClosingEntry,
    ContributionStatement,
    EnrolmentEntry,
    EnrolmentStatement,
    Entry,
    Reference,
    RoundEntry,
    encode_entry,
)
from ledger.errors import VerificationError


@dataclass
class RunState:
    """Where a run stands after its entries so far.

    Attributes
    ----------
    run : str
        The digest of entry 0.
    opening : AgreementEntry
        Entry 0.
    members : list of EnrolmentStatement
        The enrolled clients; a client's number is its position.
    rounds : int
        Rounds done.
    model : Reference
        The current global model.
    pending : dict of int to str
        By client number, the commitment to a nonce that has not been revealed or withheld yet.
    accepted : int
        Accepted updates in the last round.
    closed : bool
        Whether the closing entry stands.
    """

    run: str
    opening: AgreementEntry
    members: list[EnrolmentStatement] = field(default_factory=list)
    rounds: int = 0
    model: Reference = field(init=False)
    pending: dict[int, str] = field(default_factory=dict)
    accepted: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        """Start from the first model."""
        self.model = self.opening.model

    @classmethod
    def begin(cls, opening: AgreementEntry) -> "RunState":
        """Return the state after entry 0."""
        _require(
            opening.agreement.model.initial in (None, opening.model.digest),
            "the first model is not the one whose digest the agreement gives",
        )
        return cls(run=digest(encode_entry(opening)), opening=opening)

    @property
    def size(self) -> int:
        """Number of entries so far."""
        return 1 + len(self.members) + self.rounds + self.closed

    @property
    def keys(self) -> list[str]:
        """The clients' public keys by number."""
        return [member.client for member in self.members]

    def participants(self, beacon: str) -> list[int]:
        """Return the numbers of the clients that a beacon chooses."""
        return participants(beacon, self.keys, self.opening.agreement.rounds.participants)

    def check_enrolment(self, statement: EnrolmentStatement) -> None:
        """Raise VerificationError when the agreement does not allow this enrolment; the proof is checked elsewhere."""
        federation = self.opening.agreement.federation
        _require(statement.run == self.run, "the enrolment belongs to another run")
        _require(
            not federation.members or statement.client in federation.members,
            f"client {statement.client[:16]} is not among federation.members",
        )
        _require(
            federation.minimum_samples <= statement.samples <= federation.maximum_samples,
            f"client {statement.client[:16]} enrols {statement.samples} samples; the agreement takes "
            f"{federation.minimum_samples} to {federation.maximum_samples}",
        )

    def apply(self, entry: Entry, contributions: Mapping[int, ContributionStatement] | None = None) -> None:
        """Move on by one entry.

        Parameters
        ----------
        entry : Entry
            The next entry.
        contributions : mapping of int to ContributionStatement
            For a round: the statements of the accepted clients, by number.

        Raises
        ------
        VerificationError
            The entry may not follow here, or contradicts what stands before it.
        """
        _require(not self.closed, "an entry follows the closing of the run")
        if isinstance(entry, AgreementEntry):
            raise VerificationError("a second agreement: there is one, and it is entry 0")
        if isinstance(entry, EnrolmentEntry):
            self._enrol(entry)
        elif isinstance(entry, RoundEntry):
            self._round(entry, contributions or {})
        else:
            self._close(entry)

    def _enrol(self, entry: EnrolmentEntry) -> None:
        statement = entry.enrolment.statement
        _require(self.rounds == 0, "an enrolment after the first round")
        self.check_enrolment(statement)
        _require(
            not self.members or self.members[-1].client < statement.client,
            "enrolments do not stand in the order of their keys, or a key enrols twice",
        )
        _require(len(self.members) < self.opening.agreement.federation.clients, "more enrolments than federation.clients")
        self.pending[len(self.members)] = statement.nonce
        self.members.append(statement)

    def _round(self, entry: RoundEntry, contributions: Mapping[int, ContributionStatement]) -> None:
        agreement = self.opening.agreement
        _require(len(self.members) >= agreement.federation.minimum_clients, "a round with fewer clients than federation.minimum-clients")
        _require(entry.round == self.rounds + 1, f"round {entry.round} follows round {self.rounds}")
        _require(entry.round <= agreement.rounds.count, f"round {entry.round} is beyond rounds.count ({agreement.rounds.count})")
        _require(
            self.rounds == 0 or self.accepted >= agreement.rounds.minimum_accepted,
            "a round follows one that had fewer accepted updates than rounds.minimum-accepted",
        )
        _require(entry.model_before == self.model.digest, "model-before is not the model of the previous entry")
        asked = [reveal.client for reveal in entry.reveals]
        _require(
            asked == sorted(set(asked)) and list(entry.withheld) == sorted(set(entry.withheld)),
            "reveals and withheld nonces do not stand in ascending order of the clients",
        )
        _require(
            sorted([*asked, *entry.withheld]) == sorted(self.pending),
            "reveals and withheld nonces are not those of the clients that had committed to one",
        )
        _require(
            [verdict.client for verdict in entry.verdicts] == self.participants(entry.beacon),
            "the verdicts are not about the clients that the beacon chose",
        )
        accepted = [verdict.client for verdict in entry.verdicts if verdict.accepted]
        enough = len(accepted) >= max(1, agreement.rounds.minimum_accepted)
        _require(
            (entry.aggregate is not None) == enough,
            "an aggregate stands exactly in a round with enough accepted updates",
        )
        if entry.aggregate is None:
            _require(entry.model_after == self.model, "the model changes in a round without an aggregate")
        else:
            samples = sum(self.members[number].samples for number in accepted)
            _require(entry.aggregate.samples == samples, f"the aggregate counts {entry.aggregate.samples} samples instead of {samples}")
        self.rounds, self.model, self.accepted = entry.round, entry.model_after, len(accepted)
        self.pending = {number: contributions[number].nonce for number in accepted if number in contributions}

    def _close(self, entry: ClosingEntry) -> None:
        rounds = self.opening.agreement.rounds
        _require(entry.rounds == self.rounds, f"the closing entry counts {entry.rounds} rounds instead of {self.rounds}")
        _require(entry.model == self.model.digest, "the closing entry names another model than the last round")
        _require(
            entry.outcome != "completed" or (self.rounds == rounds.count and self.accepted >= rounds.minimum_accepted),
            f"the run is closed as completed after {self.rounds} of {rounds.count} rounds, {self.accepted} updates in the last one",
        )
        _require(
            entry.outcome != "too-few-accepted" or (self.rounds > 0 and self.accepted < rounds.minimum_accepted),
            "the run is closed for too few accepted updates, but the last round had enough",
        )
        self.closed = True


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise VerificationError(message)
