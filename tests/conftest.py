"""Fixtures that several rooms share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Server, server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a run a folder whose durability is not the point: nothing waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return tmp_path / "run"


@pytest.fixture(params=["py_ecc", "arkworks"])
def backend(request: pytest.FixtureRequest) -> str:
    """Name both implementations of the group: a verdict must not depend on which one gives it."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Start a real PostgreSQL."""
    running = server()
    yield running
    running.stop()
