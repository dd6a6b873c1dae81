"""A run folder with a real log of entries that the state machine allows; what is trained in it is made up."""

from pathlib import Path

from ledger.entries import POINTS, EnrolmentEntry, Entry, Reference, SignedEnrolment, encode_entry
from ledger.log import Log
from ledger.note import Ed25519Signer
from ledger.settlement import Score
from ledger.state import RunState
from ledger.verdicts import Reason
from tests.chain.evm import account
from tests.ledger.test_entries import DIGEST, KEYS, changed, enrolment, opening_entry
from tests.ledger.test_state import aggregate, closing, next_round, statements

SIGNER = Ed25519Signer("example.com/log", b"\x5a" * 32)
DATA = [Reference(digest=f"{number:02x}" * 32, size=48 * 10, media_type=POINTS) for number in (0xE0, 0xE1, 0xE2)]
ACCOUNTS = [account(number).address.lower() for number in (11, 12, 13)]
TERMS = {"epoch": 2, "evaluation": DIGEST, "pot": 1000, "penalty": 50, "missed": 3}
SCORES = {0: Score(300, 1), 1: Score(100, 1), 2: Score(-50, 1)}


class GrowingRun:
    """A run of three clients with accounts, that is settled every two rounds."""

    def __init__(self, folder: Path) -> None:
        opening = opening_entry(rounds={"count": 40, "participants": 3}, settlement=TERMS, log_key=str(SIGNER.verifier.key))
        self.state, self.folder, self.log_key = RunState.begin(opening), folder, SIGNER.verifier.key
        self.log = Log.open(folder, SIGNER, create=True)
        self.log.append(encode_entry(opening))
        for number, name in enumerate(ACCOUNTS):
            statement = changed(enrolment(self.state.run, number, 10), account=name, rows=DATA[number])
            self.append(EnrolmentEntry(enrolment=SignedEnrolment.sign(statement, KEYS[number])))

    def append(self, entry: Entry) -> None:
        self.state.apply(entry)
        self.log.append(encode_entry(entry))

    def rounds(self, count: int) -> None:
        """Do rounds, settling what is due; client 2 is caught cheating in each."""
        for _ in range(count):
            entry = next_round(self.state)
            verdicts = [changed(one, reason=Reason.BAD_PROOF) if one.client == 2 else one for one in entry.verdicts]
            entry = changed(entry, verdicts=tuple(verdicts), aggregate=aggregate(20))
            self.state.apply(entry, statements(self.state, entry))
            self.log.append(encode_entry(entry))
            if self.state.settlement_due:
                self.append(self.state.settlement(SCORES))

    def close(self) -> None:
        if self.state.rounds > self.state.settled:
            self.append(self.state.settlement(SCORES))
        self.append(closing(self.state, outcome="interrupted"))

    def __enter__(self) -> "GrowingRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()
