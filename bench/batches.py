"""The batches of a Lunaria run, for the plain side to train on: what is left between the two accuracies is the arithmetic.

Which samples a client trains on follows from the round's beacon and the client's key, both in the ledger. Which simulated client has
which key follows from the seed.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Context, RecordDict, UserConfig

from bench.federation import SEED, Federation
from clients.settings import member_from
from ledger.beacon import batch_indices
from ledger.entries import RoundEntry, decode_entry
from ledger.identity import public_key, signing_key
from ledger.store import Store

Batches = npt.NDArray[np.int64]


def batches_of(run: Path, federation: Federation) -> Batches:
    """Return the positions that each client trained on, in their order: shape (rounds, clients, batch · steps)."""
    with Store.open(run / "ledger.db", create=False) as store:
        entries = [decode_entry(data) for data in store.entries(0, store.size())]
    beacons = [entry.beacon for entry in entries if isinstance(entry, RoundEntry)]
    keys = [client_key(number, federation.clients) for number in range(federation.clients)]
    wanted = federation.batch * federation.local_steps
    return np.array([[batch_indices(beacon, key, federation.samples, wanted) for key in keys] for beacon in beacons])


def client_key(number: int, clients: int) -> str:
    """Return the public key of the simulated client with this partition."""
    node_config: UserConfig = {"partition-id": number, "num-partitions": clients}
    context = Context(run_id=0, node_id=0, node_config=node_config, state=RecordDict(), run_config={})
    return public_key(signing_key(member_from(context, {"seed": SEED}).secret))
