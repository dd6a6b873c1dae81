"""A client signs something else than the protocol asks for, or sends what another one signed."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from clients.member import IntArray, Trainer
from ledger.beacon import batch_digest
from ledger.canonical import digest, dump_json
from ledger.entries import SignedContribution, decode_contribution, decode_enrolment
from ledger.identity import signing_key
from ledger.messages import EnrolReply, LedgerView, TrainReply, TrainRequest
from ledger.verdicts import Reason
from tests.federation import (
    OK,
    Change,
    Content,
    Contribution,
    Federation,
    LocalMember,
    Tampered,
    cheat,
    client,
    federate,
    key_of,
    opening_of,
    recommit,
    refused,
    reply_of,
    secret,
    terms,
    with_reply,
)
from zk.field import decode_scalars


def claims(**claimed: object) -> Change:
    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        return update, samples, member.resign(reply, **claimed)

    return change


def shifted(layer: int, row: int, column: int, by: int) -> Change:
    """Send another update than the committed one, under a digest that fits what is sent."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        blinds = decode_scalars(reply.blinds, 2)
        update[layer][row, column] += by
        sent = recommit(member, update, blinds, reply)
        statement = decode_contribution(sent.statement).statement
        return update, samples, member.resign(reply, update=statement.update)

    return change


