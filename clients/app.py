"""Flower's ClientApp: one handler a message. What a client does is in :mod:`clients.member`; here messages come and go."""

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.errors import MemberError
from clients.exact import ExactTrainer
from clients.forks import keep_forks
from clients.member import IntArray, Member
from clients.settings import member_from
from clients.state import remember
from ledger.messages import RECORD, IdentifyRequest, LedgerView, ProveRequest, RevealRequest, TrainRequest
from zk.rule import Loss
from zk.sgd import accuracy_counts, squared_error

MemberFactory = Callable[[Context], Member]
Keep = Callable[[Member, Context], None]


def client_app(member_of: MemberFactory = member_from, keep: Keep = remember) -> ClientApp:
    """Return the app of a data owner.

    Parameters
    ----------
    member_of : callable from Context to Member
        Where identity, data and memory come from: by default from Flower's node and run configuration.
    keep : callable from Member and Context
        Where its memory goes, before the reply leaves: by default into Flower's context.
    """
    app = ClientApp()

    @app.query("enrol")
    def enrol(message: Message, context: Context) -> Message:
        member = member_of(context)
        with keep_forks():
            reply = member.enrol(_view(message))
        keep(member, context)
        return _reply(message, RecordDict({RECORD: ConfigRecord(reply.to_fields())}))

    @app.query("identify")
    def identify(message: Message, context: Context) -> Message:
        record = message.content.config_records.get(RECORD) or ConfigRecord()
        reply = member_of(context).identify(IdentifyRequest.from_fields(record), context.node_id)
        return _reply(message, RecordDict({RECORD: ConfigRecord(reply.to_fields())}))

    @app.query("reveal")
    def reveal(message: Message, context: Context) -> Message:
        member = member_of(context)
        with keep_forks():
            reply = member.reveal(RevealRequest.from_fields(_record(message)), _view(message))
        keep(member, context)
        return _reply(message, RecordDict({RECORD: ConfigRecord(reply.to_fields())}))

    @app.query("prove")
    def prove(message: Message, context: Context) -> Message:
        member = member_of(context)
        trainer = ExactTrainer(member.rule())
        with keep_forks():
            reply = member.prove(ProveRequest.from_fields(_record(message)), _view(message), _weights(message), trainer)
        keep(member, context)
        seconds = MetricRecord({**member.seconds})
        return _reply(message, RecordDict({RECORD: ConfigRecord(reply.to_fields()), "metrics": seconds}))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        member = member_of(context)
        trainer = ExactTrainer(member.rule())
        request = TrainRequest.from_fields(_record(message))
        with keep_forks():
            update, samples, reply = member.contribute(request, _view(message), _weights(message), trainer)
        keep(member, context)
        content: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
            "arrays": ArrayRecord({f"layer-{i}": Array(change) for i, change in enumerate(update)}),
            "metrics": MetricRecord({"num-examples": samples, **member.seconds}),
            RECORD: ConfigRecord(reply.to_fields()),
        }
        return _reply(message, RecordDict(content))

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        member = member_of(context)
        rule = member.rule()
        x, y = (part.astype(np.int64) for part in member.samples())
        logits = ExactTrainer(rule).forward(_weights(message), x)
        if rule.loss == Loss.SQUARED:
            metrics = {"squared-error": squared_error(rule, logits, y) / 4**rule.plan.logit_bits}
        else:
            correct, total = accuracy_counts(rule, logits, y)
            metrics = {"accuracy": correct / total}
        return _reply(message, RecordDict({"metrics": MetricRecord({**metrics, "num-examples": len(x)})}))

    return app


def _view(message: Message) -> LedgerView:
    return LedgerView.from_fields(_record(message))


def _record(message: Message) -> ConfigRecord:
    record = message.content.config_records.get(RECORD)
    if record is None:
        raise MemberError(f"the message has no record {RECORD}: the server does not run Lunaria")
    return record


def _weights(message: Message) -> list[IntArray]:
    arrays = message.content.array_records.get("arrays")
    if arrays is None:
        raise MemberError("the message has no model")
    return arrays.to_numpy_ndarrays()


def _reply(message: Message, content: RecordDict) -> Message:
    return Message(content=content, reply_to=message)


app = client_app()
