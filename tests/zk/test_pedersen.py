"""Pedersen vector commitments: additive, binding to values and places; generators that are the same everywhere."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zk import pedersen
from zk.errors import EncodingError
from zk.field import ORDER
from zk.group import POINT_BYTES, Arkworks, Group, PyEcc
from zk.hashing import sha256
from zk.pedersen import DOMAIN, CommitmentKey, commitment_key, derive_generators

WIDTH = 4
KEY = commitment_key(Arkworks, WIDTH)
IDENTITY = bytes([0xC0]) + bytes(47)
VALUES = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=WIDTH, max_size=WIDTH)
BLINDS = st.integers(0, ORDER - 1)


def committed(values: list[int], blind: int) -> bytes:
    return KEY.encode([KEY.commit(values, blind)])


@settings(deadline=None)
@given(VALUES, BLINDS, VALUES, BLINDS)
def test_commitments_add_up(v: list[int], rho: int, w: list[int], sigma: int) -> None:
    total = KEY.group.msm([KEY.commit(v, rho), KEY.commit(w, sigma)], [1, 1])
    assert KEY.encode([total]) == committed([a + b for a, b in zip(v, w, strict=True)], rho + sigma)


@settings(deadline=None)
@given(VALUES, BLINDS, st.integers(-(2**31), 2**31))
def test_a_multiple_of_a_commitment_commits_to_the_multiple(v: list[int], rho: int, factor: int) -> None:
    assert KEY.encode([KEY.group.msm([KEY.commit(v, rho)], [factor])]) == committed([factor * a for a in v], factor * rho)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=WIDTH), BLINDS)
def test_a_commitment_is_the_sum_of_multiples_of_the_generators(values: list[int], blind: int) -> None:
    points = [*KEY.generators[: len(values)], KEY.blinding]
    terms = [KEY.group.msm([point], [value]) for point, value in zip(points, [*values, blind], strict=True)]
    assert committed(values, blind) == KEY.encode([KEY.group.msm(terms, [1] * len(terms))])


def test_a_unit_vector_is_its_generator_and_a_blind_alone_a_multiple_of_h() -> None:
    for place in range(WIDTH):
        assert KEY.encode([KEY.commit([int(i == place) for i in range(WIDTH)], 0)]) == KEY.encode([KEY.generators[place]])
    assert committed([0] * WIDTH, 1) == KEY.encode([KEY.blinding])
    assert committed([0] * WIDTH, 0) == IDENTITY


def test_a_commitment_is_bound_to_each_value_its_place_and_the_blind() -> None:
    changed = [[2, 1, 3, 4], [1, 2, 4, 3], [0, 2, 3, 4], [1, 2, 3, 5], [-1, 2, 3, 4], [1, 2, 3]]
    encodings = {committed(values, 7) for values in [[1, 2, 3, 4], *changed]} | {committed([1, 2, 3, 4], 8)}
    assert len(encodings) == len(changed) + 2


def test_signed_values_and_blinds_count_modulo_the_group_order() -> None:
    assert committed([-1, -5, 0, 2], -3) == committed([ORDER - 1, 2 * ORDER - 5, ORDER, 2], ORDER - 3)


def test_a_short_row_is_a_row_that_ends_in_zeros() -> None:
    assert committed([5, 6], 9) == committed([5, 6, 0, 0], 9)
    assert committed([], 9) == committed([0, 0, 0, 0], 9)


def test_a_row_holds_no_more_than_the_width() -> None:
    with pytest.raises(ValueError, match="a row holds 4 values, got 5"):
        KEY.commit([0] * 5, 1)


def test_a_tensor_is_committed_row_by_row_in_its_order() -> None:
    values = np.arange(-5, 5, dtype=np.int64)
    rows = [list(range(-5, -1)), list(range(-1, 3)), [3, 4]]
    blinds = [11, 12, 13]
    assert KEY.rows_for(len(values)) == 3
    assert KEY.encode(KEY.commit_rows(values, blinds)) == b"".join(committed(row, blind) for row, blind in zip(rows, blinds, strict=True))


@pytest.mark.parametrize(("size", "rows"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_rows_are_as_many_as_the_values_fill(size: int, rows: int) -> None:
    assert KEY.rows_for(size) == rows
    assert len(KEY.commit_rows(np.zeros(size, dtype=np.int64), [1] * rows)) == rows


@pytest.mark.parametrize("blinds", [[], [1], [1, 2, 3]])
def test_each_row_takes_one_blind(blinds: list[int]) -> None:
    with pytest.raises(ValueError, match="2 rows need 2 blinds"):
        KEY.commit_rows(np.zeros(8, dtype=np.int64), blinds)


@pytest.mark.parametrize("group", [PyEcc, Arkworks])
def test_points_are_read_back_as_they_were_written(group: type[Group]) -> None:
    key = commitment_key(group, WIDTH)
    data = key.encode([key.commit([1, -2, 3], 4), key.commit([], 0), key.blinding])
    assert len(data) == 3 * POINT_BYTES
    assert key.encode(key.decode(data, 3)) == data
    assert key.decode(b"", 0) == []


@pytest.mark.parametrize(("count", "length"), [(2, 95), (2, 97), (2, 48), (2, 144), (2, 0), (0, 1), (1, 0)])
def test_a_wrong_number_of_points_is_refused(count: int, length: int) -> None:
    data = KEY.encode([KEY.blinding] * 4)[:length]
    with pytest.raises(EncodingError, match=f"expected {count} points in {count * POINT_BYTES} bytes, got {length} bytes"):
        KEY.decode(data, count)


def test_one_bad_point_among_good_ones_is_refused() -> None:
    good = KEY.encode([KEY.blinding, KEY.generators[0]])
    with pytest.raises(EncodingError, match="not the canonical encoding"):
        KEY.decode(good[:48] + b"\0" + good[49:], 2)


def test_both_groups_have_the_same_generators() -> None:
    assert derive_generators(PyEcc(), 8) == derive_generators(Arkworks(), 8)
    assert commitment_key(PyEcc, 8).digest == commitment_key(Arkworks, 8).digest
    reference = commitment_key(PyEcc, 8)
    assert reference.encode([reference.commit([3, -4, 5], 6)]) == committed([3, -4, 5], 6)


def test_generators_are_hashes_of_their_index_whatever_the_width() -> None:
    wide = derive_generators(Arkworks(), 300)
    assert wide.startswith(derive_generators(Arkworks(), 8))
    points = {wide[i : i + POINT_BYTES] for i in range(0, len(wide), POINT_BYTES)}
    assert len(points) == 301
    group = Arkworks()
    assert wide[:48] == group.encode(group.hash_to_curve(b"H", DOMAIN))
    assert wide[-48:] == group.encode(group.hash_to_curve(b"G\x00\x00\x01\x2b", DOMAIN))


def test_the_generators_are_those_of_the_first_version() -> None:
    assert sha256(derive_generators(Arkworks(), 8)).hex() == "6b16a129148f6e0b43453b8aad7c424c7040c80dbcdecc77d7096eacff96f3df"


def test_a_key_is_named_by_all_its_generators() -> None:
    g, h = KEY.generators, KEY.blinding
    others = [
        CommitmentKey(KEY.group, g, g[0]),
        CommitmentKey(KEY.group, g[:3], h),
        CommitmentKey(KEY.group, (g[1], g[0], *g[2:]), h),
        CommitmentKey(KEY.group, (*g[:3], h), g[3]),
    ]
    assert len({KEY.digest, *(key.digest for key in others)}) == 5


class TestCache:
    """The generators on disk: a help that may be missing, damaged or unwritable."""

    @pytest.fixture(autouse=True)
    def _fresh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        commitment_key.cache_clear()
        yield
        commitment_key.cache_clear()

    @staticmethod
    def stored(folder: Path) -> Path:
        (path,) = (folder / "lunaria").iterdir()
        return path

    @staticmethod
    def load(width: int = WIDTH) -> bytes:
        """Return the digest of a key as a new process would build it."""
        commitment_key.cache_clear()
        return commitment_key(Arkworks, width).digest

    @staticmethod
    def forbid_deriving(monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(group: Group, width: int) -> bytes:
            raise AssertionError(f"derived again: {group.name}, {width}")

        monkeypatch.setattr(pedersen, "derive_generators", refuse)

    def test_the_next_process_reads_what_the_first_one_derived(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.load() == KEY.digest
        self.forbid_deriving(monkeypatch)
        assert self.load() == KEY.digest

    def test_widths_and_groups_are_kept_apart(self, tmp_path: Path) -> None:
        self.load()
        self.load(WIDTH + 1)
        commitment_key(PyEcc, 1)
        assert len(list((tmp_path / "lunaria").iterdir())) == 3
        assert commitment_key(Arkworks, WIDTH).width == WIDTH

    def test_one_process_builds_a_key_once(self) -> None:
        assert commitment_key(Arkworks, WIDTH) is commitment_key(Arkworks, WIDTH)

    @pytest.mark.parametrize("place", [0, 1, 47, 48, 100, 239, 240, 271])
    def test_a_changed_byte_is_noticed_and_mended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
        self.load()
        path = self.stored(tmp_path)
        good = path.read_bytes()
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert self.load() == KEY.digest
        assert path.read_bytes() == good
        self.forbid_deriving(monkeypatch)
        self.load()

    @pytest.mark.parametrize("damage", [b"", b"\0" * 10, b"\0" * 272], ids=["empty", "short", "zeros"])
    def test_a_file_that_was_cut_off_or_overwritten_is_derived_again(self, tmp_path: Path, damage: bytes) -> None:
        self.load()
        path = self.stored(tmp_path)
        good = path.read_bytes()
        path.write_bytes(damage)
        assert self.load() == KEY.digest
        assert path.read_bytes() == good

    def test_generators_of_another_width_do_not_pass_for_these(self, tmp_path: Path) -> None:
        self.load()
        path = self.stored(tmp_path)
        self.load(2 * WIDTH)
        (other,) = (item for item in (tmp_path / "lunaria").iterdir() if item != path)
        path.write_bytes(other.read_bytes())
        assert self.load() == KEY.digest

    def test_a_cache_that_cannot_be_used_is_done_without(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(file))
        assert self.load() == KEY.digest

    def test_a_folder_where_the_file_should_be_is_done_without(self, tmp_path: Path) -> None:
        self.load()
        path = self.stored(tmp_path)
        path.unlink()
        path.mkdir()
        (path / "occupied").touch()
        assert self.load() == KEY.digest

    def test_without_xdg_the_cache_is_in_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setenv("HOME", str(tmp_path))
        self.load()
        assert len(list((tmp_path / ".cache" / "lunaria").iterdir())) == 1