def of_value(value: int) -> Change:
    """Commit to an update with one value of the cheater's choice: everything fits, but the value."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        update[1][2, 1] = value
        return update, samples, recommit(member, update, decode_scalars(reply.blinds, 2), reply)

    return change


@pytest.mark.parametrize("place", [(0, 0, 0), (0, 5, 3), (1, 4, 2)], ids=["first", "middle", "last"])
def test_update_that_differs_from_its_commitment_by_one(folder: Path, place: tuple[int, int, int], backend: str) -> None:
    run = federate(folder, [client(0), cheat(1, shifted(*place, 1)), client(2)], backend=backend)
    refused(run, Reason.COMMITMENT_MISMATCH)
    assert run.statement(1, 1) is not None


def test_errors_of_two_cheaters_that_cancel_in_the_sum(folder: Path, backend: str) -> None:
    clients = [client(0), cheat(1, shifted(0, 0, 0, 5)), cheat(2, shifted(0, 0, 0, -5)), client(3)]
    run = federate(folder, clients, backend=backend)
    assert run.verdicts(1) == [OK, Reason.COMMITMENT_MISMATCH, Reason.COMMITMENT_MISMATCH, OK]
    assert run.verdicts(2) == [OK, OK, OK, OK]


def test_errors_of_one_cheater_that_cancel_between_two_rows(folder: Path) -> None:
    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        blinds = decode_scalars(reply.blinds, 2)
        update[0][0, 0] += 1  # value 0 of the first row
        update[1][2, 2] -= 1  # value 0 of the second row
        statement = decode_contribution(recommit(member, update, blinds, reply).statement).statement
        return update, samples, member.resign(reply, update=statement.update)

    refused(federate(folder, [client(0), cheat(1, change), client(2)]), Reason.COMMITMENT_MISMATCH)


def test_every_cheater_among_many_is_found(folder: Path) -> None:
    cheaters = {1, 2, 4}
    clients = [cheat(i, shifted(0, 0, 0, i)) if i in cheaters else client(i) for i in range(6)]
    run = federate(folder, clients)
    assert run.verdicts(1) == [Reason.COMMITMENT_MISMATCH if i in cheaters else OK for i in range(6)]


def test_the_aggregate_is_that_of_the_honest_alone(folder: Path, tmp_path: Path) -> None:
    """Whether the cheater is refused or silent, the same model comes out."""

    class Dead(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            raise RuntimeError("out of order")

    with_cheater = federate(folder, [client(0), cheat(1, shifted(0, 0, 0, 1)), client(2)], agreement=terms(3, 1))
    without = federate(tmp_path / "without", [client(0), client(1, Dead), client(2)], agreement=terms(3, 1))
    assert without.verdicts(1) == [OK, Reason.CLIENT_ERROR, OK]
    assert with_cheater.models() == without.models()


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        pytest.param({"run": digest(b"another run")}, Reason.WRONG_RUN, id="run"),
        pytest.param({"round": 2}, Reason.WRONG_ROUND, id="later round"),
        pytest.param({"model": digest(b"another model")}, Reason.STALE_MODEL, id="model"),
        pytest.param({"batch": batch_digest([0, 1, 2, 3])}, Reason.WRONG_BATCH, id="own choice of samples"),
        pytest.param({"batch": batch_digest([0, 0, 0, 0])}, Reason.WRONG_BATCH, id="one sample again and again"),
        pytest.param({"samples": 60}, Reason.WRONG_SAMPLES, id="more weight"),
        pytest.param({"client": key_of(0)}, Reason.WRONG_CLIENT, id="another's name"),
        pytest.param({"client": key_of(77)}, Reason.WRONG_CLIENT, id="name of a stranger"),
    ],
)
def test_statement_that_claims_something_else(folder: Path, claimed: dict[str, object], reason: Reason) -> None:
    run = federate(folder, [client(0), cheat(1, claims(**claimed)), client(2)])
    refused(run, reason)
    kept = run.statement(1, 1)
    assert kept is not None
    assert {name: getattr(kept.statement, name) for name in claimed} == claimed


def test_batch_in_another_order_is_another_batch(folder: Path) -> None:
    class Sorted(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            said = decode_contribution(reply.statement).statement
            orders = [[0, 1, 2, 3], [2, 3, 4, 5], [5, 4, 3, 2]]
            other = next(order for order in map(batch_digest, orders) if order != said.batch)
            return (update, samples, self.resign(reply, batch=other)) if request.round == 1 else (update, samples, reply)

    refused(federate(folder, [client(0), client(1, Sorted), client(2)]), Reason.WRONG_BATCH)


def test_first_model_in_a_later_round_is_stale(folder: Path) -> None:
    first = opening_of(terms(3)).model.digest
    run = federate(folder, [client(0), cheat(1, claims(model=first), rounds=[2]), client(2)])
    refused(run, Reason.STALE_MODEL, number=2)


def test_own_contribution_of_the_previous_round(folder: Path) -> None:
    earlier: list[Contribution] = []

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        earlier.append(contribution)
        return earlier[0]

    refused(federate(folder, [client(0), cheat(1, change, rounds=[1, 2]), client(2)]), Reason.WRONG_ROUND, number=2)


def test_contribution_to_another_run_of_the_same_agreement(folder: Path, tmp_path: Path) -> None:
    """The same clients, the same agreement, and signatures of the run before."""
    earlier: list[Contribution] = []
    agreement = terms(3, 1)

    def keep(member: LocalMember, contribution: Contribution) -> Contribution:
        earlier.append(contribution)
        return contribution

    federate(tmp_path / "before", [client(0), cheat(1, keep), client(2)], agreement=agreement)
    opening = opening_of(agreement, run=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.federation.opening_of", lambda _: opening)
        run = federate(folder, [client(0), cheat(1, lambda member, _: earlier[0]), client(2)], agreement=agreement)
    assert run.verdicts(1) == [OK, Reason.WRONG_RUN, OK]


def test_whole_reply_of_another_client(folder: Path, backend: str) -> None:
    """Node 1 sends what node 0 has sent, to the byte: node 0 keeps its verdict, node 1 gets its own."""
    stolen: list[Content] = []

    def keep(content: Content) -> Content:
        stolen.append(content)
        return content

    run = federate(folder, [Tampered(client(0), keep), Tampered(client(1), lambda _: stolen[0]), client(2)], backend=backend)
    refused(run, Reason.WRONG_CLIENT)


def forged(signed: SignedContribution, signature: str) -> bytes:
    return signed.model_copy(update={"signature": signature}).encode()


def resigned_by(number: int) -> Change:
    """Let somebody else sign."""

    def change(member: LocalMember, contribution: Contribution) -> Contribution:
        update, samples, reply = contribution
        statement = decode_contribution(reply.statement).statement
        other = SignedContribution.sign(statement, signing_key(secret(number)))
        return update, samples, TrainReply(other.encode(), reply.commitment, reply.blinds)

    return change


def altered_after_signing(member: LocalMember, contribution: Contribution) -> Contribution:
    update, samples, reply = contribution
    signed = decode_contribution(reply.statement)
    nonce = digest(b"another nonce")
    altered = signed.model_copy(update={"statement": signed.statement.model_copy(update={"nonce": nonce})})
    return update, samples, TrainReply(altered.encode(), reply.commitment, reply.blinds)


def signed_without_label(member: LocalMember, contribution: Contribution) -> Contribution:
    """Sign the statement's JSON alone, as some other protocol might have one sign it."""
    update, samples, reply = contribution
    signed = decode_contribution(reply.statement)
    raw = signing_key(member.secret).sign(dump_json(signed.statement.model_dump(mode="json")))
    return update, samples, TrainReply(forged(signed, base64.b64encode(raw).decode()), reply.commitment, reply.blinds)


