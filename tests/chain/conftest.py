"""A federation on a real node that several tests of the client use."""

from collections.abc import Iterator

import pytest

from tests.chain.deployment import Deployment, deployment


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as patch, deployment(tmp_path_factory.mktemp("chain"), patch) as found:
        found.begin()
        yield found


@pytest.fixture
def begun(shared: Deployment) -> Iterator[Deployment]:
    """Give a federation that has begun; whatever a test does on its chain is undone."""
    snapshot = shared.anvil.rpc("evm_snapshot")
    yield shared
    shared.anvil.rpc("evm_revert", snapshot)
    for journal in shared.folder.glob("*.journal.json"):
        journal.unlink()
