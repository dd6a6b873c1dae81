"""Every attack on the training proof, shown to the fast verifier and to the plain one: the same verdict, at the same stage.

The tests are those of the files of attacks, collected here once more; what they ask of a verdict is answered by both verifiers.
"""

from typing import Any

import pytest

from tests.attacks import test_training_proof, test_training_proof_ends, test_training_proof_optimiser
from tests.attacks.test_training_proof import *  # noqa: F403 - its tests and fixtures, whatever they are
from tests.attacks.test_training_proof_ends import *  # noqa: F403
from tests.attacks.test_training_proof_optimiser import *  # noqa: F403
from tests.zk.test_plain import verdict
from tests.zk.training_cases import WIDTH
from zk.training import TrainingStatement

SHOWN: list[str] = []


def accepts(statement: TrainingStatement, proof: bytes, *_: Any) -> bool:  # noqa: ANN401
    """Whether both accept; the commitment key is theirs to choose."""
    SHOWN.append(verdict(statement, proof, WIDTH))
    return SHOWN[-1] == "accepted"


def refused(statement: TrainingStatement, proof: bytes) -> bool:
    return not accepts(statement, proof)


@pytest.fixture(autouse=True)
def _ask_both_verifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (test_training_proof, test_training_proof_ends, test_training_proof_optimiser):
        assert "refused" in vars(module), "the attacks ask for verdicts by another name: ask both verifiers there"
        for name, function in (("accepts", accepts), ("refused", refused)):
            if name in vars(module):
                monkeypatch.setattr(module, name, function)


def test_attacks_were_shown_to_both(request: pytest.FixtureRequest) -> None:
    """Collected last in this file: nothing was skipped on the way."""
    ran = [item for item in request.session.items if item.fspath == request.node.fspath]
    assert len(SHOWN) >= len(ran) - 1
    assert set(SHOWN) <= {"accepted", "CommitmentError"}
