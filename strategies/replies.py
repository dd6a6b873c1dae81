"""Reading Flower replies: what a client sent, or the reason why it cannot be judged further.

Nothing here trusts the sender: a reply may hold any records of any type and size.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, Message

from ledger.canonical import dump_vector
from ledger.errors import FormatError
from ledger.judge import Parts
from ledger.messages import RECORD, TrainReply
from ledger.verdicts import Reason
from zk.rule import Rule


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
    if type(samples) is not int:
        return Reason.MALFORMED
    update = read_update(rule, arrays)
    parts = update if isinstance(update, Reason) else Parts(update, reply.commitment, reply.blinds)
    return Candidate(message, samples, reply.statement, parts)


def read_update(rule: Rule, arrays: ArrayRecord) -> bytes | Reason:
    """Return an update as its canonical tensor; only int64 arrays of the model's shapes, in its order, are one."""
    if list(arrays) != [f"layer-{i}" for i in range(len(rule.shapes))]:
        return Reason.WRONG_SHAPE
    layers = []
    for array, shape in zip(arrays.values(), rule.shapes, strict=True):
        if array.dtype != "int64" or array.stype != "numpy.ndarray":
            return Reason.WRONG_TYPE
        # the stated size is checked before the bytes are parsed
        if tuple(array.shape) != shape or len(array.data) > 8 * shape[0] * shape[1] + 1024:
            return Reason.WRONG_SHAPE
        try:
            layer = array.numpy()
        except (ValueError, TypeError, OSError, EOFError, SyntaxError):
            return Reason.WRONG_TYPE
        if layer.dtype != np.int64:
            return Reason.WRONG_TYPE
        if layer.shape != shape:
            return Reason.WRONG_SHAPE
        layers.append(layer.ravel())
    return dump_vector(np.concatenate(layers))


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
