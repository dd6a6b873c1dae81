"""The state machine of a run: which entry may follow which, and what each one changes.

The server moves it forward as it appends; an audit replays it from the export. Both therefore refuse the same ledgers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ledger.beacon import participants, provers
from ledger.canonical import digest
from ledger.entries import (
    AgreementEntry,
    ClosingEntry,
    CommitmentsEntry,
    Contributed,
    ContributionStatement,
    EnrolmentEntry,
    EnrolmentStatement,
    Entry,
    Reference,
    Reveal,
    RoundEntry,
    SettlementEntry,
    encode_entry,
)
from ledger.errors import VerificationError
from ledger.membership import Membership
from ledger.settlement import Score, Tally, difference, settle
from ledger.verdicts import Reason


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
    membership : Membership
        Which of them take part, and by which node keys.
    enrolled : bool
        Whether an enrolment said that it is the last one.
    rounds : int
        Rounds done.
    model : Reference
        The current global model.
    pending : dict of int to str
        By client number, the commitment to a nonce that has not been revealed or withheld yet.
    standing : CommitmentsEntry or None
        The contributions of the round in progress, where a second beacon chooses the provers.
    accepted : int
        Accepted updates in the last round.
    tally : Tally
        What happened since the last settlement.
    epochs, settled : int
        Settlements so far, and the rounds that they cover.
    cut : bool
        Whether the last settlement is of an epoch that was cut short: only the closing follows.
    closed : bool
        Whether the closing entry stands.
    """

    run: str
    opening: AgreementEntry
    members: list[EnrolmentStatement] = field(default_factory=list)
    membership: Membership = field(default_factory=Membership.nobody)
    enrolled: bool = False
    rounds: int = 0
    model: Reference = field(init=False)
    pending: dict[int, str] = field(default_factory=dict)
    standing: CommitmentsEntry | None = None
    accepted: int = 0
    tally: Tally = field(init=False)
    epochs: int = 0
    settled: int = 0
    cut: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        """Start from the first model."""
        self.model = self.opening.model
        self.tally = Tally(self.opening.agreement)

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
        commitments = self.rounds * self.opening.agreement.proof.chosen_later + (self.standing is not None)
        return 1 + len(self.members) + commitments + self.rounds + self.epochs + self.closed

    @property
    def settlement_due(self) -> bool:
        """Whether the next entry must settle an epoch: it is over, or no other round may follow."""
        rounds, rules = self.opening.agreement.rounds, self.opening.agreement.settlement
        over = self.rounds == rounds.count or self.accepted < rounds.minimum_accepted
        return rules is not None and self.rounds > self.settled and (over or self.rounds % rules.epoch == 0)

    def settlement(self, scores: Mapping[int, Score]) -> SettlementEntry:
        """Return the entry that settles the rounds since the last settlement, given what they were worth by client number."""
        return settle(self.tally, self.members, scores, self.epochs + 1, self.settled + 1, self.rounds)

    @property
    def keys(self) -> list[str]:
        """The clients' public keys by number."""
        return [member.client for member in self.members]

    def participants(self, beacon: str) -> list[int]:
        """Return the numbers of the clients that a beacon chooses, among those that take part."""
        active, keys = self.membership.active, self.keys
        chosen = participants(beacon, [keys[number] for number in active], self.opening.agreement.rounds.participants)
        return [active[place] for place in chosen]

    def provers(self, beacon: str, reveals: Iterable[Reveal]) -> list[int]:
        """Return the numbers of the clients that the second beacon of the round in progress chooses, among those that revealed."""
        revealed = {reveal.client for reveal in reveals}
        digests = {item.client: item.contribution.digest for item in self._contributions if item.client in revealed}
        return provers(beacon, digests, self.opening.agreement.proof.provers(len(digests)))

    @property
    def enough_clients(self) -> bool:
        """Whether so many take part that a round can have as many accepted updates as the agreement needs."""
        agreement = self.opening.agreement
        return len(self.membership.active) >= max(agreement.federation.minimum_clients, agreement.rounds.minimum_accepted)

    @property
    def _contributions(self) -> tuple[Contributed, ...]:
        return self.standing.contributions if self.standing else ()

    def check_enrolment(self, statement: EnrolmentStatement) -> None:
        """Raise VerificationError when the agreement does not allow this enrolment; the proof is checked elsewhere."""
        federation = self.opening.agreement.federation
        _require(statement.run == self.run, "the enrolment belongs to another run")
        _require(
            not federation.members or statement.client in federation.members,
            f"client {statement.client[:16]} is not among federation.members",
        )
        _require(
            not federation.node_keys or statement.node is not None,
            f"client {statement.client[:16]} binds no node key, which federation.node-keys demands",
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
            For commitments: the statements of those that contributed, for a round: of the accepted clients; by number.

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
        elif isinstance(entry, CommitmentsEntry):
            self._commitments(entry, contributions or {})
        elif isinstance(entry, RoundEntry):
            self._round(entry, contributions or {})
        elif isinstance(entry, SettlementEntry):
            self._settle(entry)
        else:
            self._close(entry)

    def _enrol(self, entry: EnrolmentEntry) -> None:
        statement = entry.enrolment.statement
        _require(self.rounds == 0, "an enrolment after the first round")
        _require(not self.enrolled, "an enrolment follows the one that says that it is the last")
        self.check_enrolment(statement)
        _require(
            not self.members or self.members[-1].client < statement.client,
            "enrolments do not stand in the order of their keys, or a key enrols twice",
        )
        _require(len(self.members) < self.opening.agreement.federation.clients, "more enrolments than federation.clients")
        self.membership = self.membership.enrol(statement.client, statement.node)
        self.pending[len(self.members)] = statement.nonce
        self.members.append(statement)
        self.enrolled = entry.last

    def _commitments(self, entry: CommitmentsEntry, contributions: Mapping[int, ContributionStatement]) -> None:
        _require(self.opening.agreement.proof.chosen_later, "contributions stand alone only where proof.rate is below 1")
        _require(self.standing is None, "contributions follow contributions: a round has them once")
        self._begin(entry)
        clients = [item.client for item in entry.contributions]
        _require(clients == sorted(set(clients)), "contributions do not stand in ascending order of the clients")
        _require(set(clients) <= set(self.participants(entry.beacon)), "a contribution is by a client that the beacon did not choose")
        self.standing = entry
        self.tally.add(entry)
        self.pending = {number: contributions[number].nonce for number in clients if number in contributions}

    def _round(self, entry: RoundEntry, contributions: Mapping[int, ContributionStatement]) -> None:
        agreement = self.opening.agreement
        later = agreement.proof.chosen_later
        _require(not later or self.standing is not None, "proof.rate is below 1: the contributions stand in the ledger before a round does")
        self._begin(entry)
        _require(entry.model_before == self.model.digest, "model-before is not the model of the previous entry")
        _require(
            [verdict.client for verdict in entry.verdicts] == self.participants(self.standing.beacon if self.standing else entry.beacon),
            "the verdicts are not about the clients that the beacon chose",
        )
        self._proved_later(entry)
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
        membership = self.membership.after(entry.changes, self.run)
        self.tally.add(entry)
        self.rounds, self.model, self.accepted, self.standing = entry.round, entry.model_after, len(accepted), None
        self.membership = membership
        if later:  # what was revealed to choose the provers commits to the next nonce
            pending = {reveal.client: reveal.nonce for reveal in entry.reveals if reveal.client in accepted}
        else:
            pending = {number: contributions[number].nonce for number in accepted if number in contributions}
        # who takes part no longer is not asked for its nonce: this was settled before any of the others was revealed
        self.pending = {number: nonce for number, nonce in pending.items() if number not in membership.ended}

    def _begin(self, entry: CommitmentsEntry | RoundEntry) -> None:
        """Check what a round's entries have in common: that it is this round's turn, and the nonces behind the beacon."""
        agreement = self.opening.agreement
        active = len(self.membership.active)
        _require(active >= agreement.federation.minimum_clients, "a round with fewer clients than federation.minimum-clients")
        _require(entry.round == self.rounds + 1, f"round {entry.round} follows round {self.rounds}")
        _require(not self.settlement_due, f"round {entry.round} begins before the rounds up to {self.rounds} are settled")
        _require(not self.cut, f"round {entry.round} follows the settlement of an epoch that was cut short")
        _require(entry.round <= agreement.rounds.count, f"round {entry.round} is beyond rounds.count ({agreement.rounds.count})")
        _require(
            self.rounds == 0 or self.accepted >= agreement.rounds.minimum_accepted,
            "a round follows one that had fewer accepted updates than rounds.minimum-accepted",
        )
        asked = [reveal.client for reveal in entry.reveals]
        _require(
            asked == sorted(set(asked)) and list(entry.withheld) == sorted(set(entry.withheld)),
            "reveals and withheld nonces do not stand in ascending order of the clients",
        )
        _require(
            sorted([*asked, *entry.withheld]) == sorted(self.pending),
            "reveals and withheld nonces are not those of the clients that had committed to one",
        )

    def _proved_later(self, entry: RoundEntry) -> None:
        """Check that the verdicts fit the contributions that stand, and the choice of who must prove."""
        standing = {item.client: item.contribution for item in self._contributions}
        chosen = set(self.provers(entry.beacon, entry.reveals))
        for verdict in entry.verdicts:
            who, reason = f"client {verdict.client}", verdict.reason
            if verdict.client not in standing:
                _require(verdict.proof is None, f"{who} proves what it was not asked to")
                _require(self.standing is None or not verdict.accepted, f"{who} is accepted, but no contribution of it stands")
                _require(reason is not Reason.WITHHELD, f"{who} is judged withheld, but had no nonce to reveal")
                continue
            _require(verdict.contribution == standing[verdict.client], f"{who} is judged for another contribution than the one that stands")
            if verdict.client in entry.withheld:
                allowed = {Reason.WITHHELD}
            elif verdict.client in chosen:
                allowed = {Reason.ACCEPTED, Reason.NO_PROOF, Reason.BAD_PROOF}
            else:
                allowed = {Reason.ACCEPTED}
            _require(reason in allowed, f"{who} is judged {reason}, which does not follow from the choice of provers")
            proved = verdict.client in chosen and reason is not Reason.NO_PROOF
            _require((verdict.proof is not None) == proved, f"{who} is judged {reason} {'without' if proved else 'with'} a proof")

    def _settle(self, entry: SettlementEntry) -> None:
        """Check all of a settlement but its scores: they need the evaluation set."""
        _require(self.opening.agreement.settlement is not None, "a settlement, but the agreement has no section for it")
        _require(self.rounds > self.settled, "a settlement without a round since the last one")
        scores = {line.client: Score(line.score, line.error) for line in entry.clients}
        wrong = difference(entry, self.settlement(scores))
        _require(wrong is None, wrong or "")
        self.epochs, self.settled, self.cut = entry.epoch, entry.last, not self.settlement_due
        self.tally = Tally(self.opening.agreement)

    def _close(self, entry: ClosingEntry) -> None:
        rounds, settles = self.opening.agreement.rounds, self.opening.agreement.settlement is not None
        _require(not settles or self.settled == self.rounds, f"the run is closed before the rounds up to {self.rounds} are settled")
        _require(self.standing is None or entry.outcome == "interrupted", "the run is closed while contributions wait for their verdicts")
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
        _require(
            entry.outcome != "too-few-clients" or (self.rounds > 0 and not self.enough_clients),
            "the run is closed for too few clients, but as many take part as a round needs",
        )
        self.closed = True


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise VerificationError(message)
