"""The part of an audit that recomputes what updates were worth, where the auditor holds the evaluation set."""

from ledger.agreement import Agreement
from ledger.contribution import Round, Scoring
from ledger.entries import SettlementEntry
from ledger.evaluation import Evaluation
from ledger.report import Check, Report
from ledger.settlement import Score


class Rescoring:
    """Scores the rounds of a replay and compares settlements.

    Parameters
    ----------
    agreement : Agreement
    evaluation : Evaluation or None
        ``None``: scores cannot be recomputed, and a note says so.
    report : Report
    """

    def __init__(self, agreement: Agreement, evaluation: Evaluation | None, report: Report) -> None:
        self._agreement, self._report = agreement, report
        self._scoring = Scoring(agreement, evaluation) if evaluation else None
        self._incomplete = False  # whether updates since the last settlement could not be read
        self._left_out = 0  # settlements

    def round(self, done: Round) -> None:
        """Take in a round; without all of its accepted updates it cannot be scored."""
        if len(done.updates) < sum(verdict.accepted for verdict in done.entry.verdicts):
            self._incomplete = True
        elif self._scoring is not None:
            self._scoring.add(done)

    def settlement(self, position: int, entry: SettlementEntry) -> None:
        """Compare the scores of a settlement; that all else follows from them and from the entries before is known already."""
        if self._scoring is None or self._incomplete:
            self._left_out += 1
        else:
            scores = self._scoring.scores()
            for line in entry.clients:
                score, stands = scores.get(line.client, Score(0, 0)), Score(line.score, line.error)
                self._report.count(Check.SCORES)
                if stands != score:
                    is_not = f"{stands.value} ± {stands.error} instead of {score.value} ± {score.error}"
                    self._report.find(Check.SCORES, position, f"client {line.client} is settled with the score {is_not}")
        if self._scoring is not None:
            self._scoring.settled()
        self._incomplete = False

    def finish(self) -> None:
        """Say what had to be taken on trust."""
        rules = self._agreement.settlement
        if self._left_out and rules is not None:
            why = f"give the evaluation set, SHA-256 {rules.evaluation}" if self._scoring is None else "single updates are missing"
            self._report.notes.append(f"the scores in {self._left_out} settlements are the server's word: {why}")
