"""Who holds the log's key can sign any tree; the audit finds what is false in it, and names the check and the entry."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger.agreement import Agreement
from ledger.archive import INDEX
from ledger.audit import Trust
from ledger.canonical import dump_json, dump_vector, load_vector
from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.enrolment import UNPROVED
from ledger.entries import ENROLMENT_PROOF, POINTS, SCALARS, STATEMENT, TENSOR
from ledger.export import evidence_name
from ledger.note import Ed25519Signer, sign
from ledger.report import Check
from ledger.tiles import entries_path, tile_path
from tests.federation import key_of
from tests.ledger.conftest import (
    CLOSING,
    FIRST,
    LAST,
    NUMBERS,
    SIZE,
    Auditor,
    Forgery,
    Json,
    agreed,
    commitments,
    found,
    reasons,
    small_update,
)
from zk.field import ORDER, encode_scalars

STRANGER = Ed25519Signer("lunaria.local/attacks", bytes([7] * 32))
OTHER_ORIGIN = Ed25519Signer("lunaria.local/other", bytes(32))
Findings = set[tuple[Check, int | None]]


def accepted(forgery: Forgery, position: int, place: int = 0) -> Json:
    """Return the statement of an accepted contribution."""
    reference = forgery[position]["verdicts"][place]["contribution"]
    value: Json = json.loads(forgery.evidence[reference["digest"]])["statement"]
    return value


class TestTheAttackersTools:
    """What the forgery packs when nothing is forged verifies: each finding below is about what was forged alone."""

    def test_an_export_is_packed_as_it_was(self, forgery: Forgery, export: Path, auditor: Auditor) -> None:
        assert auditor(forgery).verified
        assert (auditor.folder / "forged.tar").read_bytes() == export.read_bytes()

    @pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
    def test_a_run_of_ones_own_verifies(self, auditor: Auditor, agreement: Agreement, backend: str) -> None:
        forgery = Forgery.begin(agreement)
        forgery.full_round(FIRST)
        forgery.full_round(LAST)
        forgery.close()
        report = auditor(forgery, backend=backend)
        assert report.verified, reasons(report)
        assert set(report.counts) == set(Check) - {Check.PROOFS, Check.SCORES}  # this agreement asks for neither

    @pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
    def test_a_run_that_is_still_open_verifies(self, forgery: Forgery, auditor: Auditor, count: int) -> None:
        forgery.entries = forgery.entries[:count]
        report = auditor(forgery)
        assert report.verified, reasons(report)
        assert report.summary["outcome"] == "still open: no closing entry"

    def test_a_round_again_verifies(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.full_round(LAST)
        forgery.close()
        assert auditor(forgery).verified


class TestCheckpoint:
    def test_by_another_key(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files() | {"checkpoint": forgery.checkpoint(signer=STRANGER)}
        assert found(auditor(files)) == {(Check.CHECKPOINT, None)}

    def test_another_key_throughout(self, forgery: Forgery, auditor: Auditor) -> None:
        """The export is signed and labelled by a stranger; the agreement names the key it should be."""
        forgery.signer = STRANGER
        assert found(auditor(forgery)) == {(Check.AGREEMENT, 0)}

    def test_another_origin_throughout(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.signer = OTHER_ORIGIN
        assert (Check.AGREEMENT, 0) in found(auditor(forgery))

    def test_the_agreement_names_another_origin(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = forgery.entries[:1]
        forgery[0]["origin"] = "lunaria.local/other"
        assert found(auditor(forgery)) == {(Check.AGREEMENT, 0)}

    def test_another_origin_under_the_same_key(self, forgery: Forgery, auditor: Auditor) -> None:
        text = format_checkpoint(Checkpoint("lunaria.local/other", 7, forgery.root(7)))
        report = auditor(forgery.files() | {"checkpoint": sign(text, forgery.signer)})
        assert found(report) == {(Check.CHECKPOINT, None)}
        assert "lunaria.local/other" in reasons(report)

    def test_extension_lines(self, forgery: Forgery, auditor: Auditor) -> None:
        report = auditor(forgery.files() | {"checkpoint": forgery.checkpoint(extensions=("and more",))})
        assert found(report) == {(Check.CHECKPOINT, None)}
        assert "extension" in reasons(report)

    def test_another_root(self, forgery: Forgery, auditor: Auditor) -> None:
        report = auditor(forgery.files() | {"checkpoint": forgery.checkpoint(root=bytes(32))})
        assert found(report) == {(Check.TREE, None)}

    @pytest.mark.parametrize("size", [0, 1, 6, 8, 255, 256, 257, 10**4, 10**6, 2**40, 2**63 - 1])
    def test_another_size(self, forgery: Forgery, auditor: Auditor, size: int) -> None:
        assert found(auditor(forgery.files() | {"checkpoint": forgery.checkpoint(size=size)})) == {(Check.TREE, None)}

    def test_a_size_of_no_file(self, forgery: Forgery, auditor: Auditor) -> None:
        assert "more than the file has bytes" in reasons(auditor(forgery.files() | {"checkpoint": forgery.checkpoint(size=10**6)}))

    @pytest.mark.parametrize("data", [b"", b"\n", b"x" * 2**20, b"x" * (2**20 + 1), "\u2014 x y\n".encode() * 300])
    def test_no_checkpoint_at_all(self, forgery: Forgery, auditor: Auditor, data: bytes) -> None:
        assert found(auditor(forgery.files() | {"checkpoint": data})) == {(Check.CHECKPOINT, None)}

    def test_missing(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files()
        del files["checkpoint"]
        report = auditor(files)
        assert found(report) == {(Check.CHECKPOINT, None)}
        assert "checkpoint is missing" in reasons(report)

    def test_not_the_key_that_the_auditor_knows(self, forgery: Forgery, auditor: Auditor) -> None:
        report = auditor(forgery, Trust(log_key=str(STRANGER.verifier.key)))
        assert found(report) == {(Check.CHECKPOINT, None)}
        assert not any("taken from the export" in note for note in auditor(forgery, Trust(str(forgery.signer.verifier.key))).notes)

    def test_no_entry_at_all(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = []
        report = auditor({INDEX: forgery.files()[INDEX], "checkpoint": forgery.checkpoint()})
        assert found(report) == {(Check.SEQUENCE, None)}


class TestIndex:
    @pytest.mark.parametrize(
        "change",
        [
            {"format": "lunaria-export/v2"},
            {"more": 1},
            {"updates": 1},
            {"updates": "true"},
            {"log-key": 5},
            {"log-key": "x" * 256},
        ],
    )
    def test_another_schema(self, forgery: Forgery, auditor: Auditor, change: Json) -> None:
        files = forgery.files()
        files[INDEX] = dump_json(json.loads(files[INDEX]) | change)
        assert found(auditor(files)) == {(Check.ARCHIVE, None)}

    @pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 60_000, b"9" * 5000, b" " * 70_000])
    def test_other_content(self, forgery: Forgery, auditor: Auditor, data: bytes) -> None:
        assert found(auditor(forgery.files() | {INDEX: data})) == {(Check.ARCHIVE, None)}

    def test_not_canonical(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files()
        files[INDEX] = json.dumps(json.loads(files[INDEX])).encode()
        assert found(auditor(files)) == {(Check.ARCHIVE, None)}

    @pytest.mark.parametrize(
        "key", ["", "x", "a+00000000+AQ==", "lunaria.local/attacks+00000000+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"]
    )
    def test_no_key(self, forgery: Forgery, auditor: Auditor, key: str) -> None:
        files = forgery.files()
        files[INDEX] = dump_json(json.loads(files[INDEX]) | {"log-key": key})
        assert found(auditor(files)) == {(Check.CHECKPOINT, None)}

    def test_updates_that_are_said_to_be_left_out(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files()
        files[INDEX] = dump_json(json.loads(files[INDEX]) | {"updates": False})
        report = auditor(files)
        assert found(report) == {(Check.EVIDENCE, None)}
        assert len(report.findings) == 8  # update and blinds of four contributions

    def test_updates_that_are_said_to_be_there(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.updates = False
        files = forgery.files()
        files[INDEX] = dump_json(json.loads(files[INDEX]) | {"updates": True})
        report = auditor(files)
        assert found(report) == {(Check.EVIDENCE, FIRST), (Check.EVIDENCE, LAST)}


class TestTree:
    def test_a_missing_tile(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files()
        del files["tile/0/000.p/7"]
        assert found(auditor(files)) == {(Check.TREE, None)}

    @pytest.mark.parametrize("change", [lambda d: d[:-32], lambda d: d[:-1], lambda d: d + bytes(32), lambda d: d + b"x", lambda d: b""])
    def test_a_tile_of_another_length(self, forgery: Forgery, auditor: Auditor, change: Callable[[bytes], bytes]) -> None:
        files = forgery.files()
        files["tile/0/000.p/7"] = change(files["tile/0/000.p/7"])
        assert {check for check, _ in found(auditor(files))} == {Check.TREE}

    def test_a_missing_bundle(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files()
        del files["tile/entries/000.p/7"]
        assert found(auditor(files)) == {(Check.TREE, None)}

    def test_an_oversized_bundle(self, forgery: Forgery, auditor: Auditor) -> None:
        files = forgery.files() | {"tile/entries/000.p/7": bytes(256 * 65_537 + 1)}
        assert found(auditor(files)) == {(Check.TREE, None)}

    @pytest.mark.parametrize("name", ["tile/0/001.p/7", "tile/1/000.p/1", "tile/entries/001.p/1", "tile/0/000", "tile/../secret", "zzz"])
    def test_a_file_too_many(self, forgery: Forgery, auditor: Auditor, name: str) -> None:
        report = auditor(forgery.files() | {name: b"x"})
        assert found(report) == {(Check.EVIDENCE, None)}
        assert name in reasons(report)

    def test_a_tree_of_more_than_a_tile(self, forgery: Forgery, auditor: Auditor) -> None:
        """Three hundred entries: full and partial tiles, a second level; then one node of each is changed."""
        forgery.entries += [forgery[CLOSING]] * 293
        files = forgery.files()
        assert found(auditor(files)) == {(Check.SEQUENCE, 7)}
        for name, node, entry in (("tile/0/000", 255, 255), ("tile/0/001.p/44", 43, 299), ("tile/1/000.p/1", 0, None)):
            data = bytearray(files[name])
            data[32 * node] ^= 1
            report = auditor(files | {name: bytes(data)})
            assert (Check.TREE, entry) in found(report)


class TestEntries:
    """Bytes that are no entry."""

    @pytest.mark.parametrize("position", [0, 1, FIRST, CLOSING])
    @pytest.mark.parametrize(
        "change",
        [{"kind": "settlement"}, {"kind": 1}, {"version": 2}, {"version": "1"}, {"version": True}, {"more": None}],
    )
    def test_another_schema(self, forgery: Forgery, auditor: Auditor, position: int, change: Json) -> None:
        forgery[position].update(change)
        assert found(auditor(forgery)) == {(Check.ENTRIES, position)}

    @pytest.mark.parametrize(
        "data", [b"", b"{}", b"[]", b"null", b"\xff\xff", b"NaN", b"1e400", b'"\xed\xa0\x80"', b"9" * 5000, b" " * 65_535]
    )
    def test_other_bytes(self, forgery: Forgery, auditor: Auditor, data: bytes) -> None:
        forgery.entries[LAST] = data
        assert found(auditor(forgery)) == {(Check.ENTRIES, LAST)}

    @pytest.mark.parametrize("depth", [10, 200, 480, *range(900, 1000, 7), 3000, 32_000])
    def test_nested_bytes(self, forgery: Forgery, auditor: Auditor, depth: int) -> None:
        forgery.entries[LAST] = b"[" * depth + b"]" * depth
        assert found(auditor(forgery)) == {(Check.ENTRIES, LAST)}

    def test_not_canonical(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[LAST] = json.dumps(forgery[LAST], sort_keys=True).encode()
        report = auditor(forgery)
        assert found(report) == {(Check.ENTRIES, LAST)}
        assert "canonical" in reasons(report)

    def test_a_key_twice(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[CLOSING] = forgery.leaf(CLOSING)[:-1] + b',"version":1}'
        assert found(auditor(forgery)) == {(Check.ENTRIES, CLOSING)}

    def test_a_field_left_out(self, forgery: Forgery, auditor: Auditor) -> None:
        del forgery[LAST]["verdicts"][0]["contribution"]
        assert found(auditor(forgery)) == {(Check.ENTRIES, LAST)}

    @pytest.mark.parametrize("value", [0, -1, 2**53, 1.5, "2", None, True])
    def test_a_round_that_is_no_number(self, forgery: Forgery, auditor: Auditor, value: object) -> None:
        if value == 2**53:
            forgery.entries[LAST] = forgery.leaf(LAST).replace(b'"round":2', b'"round":9007199254740992')
        else:
            forgery[LAST]["round"] = value
        assert found(auditor(forgery)) == {(Check.ENTRIES, LAST)}


class TestSequence:
    """Entries that do not follow each other as a run can go."""

    def check(self, auditor: Auditor, forgery: Forgery, position: int, text: str) -> None:
        report = auditor(forgery)
        assert found(report) == {(Check.SEQUENCE, position)}, reasons(report)
        assert text in reasons(report)

    def test_it_begins_otherwise(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = forgery.entries[1:]
        self.check(auditor, forgery, 0, "instead of the agreement")

    def test_two_agreements(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries.insert(1, forgery[0])
        self.check(auditor, forgery, 1, "second agreement")

    def test_enrolments_in_another_order(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[1:] = [forgery[2], forgery[1]]
        self.check(auditor, forgery, 2, "order of their keys")

    def test_an_enrolment_twice(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[2:] = [forgery[1]]
        self.check(auditor, forgery, 2, "enrols twice")

    def test_an_enrolment_too_many(self, forgery: Forgery, auditor: Auditor) -> None:
        numbers = sorted(range(4), key=key_of)
        forgery.entries[1:] = [forgery.enrolment(number) for number in numbers]
        self.check(auditor, forgery, 4, "more enrolments than")

    def test_an_enrolment_after_the_first_round(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[LAST:] = [forgery.enrolment(4)]
        self.check(auditor, forgery, LAST, "after the first round")

    def test_a_round_is_dropped(self, forgery: Forgery, auditor: Auditor) -> None:
        del forgery.entries[FIRST]
        self.check(auditor, forgery, FIRST, "round 2 follows round 0")

    def test_a_round_is_repeated(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries.insert(LAST, forgery[FIRST])
        self.check(auditor, forgery, LAST, "round 1 follows round 1")

    def test_rounds_change_places(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries[FIRST : LAST + 1] = [forgery[LAST], forgery[FIRST]]
        self.check(auditor, forgery, FIRST, "round 2 follows round 0")

    @pytest.mark.parametrize("number", [3, 2**31, 2**32, 2**53 - 1])
    def test_another_number_of_round(self, forgery: Forgery, auditor: Auditor, number: int) -> None:
        forgery[LAST]["round"] = number
        self.check(auditor, forgery, LAST, f"round {number} follows round 1")

    def test_more_rounds_than_agreed(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.full_round(LAST)
        forgery.full_round(CLOSING)
        self.check(auditor, forgery, CLOSING, "beyond rounds.count")

    def test_a_round_with_too_few_clients(self, auditor: Auditor) -> None:
        forgery = Forgery.begin(agreed(federation={"minimum_clients": 3}), clients=[0, 1])
        forgery.full_round(3)
        self.check(auditor, forgery, 3, "fewer clients than federation.minimum-clients")

    def test_a_round_after_one_with_too_few_accepted(self, auditor: Auditor) -> None:
        forgery = Forgery.begin(agreed(rounds={"minimum_accepted": 1}))
        forgery.open_round(FIRST)
        assert auditor(forgery).verified
        forgery.entries.append(json.loads(forgery.leaf(FIRST)) | {"round": 2, "reveals": [], "withheld": [], "beacon": "0" * 64})
        report = auditor(forgery)
        assert (Check.SEQUENCE, LAST) in found(report)
        assert "rounds.minimum-accepted" in reasons(report)

    def test_a_participant_is_dropped(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.open_round(LAST)
        forgery.judge(LAST, 0)
        del forgery[LAST]["verdicts"][1]
        forgery.settle(LAST)
        self.check(auditor, forgery, LAST, "not about the clients that the beacon chose")

    def test_other_participants(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        (absent,) = {0, 1, 2} - {verdict["client"] for verdict in entry["verdicts"]}
        entry["verdicts"][1]["client"] = absent
        entry["verdicts"].sort(key=lambda verdict: verdict["client"])
        for place in (0, 1):
            forgery.judge(LAST, place)
        forgery.settle(LAST)
        self.check(auditor, forgery, LAST, "not about the clients that the beacon chose")

    def test_one_participant_counted_twice(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.full_round(LAST)
        forgery[LAST]["verdicts"][1] = forgery[LAST]["verdicts"][0]
        forgery.settle(LAST)
        self.check(auditor, forgery, LAST, "not about the clients that the beacon chose")

    def test_a_client_that_does_not_exist(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.open_round(LAST)["verdicts"][0]["client"] = 9999
        self.check(auditor, forgery, LAST, "client 9999, but 3 are enrolled")

    def test_a_nonce_is_neither_revealed_nor_withheld(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST, withheld=[forgery[LAST]["reveals"][0]["client"]])
        entry["withheld"] = []
        self.check(auditor, forgery, LAST, "not those of the clients that had committed")

    def test_a_nonce_of_nobody(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        (absent,) = {0, 1, 2} - {reveal["client"] for reveal in entry["reveals"]}
        entry["withheld"] = [absent]
        self.check(auditor, forgery, LAST, "not those of the clients that had committed")

    def test_a_withheld_nonce_is_no_finding(self, forgery: Forgery, auditor: Auditor) -> None:
        """Withholding is visible in the ledger; it is not false."""
        forgery.open_round(LAST, withheld=[forgery[LAST]["reveals"][0]["client"]])
        for place in (0, 1):
            forgery.judge(LAST, place)
        forgery.settle(LAST)
        assert auditor(forgery).verified

    def test_reveals_in_another_order(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = forgery.entries[: LAST + 1]
        forgery[LAST]["reveals"].reverse()
        self.check(auditor, forgery, LAST, "ascending order")

    def test_another_model_before(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        entry["model-before"] = forgery[0]["model"]["digest"]
        self.check(auditor, forgery, LAST, "model-before")

    def test_a_new_model_without_an_aggregate(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        assert auditor(forgery).verified
        entry["model-after"] = forgery.put(dump_vector(forgery.model(LAST) + 1), TENSOR)
        self.check(auditor, forgery, LAST, "without an aggregate")

    def test_no_aggregate_although_enough_were_accepted(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.full_round(LAST)
        entry |= {"aggregate": None, "model-after": forgery[FIRST]["model-after"]}
        self.check(auditor, forgery, LAST, "enough accepted")

    def test_an_aggregate_although_nothing_was_accepted(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.open_round(LAST)
        forgery.aggregate(LAST, small_update(1), 12, encode_scalars([0, 0]))
        self.check(auditor, forgery, LAST, "enough accepted")

    def test_an_aggregate_of_too_few(self, auditor: Auditor) -> None:
        forgery = Forgery.begin(agreed(rounds={"minimum_accepted": 2}))
        forgery.open_round(FIRST)
        forgery.judge(FIRST, 0)
        forgery.settle(FIRST)
        self.check(auditor, forgery, FIRST, "enough accepted")

    def test_an_aggregate_that_counts_other_samples(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.full_round(LAST)["aggregate"]["samples"] += 1
        self.check(auditor, forgery, LAST, "samples instead of 12")

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"rounds": 1}, "counts 1 rounds instead of 2"),
            ({"model": "0" * 64}, "another model"),
            ({"outcome": "too-few-accepted"}, "had enough"),
        ],
    )
    def test_a_wrong_closing(self, forgery: Forgery, auditor: Auditor, change: Json, text: str) -> None:
        forgery[CLOSING].update(change)
        self.check(auditor, forgery, CLOSING, text)

    def test_completed_too_early(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = forgery.entries[:LAST]
        forgery.close("completed")
        self.check(auditor, forgery, LAST, "completed after 1 of 2")

    def test_interrupted_is_no_finding(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.entries = forgery.entries[:LAST]
        forgery.close("interrupted")
        assert auditor(forgery).verified

    @pytest.mark.parametrize("position", [1, FIRST, LAST, CLOSING])
    def test_an_entry_after_the_closing(self, forgery: Forgery, auditor: Auditor, position: int) -> None:
        forgery.entries.append(forgery[position])
        report = auditor(forgery)
        assert (Check.SEQUENCE, 7) in found(report)


class TestAgreement:
    """Entry 0 alone: everything in it is recomputed."""

    def check(self, auditor: Auditor, forgery: Forgery, text: str, check: Check = Check.AGREEMENT, trust: Trust | None = None) -> None:
        report = auditor(forgery, trust)
        assert found(report) == {(check, 0)}, reasons(report)
        assert text in reasons(report)

    @pytest.fixture
    def opening(self, forgery: Forgery) -> Forgery:
        forgery.entries = forgery.entries[:1]
        return forgery

    def test_not_the_one_that_the_auditor_knows(self, forgery: Forgery, auditor: Auditor, agreement: Agreement) -> None:
        assert auditor(forgery, Trust(agreement=agreement)).verified
        self.check(
            auditor,
            forgery,
            "not the one that was given",
            trust=Trust(agreement=agreed().model_copy(update={"data": agreed(data={"terms": "x"}).data})),
        )

    def test_changed_after_the_fact(self, forgery: Forgery, auditor: Auditor) -> None:
        """Every enrolment, beacon and contribution names the entry as it was."""
        forgery[0]["agreement"]["data"]["terms"] = "the data may be sold"
        report = auditor(forgery)
        assert found(report) == {(Check.ENROLMENTS, 1), (Check.SEQUENCE, 1)}
        assert "another run" in reasons(report)

    def test_another_first_model(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["model"] = opening.put(dump_vector(small_update(1)), TENSOR)
        self.check(auditor, opening, "seed expands to")

    def test_another_seed(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["agreement"]["model"]["seed"] = "11" * 32
        self.check(auditor, opening, "seed expands to")

    def test_a_first_model_by_digest(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["model"] = opening.put(dump_vector(small_update(1)), TENSOR)
        opening[0]["agreement"]["model"] |= {"seed": None, "initial": opening[0]["model"]["digest"]}
        assert auditor(opening).verified
        opening[0]["agreement"]["model"]["initial"] = "0" * 64
        self.check(auditor, opening, "whose digest the agreement gives")

    @pytest.mark.parametrize("data", [b"", b"x", dump_vector(small_update(1, 38)), dump_vector(small_update(1, 40)), b"\x80\x04N."])
    def test_a_first_model_that_is_none(self, opening: Forgery, auditor: Auditor, data: bytes) -> None:
        opening[0]["model"] = opening.put(data, TENSOR)
        self.check(auditor, opening, "not a canonical tensor")

    def test_other_tables(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["tables"] = "0" * 64
        self.check(auditor, opening, "tables")

    def test_no_first_model(self, opening: Forgery, auditor: Auditor) -> None:
        opening.evidence = {}
        self.check(auditor, opening, "missing", Check.EVIDENCE)

    def test_another_size(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["model"]["size"] += 1
        self.check(auditor, opening, "changed", Check.EVIDENCE)

    def test_another_media_type(self, opening: Forgery, auditor: Auditor) -> None:
        opening[0]["model"]["media-type"] = "application/x-pickle"
        self.check(auditor, opening, "application/x-pickle", Check.EVIDENCE)

    @pytest.mark.parametrize(
        ("section", "change"),
        [
            ("model", {"layers": [5, 10**9, 3]}),
            ("model", {"layers": [10**9, 4, 3]}),
            ("model", {"layers": [5] * 17}),
            ("model", {"layers": [5, -4, 3]}),
            ("model", {"layers": [5, 4, 17]}),
            ("model", {"layers": [2**53 - 1] * 16}),
            ("training", {"local-steps": 2**40}),
            ("training", {"batch": 2**40}),
            ("training", {"local-steps": 65_536, "batch": 2}),
            ("training", {"learning-rate": 0.25}),
            ("fixed-point", {"limb-bits": 2**40}),
            ("fixed-point", {"rate-shift": 2**40}),
            ("fixed-point", {"rate-shift": 10**6}),
            ("fixed-point", {"error-bits": 2**40}),
            ("fixed-point", {"output-error-bits": 2**40}),
            ("fixed-point", {"rate-numerator": 2**53 - 1}),
            ("fixed-point", {"weight-range-bits": 2**40}),
            ("fixed-point", {"weight-range-bits": 0}),
            ("federation", {"clients": 10**9}),
            ("federation", {"maximum-samples": 2**40}),
            ("rounds", {"participants": 10**9}),
            ("rounds", {"count": 2**40}),
            ("proof", {"kind": "perfect"}),
            ("proof", {"kind": None}),
            ("privacy", {"mode": "secret"}),
            ("witnesses", {"quorum": 1}),
            ("witnesses", {"keys": ["a+b"]}),
            ("aggregation", {"learning-rate": 2**40}),
        ],
    )
    def test_sizes_and_terms_that_do_not_fit(self, opening: Forgery, auditor: Auditor, section: str, change: Json) -> None:
        opening[0]["agreement"][section] |= change
        assert found(auditor(opening)) == {(Check.ENTRIES, 0)}

    @pytest.mark.parametrize("limb_bits", [1, 2, 15, 16])
    def test_a_strange_plan_is_no_crash(self, opening: Forgery, auditor: Auditor, limb_bits: int) -> None:
        """Consistent, with tables as large as there can be, and weights that no seed fits."""
        plan = opening[0]["agreement"]["fixed-point"]
        plan |= dict.fromkeys(("feature-bits", "activation-bits", "logit-bits"), 1)
        plan |= {"limb-bits": limb_bits, "weight-range-bits": 1, "rate-numerator": 1, "rate-shift": 4}
        plan |= dict.fromkeys(("output-error-bits", "error-bits"), max(1, 2 * limb_bits - 5))
        opening[0]["agreement"]["training"] |= {"learning-rate": 2 / 16}
        assert {check for check, _ in found(auditor(opening))} <= {Check.AGREEMENT, Check.ENTRIES}

    def test_a_seed_that_does_not_fit_the_range_of_weights(self, opening: Forgery, auditor: Auditor) -> None:
        from ledger.agreement import Agreement
        from zk.tables import tables_digest

        opening[0]["agreement"]["fixed-point"]["weight-range-bits"] = 8
        rule = Agreement.model_validate_json(dump_json(opening[0]["agreement"])).rule
        opening[0]["tables"] = tables_digest(rule)
        self.check(auditor, opening, "range")


class TestEnrolments:
    def check(self, auditor: Auditor, forgery: Forgery, position: int, text: str, *more: tuple[Check, int]) -> None:
        report = auditor(forgery)
        assert found(report) == {(Check.ENROLMENTS, position), *more}, reasons(report)
        assert text in reasons(report)

    @pytest.fixture
    def alone(self, forgery: Forgery) -> Forgery:
        """Three good enrolments that the attacker can make again."""
        forgery.entries[1:] = [forgery.enrolment(number) for number in sorted(range(3), key=key_of)]
        return forgery

    def number(self, forgery: Forgery, position: int) -> int:
        return NUMBERS[forgery[position]["enrolment"]["statement"]["client"]]

    def test_they_verify(self, alone: Forgery, auditor: Auditor) -> None:
        assert auditor(alone).verified

    def test_rows_stolen_from_another(self, alone: Forgery, auditor: Auditor) -> None:
        said = alone[1]["enrolment"]["statement"]
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={name: said[name] for name in ("rows", "proof")})
        self.check(auditor, alone, 2, UNPROVED)

    def test_rows_that_nobody_can_open(self, alone: Forgery, auditor: Auditor) -> None:
        rows = alone.evidence[alone[1]["enrolment"]["statement"]["rows"]["digest"]]
        alone.entries[2] = alone.enrolment(self.number(alone, 2), rows=rows)
        self.check(auditor, alone, 2, UNPROVED)

    def test_all_of_them_false(self, alone: Forgery, auditor: Auditor) -> None:
        rows = commitments().encode([commitments().generators[0]] * 6)
        for position in (1, 2, 3):
            alone.entries[position] = alone.enrolment(self.number(alone, position), rows=rows)
        report = auditor(alone)
        assert found(report) == {(Check.ENROLMENTS, position) for position in (1, 2, 3)}

    def test_not_signed_by_the_client(self, alone: Forgery, auditor: Auditor) -> None:
        alone[2]["enrolment"]["signature"] = alone[1]["enrolment"]["signature"]
        self.check(auditor, alone, 2, "not by client")

    @pytest.mark.parametrize("client", ["00" * 32, "ff" * 32, "01" + "00" * 31, "ed" + "ff" * 30 + "7f"])
    def test_a_key_that_is_none(self, alone: Forgery, auditor: Auditor, client: str) -> None:
        """The neutral element and others of small order sign anything in careless implementations."""
        alone.entries = alone.entries[:2]
        alone[1]["enrolment"]["statement"]["client"] = client
        alone[1]["enrolment"]["signature"] = "AQ" + "A" * 84 + "=="
        assert (Check.ENROLMENTS, 1) in found(auditor(alone))

    def test_for_another_run(self, alone: Forgery, auditor: Auditor) -> None:
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={"run": "0" * 64})
        self.check(auditor, alone, 2, "another run", (Check.SEQUENCE, 2))

    def test_of_nobody_on_the_list(self, auditor: Auditor) -> None:
        forgery = Forgery.begin(agreed(federation={"members": [key_of(4)]}), clients=[0])
        self.check(auditor, forgery, 1, "federation.members", (Check.SEQUENCE, 1))

    def test_more_samples_than_rows(self, alone: Forgery, auditor: Auditor) -> None:
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={"samples": 7})
        self.check(auditor, alone, 2, "commits to 6 rows but states 7 samples")

    @pytest.mark.parametrize("samples", [65_537, 2**53 - 1])
    def test_more_samples_than_agreed(self, alone: Forgery, auditor: Auditor, samples: int) -> None:
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={"samples": samples})
        self.check(auditor, alone, 2, "the agreement takes", (Check.SEQUENCE, 2))

    @pytest.mark.parametrize("rows", [b"", b"x" * 48 * 6, b"x" * 47 * 6, b"\xc0" + bytes(47), bytes(288), b"\xff" * 288])
    def test_rows_that_are_no_points(self, alone: Forgery, auditor: Auditor, rows: bytes) -> None:
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={"rows": alone.put(rows, POINTS)})
        self.check(auditor, alone, 2, "client")

    @pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: b"", lambda p: p[:-32] + b"\xff" * 32])
    def test_a_proof_that_is_none(self, alone: Forgery, auditor: Auditor, change: Callable[[bytes], bytes]) -> None:
        proof = alone.evidence[alone[2]["enrolment"]["statement"]["proof"]["digest"]]
        claims = {"proof": alone.put(change(proof), ENROLMENT_PROOF)}
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims=claims)
        self.check(auditor, alone, 2, "client")

    def test_a_proof_with_a_byte_behind_it(self, alone: Forgery, auditor: Auditor) -> None:
        """It is longer than any proof for so many samples, so it is not even read."""
        proof = alone.evidence[alone[2]["enrolment"]["statement"]["proof"]["digest"]]
        alone.entries[2] = alone.enrolment(self.number(alone, 2), proof=proof + b"\0")
        assert found(auditor(alone)) == {(Check.EVIDENCE, 2)}

    def test_evidence_of_another_size(self, alone: Forgery, auditor: Auditor) -> None:
        rows = dict(alone[2]["enrolment"]["statement"]["rows"])
        alone.entries[2] = alone.enrolment(self.number(alone, 2), claims={"rows": rows | {"size": 240}})
        report = auditor(alone)
        assert found(report) == {(Check.EVIDENCE, 2)}

    def test_a_false_proof_before_a_false_sequence(self, alone: Forgery, auditor: Auditor) -> None:
        """What was collected is judged even when the replay cannot go on."""
        rows = alone.evidence[alone[1]["enrolment"]["statement"]["rows"]["digest"]]
        alone.entries[2] = alone.enrolment(self.number(alone, 2), rows=rows)
        alone.entries[3] = alone[0]
        assert found(auditor(alone)) == {(Check.ENROLMENTS, 2), (Check.SEQUENCE, 3)}


class TestBeacon:
    def test_another_nonce(self, forgery: Forgery, auditor: Auditor) -> None:
        """All that follows is made of it: participants, batches, contributions."""
        state = forgery.state(LAST)
        client = min(state.pending)
        forgery.nonces[state.pending[client]] = bytes(32)
        forgery.full_round(LAST)
        report = auditor(forgery)
        assert found(report) == {(Check.BEACON, LAST)}
        assert f"the nonce of client {client}" in reasons(report)

    def test_another_beacon(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        entry["beacon"] = "5" * 64
        chosen = forgery.state(LAST).participants("5" * 64)
        entry["verdicts"] = [{"client": n, "reason": "no-reply", "contribution": None, "proof": None} for n in chosen]
        for place in (0, 1):
            forgery.judge(LAST, place)
        forgery.settle(LAST)
        report = auditor(forgery)
        assert found(report) == {(Check.BEACON, LAST)}
        assert "last checkpoint" in reasons(report)


REJECTIONS = {
    "wrong-run": {"run": "0" * 64},
    "wrong-round": {"round": 7},
    "stale-model": {"model": "0" * 64},
    "wrong-batch": {"batch": "0" * 64},
    "wrong-samples": {"samples": 5},
    "wrong-client": {"client": key_of(5)},
}


class TestVerdicts:
    """The second round again, with one verdict that is not what the contribution deserves."""

    def check(self, auditor: Auditor, forgery: Forgery, text: str, *checks: Check) -> None:
        report = auditor(forgery)
        assert found(report) == {(check, LAST) for check in checks or (Check.VERDICTS,)}, reasons(report)
        assert text in reasons(report)

    def judged(self, forgery: Forgery, reason: str, **contribution: Any) -> Forgery:  # noqa: ANN401 - as contribution() takes
        """Judge the first participant's contribution in some way, the second's honestly."""
        entry = forgery.open_round(LAST)
        made = forgery.contribution(LAST, entry["verdicts"][0]["client"], **contribution)
        forgery.judge(LAST, 0, reason, made)
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        return forgery

    @pytest.mark.parametrize("reason", REJECTIONS)
    def test_a_rejection_that_is_deserved(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        report = auditor(self.judged(forgery, reason, claims=REJECTIONS[reason]))
        assert report.verified, reasons(report)

    @pytest.mark.parametrize("reason", REJECTIONS)
    def test_an_acceptance_that_is_not(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        self.check(auditor, self.judged(forgery, "accepted", claims=REJECTIONS[reason]), f"what it signed is {reason}")

    @pytest.mark.parametrize("reason", REJECTIONS)
    def test_a_rejection_that_is_not(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        self.check(auditor, self.judged(forgery, reason), "nothing is wrong with what it signed")

    @pytest.mark.parametrize("reason", ["wrong-round", "commitment-mismatch", "accepted", "no-reply"])
    def test_another_rejection_than_deserved(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        if reason == "accepted":
            return
        self.check(auditor, self.judged(forgery, reason, claims=REJECTIONS["wrong-batch"]), "what it signed is wrong-batch")

    def test_signed_by_another(self, forgery: Forgery, auditor: Auditor) -> None:
        self.check(auditor, self.judged(forgery, "accepted", signed_by=key_of(5)), "bad-signature")

    def test_signed_by_another_and_rejected(self, forgery: Forgery, auditor: Auditor) -> None:
        assert auditor(self.judged(forgery, "bad-signature", signed_by=key_of(5))).verified

    def test_a_contribution_of_the_round_before(self, forgery: Forgery, auditor: Auditor) -> None:
        old = forgery[FIRST]["verdicts"][0]
        entry = forgery.open_round(LAST)
        place = next(i for i in (0, 1) if entry["verdicts"][i]["client"] in {v["client"] for v in forgery[FIRST]["verdicts"]})
        old = next(v for v in forgery[FIRST]["verdicts"] if v["client"] == entry["verdicts"][place]["client"])
        forgery.judge(LAST, place, "accepted", old["contribution"])
        forgery.judge(LAST, 1 - place)
        forgery.settle(LAST)
        self.check(auditor, forgery, "wrong-round")

    @pytest.mark.parametrize("data", [b"", b"{}", b"null", b"x" * 65_535, b"[" * 65_000])
    def test_a_contribution_that_cannot_be_read(self, forgery: Forgery, auditor: Auditor, data: bytes) -> None:
        forgery.open_round(LAST)
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery[LAST]["verdicts"][0] |= {"reason": "commitment-mismatch", "contribution": forgery.put(data, STATEMENT)}
        self.check(auditor, forgery, "malformed")

    @pytest.mark.parametrize("reason", ["accepted", "bad-signature", "out-of-range", "wrong-batch", "commitment-mismatch"])
    def test_no_contribution_where_one_was_judged(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        forgery.open_round(LAST)
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery[LAST]["verdicts"][0]["reason"] = reason
        report = auditor(forgery)
        assert (Check.VERDICTS, LAST) in found(report)
        assert "no contribution is kept" in reasons(report)

    @pytest.mark.parametrize("reason", ["no-reply", "client-error", "duplicate", "malformed"])
    def test_rejections_that_leave_nothing_are_taken_on_trust_and_counted(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        forgery.open_round(LAST)
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery[LAST]["verdicts"][0]["reason"] = reason
        report = auditor(forgery)
        assert report.verified
        assert "1 rejections are the server's word: nothing was left from which to judge them again" in report.notes

    def test_a_commitment_that_does_not_open_is_accepted(self, forgery: Forgery, auditor: Auditor) -> None:
        other = commitments().encode(commitments().commit_rows(small_update(9), [1, 2]))
        made = self.judged(forgery, "accepted", parts={"commitment": other})
        self.check(auditor, made, "does not open to the update", Check.OPENINGS, Check.SUMS)

    def test_a_commitment_that_does_not_open_is_rejected(self, forgery: Forgery, auditor: Auditor) -> None:
        other = commitments().encode(commitments().commit_rows(small_update(9), [1, 2]))
        assert auditor(self.judged(forgery, "commitment-mismatch", parts={"commitment": other})).verified

    def test_a_good_commitment_is_rejected(self, forgery: Forgery, auditor: Auditor) -> None:
        self.check(auditor, self.judged(forgery, "commitment-mismatch"), "nothing is wrong with its contribution")

    @pytest.mark.parametrize("reason", ["out-of-range", "bad-encoding"])
    def test_a_good_contribution_is_rejected(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        self.check(auditor, self.judged(forgery, reason), "nothing is wrong with its contribution")

    @pytest.mark.parametrize("reason", ["out-of-range", "bad-encoding"])
    def test_a_commitment_that_does_not_open_is_rejected_for_something_else(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        other = commitments().encode(commitments().commit_rows(small_update(9), [1, 2]))
        self.check(auditor, self.judged(forgery, reason, parts={"commitment": other}), f"is judged {reason}, but")

    def test_an_update_out_of_range(self, forgery: Forgery, auditor: Auditor) -> None:
        update = np.full(SIZE, 2**31 - 1, dtype=np.int64)
        assert auditor(self.judged(forgery, "out-of-range", update=update)).verified
        self.check(auditor, self.judged(forgery, "accepted", update=update), "its contribution is out-of-range")

    @pytest.mark.parametrize("part", ["commitment", "blinds"])
    def test_a_bad_encoding(self, forgery: Forgery, auditor: Auditor, part: str) -> None:
        junk = {"commitment": b"\xff" * 96, "blinds": b"\xff" * 64}[part]
        assert auditor(self.judged(forgery, "bad-encoding", parts={part: junk})).verified
        self.check(auditor, self.judged(forgery, "commitment-mismatch", parts={part: junk}), "its contribution is bad-encoding")

    @pytest.mark.parametrize("length", [0, 1, 5000])
    def test_a_bad_encoding_of_any_length(self, forgery: Forgery, auditor: Auditor, length: int) -> None:
        assert auditor(self.judged(forgery, "bad-encoding", parts={"commitment": b"\xc0" * length})).verified

    @pytest.mark.parametrize("reason", ["no-proof", "bad-proof"])
    def test_a_missing_proof_that_was_not_asked_for(self, forgery: Forgery, auditor: Auditor, reason: str) -> None:
        self.check(auditor, self.judged(forgery, reason), "nothing is wrong with its contribution")

    @pytest.mark.parametrize(("proof", "deserved"), [(None, "no-proof"), (b"x" * 5000, "bad-proof"), (b"x", "bad-proof")])
    @pytest.mark.parametrize("reason", ["accepted", "no-proof", "bad-proof", "commitment-mismatch"])
    def test_a_missing_or_wrong_proof(self, auditor: Auditor, proof: bytes | None, deserved: str, reason: str) -> None:
        forgery = Forgery.begin(agreed(proof={"kind": "training"}))
        entry = forgery.open_round(FIRST)
        parts = {} if proof is None else {"proof": proof}
        forgery.judge(FIRST, 0, reason, forgery.contribution(FIRST, entry["verdicts"][0]["client"], parts=parts))
        if reason == "accepted":
            forgery.settle(FIRST)
        report = auditor(forgery)
        if reason == deserved:
            assert report.verified, reasons(report)
        elif (reason, deserved) == ("accepted", "bad-proof"):
            assert found(report) == {(Check.PROOFS, FIRST)}, reasons(report)
        else:
            assert found(report) == {(Check.VERDICTS, FIRST)}, reasons(report)
            assert f"its contribution is {deserved}" in reasons(report)

    def test_a_rejected_one_in_the_sum(self, forgery: Forgery, auditor: Auditor) -> None:
        """Accepted in the aggregate, rejected in the verdicts."""
        forgery.full_round(LAST)
        forgery[LAST]["verdicts"][0]["reason"] = "no-reply"
        forgery[LAST]["verdicts"][0]["contribution"] = None
        forgery[LAST]["aggregate"]["samples"] = 6
        self.check(auditor, forgery, "do not add up", Check.SUMS, Check.AGGREGATES, Check.MODELS)

    def test_an_accepted_one_not_in_the_sum(self, forgery: Forgery, auditor: Auditor) -> None:
        forgery.full_round(LAST)
        verdict = dict(forgery[LAST]["verdicts"][0])
        forgery[LAST]["verdicts"][0] |= {"reason": "no-reply", "contribution": None}
        forgery.settle(LAST)
        forgery[LAST]["verdicts"][0] = verdict
        forgery[LAST]["aggregate"]["samples"] = 12
        self.check(auditor, forgery, "do not add up", Check.SUMS, Check.AGGREGATES, Check.MODELS)


class TestAggregates:
    @pytest.fixture
    def done(self, forgery: Forgery) -> Forgery:
        forgery.full_round(LAST)
        return forgery

    def total(self, forgery: Forgery) -> "np.typing.NDArray[np.int64]":
        return load_vector(forgery.evidence[forgery[LAST]["aggregate"]["sum"]["digest"]], SIZE, "sum")

    def blinds(self, forgery: Forgery) -> bytes:
        return forgery.evidence[forgery[LAST]["aggregate"]["blinds"]["digest"]]

    @pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
    @pytest.mark.parametrize("updates", [True, False])
    def test_another_aggregate(self, done: Forgery, auditor: Auditor, backend: str, updates: bool) -> None:
        """One unit in one weight, and the model that follows from it."""
        done.updates = updates
        assert auditor(done, backend=backend).verified
        total = self.total(done)
        total[17] += 1
        done.aggregate(LAST, total, 12, self.blinds(done))
        report = auditor(done, backend=backend)
        assert found(report) == {(Check.SUMS, LAST)} | ({(Check.AGGREGATES, LAST)} if updates else set())
        assert "do not add up" in reasons(report)

    def test_a_client_counted_with_another_weight(self, done: Forgery, auditor: Auditor) -> None:
        """Its update is scaled in the sum."""
        update = load_vector(done.evidence[accepted(done, LAST)["update"]["digest"]], SIZE, "update")
        done.aggregate(LAST, self.total(done) + 3 * update, 12, self.blinds(done))
        assert found(auditor(done)) == {(Check.SUMS, LAST), (Check.AGGREGATES, LAST)}

    def test_other_blinds(self, done: Forgery, auditor: Auditor) -> None:
        blinds = bytearray(self.blinds(done))
        blinds[31] ^= 1
        done.aggregate(LAST, self.total(done), 12, bytes(blinds))
        assert found(auditor(done)) == {(Check.SUMS, LAST)}

    def test_rows_that_change_places_in_the_sum(self, done: Forgery, auditor: Auditor) -> None:
        blinds = self.blinds(done)
        done.aggregate(LAST, self.total(done), 12, blinds[32:] + blinds[:32])
        assert found(auditor(done)) == {(Check.SUMS, LAST)}

    @pytest.mark.parametrize("blinds", [b"", bytes(32), bytes(96), b"\xff" * 64, ORDER.to_bytes(32, "big") * 2])
    def test_blinds_that_cannot_be_read(self, done: Forgery, auditor: Auditor, blinds: bytes) -> None:
        done[LAST]["aggregate"]["blinds"] = done.put(blinds, SCALARS)
        report = auditor(done)
        assert {entry for _, entry in found(report)} == {LAST}
        assert {check for check, _ in found(report)} <= {Check.AGGREGATES, Check.EVIDENCE}

    @pytest.mark.parametrize("data", [b"", b"x", dump_vector(small_update(1, 38)), dump_vector(small_update(1, 40)), b"\x80\x04N."])
    def test_a_sum_that_cannot_be_read(self, done: Forgery, auditor: Auditor, data: bytes) -> None:
        done[LAST]["aggregate"]["sum"] = done.put(data, TENSOR)
        report = auditor(done)
        assert {entry for _, entry in found(report)} == {LAST}
        assert {check for check, _ in found(report)} <= {Check.AGGREGATES, Check.EVIDENCE}

    @pytest.mark.parametrize("updates", [True, False])
    def test_sums_at_the_end_of_64_bits(self, done: Forgery, auditor: Auditor, updates: bool) -> None:
        done.updates = updates
        done.aggregate(LAST, np.full(SIZE, 2**63 - 1, dtype=np.int64), 1, self.blinds(done))
        done[LAST]["aggregate"]["samples"] = 12
        assert (Check.SUMS, LAST) in found(auditor(done))

    @pytest.mark.parametrize("updates", [True, False])
    def test_another_model(self, done: Forgery, auditor: Auditor, updates: bool) -> None:
        done.updates = updates
        model = load_vector(done.evidence[done[LAST]["model-after"]["digest"]], SIZE, "model")
        model[0] += 1
        done[LAST]["model-after"] = done.put(dump_vector(model), TENSOR)
        assert found(auditor(done)) == {(Check.MODELS, LAST)}

    @pytest.mark.parametrize("updates", [True, False])
    def test_another_aggregate_and_another_model(self, done: Forgery, auditor: Auditor, updates: bool) -> None:
        """Both are named, although nothing can follow the model."""
        done.updates = updates
        total = self.total(done)
        done[LAST]["aggregate"]["sum"] = done.put(dump_vector(total + 12), TENSOR)
        expected: Findings = {(Check.SUMS, LAST), (Check.MODELS, LAST)} | ({(Check.AGGREGATES, LAST)} if updates else set())
        assert found(auditor(done)) == expected

    def test_a_commitment_that_cannot_be_read_without_updates(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        junk = forgery.contribution(LAST, entry["verdicts"][0]["client"], parts={"commitment": b"\xff" * 96})
        forgery.judge(LAST, 0, "accepted", junk)
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery.updates = False
        report = auditor(forgery)
        assert found(report) == {(Check.VERDICTS, LAST)}
        assert "cannot be read" in reasons(report)

    def test_without_updates_every_commitment_is_in_the_sum(self, forgery: Forgery, auditor: Auditor) -> None:
        entry = forgery.open_round(LAST)
        other = commitments().encode(commitments().commit_rows(small_update(9), [1, 2]))
        forgery.judge(LAST, 0, "accepted", forgery.contribution(LAST, entry["verdicts"][0]["client"], parts={"commitment": other}))
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery.updates = False
        assert found(auditor(forgery)) == {(Check.SUMS, LAST)}

    @pytest.mark.parametrize("updates", [True, False])
    @pytest.mark.parametrize("backend", ["arkworks", "py_ecc"])
    def test_commitments_with_torsion_get_one_verdict_everywhere(
        self, forgery: Forgery, auditor: Auditor, updates: bool, backend: str
    ) -> None:
        """A part outside the subgroup changes the encoding, but never whether it opens."""
        entry = forgery.open_round(LAST)
        client = entry["verdicts"][0]["client"]
        honest = json.loads(forgery.evidence[forgery.contribution(LAST, client)["digest"]])["statement"]["commitment"]["digest"]
        twisted = with_torsion(forgery.evidence[honest])
        assert twisted != forgery.evidence[honest]
        forgery.judge(LAST, 0, "accepted", forgery.contribution(LAST, client, parts={"commitment": twisted}))
        forgery.judge(LAST, 1)
        forgery.settle(LAST)
        forgery.updates = updates
        report = auditor(forgery, backend=backend)
        assert report.verified, reasons(report)

    @pytest.mark.parametrize("optimizer", ["momentum", "adam", "yogi"])
    def test_every_optimizer_is_replayed(self, auditor: Auditor, optimizer: str) -> None:
        """Over two rounds, with the state that it carries from one to the next; here the attacker's tool knows the first step only."""
        forgery = Forgery.begin(agreed(aggregation={"optimizer": optimizer, "learning_rate": 0.5}))
        forgery.full_round(FIRST)
        assert auditor(forgery).verified
        forgery.full_round(LAST)
        assert found(auditor(forgery)) == {(Check.MODELS, LAST)}


