"""A process that appends one entry, to be killed or failed at a system call by :mod:`tests.ledger.test_kill`.

``python -m tests.ledger.killed_append FOLDER NAME SEED ENTRY EVIDENCE``: it says on standard output what it signs, before anybody can see
it, and what was acknowledged.
"""

import sys
from pathlib import Path

from ledger.log import Log
from ledger.note import Ed25519Signer


class TalkativeSigner(Ed25519Signer):
    """Says what it signs."""

    def sign(self, text: bytes) -> bytes:
        """Sign, but say it first."""
        sys.stdout.write(f"signs {text.hex()}\n")
        sys.stdout.flush()
        return super().sign(text)


def main() -> None:
    """Append."""
    folder, name, seed, entry, evidence = sys.argv[1:]
    with Log.open(Path(folder), TalkativeSigner(name, bytes.fromhex(seed)), create=True) as log:
        log.evidence.put(Path(evidence).read_bytes())
        log.append(Path(entry).read_bytes())
        sys.stdout.write(f"acknowledged {log.size - 1}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
