"""Enrolment: who connects, accepts the agreement and proves that it committed to samples becomes a member."""

import threading
from collections.abc import Iterable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from ledger.canonical import digest
from ledger.enrolment import UNPROVED, judge_enrolment
from ledger.entries import ENROLMENT_PROOF, POINTS, EnrolmentEntry, SignedEnrolment
from ledger.errors import LedgerError
from ledger.messages import RECORD, EnrolReply
from strategies.errors import StrategyError
from strategies.observer import Observer
from strategies.recorder import Recorder
from strategies.selection import exchange
from zk.batch import Check, false_ones
from zk.pedersen import CommitmentKey


def enrol(recorder: Recorder, key: CommitmentKey, grid: Grid, timeout: float, observer: Observer, stop: threading.Event) -> dict[int, int]:
    """Ask every connected node to enrol, check the answers together, and append one entry for each that stands.

    Returns
    -------
    dict of int to int
        The node of each client number. Clients are numbered in the order of their keys, so the order of replies changes nothing.

    Raises
    ------
    StrategyError
        Fewer clients than the agreement needs.
    """
    federation = recorder.state.opening.agreement.federation
    nodes = _wait_for_nodes(grid, federation.clients, timeout, observer, stop)
    observer.enrolling(len(nodes))
    requests = [
        Message(
            RecordDict({RECORD: ConfigRecord(recorder.view(node, 0).to_fields())}),
            dst_node_id=node,
            message_type=f"{MessageType.QUERY}.enrol",
        )
        for node in nodes
    ]
    offers, refused = _judge(recorder, key, exchange(grid, requests, timeout, stop))
    offers.sort(key=lambda offer: (offer[1].statement.client, digest(offer[1].encode())))
    node_of: dict[int, int] = {}
    for node, signed, reply in offers:
        member = signed.statement
        if recorder.state.members and recorder.state.members[-1].client == member.client:
            refused.append(f"node {node}: client {member.client[:16]} has enrolled already")
        elif len(node_of) == federation.clients:
            refused.append(f"node {node}: the agreement takes {federation.clients} clients")
        else:
            recorder.keep(reply.rows, POINTS)
            recorder.keep(reply.proof, ENROLMENT_PROOF)
            number = len(node_of)
            recorder.append(EnrolmentEntry(enrolment=signed))
            node_of[number] = node
        recorder.seen(node, 1)
    observer.enrolled(recorder.state, refused)
    if len(node_of) < federation.minimum_clients and not stop.is_set():
        why = f": {refused[0]}" if refused else ""
        raise StrategyError(f"{len(node_of)} clients enrolled, the agreement needs {federation.minimum_clients}{why}")
    return node_of


Offer = tuple[int, SignedEnrolment, EnrolReply]


def _judge(recorder: Recorder, key: CommitmentKey, replies: Iterable[Message]) -> tuple[list[Offer], list[str]]:
    """Return the enrolments that stand, and one line for each that does not."""
    offers: list[Offer] = []
    checks: list[tuple[int, Check]] = []
    refused: list[str] = []
    for reply in replies:
        node = reply.metadata.src_node_id
        if reply.has_error():
            refused.append(_refusal(node, reply.error.reason or ""))
            continue
        try:
            answer = EnrolReply.from_fields(reply.content.config_records.get(RECORD) or {})
            signed, remaining = judge_enrolment(recorder.state, key, answer.statement, answer.rows, answer.proof)
        except LedgerError as error:
            refused.append(_refusal(node, str(error)))
            continue
        checks += [(len(offers), check) for check in remaining]
        offers.append((node, signed, answer))
    guilty = {checks[position][0] for position in false_ones(key, [check for _, check in checks])}
    refused += [f"node {offers[i][0]}: {UNPROVED}" for i in sorted(guilty)]
    return [offer for i, offer in enumerate(offers) if i not in guilty], refused


def _refusal(node: int, reason: str) -> str:
    """Return one printable line; the reason may be a stranger's text."""
    text = "".join(character if character.isprintable() else " " for character in reason[:1000])
    return f"node {node}: {' '.join(text.split())[:300]}"


def _wait_for_nodes(grid: Grid, wanted: int, timeout: float, observer: Observer, stop: threading.Event) -> list[int]:
    """Return the connected nodes once enough are there, or when the time is over."""
    waited = 0.0
    nodes = list(grid.get_node_ids())
    while len(nodes) < wanted and waited < timeout and not stop.is_set():
        observer.waiting(len(nodes), wanted)
        stop.wait(0.5)
        waited += 0.5
        nodes = list(grid.get_node_ids())
    return sorted(nodes)
