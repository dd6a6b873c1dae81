"""A good export to break, and an attacker who can make another one.

``export`` is what a real federation (:mod:`tests.federation`) left: entry 0 is the agreement, 1 to 3 are enrolments, 4 and 5 are rounds
in which two of the three clients take part, 6 is the closing. :class:`Forgery` takes an export apart, or starts a run of its own, and
holds all keys there are: the log's and every client's. What it packs is consistent wherever a test does not say otherwise: tree,
checkpoint, signatures, beacon, commitments, aggregate and model follow from the entries as they stand.
"""

from __future__ import annotations

import base64
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.commitments import prove_enrolment
from ledger import merkle
from ledger.aggregation import IntVector, ServerOptimizer, weighted_sum
from ledger.agreement import Agreement, complete
from ledger.archive import INDEX, ArchiveReader, ArchiveWriter, rank
from ledger.audit import Trust, audit
from ledger.beacon import batch_digest, batch_indices, beacon, commit_nonce
from ledger.canonical import digest, dump_json, dump_vector, load_vector
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.enrolment import enrolment_claims
from ledger.entries import (
    ENROLMENT_PROOF,
    POINTS,
    SCALARS,
    STATEMENT,
    TENSOR,
    TRAINING_PROOF,
    ContributionStatement,
    RoundEntry,
    decode_contribution,
    decode_entry,
    encode_entry,
)
from ledger.export import evidence_name, write_export
from ledger.identity import signing_key
from ledger.note import Ed25519Signer
from ledger.report import Check, Report
from ledger.state import RunState
from ledger.tiles import bundles_of, decode_bundle, encode_bundle, encode_tile, entries_path, tile_path, tiles_of
from ledger.verdicts import KEPT
from tests.federation import SIGNER, Federation, client, key_of, opening_of, samples_of, secret
from zk.blinding import BlindingSource
from zk.field import ORDER, decode_scalars, encode_scalars
from zk.group import Arkworks
from zk.hashing import expand
from zk.pedersen import CommitmentKey, commitment_key
from zk.training.shape import Shape
from zk.training.witness import sample_rows

Json = dict[str, Any]
WIDTH = 64
SIZE = 75  # weights of 5-8-3
FIRST, LAST, CLOSING = 4, 5, 6  # positions of the rounds and of the closing entry
NUMBERS = {key_of(number): number for number in range(6)}  # who is behind a public key
BEFORE: Json = {}


def agreed(**sections: Json) -> Agreement:
    """Return an agreement on 5-8-3 (75 weights in two rows of 64), three clients, two rounds of two; ``sections`` override fields."""
    fields: Json = {
        "federation": {"name": "tests", "clients": 3},
        "model": {"layers": [5, 8, 3], "seed": bytes(32).hex()},
        "training": {"batch": 2, "local-steps": 2, "learning-rate": 0.125},
        "rounds": {"count": 2, "participants": 2, "reply-timeout": 5},
        "proof": {"kind": "none"},
    }
    for name, changes in sections.items():
        fields[name] = fields.get(name, {}) | {key.replace("_", "-"): value for key, value in changes.items()}
    return complete(fields)


def commitments() -> CommitmentKey:
    """Return the key that everything here commits with."""
    return commitment_key(Arkworks, WIDTH)


def small_update(seed: int, size: int = SIZE) -> IntVector:
    """Return an update that a client could have computed."""
    return np.random.default_rng(seed).integers(-1000, 1000, size, dtype=np.int64)


