"""Settling an epoch: from verdicts and scores to who earned and lost what, and to claims that a contract pays.

Everything but the scores follows from the entries before: :class:`Tally` counts while a run goes on, :func:`settle` makes the entry, and
the state machine (:mod:`ledger.state`) refuses any other. The scores are :mod:`ledger.contribution`'s; whoever holds the evaluation set
recomputes them.

What costs a penalty is what only the client can have caused: it signed for this run, round, model and batch, and what it signed for is
false. A verdict that a server could bring about, by replaying an old statement or by inventing one, costs nothing. What a server can only
say, that a reply or a nonce did not come, is a missed obligation, which has a price of its own.

A claim is a leaf of an RFC 6962 tree (:mod:`ledger.merkle`), in ascending order of the clients; its data is what ``abi.encodePacked`` makes
of ``(uint256 index, address account, uint256 amount)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ledger import merkle
from ledger.agreement import Agreement
from ledger.entries import CommitmentsEntry, EnrolmentStatement, RoundEntry, Settled, SettlementEntry, Verdict
from ledger.errors import VerificationError
from ledger.settlement_terms import Settlement
from ledger.verdicts import Reason

FAULTS = frozenset(
    {
        Reason.WRONG_SAMPLES,
        Reason.OUT_OF_RANGE,
        Reason.ABOVE_NORM,
        Reason.BAD_ENCODING,
        Reason.COMMITMENT_MISMATCH,
        Reason.NO_PROOF,
        Reason.BAD_PROOF,
    }
)
"""Verdicts about what a client signed for this very round. ``no-proof`` is among them where the proof comes with the contribution."""

MISSED = frozenset({Reason.NO_REPLY, Reason.CLIENT_ERROR, Reason.WITHHELD})
"""Verdicts that are the server's word; ``no-proof`` is one where the proof is asked for later."""


@dataclass(frozen=True)
class Score:
    """What a client's updates of an epoch were worth, and the standard error of that, in units of the utility."""

    value: int
    error: int


@dataclass
class Counted:
    """What one client did in the epoch so far."""

    rounds: int = 0
    faults: int = 0
    missed: int = 0
    reasons: set[Reason] = field(default_factory=set)


@dataclass
class Tally:
    """What happened in the epoch so far.

    Attributes
    ----------
    agreement : Agreement
    clients : dict of int to Counted
        By client number, those about whom there is something to say.
    aggregates : int
        Rounds with an aggregate: each adds the agreed pot.
    """

    agreement: Agreement
    clients: dict[int, Counted] = field(default_factory=dict)
    aggregates: int = 0

    def add(self, entry: CommitmentsEntry | RoundEntry) -> None:
        """Count an entry that the state machine has accepted."""
        later = self.agreement.proof.chosen_later
        if isinstance(entry, CommitmentsEntry) or not later:  # of a second draw the verdicts speak
            for client in entry.withheld:
                self._of(client).missed += 1
                self._of(client).reasons.add(Reason.WITHHELD)
        if isinstance(entry, CommitmentsEntry):
            return
        self.aggregates += entry.aggregate is not None
        for verdict in entry.verdicts:
            counted = self._of(verdict.client)
            missed = verdict.reason in MISSED or (later and verdict.reason is Reason.NO_PROOF)
            fault = verdict.reason in FAULTS and not missed
            counted.rounds += entry.aggregate is not None and counts(self.agreement, verdict)
            counted.faults += fault
            counted.missed += missed
            if fault or missed:
                counted.reasons.add(verdict.reason)

    def _of(self, client: int) -> Counted:
        return self.clients.setdefault(client, Counted())


def counts(agreement: Agreement, verdict: Verdict) -> bool:
    """Whether an update counts in a settlement: it was accepted, and proved where the agreement asks for proofs.

    With ``proof.rate`` below 1 the updates that the second beacon did not choose enter the model and earn nothing: who cheats and hopes
    not to be chosen has nothing to win.
    """
    return verdict.accepted and (verdict.proof is not None or not agreement.proof.chosen_later)


