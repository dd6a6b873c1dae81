"""Coverage-guided fuzzing of every parser: ``python -m tests.fuzz NAME --runs N``, with ``pip install atheris``.

The parsers of the open formats are those of ``tests/ledger/test_fuzz.py``; here come entries, statements, exports and proofs. A parser may
refuse with a documented error or return what encodes to the same bytes; anything else ends the fuzzer with the input in a file
(libFuzzer's ``crash-…``). Without a name, the names are listed.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

Parser = Callable[[bytes], bytes | None]  # the same bytes again; None where there is nothing to encode


def parsers() -> dict[str, tuple[bytes, Parser]]:
    """Return a good input and a reader for each format."""
    import numpy as np

    from ledger.archive import ArchiveReader
    from ledger.entries import SignedContribution, decode_entry, decode_statement, encode_entry
    from ledger.export import statements
    from tests.ledger.golden import FOLDER
    from tests.ledger.test_fuzz import PARSERS
    from tests.zk import enrolment_cases, training_cases
    from zk import enrolment
    from zk.training import verify

    export = next(iter(sorted(FOLDER.glob("*-all-proved.tar"))))
    with ArchiveReader(export) as archive:
        bundle = next(archive.read(name, 2**24) for name in archive.names() if name.startswith("tile/entries/"))
        entries = []
        while bundle:
            size = int.from_bytes(bundle[:2], "big")
            entries.append(bundle[2 : 2 + size])
            bundle = bundle[2 + size :]
        reference = next(found for data in entries for found in statements(decode_entry(data)))
        statement = archive.read(f"evidence/{reference.digest[:2]}/{reference.digest[2:]}", 2**20)
    rows = enrolment_cases.case_of(enrolment_cases.enrolment_rule(), 3)
    case = training_cases.case_of(training_cases.rule_of((3, 2), batch=2, steps=1))
    scratch = Path(tempfile.mkdtemp()) / "export.tar"

    def read_export(data: bytes) -> None:
        scratch.write_bytes(data)
        with ArchiveReader(scratch) as archive:
            for name in archive.names():
                archive.read(name, 2**20)

    def read_statement(data: bytes) -> bytes:
        signed = decode_statement(data)
        assert isinstance(signed, SignedContribution) or signed.statement.proof
        return signed.encode()

    def read_training(data: bytes) -> None:
        verify(training_cases.key(), case.statement, data)

    def read_enrolment(data: bytes) -> None:
        enrolment.verify(enrolment_cases.key(), rows.statement, data)

    from zk.training import prove

    proof = prove(training_cases.key(), case.statement, case.samples, training_cases.source())
    assert np.all([case.samples.x >= 0])
    return {
        **PARSERS,
        **{f"entry-{decode_entry(data).kind}": (data, lambda found: encode_entry(decode_entry(found))) for data in entries},
        "statement": (statement, read_statement),
        "export": (export.read_bytes()[:65_536], read_export),
        "training-proof": (proof, read_training),
        "enrolment-proof": (rows.prove(), read_enrolment),
    }


def main() -> None:
    """Fuzz one parser."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", nargs="?")
    arguments.add_argument("--runs", type=int, default=100_000)
    chosen = arguments.parse_args()
    import atheris

    import zk.roots
    import zk.sumcheck  # noqa: F401 - numba reads the bytecode of its kernels: they are imported as they are

    with atheris.instrument_imports(include=["ledger", "zk"]):
        found = parsers()
    if chosen.name not in found:
        raise SystemExit("name one of: " + ", ".join(found))
    from ledger.errors import LedgerError
    from zk.errors import ZkError

    good, parse = found[chosen.name]

    def once(data: bytes) -> None:
        try:
            again = parse(data)
        except (LedgerError, ZkError):
            return
        if again is not None and again != data:
            raise AssertionError("read as something else than it is")

    corpus = Path(tempfile.mkdtemp())
    (corpus / "good").write_bytes(good)
    once(good)
    os.chdir(corpus)
    options = [f"-runs={chosen.runs}", "-rss_limit_mb=4096", "-timeout=20", f"-max_len={4 * len(good) + 4096}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
