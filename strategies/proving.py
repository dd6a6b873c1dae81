"""Proofs on demand: where ``proof.rate`` is below 1, a second beacon chooses which contributions must be proved.

All contributions stand in the ledger before that beacon is drawn, so nobody knows at the time of training whether it will have to prove.
Who keeps back the nonce for the choice, or cannot prove when chosen, is rejected.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from ledger.entries import STATEMENT, TRAINING_PROOF, CommitmentsEntry, Contributed, Reference, Verdict
from ledger.errors import FormatError
from ledger.judge import Expected, Parts, judge_proof, open_parts
from ledger.messages import RECORD, ProveReply, ProveRequest
from ledger.verdicts import Reason
from strategies.beacons import draw
from strategies.errors import StrategyError
from strategies.exact_fedavg import to_arrays
from strategies.journal import Drawn, Page
from strategies.judging import Accepted, Judgement
from strategies.recorder import Recorder
from strategies.replies import MAX_PART_BYTES
from strategies.roster import Roster
from zk.batch import Check, false_ones
from zk.pedersen import CommitmentKey


@dataclass(frozen=True)
class Proved:
    """The judgement with the proofs, the second beacon, and how many seconds the server waited for them."""

    judgement: Judgement
    drawn: Drawn
    waited_s: float


def fix(recorder: Recorder, expected: Expected, drawn: Drawn, judgement: Judgement) -> None:
    """Append what was contributed; the verdicts on what was not are on disk before.

    Parameters
    ----------
    recorder : Recorder
    expected : Expected
        What the contributions had to say.
    drawn : Drawn
        The beacon that chose participants and batches.
    judgement : Judgement
        Of the contributions, without proofs.
    """
    references = {verdict.client: verdict.contribution for verdict in judgement.verdicts if verdict.contribution is not None}
    contributions = tuple(Contributed(client=item.client, contribution=references[item.client]) for item in judgement.accepted)
    entry = CommitmentsEntry(
        round=expected.round, reveals=drawn.reveals, withheld=drawn.withheld, beacon=drawn.beacon, contributions=contributions
    )
    recorder.promise(Page(run=expected.run, size=recorder.log.size + 1, verdicts=judgement.verdicts))
    recorder.append(entry, {item.client: item.statement for item in judgement.accepted})


def fixed(recorder: Recorder, key: CommitmentKey, expected: Expected) -> Judgement:
    """Return the judgement that :func:`fix` had appended when the server was cut off.

    Raises
    ------
    StrategyError
        The journal or the evidence does not have what stands in the ledger.
    """
    standing, page, get = recorder.state.standing, recorder.page, recorder.log.evidence.get
    accepted = []
    for item in standing.contributions if standing else ():
        statement = recorder.statement(item.contribution)
        update, commitment, blinds = (get(one.digest, one.size) for one in (statement.update, statement.commitment, statement.blinds))
        opened = open_parts(expected, key, statement, Parts(update, commitment, blinds))
        if isinstance(opened, Reason):
            raise StrategyError(f"the evidence of client {item.client} for round {expected.round} is damaged: see 'lunaria fsck'")
        accepted.append(Accepted(item.client, statement, opened, Message(RecordDict(), dst_node_id=0, message_type=MessageType.TRAIN)))
    if [verdict.client for verdict in page.verdicts if verdict.accepted] != [item.client for item in accepted]:
        raise StrategyError(f"the journal has no verdicts for round {expected.round}, which is in progress: bring it back from a backup")
    return Judgement(page.verdicts, tuple(accepted))


def prove_some(recorder: Recorder, key: CommitmentKey, expected: Expected, judgement: Judgement, roster: Roster) -> Proved:
    """Draw the second beacon, ask for the proofs that it chooses, and judge them; the contributions stand in the ledger."""
    references = {verdict.client: verdict.contribution for verdict in judgement.verdicts if verdict.contribution is not None}
    second = draw(recorder, roster, lambda _: recorder.log.size - 1)
    chosen = recorder.state.provers(second.beacon, second.reveals)
    asked = [item for item in judgement.accepted if item.client in chosen]
    began = time.monotonic()
    replies = _ask_for_proofs(recorder, roster, expected, second, [item.client for item in asked])
    proving = time.monotonic() - began
    found = _judge(recorder, key, expected, asked, references, replies)
    verdicts = tuple(_verdict(verdict, second, found) for verdict in judgement.verdicts)
    reasons = {verdict.client: verdict.reason for verdict in verdicts}
    accepted = tuple(item for item in judgement.accepted if reasons[item.client] is Reason.ACCEPTED)
    return Proved(Judgement(verdicts, accepted), second, proving)


Found = tuple[Reason, Reference | None]  # what became of one proof, and its signed statement where it is kept


def _verdict(verdict: Verdict, second: Drawn, found: Mapping[int, Found]) -> Verdict:
    if not verdict.accepted:
        return verdict
    if verdict.client in second.withheld:
        return verdict.model_copy(update={"reason": Reason.WITHHELD})
    reason, reference = found.get(verdict.client, (Reason.ACCEPTED, None))
    return verdict.model_copy(update={"reason": reason, "proof": reference})


def _ask_for_proofs(recorder: Recorder, roster: Roster, expected: Expected, second: Drawn, clients: Sequence[int]) -> dict[int, ProveReply]:
    """Return the first readable reply of each client."""
    request = ProveRequest(round=expected.round, clients=second.clients, nonces=second.nonces).to_fields()
    arrays = to_arrays(expected.rule, expected.weights)
    messages = []
    for one in clients:
        node = roster.node(one)
        view = recorder.view(node, recorder.log.size - 1)
        content = RecordDict({"arrays": arrays, RECORD: ConfigRecord({**request, **view.to_fields()})})
        messages.append(Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.prove"))
    replies: dict[int, ProveReply] = {}
    for message in roster.ask(messages):
        node = message.metadata.src_node_id
        client = roster.client(node)
        if client is None or client not in clients or message.has_error():
            continue
        recorder.seen(node, recorder.log.size)
        try:
            reply = ProveReply.from_fields(message.content.config_records.get(RECORD) or {})
        except FormatError:
            continue
        if len(reply.proof) <= MAX_PART_BYTES:
            replies.setdefault(client, reply)
    return replies


def _judge(
    recorder: Recorder,
    key: CommitmentKey,
    expected: Expected,
    asked: Sequence[Accepted],
    references: Mapping[int, Reference],
    replies: Mapping[int, ProveReply],
) -> dict[int, Found]:
    """Judge the proofs together; keep those whose client signed for them."""
    found: dict[int, Found] = {item.client: (Reason.NO_PROOF, None) for item in asked}
    checks: list[tuple[int, Check]] = []
    for item in asked:
        reply = replies.get(item.client)
        if reply is None:
            continue
        member = recorder.state.members[item.client]
        rows = recorder.log.evidence.get(member.rows.digest, member.rows.size)
        contribution = references[item.client].digest
        result = judge_proof(expected, member, rows, contribution, item.opened.update, reply.statement, reply.proof)
        if isinstance(result, Reason):
            continue
        recorder.keep(reply.proof, TRAINING_PROOF)
        found[item.client] = (Reason.ACCEPTED, recorder.keep(reply.statement, STATEMENT))
        checks.append((item.client, result))
    for position in false_ones(key, [check for _, check in checks]):
        client = checks[position][0]
        found[client] = (Reason.BAD_PROOF, found[client][1])
    return found