def with_torsion(commitment: bytes) -> bytes:
    """Add a point of small order to the first row."""
    from py_ecc.bls.point_compression import compress_G1, decompress_G1
    from py_ecc.optimized_bls12_381 import add, multiply, normalize

    from zk.group import PyEcc

    group = PyEcc()
    for x in range(3, 50):
        encoded = bytes([0x80]) + bytes(46) + bytes([x])
        try:
            point = group.decode(encoded)
        except Exception:  # noqa: BLE001, S112 - not on the curve
            continue
        torsion = multiply(point, ORDER)
        if normalize(torsion)[0] != 0 and torsion[2] != 0:
            row = add(decompress_G1(int.from_bytes(commitment[:48], "big")), torsion)
            return int(compress_G1(row)).to_bytes(48, "big") + commitment[48:]
    raise AssertionError("no point of small order found")


class TestEvidence:
    """Files that are not what an entry refers to."""

    def references(self, forgery: Forgery) -> dict[str, tuple[int, Json]]:
        statement = forgery[2]["enrolment"]["statement"]
        said = accepted(forgery, LAST)
        aggregate = forgery[LAST]["aggregate"]
        return {
            "first model": (0, forgery[0]["model"]),
            "rows": (2, statement["rows"]),
            "enrolment proof": (2, statement["proof"]),
            "contribution": (LAST, forgery[LAST]["verdicts"][0]["contribution"]),
            "commitment": (LAST, said["commitment"]),
            "update": (LAST, said["update"]),
            "blinds": (LAST, said["blinds"]),
            "sum": (LAST, aggregate["sum"]),
            "sum's blinds": (LAST, aggregate["blinds"]),
            "model": (LAST, forgery[LAST]["model-after"]),
        }

    KINDS: Sequence[str] = (
        "first model",
        "rows",
        "enrolment proof",
        "contribution",
        "commitment",
        "update",
        "blinds",
        "sum",
        "sum's blinds",
        "model",
    )

    @pytest.mark.parametrize("kind", KINDS)
    def test_missing(self, forgery: Forgery, auditor: Auditor, kind: str) -> None:
        position, reference = self.references(forgery)[kind]
        files = forgery.files()
        del files[evidence_name(reference["digest"])]
        report = auditor(files)
        assert found(report) == {(Check.EVIDENCE, position)}, reasons(report)
        assert f"{evidence_name(reference['digest'])} is missing" in reasons(report)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("data", ["other", "shorter", "longer", "empty"])
    def test_other_content_under_the_same_name(self, forgery: Forgery, auditor: Auditor, kind: str, data: str) -> None:
        position, reference = self.references(forgery)[kind]
        files, name = forgery.files(), evidence_name(reference["digest"])
        good = files[name]
        files[name] = {"other": bytes(len(good)), "shorter": good[:-1], "longer": good + b"\0", "empty": b""}[data]
        report = auditor(files)
        assert found(report) == {(Check.EVIDENCE, position)}, reasons(report)

    def test_lost_in_the_first_round_nobody_else_is_accused(self, forgery: Forgery, auditor: Auditor) -> None:
        """Whoever's contribution is lost cannot be judged in the next round; the others' evidence is not called superfluous."""
        files = forgery.files()
        del files[evidence_name(forgery[FIRST]["verdicts"][0]["contribution"]["digest"])]
        report = auditor(files)
        assert found(report) == {(Check.EVIDENCE, FIRST)}, reasons(report)

    @pytest.mark.parametrize("name", [f"evidence/ab/{'c' * 62}", "evidence/x", "evidence/ab/../../etc/passwd", "evidence/[bold]x[/bold]"])
    def test_a_file_that_nothing_refers_to(self, forgery: Forgery, auditor: Auditor, name: str) -> None:
        report = auditor(forgery.files() | {name: b"stowaway"})
        assert found(report) == {(Check.EVIDENCE, None)}
        assert name in reasons(report)

    def test_the_evidence_of_a_rejection_that_needs_none(self, forgery: Forgery, auditor: Auditor) -> None:
        """A statement is enough to reject a stale model: the parts are not kept, and do not belong into the export."""
        entry = forgery.open_round(LAST)
        stale = forgery.contribution(LAST, entry["verdicts"][0]["client"], claims={"model": "0" * 64})
        forgery.judge(LAST, 0, "stale-model", stale)
        part = json.loads(forgery.evidence[stale["digest"]])["statement"]["update"]["digest"]
        assert found(auditor(forgery.files() | {evidence_name(part): forgery.evidence[part]})) == {(Check.EVIDENCE, None)}

    @pytest.mark.parametrize("kind", ["sum", "blinds", "model-after", "contribution"])
    def test_another_media_type(self, forgery: Forgery, auditor: Auditor, kind: str) -> None:
        forgery.full_round(LAST)
        entry = forgery[LAST]
        holder = {"sum": entry["aggregate"], "blinds": entry["aggregate"], "model-after": entry, "contribution": entry["verdicts"][0]}[kind]
        holder[kind] = {**holder[kind], "media-type": "application/octet-stream"}
        report = auditor(forgery)
        assert found(report) == {(Check.EVIDENCE, LAST)}, reasons(report)
        assert "application/octet-stream" in reasons(report)

    @pytest.mark.parametrize("kind", ["sum", "blinds", "model-after", "contribution"])
    @pytest.mark.parametrize("size", [0, 1, 2**30, 2**32])
    def test_another_size(self, forgery: Forgery, auditor: Auditor, kind: str, size: int) -> None:
        forgery.full_round(LAST)
        entry = forgery[LAST]
        holder = {"sum": entry["aggregate"], "blinds": entry["aggregate"], "model-after": entry, "contribution": entry["verdicts"][0]}[kind]
        holder[kind] = {**holder[kind], "size": size}
        report = auditor(forgery)
        assert found(report) == {(Check.EVIDENCE, LAST)}, reasons(report)


def test_paths_of_the_first_tiles_are_as_assumed() -> None:
    from ledger.tiles import Bundle, Tile

    assert (tile_path(Tile(0, 0, 7)), entries_path(Bundle(0, 7))) == ("tile/0/000.p/7", "tile/entries/000.p/7")
