"""Exact training against float32: the same federation, batch by batch, in Keras.

``python -m bench.accuracy RUN`` takes a finished run of ``lunaria simulate --seed N`` and repeats it in float32 with Keras' SGD: the
same first model, momentum and weight decay, the same samples of each client, the same batches in the same order and the same dropped
units (they follow from the beacons in the ledger), the same weighted average. What is left between the two learning curves is the effect
of fixed-point training alone.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt

from clients.agreed import TASKS
from clients.settings import local_data
from ledger.beacon import batch_indices
from ledger.entries import AgreementEntry, EnrolmentEntry, RoundEntry, decode_entry
from ledger.identity import public_key, signing_key
from ledger.store import Store
from zk.dropout import dropped_units
from zk.hashing import expand
from zk.rule import Rule
from zk.sgd import initial_weights


def main(run: Path, seed: int, data: str) -> None:
    """Print accuracy after each round, exact and in float32."""
    import keras

    from clients.datasets import load

    with Store.open(run / "ledger.db", create=False) as store:
        entries = [decode_entry(entry) for entry in store.entries(0, store.size())]
    opening = entries[0]
    if not isinstance(opening, AgreementEntry) or opening.agreement.model.seed is None:
        raise SystemExit("error: the run does not begin with an agreement whose first model comes from a seed")
    rule = opening.agreement.rule
    members = [entry.enrolment.statement for entry in entries if isinstance(entry, EnrolmentEntry)]
    secrets = [expand("lunaria/v1/simulated client", seed.to_bytes(8, "big"), i.to_bytes(4, "big"), length=32) for i in range(len(members))]
    share = {public_key(signing_key(secret)): number for number, secret in enumerate(secrets)}
    if any(member.client not in share for member in members):
        raise SystemExit(f"error: this run was not made with --seed {seed}")
    dataset = load(data, task=TASKS[rule.loss])
    test_x, test_y = dataset.x_test.astype(np.float32) / 256, dataset.y_test.argmax(axis=1)

    features, kept = keras.Input((rule.layers[0],)), [keras.Input((width,)) for width in rule.layers[1:-1]]
    values = features
    for width, factors in zip(rule.layers[1:-1], kept, strict=True):
        values = keras.layers.Multiply()([keras.layers.Dense(width, activation="relu")(values), factors])
    model = keras.Model([features, *kept], keras.layers.Dense(rule.layers[-1])(values))
    everything = [np.ones((len(test_x), width), dtype=np.float32) for width in rule.layers[1:-1]]
    terms = opening.agreement.training
    optimizer = keras.optimizers.SGD(terms.learning_rate, momentum=terms.momentum, weight_decay=terms.weight_decay or None)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    weights = [
        part.astype(np.float32)
        for W in initial_weights(rule, bytes.fromhex(opening.agreement.model.seed))
        for part in (W[:-1] / 2.0**rule.weight_bits, W[-1] / 2.0**rule.weight_bits)
    ]
    print("round  exact    float32  difference (points)")
    for entry in entries:
        if not isinstance(entry, RoundEntry) or entry.test is None or entry.test.correct is None:
            continue
        accepted = [members[verdict.client] for verdict in entry.verdicts if verdict.accepted]
        total = [np.zeros_like(part, dtype=np.float64) for part in weights]
        for member in accepted:
            x, y = local_data(data, "iid", member.samples, seed, share[member.client], len(members), opening.agreement)
            indices = batch_indices(entry.beacon, member.client, member.samples, rule.samples)
            model.set_weights(weights)
            optimizer.build(model.trainable_variables)
            for velocity in optimizer.momentums if terms.momentum else ():
                velocity.assign(np.zeros(velocity.shape))  # it begins at zero in each round
            factors = _factors(rule, entry.beacon, member.client)
            for k, batch in enumerate(indices.reshape(rule.steps, rule.batch)):
                inputs = [x[batch].astype(np.float32) / 256, *(part[k * rule.batch : (k + 1) * rule.batch] for part in factors)]
                model.train_on_batch(inputs, y[batch].astype(np.float32))
            for part, trained in zip(total, model.get_weights(), strict=True):
                part += member.samples * trained.astype(np.float64)
        samples = sum(member.samples for member in accepted)
        weights = [(part / samples).astype(np.float32) for part in total]
        model.set_weights(weights)
        real = float((model.predict([test_x, *everything], verbose=0, batch_size=2048).argmax(axis=1) == test_y).mean())
        exact = entry.test.correct / entry.test.total
        print(f"{entry.round:>5}  {exact:.2%}   {real:.2%}   {100 * (exact - real):+.2f}")


def _factors(rule: Rule, beacon: str, client: str) -> list[npt.NDArray[np.float32]]:
    """Return what a client's hidden units are multiplied by in a round, (samples, width): zero, or the scale of those that are kept."""
    dropped = dropped_units(rule, bytes.fromhex(beacon), bytes.fromhex(client))
    if not dropped:
        return [np.ones((rule.samples, width), dtype=np.float32) for width in rule.layers[1:-1]]
    return [((1 - part) * (rule.dropout / (rule.dropout - 1))).astype(np.float32) for part in dropped]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python -m bench.accuracy RUN SEED [DATA]")
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else "fashion-mnist")