@dataclass
class Forgery:
    """A ledger in pieces: entries as JSON values (or as bytes), evidence by digest.

    Attributes
    ----------
    nonces : dict of str to bytes
        What each commitment to a nonce hides.
    """

    entries: list[Json | bytes]
    evidence: dict[str, bytes] = field(default_factory=dict)
    nonces: dict[str, bytes] = field(default_factory=dict)
    updates: bool = True
    signer: Ed25519Signer = SIGNER

    @classmethod
    def load(cls, path: Path) -> Forgery:
        """Take an export apart."""
        with ArchiveReader(path) as archive:
            files = {name: archive.read(name, 2**30) for name in archive.names()}
        leaves = [leaf for bundle in bundles_of(7) for leaf in decode_bundle(bundle, files[entries_path(bundle)])]
        evidence = {digest(data): data for name, data in files.items() if name.startswith("evidence/")}
        forgery = cls([json.loads(leaf) for leaf in leaves], evidence, updates=json.loads(files[INDEX])["updates"])
        keys = forgery.state(FIRST).keys
        for position in (FIRST, LAST):
            for reveal in forgery[position]["reveals"]:
                nonce = bytes.fromhex(reveal["nonce"])
                forgery.nonces[commit_nonce(forgery.run, keys[reveal["client"]], nonce)] = nonce
        return forgery

    @classmethod
    def begin(cls, agreement: Agreement, clients: Sequence[int] = (0, 1, 2)) -> Forgery:
        """Start a run of one's own: the agreement, and enrolments in their order."""
        opening = opening_of(agreement)
        forgery = cls([json.loads(encode_entry(opening))])
        model = expand_model(agreement)
        forgery.put(dump_vector(model), TENSOR)
        forgery.entries += [forgery.enrolment(number) for number in sorted(clients, key=key_of)]
        return forgery

    def __getitem__(self, position: int) -> Json:
        """Return an entry that is still JSON."""
        entry = self.entries[position]
        assert isinstance(entry, dict)
        return entry

    @property
    def run(self) -> str:
        """The name of the run."""
        return digest(self.leaf(0))

    def leaf(self, position: int) -> bytes:
        """Return an entry as it goes into the tree."""
        entry = self.entries[position]
        return entry if isinstance(entry, bytes) else dump_json(entry)

    def leaves(self) -> list[bytes]:
        """Return all entries as they go into the tree."""
        return [self.leaf(position) for position in range(len(self.entries))]

    def put(self, data: bytes, media_type: str) -> Json:
        """Keep evidence and return its reference."""
        self.evidence[digest(data)] = data
        return {"digest": digest(data), "size": len(data), "media-type": media_type}

    def root(self, size: int) -> bytes:
        """Return the root over the first entries."""
        return merkle.root_of([merkle.leaf_hash(leaf) for leaf in self.leaves()[:size]]) if size else merkle.EMPTY_ROOT

    def state(self, position: int) -> RunState:
        """Return the state before the entry at ``position``."""
        opening = decode_entry(self.leaf(0))
        state = RunState.begin(opening)  # type: ignore[arg-type]  # entry 0 is the agreement
        for leaf in self.leaves()[1:position]:
            entry = decode_entry(leaf)
            said: dict[int, ContributionStatement] = {}
            if isinstance(entry, RoundEntry):
                accepted = {verdict.client: verdict.contribution for verdict in entry.verdicts if verdict.accepted}
                said = {n: decode_contribution(self.evidence[ref.digest]).statement for n, ref in accepted.items() if ref is not None}
            state.apply(entry, said)
        return state

    def model(self, position: int) -> IntVector:
        """Return the model before the entry at ``position``."""
        state = self.state(position)
        return load_vector(self.evidence[state.model.digest], state.opening.agreement.rule.size, "the model")

    def sign(self, label: str, statement: Json, who: str) -> Json:
        """Sign any statement with the key of the client ``who``."""
        signature = signing_key(secret(NUMBERS[who])).sign(f"lunaria/v1/{label}\n".encode() + dump_json(statement))
        return {"statement": statement, "signature": base64.b64encode(signature).decode()}

    def enrolment(
        self, number: int, samples: int = 6, *, rows: bytes | None = None, proof: bytes | None = None, claims: Json = BEFORE
    ) -> Json:
        """Return the enrolment of a client; ``claims`` replaces fields of what it signs."""
        rule = self.state(1).opening.agreement.rule
        values = sample_rows(Shape(rule), *samples_of(number, rule, samples))  # type: ignore[arg-type]  # int64 already
        blinds = [1000 * number + i + 1 for i in range(samples)]
        key, who = commitments(), key_of(number)
        points = rows or key.encode([key.commit(row, blind) for row, blind in zip(values, blinds, strict=True)])
        source = BlindingSource(secret(number), deterministic=True)
        shown = proof or prove_enrolment(key, enrolment_claims(self.run, who, points, rule), values, blinds, source)
        nonce = expand("tests/nonce", number.to_bytes(4, "big"), length=32)
        commitment = commit_nonce(self.run, who, nonce)
        self.nonces[commitment] = nonce
        statement = {
            "run": self.run,
            "client": who,
            "samples": samples,
            "rows": self.put(points, POINTS),
            "proof": self.put(shown, ENROLMENT_PROOF),
            "nonce": commitment,
        }
        return {"kind": "enrolment", "version": 1, "enrolment": self.sign("enrolment", statement | claims, who)}

    def open_round(self, position: int, withheld: Sequence[int] = ()) -> Json:
        """Put a round at ``position`` in which nobody has replied yet, and return it."""
        state = self.state(position)
        nonces = {n: self.nonces[commitment].hex() for n, commitment in state.pending.items() if n not in withheld}
        checkpoint = Checkpoint(state.opening.origin, position, self.root(position))
        drawn = beacon(state.run, state.rounds + 1, checkpoint, nonces)
        entry = {
            "kind": "round",
            "version": 1,
            "round": state.rounds + 1,
            "reveals": [{"client": n, "nonce": nonces[n]} for n in sorted(nonces)],
            "withheld": sorted(state.pending.keys() - nonces.keys()),
            "beacon": drawn,
            "model-before": state.model.digest,
            "model-after": state.model.model_dump(mode="json"),
            "verdicts": [{"client": n, "reason": "no-reply", "contribution": None, "proof": None} for n in state.participants(drawn)],
            "aggregate": None,
            "test": None,
        }
        self.entries[position:] = [entry]
        return entry

    def contribution(
        self,
        position: int,
        client: int,
        update: IntVector | None = None,
        *,
        parts: Mapping[str, bytes] = BEFORE,
        claims: Json = BEFORE,
        signed_by: str | None = None,
    ) -> Json:
        """Return the reference of a signed contribution to the round at ``position``.

        ``parts`` replaces update, commitment, blinds or proof before they are referred to, ``claims`` fields of what is signed.
        """
        state, entry = self.state(position), self[position]
        member, rule = state.members[client], state.opening.agreement.rule
        chosen = small_update(100 * position + client, rule.size) if update is None else update
        key = commitments()
        stream = expand("tests/blinds", position.to_bytes(4, "big"), client.to_bytes(4, "big"), length=32 * key.rows_for(rule.size))
        blinds = [int.from_bytes(stream[i : i + 32], "big") % ORDER for i in range(0, len(stream), 32)]
        made = {
            "update": dump_vector(chosen),
            "commitment": key.encode(key.commit_rows(chosen, blinds)),
            "blinds": encode_scalars(blinds),
            **parts,
        }
        nonce = expand("tests/nonce", position.to_bytes(4, "big"), client.to_bytes(4, "big"), length=32)
        commitment = commit_nonce(self.run, member.client, nonce)
        self.nonces[commitment] = nonce
        statement = {
            "run": self.run,
            "round": entry["round"],
            "client": member.client,
            "model": entry["model-before"],
            "batch": batch_digest(batch_indices(entry["beacon"], member.client, member.samples, rule.samples)),
            "samples": member.samples,
            "commitment": self.put(made["commitment"], POINTS),
            "update": self.put(made["update"], TENSOR),
            "blinds": self.put(made["blinds"], SCALARS),
            "proof": self.put(made["proof"], TRAINING_PROOF) if "proof" in made else None,
            "nonce": commitment,
        }
        return self.put(dump_json(self.sign("contribution", statement | claims, signed_by or member.client)), STATEMENT)

    def judge(self, position: int, place: int, reason: str = "accepted", contribution: Json | None = None) -> None:
        """Put a verdict about the participant at ``place``; without a contribution it has made an honest one."""
        verdict = self[position]["verdicts"][place]
        reference = self.contribution(position, verdict["client"]) if contribution is None else contribution
        verdict |= {"reason": reason, "contribution": reference}

    def settle(self, position: int) -> None:
        """Aggregate what is accepted in the round at ``position``, as the server would."""
        state, entry, model = self.state(position), self[position], self.model(position)
        rule, key = state.opening.agreement.rule, commitments()
        accepted = [verdict for verdict in entry["verdicts"] if verdict["reason"] == "accepted"]
        said = [decode_contribution(self.evidence[verdict["contribution"]["digest"]]).statement for verdict in accepted]
        samples = [state.members[verdict["client"]].samples for verdict in accepted]
        total = weighted_sum([load_vector(self.evidence[one.update.digest], rule.size, "update") for one in said], samples)
        rows = [decode_scalars(self.evidence[one.blinds.digest], key.rows_for(rule.size)) for one in said]
        blinds = [sum(n * blind for n, blind in zip(samples, row, strict=True)) for row in zip(*rows, strict=True)]
        self.aggregate(position, total, sum(samples), encode_scalars(blinds), model)

    def aggregate(self, position: int, total: IntVector, samples: int, blinds: bytes, model: IntVector | None = None) -> None:
        """Put any aggregate, and the model that follows from it."""
        agreement = self.state(position).opening.agreement
        optimizer = ServerOptimizer(agreement.aggregation, agreement.rule.plan.weight_range_bits, agreement.rule.weight_bits)
        after = optimizer.step(self.model(position) if model is None else model, total, samples)
        self[position]["aggregate"] = {"samples": samples, "sum": self.put(dump_vector(total), TENSOR), "blinds": self.put(blinds, SCALARS)}
        self[position]["model-after"] = self.put(dump_vector(after), TENSOR)

    def full_round(self, position: int) -> Json:
        """Put a round at ``position`` to which all participants contribute."""
        entry = self.open_round(position)
        for place in range(len(entry["verdicts"])):
            self.judge(position, place)
        self.settle(position)
        return entry

    def close(self, outcome: str = "completed") -> Json:
        """Append the closing entry."""
        state = self.state(len(self.entries))
        entry = {"kind": "closing", "version": 1, "outcome": outcome, "rounds": state.rounds, "model": state.model.digest}
        self.entries.append(entry)
        return entry

    def checkpoint(
        self,
        *,
        size: int | None = None,
        root: bytes | None = None,
        signer: Ed25519Signer | None = None,
        extensions: tuple[str, ...] = (),
    ) -> bytes:
        """Return a signed checkpoint of the entries, or of anything else."""
        by = signer or self.signer
        count = len(self.entries)
        stated = count if size is None else size
        checkpoint = Checkpoint(by.verifier.key.name, stated, self.root(count) if root is None else root, extensions)
        return sign_checkpoint(checkpoint, by)

    def files(self) -> dict[str, bytes]:
        """Return the files of the export, with only the evidence that is referred to."""
        leaves = self.leaves()
        levels = [[merkle.leaf_hash(leaf) for leaf in leaves]]
        while len(levels[-1]) > 1:
            row = levels[-1]
            levels.append([merkle.node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
        index = {"format": "lunaria-export/v1", "log-key": str(self.signer.verifier.key), "updates": self.updates}
        files = {INDEX: dump_json(index), "checkpoint": self.checkpoint()}
        files |= {tile_path(tile): encode_tile(tile, lambda level, place: levels[level][place]) for tile in tiles_of(len(leaves))}
        files |= {entries_path(b): encode_bundle(leaves[256 * b.index : 256 * b.index + b.width]) for b in bundles_of(len(leaves))}
        return files | {evidence_name(name): self.evidence[name] for name in self.referenced()}

    def referenced(self) -> list[str]:
        """Return the digests of the evidence that an export of this ledger holds."""
        text = b"".join(self.leaves())
        wanted = {name for name in self.evidence if name.encode() in text}
        entries = [entry for entry in self.entries if isinstance(entry, dict)]
        for verdict in (verdict for entry in entries for verdict in entry.get("verdicts", ())):
            reference = verdict.get("contribution")
            if reference is not None and verdict["reason"] in KEPT:
                wanted |= set(_parts_of(self.evidence.get(reference["digest"], b""), self.updates))
        return [name for name in self.evidence if name in wanted]


def _parts_of(statement: bytes, updates: bool) -> list[str]:
    if not statement.startswith(b'{"signature"'):
        return []
    value = json.loads(statement)["statement"]
    parts = ("commitment", "update", "blinds", "proof") if updates else ("commitment",)
    return [value[part]["digest"] for part in parts if value[part] is not None]


def expand_model(agreement: Agreement) -> IntVector:
    """Return the first model of an agreement with a seed."""
    from zk.sgd import flatten, initial_weights

    return flatten(initial_weights(agreement.rule, bytes.fromhex(str(agreement.model.seed))))


def write_files(path: Path, files: Mapping[str, bytes]) -> Path:
    """Pack files in the order of an archive."""
    with ArchiveWriter(path) as archive:
        for name in sorted(files, key=rank):
            archive.add(name, files[name])
    return path


def found(report: Report) -> set[tuple[Check, int | None]]:
    """Return which checks found something, about which entries."""
    return {(finding.check, finding.entry) for finding in report.findings}


def reasons(report: Report) -> str:
    """Return all reasons, a line each."""
    return "\n".join(map(str, report.findings))


@dataclass
class Auditor:
    """Packs and audits, and insists that an audit is fast and small, whatever it is given."""

    folder: Path

    def __call__(self, forged: Forgery | Mapping[str, bytes], trust: Trust | None = None, backend: str = "arkworks") -> Report:
        files = forged.files() if isinstance(forged, Forgery) else forged
        path = write_files(self.folder / "forged.tar", files)
        began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = audit(path, trust, backend=backend)
        assert time.process_time() - began < 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
        assert all("\n" not in finding.reason for finding in report.findings)
        return report


@pytest.fixture(scope="session")
def agreement() -> Agreement:
    return agreed()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, agreement: Agreement) -> Path:
    folder = tmp_path_factory.mktemp("federation") / "run"
    Federation(folder, [client(number) for number in range(3)], agreement).run()
    return folder


@pytest.fixture(scope="session")
def export(run_folder: Path) -> Path:
    path = run_folder.parent / "export.tar"
    write_export(run_folder, path)
    return path


@pytest.fixture
def forgery(export: Path) -> Forgery:
    return Forgery.load(export)


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


@pytest.fixture
def copy(export: Path, tmp_path: Path) -> Path:
    """Return a copy of the export that a test may change."""
    return Path(shutil.copy(export, tmp_path / "copy.tar"))


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def lunaria() -> Command:
    """Run the ``lunaria`` command in a process of its own."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - what subprocess takes
        command = [sys.executable, "-c", "from server.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # noqa: S603 - our own

    return run
