"""``make chain-demo``, as it stands."""

from pathlib import Path

import pytest

from tests.chain.anvil import MISSING, binary


@pytest.mark.slow
@pytest.mark.skipif(binary() is None, reason=MISSING)
def test_a_federation_is_trained_anchored_settled_and_paid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tests.chain.demo import main

    assert main([str(tmp_path / "demo")]) == 0
    said = capfd.readouterr().out
    assert "1 bad-proof of 4 asked" in said
    assert "chain and ledger agree" in said
    assert "1,000,000,000,000,000,000 from" in said