def signature_of_zeros(member: LocalMember, contribution: Contribution) -> Contribution:
    update, samples, reply = contribution
    signed = decode_contribution(reply.statement)
    return update, samples, TrainReply(forged(signed, "A" * 86 + "=="), reply.commitment, reply.blinds)


@pytest.mark.parametrize("change", [resigned_by(0), altered_after_signing, signed_without_label, signature_of_zeros])
def test_signature_that_is_not_of_this_client_on_this_statement(folder: Path, change: Change) -> None:
    refused(federate(folder, [client(0), cheat(1, change), client(2)]), Reason.BAD_SIGNATURE)


def test_signature_of_the_enrolment_is_none_on_a_contribution(folder: Path) -> None:
    enrolments: list[str] = []

    class Reuser(LocalMember):
        def enrol(self, view: LedgerView) -> EnrolReply:
            reply = super().enrol(view)
            enrolments.append(decode_enrolment(reply.statement).signature)
            return reply

        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            statement = forged(decode_contribution(reply.statement), enrolments[0])
            honest = request.round != 1
            return update, samples, reply if honest else TrainReply(statement, reply.commitment, reply.blinds)

    refused(federate(folder, [client(0), client(1, Reuser), client(2)]), Reason.BAD_SIGNATURE)


LIMIT = 1 << terms().rule.plan.weight_range_bits


@pytest.mark.parametrize("value", [LIMIT + 2**28, -LIMIT - 2**28, 2 * LIMIT, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1])
def test_values_outside_the_range_of_weights(folder: Path, value: int) -> None:
    refused(federate(folder, [client(0), cheat(1, of_value(value)), client(2)]), Reason.OUT_OF_RANGE)


@pytest.mark.parametrize(("beyond", "reason"), [(0, OK), (1, Reason.OUT_OF_RANGE)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_range_of_weights_ends_where_it_was_agreed(folder: Path, beyond: int, reason: Reason, sign: int) -> None:
    """The largest weight is 2^bits - 1; one more is refused."""

    class Greedy(LocalMember):
        def contribute(self, request: TrainRequest, view: LedgerView, weights: Sequence[IntArray], trainer: Trainer) -> Contribution:
            update, samples, reply = super().contribute(request, view, weights, trainer)
            update[0][0, 0] = sign * (LIMIT - 1 + beyond) - weights[0][0, 0]
            return update, samples, recommit(self, update, decode_scalars(reply.blinds, 2), reply)

    run = Federation(folder, [client(0), client(1, Greedy), client(2)], terms(3, 1)).run()
    assert run.verdicts(1) == [OK, reason, OK]


def test_update_changed_between_signing_and_sending(folder: Path) -> None:
    """Somebody on the way changes the update, and cannot change the signature."""

    def edit(content: Content) -> Content:
        arrays = content.array_records["arrays"].to_numpy_ndarrays()
        content["arrays"] = ArrayRecord({f"layer-{i}": Array(np.asarray(layer + 1)) for i, layer in enumerate(arrays)})
        return content

    refused(federate(folder, [client(0), Tampered(client(1), edit), client(2)]), Reason.EVIDENCE_MISMATCH)


@pytest.mark.parametrize("part", ["commitment", "blinds"])
def test_part_changed_between_signing_and_sending(folder: Path, part: str) -> None:
    def edit(content: Content) -> Content:
        reply = reply_of(content)
        data: bytes = getattr(reply, part)
        return with_reply(content, replace(reply, **{part: bytes([data[0] ^ 1]) + data[1:]}))

    refused(federate(folder, [client(0), Tampered(client(1), edit), client(2)]), Reason.EVIDENCE_MISMATCH)
