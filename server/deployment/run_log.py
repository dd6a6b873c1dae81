"""How a run goes on, as events in the state folder: what a person reads round by round, and what metrics are made of."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from clients.event_log import EventFile
from ledger.state import RunState
from server.display import score_text
from server.verdict_text import verdict_text
from strategies.observer import Observer, RoundReport
from strategies.selection import SelectedGrid


class RunLog(Observer):
    """Writes an event for whatever a run tells."""

    def __init__(self, log: EventFile, logit_bits: int) -> None:
        self._log = log
        self._scale = 4**logit_bits
        self._waiting = -1

    def waiting(self, connected: int, wanted: int) -> None:
        """Note each change of who is connected."""
        if connected != self._waiting:
            self._waiting = connected
            text = f"waiting for clients: {connected} of {wanted} are connected"
            self._log.info("waiting-for-clients", text, connected=connected, wanted=wanted)

    def enrolling(self, clients: int) -> None:
        """Note who is asked."""
        self._log.info("enrolment-began", f"{clients} clients are asked to enrol", asked=clients)

    def enrolled(self, state: RunState, refused: Sequence[str]) -> None:
        """Note who is in, and why others are not."""
        members = len(state.members)
        self._log.info("enrolment-done", f"{members} clients enrolled", members=members, refused=len(refused))
        for line in refused:
            self._log.warning("enrolment-refused", f"not enrolled: {line}", reason=line)

    def resumed(self, state: RunState) -> None:
        """Note where the run goes on."""
        where = "is closed already" if state.closed else "goes on"
        text = f"the run {where} after round {state.rounds}: {len(state.members)} clients, {state.size} entries"
        self._log.info("resumed", text, round=state.rounds, members=len(state.members), entries=state.size)

    def round_begins(self, number: int, participants: int) -> None:
        """Note who was asked to train."""
        self._log.info("round-began", f"round {number}: {participants} clients are asked to train", round=number, asked=participants)

    def delayed(self, reason: str) -> None:
        """Note what the run waits for."""
        self._log.warning("delayed", reason)

    def round_done(self, report: RoundReport) -> None:
        """Note the verdicts, and where the time went."""
        entry = report.entry
        fields = (
            {} if entry.test is None else {"test": entry.test.model_dump(include={"total", "correct", "squared_error"}, exclude_none=True)}
        )
        self._log.info(
            "round-done",
            round_line(report, self._scale),
            round=entry.round,
            asked=len(entry.verdicts),
            accepted=sum(verdict.accepted for verdict in entry.verdicts),
            verdicts=dict(Counter(verdict.reason.value for verdict in entry.verdicts)),
            withheld=len(entry.withheld),
            seconds={name: round(value, 3) for name, value in report.phases.items()},
            proving_seconds=round(report.proving_s, 3),
            model=entry.model_after.digest,
            entries=report.entries,
            **fields,
        )


def round_line(report: RoundReport, scale: int) -> str:
    """Return a round in one line: verdicts, the test, where the time went, the model, the ledger."""
    entry, phases = report.entry, report.phases
    spent = ", ".join(f"{seconds:.1f} {name}" for name, seconds in phases.items() if name != "proofs" or seconds)
    longest = f" (longest proof {report.proving_s:.1f})" if report.proving_s >= 0.05 else ""
    score = score_text(entry.test, scale)
    parts = [
        f"round {entry.round}: {verdict_text(entry)} of {len(entry.verdicts)} asked",
        *([f"{score} on {entry.test.total} test samples"] if entry.test and score else []),
        *(["too few: the model stays"] if entry.aggregate is None else []),
        f"{sum(phases.values()):.1f} s: {spent}{longest}",
        f"model {entry.model_after.digest[:12]}",
        f"{report.entries} entries",
    ]
    return "; ".join(parts)


class WatchedGrid(SelectedGrid):
    """``grid``, with an event for each message that is sent and each reply that comes."""

    def __init__(self, grid: Grid, log: EventFile) -> None:
        super().__init__(grid, ())
        self._log = log
        self._asked: dict[str, tuple[str, float]] = {}

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Pass on: a deployment's grid says since when a node is connected, and with which node key."""
        return self._grid.get_nodes()

    def get_node_ids(self) -> Iterable[int]:
        """Pass on."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass on, and note what was sent."""
        sent = list(messages)
        numbers = list(self._grid.push_messages(sent))
        now = time.monotonic()
        for message, number in zip(sent, numbers, strict=False):
            self._asked[number] = message.metadata.message_type, now
        for kind, count in Counter(message.metadata.message_type for message in sent).items():
            self._log.debug("asked", f"{count} messages {kind} were sent", type=kind, messages=count)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on, and note what came."""
        replies = list(self._grid.pull_messages(message_ids))
        for reply in replies:
            kind, since = self._asked.pop(reply.metadata.reply_to_message_id, ("", 0.0))
            if kind:
                seconds, node, failed = round(time.monotonic() - since, 3), str(reply.metadata.src_node_id), reply.has_error()
                text = f"node {node} {'failed at' if failed else 'answered'} {kind} after {seconds:.1f} s"
                self._log.debug("reply", text, type=kind, node=node, seconds=seconds, error=failed)
        return replies
