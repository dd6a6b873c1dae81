"""A Flower grid inside one process: real ClientApps, real messages, no engine in between."""

from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

Shuffle = Callable[[list[Message]], list[Message]]


class LocalGrid(Grid):
    """Runs one ClientApp per node when messages are pushed.

    Parameters
    ----------
    apps : list of ClientApp
        One for each node; node ids are 100, 101, …, or count from ``first``
    order : callable, optional
        Rearranges (or drops, or multiplies) the replies of each exchange.
    first : int
        The first node id.
    """

    def __init__(self, apps: list[ClientApp], order: Shuffle = list, first: int = 100) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # what messages are stamped with
        self._apps = {first + i: app for i, app in enumerate(apps)}
        self._contexts = {
            node: Context(
                run_id=1, node_id=node, node_config={"partition-id": i, "num-partitions": len(apps)}, state=RecordDict(), run_config={}
            )
            for i, node in enumerate(self._apps)
        }
        self._order = order
        self._replies: dict[str, list[Message]] = {}
        self.sent: list[Message] = []

    def get_node_ids(self) -> Iterable[int]:
        return list(self._apps)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            identifier = str(uuid4())
            message.metadata.__dict__["_message_id"] = identifier
            self.sent.append(message)
            node = message.metadata.dst_node_id
            try:
                reply = self._apps[node](message, self._contexts[node])
            except Exception as error:  # noqa: BLE001 - as Flower's engine does
                reply = Message(Error(code=1, reason=str(error)), reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = node
            self._replies[identifier] = [reply]
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._order([reply for identifier in message_ids for reply in self._replies.pop(identifier, [])])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl)

    def set_run(self, run: Run) -> None:
        raise AssertionError("a local grid has no run")

    @property
    def run(self) -> Run:
        raise AssertionError("a local grid has no run")
