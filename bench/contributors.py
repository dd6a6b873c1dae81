"""A federation for measuring contributions, without Flower and without proofs: honest clients on real data, and those that are not.

With proofs of training none of the dishonest ones but ``random labels`` could have an update accepted; here they can, and only what their
updates are worth speaks against them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clients.datasets import DataSet
from clients.partition import indices, parse_partition
from ledger.aggregation import weighted_sum
from ledger.agreement import Agreement, complete
from ledger.canonical import digest
from ledger.contribution import Round
from ledger.entries import SCALARS, STATEMENT, TENSOR, Aggregate, Reference, RoundEntry, Verdict
from ledger.evaluation import Evaluation, encode_evaluation
from ledger.verdicts import Reason
from strategies.exact_fedavg import server_optimizer
from zk.hashing import expand
from zk.sgd import flatten, initial_weights, train, unflatten, update_of

IntVector = npt.NDArray[np.int64]
NOTHING = Reference(digest="00" * 32, size=0, media_type=TENSOR)


@dataclass
class Contributors:
    """Clients and their global model.

    Parameters
    ----------
    data : DataSet
    kinds : tuple of str
        What each client does: a name in :data:`KINDS`.
    partition : str
        How the training part is split among all of them.
    samples, evaluated : int
        Samples of each client, and in the evaluation set.
    method : str
        Of scoring.
    seed : int
    """

    data: DataSet
    kinds: tuple[str, ...]
    partition: str
    samples: int = 512
    evaluated: int = 512
    method: str = "shapley"
    seed: int = 1
    agreement: Agreement = field(init=False)
    evaluation: Evaluation = field(init=False)
    rng: np.random.Generator = field(init=False)
    honest: dict[int, IntVector] = field(default_factory=dict)
    before: IntVector | None = None

    def __post_init__(self) -> None:
        """Split the data and agree."""
        encoded = encode_evaluation(self.data.x_test[: self.evaluated], self.data.y_test[: self.evaluated])
        clients = len(self.kinds)
        self.agreement = complete(
            {
                "federation": {"name": "contributors", "clients": clients},
                "model": {"layers": [self.data.x_train.shape[1], 128, self.data.y_train.shape[1]], "seed": bytes(32).hex()},
                "rounds": {"participants": clients, "count": 100},
                "proof": {"kind": "none"},
                "settlement": {"epoch": 100, "evaluation": digest(encoded), "pot": 1_000_000, "method": self.method},
            }
        )
        self.evaluation = Evaluation.decode(encoded, self.agreement)
        self.rng = np.random.default_rng(self.seed)
        self.shares = indices(parse_partition(self.partition), self.data.y_train, clients, self.samples, self.seed)

    def rounds(self, count: int) -> Iterator[Round]:
        """Yield rounds, with an update of every client."""
        rule, optimizer = self.agreement.rule, server_optimizer(self.agreement)
        model = flatten(initial_weights(rule, bytes(32)))
        weights = dict.fromkeys(range(len(self.kinds)), self.samples)
        for number in range(1, count + 1):
            self.honest = {client: self.trained(client, model) for client, kind in enumerate(self.kinds) if kind == "honest"}
            updates = {client: KINDS[kind](self, client, model) for client, kind in enumerate(self.kinds)}
            yield Round(_entry(number, len(updates), self.samples), model, optimizer, updates, weights)
            total = weighted_sum(list(updates.values()), list(weights.values()))
            model = optimizer.step(model, total, sum(weights.values()))
            self.before = total // sum(weights.values())

    def trained(self, client: int, model: IntVector, labels: IntVector | None = None) -> IntVector:
        """Return what a client's training on a batch of its own makes of the model; ``labels`` in place of its own."""
        if client in self.honest:
            return self.honest[client]
        rule = self.agreement.rule
        rows = np.resize(self.rng.permutation(self.shares[client]), rule.samples)
        y = self.data.y_train[rows].astype(np.int64) if labels is None else labels
        start = unflatten(rule, model)
        return flatten(update_of(rule, start, train(rule, start, self.data.x_train[rows].astype(np.int64), y)))

    def noise(self, scale: float) -> IntVector:
        """Return Gaussian noise, ``scale`` times as long as an honest update."""
        length = float(np.sqrt(np.mean(np.square(next(iter(self.honest.values())).astype(np.float64)))))
        drawn: IntVector = np.rint(self.rng.normal(scale=scale * length, size=self.agreement.rule.size)).astype(np.int64)
        return drawn

    def repeated(self) -> IntVector:
        """Return the last change of the global model, as long as an honest update."""
        if self.before is None:
            return np.zeros(self.agreement.rule.size, dtype=np.int64)
        lengths = [float(np.linalg.norm(vector.astype(np.float64))) for vector in (next(iter(self.honest.values())), self.before)]
        scaled: IntVector = np.rint(self.before * (lengths[0] / lengths[1])).astype(np.int64)
        return scaled


def _random_labels(clients: Contributors, client: int, model: IntVector) -> IntVector:
    outputs = clients.agreement.rule.layers[-1]
    labels = np.eye(outputs, dtype=np.int64)[clients.rng.integers(0, outputs, clients.agreement.rule.samples)]
    return clients.trained(client, model, labels)


KINDS: dict[str, Callable[[Contributors, int, IntVector], IntVector]] = {
    "honest": lambda clients, client, model: clients.trained(client, model),
    "zeros": lambda clients, client, model: np.zeros_like(model),
    "noise": lambda clients, client, model: clients.noise(1.0),
    "much noise": lambda clients, client, model: clients.noise(3.0),
    "copies client 0": lambda clients, client, model: clients.honest[0],
    "repeats the last round": lambda clients, client, model: clients.repeated(),
    "copies client 1, with noise": lambda clients, client, model: clients.honest[1] + clients.noise(0.5),
    "repeats the last round, with noise": lambda clients, client, model: clients.repeated() + clients.noise(0.5),
    "turns its update round": lambda clients, client, model: -clients.trained(client, model),
    "random labels": _random_labels,
}


def _entry(number: int, clients: int, samples: int) -> RoundEntry:
    contribution = Reference(digest="00" * 32, size=0, media_type=STATEMENT)
    return RoundEntry(
        round=number,
        reveals=(),
        withheld=(),
        beacon=expand("bench/contribution", number.to_bytes(4, "big"), length=32).hex(),
        model_before="00" * 32,
        model_after=NOTHING,
        verdicts=tuple(Verdict(client=client, reason=Reason.ACCEPTED, contribution=contribution) for client in range(clients)),
        aggregate=Aggregate(samples=clients * samples, sum=NOTHING, blinds=Reference(digest="00" * 32, size=0, media_type=SCALARS)),
        test=None,
    )
