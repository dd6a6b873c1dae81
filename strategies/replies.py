"""Reading Flower replies: what a client sent, or the reason why it cannot be judged further.

Nothing here trusts the sender: a reply may hold any records of any type and size.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from flwr.app import ArrayRecord, Message

from ledger.canonical import dump_vector
from ledger.errors import FormatError
from ledger.judge import Parts
from ledger.messages import RECORD, TrainReply
from ledger.verdicts import Reason
from zk.rule import Rule

MAX_PART_BYTES = 2**22  # what is larger is no commitment, no blinds and no proof of any model, and is not kept


@dataclass(frozen=True)
class Candidate:
    """A reply that can be judged.

    Attributes
    ----------
    message : Message
        The reply, for the wrapped strategy.
    samples : int
        What it states as ``num-examples``.
    statement : bytes
        The signed contribution.
    parts : Parts or Reason
        Its large parts; or why the update is none.
    """

    message: Message
    samples: int
    statement: bytes
    parts: Parts | Reason


def read_reply(rule: Rule, message: Message) -> Candidate | Reason:
    """Read one reply."""
    if message.has_error():
        return Reason.CLIENT_ERROR
    content = message.content
    record, metrics, arrays = (
        content.config_records.get(RECORD),
        content.metric_records.get("metrics"),
        content.array_records.get("arrays"),
    )
    if record is None or metrics is None or arrays is None or len(content) != 3:
        return Reason.MALFORMED
    samples = metrics.get("num-examples")
    try:
        reply = TrainReply.from_fields(record)
    except FormatError:
        return Reason.MALFORMED
    if type(samples) is not int or max(map(len, (reply.commitment, reply.blinds, reply.proof))) > MAX_PART_BYTES:
        return Reason.MALFORMED
    update = read_update(rule, arrays)
    parts = update if isinstance(update, Reason) else Parts(update, reply.commitment, reply.blinds, reply.proof)
    return Candidate(message, samples, reply.statement, parts)


def read_update(rule: Rule, arrays: ArrayRecord) -> bytes | Reason:
    """Return an update as its canonical tensor; only int64 arrays of the model's shapes, in its order, are one."""
    if list(arrays) != [f"layer-{i}" for i in range(len(rule.shapes))]:
        return Reason.WRONG_SHAPE
    layers = []
    for array, shape in zip(arrays.values(), rule.shapes, strict=True):
        if array.dtype != "int64" or array.stype != "numpy.ndarray":
            return Reason.WRONG_TYPE
        if tuple(array.shape) != shape:
            return Reason.WRONG_SHAPE
        # nothing a stranger sent is parsed: the bytes must begin as NumPy writes such an array, and be as long
        start = _npy_start(shape)
        if not array.data.startswith(start):
            return Reason.WRONG_TYPE
        if len(array.data) != len(start) + 8 * shape[0] * shape[1]:
            return Reason.WRONG_SHAPE
        layers.append(np.frombuffer(array.data, dtype="<i8", offset=len(start)).astype(np.int64))
    return dump_vector(np.concatenate(layers))


@lru_cache(maxsize=64)
def _npy_start(shape: tuple[int, int]) -> bytes:
    """Return the header with which NumPy saves an int64 array of this shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def stated_seconds(message: Message, name: str) -> float:
    """Return how long a client says something took; 0 when it does not."""
    value = message.content.metric_records["metrics"].get(name)
    return value if isinstance(value, float) and math.isfinite(value) else 0.0


def one_each(candidates: Iterable[tuple[int, Candidate | Reason]]) -> dict[int, Candidate | Reason]:
    """Return one outcome per client: replies that say the same count once, different ones are a duplicate."""
    outcomes: dict[int, Candidate | Reason] = {}
    for number, candidate in candidates:
        known = outcomes.setdefault(number, candidate)
        if known is not candidate and _said(known) != _said(candidate):
            outcomes[number] = Reason.DUPLICATE
    return outcomes


def _said(candidate: Candidate | Reason) -> tuple[object, ...]:
    if isinstance(candidate, Reason):
        return (candidate,)
    return (candidate.statement, candidate.parts, candidate.samples)
