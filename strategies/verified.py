"""``Verified(strategy)``: every update checked, every round in the ledger.

A wrapper in the manner of Flower's own differential-privacy wrappers. It runs the wrapped strategy, and around it: enrolment, the
beacon that chooses participants and batches, a verdict on every reply, the exact aggregate checked against the commitments, and one
ledger entry per round. A run that was cut off goes on where its ledger ends. The wrapped strategy sees the chosen nodes as the only
ones, and the accepted replies in the order of their clients' numbers; what it makes of them must be what the agreement says, since an
audit will recompute it.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from logging import WARNING

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import Result, Strategy
from flwr.supercore import log

from ledger.canonical import dump_vector, load_vector
from ledger.entries import SCALARS, TENSOR, Aggregate, AgreementEntry, ClosingEntry, Outcome, RoundEntry, TestResult
from ledger.evaluation import Evaluation
from ledger.judge import Expected, IntVector, add_up, sum_equation
from ledger.log import Log
from ledger.messages import RECORD, TrainRequest
from strategies.beacons import draw
from strategies.desk import Desk, with_changes
from strategies.enrolment import enrol
from strategies.errors import StrategyError
from strategies.exact_fedavg import server_optimizer, to_arrays
from strategies.journal import Drawn, Journal
from strategies.judging import Accepted, judge_round
from strategies.observer import Observer, RoundReport
from strategies.proving import fix, fixed, prove_some
from strategies.recorder import Recorder
from strategies.replies import one_each, read_reply, stated_seconds
from strategies.roster import Roster
from strategies.selection import SelectedGrid
from strategies.settling import Settling
from zk.equations import hold
from zk.errors import RangeError
from zk.field import encode_scalars
from zk.pedersen import CommitmentKey
from zk.sgd import unflatten

_PATIENCE_SECONDS = 10.0
"""A round that waits for clients longer says so."""

Evaluate = Callable[[IntVector], TestResult | None]


@dataclass(frozen=True)
class _Round:
    """The round in progress: its beacon, what each contribution must say, and who takes part."""

    drawn: Drawn
    expected: Expected
    participants: list[int]
    began: float
    beacon_s: float


class Verified(Strategy):
    """Adds verification and the ledger to a strategy.

    Parameters
    ----------
    strategy : Strategy
        What aggregates the accepted updates; its result must follow the agreement (``ExactFedAvg`` does). To go on with a run, it needs
        a method ``replay(model, total, samples)`` that takes in a round done before.
    log : Log
        Empty, or the log of this run, which then goes on where it was cut off.
    opening : AgreementEntry
        Entry 0 of the run.
    model : int64 array of shape (rule.size,)
        The first model.
    key : CommitmentKey
        Generators of the group that verifies, as wide as the agreement's rows.
    evaluate : callable, optional
        The new model on the server's test data; its result is recorded.
    observer : Observer, optional
        Is told how the run goes on.
    evaluation : Evaluation, optional
        The evaluation set that the agreement names, where it has settlements.
    stop : threading.Event, optional
        Set it to end the run cleanly: the round in progress is given up.
    journal : Journal, optional
        What was promised about the next entry before the run was cut off.
    desk : Desk, optional
        Where members ask for another node key or to leave, and the operator revokes.
    pause : bool
        Whether a run that is stopped may go on later: its ledger stays open. Otherwise it is closed as interrupted.
    """

    def __init__(
        self,
        strategy: Strategy,
        log: Log,
        opening: AgreementEntry,
        model: IntVector,
        key: CommitmentKey,
        *,
        evaluate: Evaluate | None = None,
        observer: Observer | None = None,
        evaluation: Evaluation | None = None,
        stop: threading.Event | None = None,
        journal: Journal | None = None,
        desk: Desk | None = None,
        pause: bool = False,
    ) -> None:
        self.strategy = strategy
        self.agreement = opening.agreement
        self.recorder = Recorder(log, opening, model, journal)
        if (evaluation is None) != (opening.agreement.settlement is None):
            raise StrategyError("an evaluation set is needed exactly where the agreement has settlements")
        self._settling = Settling(self.recorder, evaluation) if evaluation else None
        self.key = key
        self.evaluate = evaluate
        self.observer = observer or Observer()
        self.stop = stop or threading.Event()
        self._rule = opening.agreement.rule
        self._optimizer = server_optimizer(opening.agreement)
        self._model = model
        self._desk, self._pause = desk or Desk(), pause
        self._members: Roster | None = None
        self._round: _Round | None = None
        for aggregate in self.recorder.aggregates:
            self._replay(aggregate)

    def summary(self) -> None:
        """Log the wrapped strategy's summary."""
        self.strategy.summary()

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run the federation to its end and close the ledger.

        The parameters are those of :meth:`flwr.serverapp.strategy.Strategy.start`; model, rounds and timeout default to the agreement's.

        Raises
        ------
        StrategyError
            Too few clients enrolled, or the wrapped strategy does not follow the agreement.
        """
        rounds = self.agreement.rounds
        if num_rounds not in (None, rounds.count):
            raise StrategyError(f"num_rounds is {num_rounds}, but the agreement says {rounds.count} rounds")
        wait = float(rounds.reply_timeout) if timeout is None else timeout
        state = self.recorder.state
        result = Result(arrays=initial_arrays or to_arrays(self._rule, self._model))
        if state.closed:
            return result
        self._members = Roster(self.recorder, grid, wait, self.stop, self._desk)
        if self.recorder.resumed:
            self.observer.resumed(state)
            result.arrays = to_arrays(self._rule, self._model)
        if not state.rounds and not self.stop.is_set():
            enrol(self.recorder, self.key, self._members, self.observer)
        while self._goes_on():
            self._settle()
            number = state.rounds + 1
            if not self._begin(number) or not self._train(grid, number, result, train_config or ConfigRecord()):
                break
            asked = self.configure_evaluate(number, result.arrays, evaluate_config or ConfigRecord(), grid)
            evaluated = self.aggregate_evaluate(number, self._members.ask(asked))
            if evaluated is not None:
                result.evaluate_metrics_clientapp[number] = evaluated
            central = evaluate_fn(number, result.arrays) if evaluate_fn else None
            if central is not None:
                result.evaluate_metrics_serverapp[number] = central
        if self._outcome() != "interrupted" or not self._pause:
            self.close()
        return result

    def close(self) -> None:
        """Close the ledger, if it is open: nothing can be added to the run from then on."""
        state = self.recorder.state
        if not state.closed:
            self._settle(ending=True)
            self.recorder.append(ClosingEntry(outcome=self._outcome(), rounds=state.rounds, model=state.model.digest))

    def _settle(self, *, ending: bool = False) -> None:
        """Score what is new, and settle what is due; ``ending`` settles an epoch that is cut short."""
        if self._settling is not None:
            self._settling.follow(ending=ending)

    def _goes_on(self) -> bool:
        """Whether another round may follow, as far as the ledger says."""
        state, rounds = self.recorder.state, self.agreement.rounds
        another = state.rounds < rounds.count and state.accepted >= rounds.minimum_accepted and state.enough_clients
        return not state.cut and (not state.rounds or another)

    def _outcome(self) -> Outcome:
        """Say why no further round follows."""
        state, rounds = self.recorder.state, self.agreement.rounds
        if state.rounds and state.accepted < rounds.minimum_accepted:
            return "too-few-accepted"
        if state.rounds == rounds.count:
            return "completed"
        return "too-few-clients" if state.rounds and not state.enough_clients else "interrupted"

    def _begin(self, number: int) -> bool:
        """Begin a round, or go on with the one in progress; False when stopped before.

        It begins when at least as many members are there as must be accepted.
        """
        roster = self._roster
        here = roster.find(self._needed, _PATIENCE_SECONDS)
        if here < self._needed():
            self.observer.delayed(f"round {number} waits for clients: {here} are connected, {self._needed()} are needed")
            roster.find(self._needed, math.inf)
        if not self.stop.is_set():
            self._draw_beacon(number)
        return not self.stop.is_set()

    def _needed(self) -> int:
        """Return how many members a round waits for: as many as must be accepted, or all that are not about to leave."""
        state = self.recorder.state
        staying = len(set(state.membership.active) - self._desk.leaving(state))
        return min(max(1, self.agreement.rounds.minimum_accepted), staying)

    def _train(self, grid: Grid, number: int, result: Result, config: ConfigRecord) -> bool:
        """Do a round; False when it was stopped, and has no entry."""
        if self.recorder.state.standing is None:
            replies = self._roster.ask(self.configure_train(number, result.arrays, config, grid))
        else:  # what was contributed stands
            list(self.strategy.configure_train(number, result.arrays, config, SelectedGrid(grid, [])))
            replies = []
        if self.stop.is_set():
            return False
        arrays, metrics = self.aggregate_train(number, replies)
        if self._round is not None:
            return False
        if arrays is not None:
            result.arrays = arrays
        if metrics is not None:
            result.train_metrics_clientapp[number] = metrics
        return True

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Let the wrapped strategy address the participants that the beacon chose, and show each one the ledger."""
        current = self._current()
        nodes = {self._roster.node(number) for number in current.participants}
        request = TrainRequest(
            round=server_round,
            clients=current.drawn.clients,
            nonces=current.drawn.nonces,
        ).to_fields()
        messages = []
        for message in self.strategy.configure_train(server_round, arrays, config, SelectedGrid(grid, sorted(nodes))):
            node = message.metadata.dst_node_id
            if node not in nodes:
                raise StrategyError(f"the wrapped strategy addresses node {node}, which the beacon did not choose")
            record = ConfigRecord({**request, **self.recorder.view(node).to_fields()})
            content = RecordDict({**message.content, RECORD: record})
            messages.append(Message(content, dst_node_id=node, message_type=MessageType.TRAIN))
        if len(messages) != len(nodes):
            raise StrategyError(f"the wrapped strategy addresses {len(messages)} of the {len(nodes)} participants that the beacon chose")
        self.observer.round_begins(server_round, len(messages))
        return messages

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Judge every reply, aggregate what was accepted, and append the round.

        Returns
        -------
        ArrayRecord or None, MetricRecord or None
            The next model, or ``None`` when too little was accepted: the model then stays. A run that is stopped while clients prove
            has no entry for the round.
        """
        current, arrived = self._current(), time.monotonic()
        received = []
        for reply in replies:
            node = reply.metadata.src_node_id
            client = self._roster.client(node)
            if client is not None:
                received.append((client, read_reply(self._rule, reply)))
                if not reply.has_error():
                    self.recorder.seen(node, self.recorder.log.size)
        drawn, proving, waited = current.drawn, 0.0, 0.0
        if self.recorder.state.standing is not None:
            judgement = fixed(self.recorder, self.key, current.expected)
        else:
            judgement = judge_round(self.recorder, self.key, current.expected, current.participants, one_each(received))
            proving = max((stated_seconds(item.message, "proving-s") for item in judgement.accepted), default=0.0)
            if self.agreement.proof.chosen_later:
                fix(self.recorder, current.expected, drawn, judgement)
        if self.agreement.proof.chosen_later:
            proved = prove_some(self.recorder, self.key, current.expected, judgement, self._roster)
            judgement, drawn, proving, waited = proved.judgement, proved.drawn, proved.waited_s, proved.waited_s
            if self.stop.is_set():
                return None, None
        judged = time.monotonic()
        enough = len(judgement.accepted) >= max(1, self.agreement.rounds.minimum_accepted)
        aggregate = self._aggregate(judgement.accepted) if enough else None
        arrays, metrics = self.strategy.aggregate_train(server_round, self._clean(judgement.accepted) if enough else [])
        if enough and not self._is_model(arrays):
            raise StrategyError("the wrapped strategy does not aggregate as the agreement says: use ExactFedAvg, or change the agreement")
        verified = time.monotonic()
        entry = RoundEntry(
            round=server_round,
            reveals=drawn.reveals,
            withheld=drawn.withheld,
            beacon=drawn.beacon,
            model_before=current.expected.model,
            model_after=self.recorder.keep(dump_vector(self._model), TENSOR),
            verdicts=judgement.verdicts,
            aggregate=aggregate,
            test=self._test(),
        )
        entry = with_changes(entry, self._desk.changes(self.recorder.state))
        self.recorder.append(entry, {item.client: item.statement for item in judgement.accepted})
        self._desk.granted(entry.changes)
        self._round = None
        self.observer.round_done(
            RoundReport(
                entry,
                waiting_s=arrived - current.began,
                beacon_s=current.beacon_s,
                verifying_s=verified - arrived - waited,
                aggregating_s=verified - judged,
                appending_s=time.monotonic() - verified,
                proofs_s=waited,
                proving_s=proving,
                entries=self.recorder.log.size,
            )
        )
        return (arrays, metrics) if enough else (None, metrics)

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Leave evaluation on clients to the wrapped strategy, among the members."""
        return self.strategy.configure_evaluate(
            server_round, arrays, config, SelectedGrid(grid, sorted(place.node for place in self._roster.places().values()))
        )

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Leave it to the wrapped strategy, sparing it replies that are errors; without a result where it cannot use the others."""
        try:
            return self.strategy.aggregate_evaluate(server_round, [reply for reply in replies if not reply.has_error()])
        except (InconsistentMessageReplies, ArithmeticError, LookupError, TypeError, ValueError) as error:  # whatever clients said
            log(WARNING, "round %d is not evaluated on the clients: %s", server_round, error)
            return None

    def _clean(self, accepted: tuple[Accepted, ...]) -> list[Message]:
        """Return the accepted replies with nothing in them but what was checked."""
        cleaned = []
        for item in accepted:
            metrics = MetricRecord({"num-examples": item.statement.samples})
            message = copy(item.message)
            message.content = RecordDict({"arrays": to_arrays(self._rule, item.opened.update), "metrics": metrics})
            cleaned.append(message)
        return cleaned

    def _is_model(self, arrays: ArrayRecord | None) -> bool:
        """Whether what the wrapped strategy returned is the new model, in type, shapes and every value."""
        layers = arrays.to_numpy_ndarrays() if arrays is not None else []
        expected = unflatten(self._rule, self._model)
        return len(layers) == len(expected) and all(
            layer.dtype == np.int64 and np.array_equal(layer, other) for layer, other in zip(layers, expected, strict=True)
        )

    def _test(self) -> TestResult | None:
        """Return the new model's result on the test data, where there is any and the model can be computed on it."""
        try:
            return self.evaluate(self._model) if self.evaluate else None
        except RangeError as error:
            log(WARNING, "the new model is not evaluated: %s", error)
            return None

    def _current(self) -> _Round:
        if self._round is None:
            raise StrategyError("no round is in progress: let start() run the rounds")
        return self._round

    @property
    def _roster(self) -> Roster:
        if self._members is None:
            raise StrategyError("no round is in progress: let start() run the rounds")
        return self._members

    def _draw_beacon(self, number: int) -> None:
        """Draw the beacon that chooses participants and batches; where the contributions stand, it stands with them."""
        began = time.monotonic()
        state, last = self.recorder.state, self.recorder.model_entry
        if state.standing is not None:
            drawn = Drawn(reveals=state.standing.reveals, withheld=state.standing.withheld, beacon=state.standing.beacon)
        else:
            drawn = draw(self.recorder, self._roster, lambda client: 1 + client if number == 1 else last)
        drawn_s = time.monotonic() - began
        expected = Expected.of(state, drawn.beacon, self._model)
        self._round = _Round(drawn, expected, state.participants(drawn.beacon), began, drawn_s)

    def _replay(self, aggregate: Aggregate) -> None:
        """Take in a round that stands in the ledger, as the wrapped strategy did when it was done."""
        replay = getattr(self.strategy, "replay", None)
        if replay is None:
            raise StrategyError("the wrapped strategy cannot go on with a run that was cut off: it has no method replay")
        data = self.recorder.log.evidence.get(aggregate.sum.digest, aggregate.sum.size)
        total = load_vector(data, self._rule.size, "the aggregate")
        replay(self._model, total, aggregate.samples)
        self._model = self._optimizer.step(self._model, total, aggregate.samples)

    def _aggregate(self, accepted: tuple[Accepted, ...]) -> Aggregate:
        """Move the model on, and check the sum of the commitments against the aggregate."""
        samples = [item.statement.samples for item in accepted]
        total, blinds = add_up([item.opened for item in accepted], samples)
        if not hold(self.key, [sum_equation(self.key, [item.opened.commitment for item in accepted], samples, total, blinds)]):
            raise StrategyError("the accepted commitments do not add up to the aggregate: this is a defect, please report it")
        self._model = self._optimizer.step(self._model, total, sum(samples))
        return Aggregate(
            samples=sum(samples),
            sum=self.recorder.keep(dump_vector(total), TENSOR),
            blinds=self.recorder.keep(encode_scalars(blinds), SCALARS),
        )
