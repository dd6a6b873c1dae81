"""Where a client's identity and data come from: Flower's node and run configuration.

=====================  =====================================================================================================
``data``               a data set (see :func:`clients.datasets.load`)
``partition``          ``iid`` or ``dirichlet:ALPHA``: how a simulation splits one data set among its clients
``samples-per-client`` samples of each client in a simulation; 0 splits everything
``seed``               of the partition. From the node's side or from ``lunaria simulate``, other than 0, of all secrets too: for
                       experiments only
``partition-id``       (node) this client's share, ``num-partitions`` the number of shares; without them the data is all its own
``accounts``           (node, or ``lunaria simulate``) where clients want to be paid, separated by spaces, the first being client 0's
``secret-file``        (node only) 32 secret bytes, hexadecimal: the identity of a deployed client
=====================  =====================================================================================================
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

from flwr.app import Context

from clients.agreed import TASKS, load_agreed
from clients.datasets import load
from clients.errors import MemberError
from clients.member import Member, Samples
from clients.partition import Indices, indices, parse_partition
from clients.raw import Task
from clients.state import recall
from ledger.agreement import Agreement
from zk.hashing import expand

_ACCOUNT = re.compile(r"0x[0-9a-fA-F]{40}")


def member_from(context: Context, extra: Mapping[str, str | int] | None = None) -> Member:
    """Return the member that a context describes; ``extra`` stands in for a run configuration where there is none."""
    own = {**(extra or {}), **context.node_config}
    config = {**context.run_config, **own}
    # the run configuration is the server's: it may say how a simulation splits its data, but no secret comes from it
    secret_seed = _number(own, "seed", 0)
    number, shares = _number(config, "partition-id", 0), _number(config, "num-partitions", 1)
    if "num-partitions" in config and number >= shares:
        raise MemberError(f"partition-id is {number}, but there are {shares} partitions")
    secret, state = recall(context)
    if secret is None:
        secret = _secret(own.get("secret-file"), secret_seed, number)
    data = partial(
        local_data,
        str(config.get("data", "auto")),
        str(config.get("partition", "iid")),
        _number(config, "samples-per-client", 0),
        _number(config, "seed", 0),
        number,
        shares,
    )
    accounts = str(own.get("accounts", "")).split()
    return Member(
        secret, data, state, deterministic=secret_seed != 0, account=parse_account(accounts[number]) if number < len(accounts) else None
    )


def local_data(spec: str, partition: str, samples: int, seed: int, number: int, shares: int, agreement: Agreement) -> Samples:
    """Return one client's training samples as ``agreement`` wants them."""
    dataset = load_agreed(spec, agreement)
    if shares == 1 and not samples:
        return dataset.x_train, dataset.y_train
    chosen = _indices(spec, TASKS[agreement.rule.loss], agreement.data.classes, partition, shares, samples, seed)[number]
    return dataset.x_train[chosen], dataset.y_train[chosen]


@lru_cache(maxsize=2)
def _indices(spec: str, task: Task, classes: tuple[str, ...], partition: str, shares: int, samples: int, seed: int) -> list[Indices]:
    dataset = load(spec, task=task, classes=classes)
    return indices(parse_partition(partition), dataset.y_train, shares, samples or None, seed)


def parse_account(text: str) -> str:
    """Return an address of Ethereum in lower case.

    Raises
    ------
    MemberError
        It is none.
    """
    if not _ACCOUNT.fullmatch(text):
        raise MemberError(f"account {text!r}: give 0x and 40 hexadecimal digits")
    return text.lower()


def _number(config: Mapping[str, object], name: str, default: int) -> int:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise MemberError(f"{name} is {value!r}: give a whole number from 0 to 2^63 - 1")
    return value


def _secret(path: object, seed: int, number: int) -> bytes:
    if path:
        try:
            secret = bytes.fromhex(Path(str(path)).read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise MemberError(f"cannot read the client's secret from {path}: {error}") from error
        if len(secret) != 32:
            raise MemberError(f"{path} should hold 32 bytes in hexadecimal, it holds {len(secret)}")
        return secret
    if seed:
        return expand("lunaria/v1/simulated client", seed.to_bytes(8, "big"), number.to_bytes(4, "big"), length=32)
    return os.urandom(32)
