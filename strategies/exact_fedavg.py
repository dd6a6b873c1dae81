"""FedAvg in exact integers, as a Flower strategy.

Clients send updates (not weights) as int64 arrays, one for each layer. The mean weighted by ``num-examples`` and the server optimiser
are those of :mod:`ledger.aggregation`, in the order of the replies it is given; integer sums do not depend on that order.
"""

from collections.abc import Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from flwr.supercore import log

from ledger.aggregation import IntVector, ServerOptimizer, weighted_sum
from ledger.agreement import Agreement
from strategies.errors import StrategyError
from zk.rule import Rule
from zk.sgd import flatten, unflatten


class ExactFedAvg(Strategy):
    """Federated averaging whose result anybody can recompute to the bit.

    Parameters
    ----------
    agreement : Agreement
        Its rule gives the model's shape, its ``aggregation`` the server optimiser.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.rule = agreement.rule
        self.optimizer = server_optimizer(agreement)
        self._model: IntVector | None = None

    def summary(self) -> None:
        """Log what this strategy does."""
        log(20, "\t└──> exact FedAvg, server optimiser %s", self.optimizer.rule.optimizer.value)

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Send the model to every node of ``grid``: who takes part is decided outside, by the beacon."""
        self._model = to_vector(arrays)
        content = RecordDict({"arrays": arrays, "config": config})
        return [Message(content, dst_node_id=node, message_type=MessageType.TRAIN) for node in sorted(grid.get_node_ids())]

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the next model; ``(None, None)``, which keeps the old one, when there is no reply."""
        contents = [reply.content for reply in replies]
        if not contents or self._model is None:
            return None, None
        updates = [to_vector(content.array_records["arrays"]) for content in contents]
        samples = [_samples(content) for content in contents]
        model = self.optimizer.step(self._model, weighted_sum(updates, samples), sum(samples))
        return to_arrays(self.rule, model), MetricRecord({"num-examples": sum(samples)})

    def replay(self, model: IntVector, total: IntVector, samples: int) -> None:
        """Take in a round that was aggregated before the server started again."""
        self.optimizer.step(model, total, samples)

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Ask nobody: the model is evaluated on the server's test data."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Return nothing, as nobody was asked."""
        return None


def server_optimizer(agreement: Agreement) -> ServerOptimizer:
    """Return a fresh server optimiser as agreed."""
    rule = agreement.rule
    return ServerOptimizer(agreement.aggregation, rule.plan.weight_range_bits, rule.weight_bits, rule.plan.coefficient_bits)


def to_vector(arrays: ArrayRecord) -> IntVector:
    """Return all values of a model or update, layer by layer, row by row."""
    return flatten([np.asarray(layer, dtype=np.int64) for layer in arrays.to_numpy_ndarrays()])


def to_arrays(rule: Rule, model: IntVector) -> ArrayRecord:
    """Return a model as Flower sends it: one int64 array for each layer."""
    return ArrayRecord({f"layer-{i}": Array(layer) for i, layer in enumerate(unflatten(rule, model))})


def _samples(content: RecordDict) -> int:
    value = content.metric_records["metrics"]["num-examples"]
    if not isinstance(value, int):
        raise StrategyError("num-examples must be an integer")
    return value
