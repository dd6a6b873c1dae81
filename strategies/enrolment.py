"""Enrolment: who connects, accepts the agreement and proves that it committed to samples becomes a member."""

import threading
from collections.abc import Iterable, Mapping

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from ledger.canonical import digest
from ledger.enrolment import UNPROVED, judge_enrolment
from ledger.entries import ENROLMENT_PROOF, POINTS, EnrolmentEntry, SignedEnrolment
from ledger.errors import LedgerError
from ledger.messages import RECORD, EnrolReply
from strategies.errors import StrategyError
from strategies.exchange import Place, connected, exchange
from strategies.observer import Observer
from strategies.recorder import Recorder
from strategies.roster import Roster
from zk.batch import Check, false_ones
from zk.pedersen import CommitmentKey

IDENTIFY_SECONDS = 60.0


def enrol(recorder: Recorder, key: CommitmentKey, roster: Roster, observer: Observer) -> None:
    """Ask every connected node to enrol, check the answers together, and append one entry for each that stands.

    Clients are numbered in the order of their keys, so the order of replies changes nothing. Where the server was cut off while it
    appended, those that stand stay, and the others are asked again: a client answers what it answered before.

    Raises
    ------
    StrategyError
        Fewer clients than the agreement needs.
    """
    federation, stop = recorder.state.opening.agreement.federation, roster.stop
    if recorder.promised or recorder.state.enrolled or len(recorder.state.members) == federation.clients:
        return  # what comes next builds on the members that there are
    _wait_for_nodes(roster.grid, federation.clients, roster.timeout, observer, stop)
    nodes = sorted(roster.settle(IDENTIFY_SECONDS) if recorder.resumed else connected(roster.grid))
    observer.enrolling(len(nodes))
    requests = [
        Message(
            RecordDict({RECORD: ConfigRecord(recorder.view(node, 0).to_fields())}),
            dst_node_id=node,
            message_type=f"{MessageType.QUERY}.enrol",
        )
        for node in nodes
    ]
    shown = recorder.log.size
    before = connected(roster.grid)
    replies = exchange(roster.grid, requests, roster.timeout, stop, roster.again)
    if stop.is_set():
        return  # who was not waited for may enrol when the run goes on
    offers, refused = _judge(recorder, key, replies, {**before, **connected(roster.grid)})
    offers.sort(key=lambda offer: (offer[1].statement.client, digest(offer[1].encode())))
    taken: list[Offer] = []
    members, used = list(recorder.state.members), set[str | None](recorder.state.membership.used)
    for node, signed, reply in offers:
        member = signed.statement
        if member.client in [one.client for one in members]:
            refused.append(f"node {node}: client {member.client[:16]} has enrolled already")
        elif len(members) == federation.clients:
            refused.append(f"node {node}: the agreement takes {federation.clients} clients")
        elif member.node in used:
            refused.append(f"node {node}: client {member.client[:16]} binds a node key that another client has bound")
        elif members and member.client < members[-1].client:
            refused.append(
                f"node {node}: client {member.client[:16]} comes too late: clients behind it in the order of the keys stand already"
            )
        else:
            taken.append((node, signed, reply))
            members.append(member)
            used |= {member.node} - {None}  # any number of them may bind none
        recorder.seen(node, shown)
    over = federation.minimum_clients <= len(members) < federation.clients  # with all of them it is over by itself
    for node, signed, reply in taken:
        recorder.keep(reply.rows, POINTS)
        recorder.keep(reply.proof, ENROLMENT_PROOF)
        recorder.append(EnrolmentEntry(enrolment=signed, last=over and len(recorder.state.members) == len(members) - 1))
        roster.enter(len(recorder.state.members) - 1, node)
    observer.enrolled(recorder.state, refused)
    if over and not recorder.state.enrolled:
        raise StrategyError("enrolment was cut off before its last client, and no other enrols now: start again when one is connected")
    if len(recorder.state.members) < federation.minimum_clients:
        why = f": {refused[0]}" if refused else ""
        raise StrategyError(f"{len(recorder.state.members)} clients enrolled, the agreement needs {federation.minimum_clients}{why}")


Offer = tuple[int, SignedEnrolment, EnrolReply]


def _judge(
    recorder: Recorder, key: CommitmentKey, replies: Iterable[Message], places: Mapping[int, Place]
) -> tuple[list[Offer], list[str]]:
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
        said, place = signed.statement, places.get(node)
        if said.node is not None and (place is None or place.key != said.node):
            refused.append(f"node {node}: client {said.client[:16]} binds another node key than the one that it connects with")
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


def _wait_for_nodes(grid: Grid, wanted: int, timeout: float, observer: Observer, stop: threading.Event) -> None:
    """Return once enough nodes are connected, or when the time is over."""
    waited = 0.0
    while (nodes := len(connected(grid))) < wanted and waited < timeout and not stop.is_set():
        observer.waiting(nodes, wanted)
        stop.wait(0.5)
        waited += 0.5
