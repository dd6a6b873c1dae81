"""Blinding values: never twice the same, never another party's, and repeatable only where a simulation asks for it."""

import os

import pytest

from zk.blinding import BlindingSource
from zk.field import ORDER

SECRET = bytes(range(32))


def seeded(secret: bytes = SECRET) -> BlindingSource:
    return BlindingSource(secret, deterministic=True)


def test_blinds_for_one_thing_differ_each_time() -> None:
    source = BlindingSource(SECRET)
    blinds = source.scalars("rows", b"context", 5) + source.scalars("rows", b"context", 5)
    assert len(set(blinds)) == 10
    assert source.secret_bytes("seed", b"context", 32) != source.secret_bytes("seed", b"context", 32)


def test_deterministic_blinds_are_the_same_each_time() -> None:
    assert seeded().scalars("rows", b"context", 5) == seeded().scalars("rows", b"context", 5)
    assert seeded().secret_bytes("seed", b"context", 32) == seeded().secret_bytes("seed", b"context", 32)


@pytest.mark.parametrize(
    ("secret", "label", "context"),
    [
        pytest.param(SECRET[:-1] + b"\0", "rows", b"context", id="secret"),
        pytest.param(SECRET + b"\0", "rows", b"context", id="longer secret"),
        pytest.param(SECRET, "row", b"context", id="label"),
        pytest.param(SECRET, "rows", b"contexT", id="context"),
        pytest.param(SECRET, "rows", b"", id="no context"),
        pytest.param(SECRET, "rowsc", b"ontext", id="context moved into the label"),
        pytest.param(SECRET + b"c", "rows", b"ontext", id="context moved into the secret"),
    ],
)
def test_another_secret_label_or_context_gives_other_blinds(secret: bytes, label: str, context: bytes) -> None:
    assert not set(seeded().scalars("rows", b"context", 4)) & set(seeded(secret).scalars(label, context, 4))


def test_a_broken_random_generator_still_leaves_every_party_and_thing_its_own_blinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    blinds = [BlindingSource(secret).scalars("rows", context, 1)[0] for secret in (SECRET, b"x" * 32) for context in (b"a", b"b")]
    assert len(set(blinds)) == 4


def test_fresh_randomness_is_used_unless_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    monkeypatch.setattr(os, "urandom", urandom)
    seeded().scalars("rows", b"", 3)
    assert asked == []
    BlindingSource(SECRET).scalars("rows", b"", 3)
    assert asked == [32]


def test_blinds_are_scalars_spread_over_the_whole_field() -> None:
    blinds = seeded().scalars("rows", b"", 500)
    assert len(set(blinds)) == 500
    assert min(blinds) >= 0
    assert max(blinds) < ORDER
    assert abs(sum(blind / ORDER for blind in blinds) / 500 - 0.5) < 0.07  # five standard errors


@pytest.mark.parametrize("length", [0, 16, 31])
def test_a_short_secret_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        BlindingSource(bytes(length))


def test_the_blinds_are_those_of_the_first_version() -> None:
    assert f"{seeded().scalars('rows', b'context', 1)[0]:064x}" == "4595e28bf2725b75fc6ba6fec235bd38902acfed636c0d7d62c6dbc828a0da2e"
