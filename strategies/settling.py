"""Settling epochs on the server's side: scores the rounds that stand in the ledger, and appends what follows.

It reads the ledger and its evidence only, as an audit does: a server that starts again settles what is due as if it had never stopped.
"""

from ledger.canonical import load_vector
from ledger.contribution import Round, Scoring
from ledger.entries import MAX_ENTRY_BYTES, RoundEntry, SettlementEntry, decode_contribution, decode_entry
from ledger.evaluation import Evaluation
from ledger.judge import IntVector
from strategies.exact_fedavg import server_optimizer
from strategies.recorder import Recorder


class Settling:
    """Follows a run's ledger.

    Parameters
    ----------
    recorder : Recorder
    evaluation : Evaluation
        The evaluation set that the agreement names.
    """

    def __init__(self, recorder: Recorder, evaluation: Evaluation) -> None:
        opening = recorder.state.opening
        self._recorder = recorder
        self._scoring = Scoring(opening.agreement, evaluation)
        self._optimizer = server_optimizer(opening.agreement)
        self._rule = opening.agreement.rule
        self._model = self._tensor(opening.model.digest)
        self._next = 1

    def follow(self, *, ending: bool = False) -> None:
        """Score the rounds that are new; where an epoch is over, or the run with ``ending``, append its settlement.

        Raises
        ------
        LedgerError
            Evidence is missing, or a score has no place in an entry.
        """
        state = self._recorder.state
        self._read()
        if state.settlement_due or (ending and state.rounds > state.settled):
            self._recorder.append(state.settlement(self._scoring.scores()))
            self._read()

    def _read(self) -> None:
        for index in range(self._next, self._recorder.log.size):
            entry = decode_entry(self._recorder.log.entry(index))
            if isinstance(entry, RoundEntry):
                self._round(entry)
            elif isinstance(entry, SettlementEntry):
                self._scoring.settled()
        self._next = self._recorder.log.size

    def _round(self, entry: RoundEntry) -> None:
        state = self._recorder.state
        if entry.round >= state.settled:  # of a round that is settled only the last one matters: the next may not repeat it
            accepted = {verdict.client: verdict.contribution for verdict in entry.verdicts if verdict.accepted}
            updates = {client: self._update(reference.digest) for client, reference in accepted.items() if reference is not None}
            samples = {client: state.members[client].samples for client in updates}
            done = Round(entry, self._model, self._optimizer, updates, samples)
            if entry.round > state.settled:
                self._scoring.add(done)
            else:
                self._scoring.remember(done)
        if entry.aggregate is not None:
            self._model = self._optimizer.step(self._model, self._tensor(entry.aggregate.sum.digest), entry.aggregate.samples)

    def _update(self, contribution: str) -> IntVector:
        data = self._recorder.log.evidence.get(contribution, MAX_ENTRY_BYTES)
        return self._tensor(decode_contribution(data).statement.update.digest)

    def _tensor(self, digest: str) -> IntVector:
        data = self._recorder.log.evidence.get(digest, 128 + 8 * self._rule.size)
        return load_vector(data, self._rule.size, "a tensor of the model's size")
