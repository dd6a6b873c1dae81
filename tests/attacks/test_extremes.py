"""Updates at the very ends of what their types and ranges hold: judged like any other, and the server lives on."""

from pathlib import Path

import numpy as np

from ledger.agreement import Agreement
from ledger.audit import audit
from ledger.export import write_export
from ledger.verdicts import Reason
from tests.federation import OK, Change, Contribution, Federation, LocalMember, cheat, client, recommit, terms

PLAN: dict[str, object] = {
    "feature-bits": 1, "activation-bits": 1, "logit-bits": 2, "output-error-bits": 3, "error-bits": 3, "limb-bits": 10,
    "weight-range-bits": 31, "rate-numerator": 1, "rate-shift": 23, "coefficient-bits": 25,
}  # fmt: skip


def widest() -> Agreement:
    """Weights of 56 bits inside a round, which no float64 holds."""
    training = {"loss": "mean-squared-error", "batch": 1, "local-steps": 1, "learning-rate": 2.0**-23, "momentum": 0.5}
    sections: dict[str, dict[str, object]] = {"fixed-point": PLAN, "training": training, "federation": {"maximum-samples": 8}}
    return terms(4, 1, layers=(1, 1), proof={"kind": "training"}, **sections)


EXTREMES = {(1 << 56) - 1: Reason.BAD_PROOF, 1 - (1 << 56): Reason.BAD_PROOF, (1 << 63) - 1: Reason.OUT_OF_RANGE}


def test_extreme_updates(folder: Path) -> None:
    """In range or not is decided in integers: rounded to a float, the largest that is allowed is not, and ended the run."""

    def contributing(value: int) -> Change:
        def change(member: LocalMember, contribution: Contribution) -> Contribution:
            update, samples, reply = contribution
            far = [np.array([[0], [value]], dtype=np.int64) for _ in update]
            made = recommit(member, far, [7], reply)
            return far, samples, type(reply)(made.statement, made.commitment, made.blinds, reply.proof)

        return change

    cheaters = [cheat(number, contributing(value)) for number, value in enumerate(EXTREMES, 1)]
    run = Federation(folder, [client(0), *cheaters], widest()).run()
    assert run.verdicts(1) == [OK, *EXTREMES.values()]
    run.check()
    write_export(folder, folder.parent / "export.tar")
    assert audit(folder.parent / "export.tar", backend="arkworks").verified