def settle(
    tally: Tally, members: Sequence[EnrolmentStatement], scores: Mapping[int, Score], epoch: int, first: int, last: int
) -> SettlementEntry:
    """Return the entry that settles an epoch.

    Parameters
    ----------
    tally : Tally
        What happened in it.
    members : sequence of EnrolmentStatement
        The clients by number.
    scores : mapping of int to Score
        Of the clients with an update that counts; others have none.
    epoch, first, last : int
        The number of the epoch, its first and its last round.
    """
    rules = _rules(tally.agreement)
    paid = _shares(rules, tally, scores)
    lines = []
    for client in sorted(tally.clients):
        counted, member = tally.clients[client], members[client]
        score = scores.get(client, Score(0, 0)) if counted.rounds else Score(0, 0)
        lines.append(
            Settled(
                client=client,
                account=member.account,
                rounds=counted.rounds,
                score=score.value,
                error=score.error,
                contribution=str(paid.get(client, 0)),
                licence=str(int(rules.licences.get(member.client, "0")) * counted.rounds),
                penalty=str(int(rules.penalty) * counted.faults + int(rules.missed) * counted.missed),
                faults=counted.faults,
                missed=counted.missed,
                reasons=tuple(sorted(counted.reasons)),
            )
        )
    claimed = [line.earned for line in lines if line.account is not None]
    return SettlementEntry(
        epoch=epoch, first=first, last=last, clients=tuple(lines), total=str(sum(claimed)), root=claims_root(_claims(lines)).hex()
    )


def pays(rules: Settlement, score: Score, positive: Sequence[int]) -> bool:
    """Whether a score is paid for: above zero, above its noise, and not too small beside the mean of the ``positive`` scores."""
    enough = 100 * score.value * len(positive) >= rules.threshold * sum(positive)
    return score.value > rules.deviations * score.error and score.value > 0 and enough


def _shares(rules: Settlement, tally: Tally, scores: Mapping[int, Score]) -> dict[int, int]:
    """Return what each client earns of the pot, rounded down: in proportion to its score, where that is paid for."""
    counted = {client: score for client, score in scores.items() if tally.clients.get(client, Counted()).rounds}
    positive = [score.value for score in counted.values() if score.value > 0]
    good = {client: score.value for client, score in counted.items() if pays(rules, score, positive)}
    pot, whole = int(rules.pot) * tally.aggregates, sum(good.values())
    return {client: pot * value // whole for client, value in good.items()}


@dataclass(frozen=True)
class Claim:
    """What a contract pays to an account, once: ``index`` is its place among the claims of its epoch."""

    index: int
    account: str
    amount: int
    client: int

    @property
    def leaf(self) -> bytes:
        """The data of its leaf, 84 bytes."""
        return self.index.to_bytes(32, "big") + bytes.fromhex(self.account[2:]) + self.amount.to_bytes(32, "big")


def claims(entry: SettlementEntry) -> list[Claim]:
    """Return the claims of an epoch: those who earned something and named an account, in ascending order of the clients."""
    return _claims(entry.clients)


def claims_root(of: Sequence[Claim]) -> bytes:
    """Return the root of the tree over claims, 32 bytes; without any, the root of the empty tree."""
    return merkle.root_of([merkle.leaf_hash(claim.leaf) for claim in of])


def claim_proof(of: Sequence[Claim], index: int) -> list[bytes]:
    """Return the inclusion proof of one among claims: hashes of 32 bytes, from its sibling upwards.

    Raises
    ------
    VerificationError
        There is no such claim.
    """
    leaves = [merkle.leaf_hash(claim.leaf) for claim in of]
    if not 0 <= index < len(leaves):
        raise VerificationError(f"there are {len(leaves)} claims, there is no claim {index}")
    made = merkle.new_nodes(0, leaves, lambda level, place: leaves[place])  # nothing was there before: nothing is read
    nodes = {(level, place): value for level, place, value in made}
    return merkle.inclusion_proof(index, len(leaves), lambda level, place: nodes[level, place])


def difference(stands: SettlementEntry, follows: SettlementEntry) -> str | None:
    """Return one line that says where an entry is not the one that follows from what stands before it; None where it is."""
    if stands == follows:
        return None
    for name in ("epoch", "first", "last", "total", "root"):
        if getattr(stands, name) != getattr(follows, name) and (stands.clients == follows.clients or name in ("epoch", "first", "last")):
            return f"the settlement's {name} is {getattr(stands, name)} instead of {getattr(follows, name)}"
    named, known = [line.client for line in stands.clients], [line.client for line in follows.clients]
    if named != known:
        return f"the settlement is about the clients {named} instead of {known}"
    for one, other in zip(stands.clients, follows.clients, strict=True):
        for name in Settled.model_fields:
            if getattr(one, name) != getattr(other, name):
                return f"client {one.client} is settled with {name} {_shown(one, name)} instead of {_shown(other, name)}"
    return "the settlement is not the one that follows"


def _shown(line: Settled, name: str) -> str:
    value = getattr(line, name)
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)


def _claims(lines: Sequence[Settled]) -> list[Claim]:
    due = [(line, line.account) for line in lines if line.account is not None and line.earned]
    return [Claim(index, account, line.earned, line.client) for index, (line, account) in enumerate(due)]


def _rules(agreement: Agreement) -> Settlement:
    if agreement.settlement is None:
        raise VerificationError("the agreement has no settlements")
    return agreement.settlement
