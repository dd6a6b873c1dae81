"""Dealing out a data set: exact sizes, no sample twice, the same for everybody who knows the seed."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import DataError
from clients.partition import Partition, indices, parse_partition

SCHEMES = ["iid", "dirichlet:0.001", "dirichlet:0.5", "dirichlet:1000000"]


def one_hot(labels: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.uint8]:
    return np.eye(k, dtype=np.uint8)[labels]


def shares(parts: list[npt.NDArray[np.int64]], labels: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float64]:
    return np.array([np.bincount(labels[part], minlength=k) / len(part) for part in parts])


def test_parses_what_it_documents() -> None:
    assert parse_partition("iid") == Partition("iid")
    assert parse_partition("dirichlet:0.5") == Partition("dirichlet", 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "IID",
        "iid:1",
        "dirichlet",
        "dirichlet:",
        "dirichlet:x",
        "dirichlet:0",
        "dirichlet:-1",
        "dirichlet:nan",
        "dirichlet:inf",
        "dirichlet:1e-9",
        "label:0.5",
    ],
)
def test_refuses_any_other_scheme(text: str) -> None:
    with pytest.raises(DataError, match="give iid, or dirichlet:ALPHA"):
        parse_partition(text)


@given(
    scheme=st.sampled_from(SCHEMES),
    k=st.integers(1, 16),
    clients=st.integers(1, 12),
    samples=st.integers(1, 12) | st.none(),
    spare=st.integers(0, 20),
    seed=st.integers(0, 2**32),
)
def test_exact_disjoint_and_deterministic(scheme: str, k: int, clients: int, samples: int | None, spare: int, seed: int) -> None:
    total = clients * (samples or 1) + spare
    y = one_hot(np.random.default_rng(seed).integers(0, k, total), k)
    parts = indices(parse_partition(scheme), y, clients, samples, seed)
    again = indices(parse_partition(scheme), y, clients, samples, seed)
    everything = np.concatenate(parts)
    assert len(parts) == clients
    assert len(np.unique(everything)) == len(everything)
    assert everything.min() >= 0
    assert everything.max() < total
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    sizes = [len(part) for part in parts]
    if samples is None:
        assert sum(sizes) == total
        assert max(sizes) - min(sizes) <= 1
    else:
        assert sizes == [samples] * clients


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_seed_deals_differently(scheme: str) -> None:
    y = one_hot(np.arange(200) % 4, 4)
    first, second = (indices(parse_partition(scheme), y, 2, 50, seed) for seed in (0, 1))
    assert not np.array_equal(first[0], second[0])


def test_the_shape_of_the_targets_does_not_matter() -> None:
    labels = np.arange(300) % 3
    dealt = [indices(Partition("dirichlet", 0.5), y, 5, 20, 7) for y in (labels, labels[:, None], one_hot(labels, 3))]
    assert all(np.array_equal(a, b) for other in dealt[1:] for a, b in zip(dealt[0], other, strict=True))


def test_small_alpha_gives_few_classes_large_alpha_the_mix_of_the_whole() -> None:
    labels = np.repeat(np.arange(10), 1000)
    y = one_hot(labels, 10)
    few, some, all_classes = (shares(indices(Partition("dirichlet", alpha), y, 20, 100, 3), labels, 10) for alpha in (0.01, 0.5, 1e6))
    assert few.max(axis=1).mean() > 0.8
    assert 0.25 < some.max(axis=1).mean() < 0.7
    assert np.abs(all_classes - 0.1).max() < 0.15


def test_rare_classes_stay_rare_on_average() -> None:
    labels = np.repeat([0, 1], [9000, 1000])
    found = shares(indices(Partition("dirichlet", 1e6), labels, 20, 100, 3), labels, 2)
    assert abs(found[:, 1].mean() - 0.1) < 0.03


def test_every_sample_is_dealt_out_even_when_the_wanted_classes_have_run_out() -> None:
    labels = np.repeat([0, 1], [95, 5])
    parts = indices(Partition("dirichlet", 0.001), labels, 10, 10, 0)
    assert sorted(np.concatenate(parts)) == list(range(100))


def test_a_regression_target_is_skewed_over_bins_of_it() -> None:
    y = np.random.default_rng(0).permutation(np.arange(1000)) // 4
    spread = [np.std(y[part]) for part in indices(Partition("dirichlet", 0.01), y[:, None], 5, 40, 0)]
    assert np.mean(spread) < np.std(y) / 2


def test_iid_is_in_random_order() -> None:
    part = indices(Partition("iid"), np.arange(1000) % 2, 1, 1000, 0)[0]
    assert not np.array_equal(part, np.sort(part))


@pytest.mark.parametrize("scheme", ["iid", "dirichlet:0.5"])
@pytest.mark.parametrize(
    ("clients", "samples", "expected"),
    [
        (10, 700, "need 7000, there are 6000: at most 600 samples per client or at most 8 clients"),
        (2, 6001, "at most 3000 samples per client$"),
        (6001, 2, "there are 6000: at most 3000 clients"),
        (6001, 6001, "give more data"),
        (6001, None, "at most 6000 clients"),
        (0, 5, "give at least 1"),
        (5, 0, "give at least 1"),
    ],
)
def test_too_little_data_says_the_largest_possible_number(scheme: str, clients: int, samples: int | None, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        indices(parse_partition(scheme), np.arange(6000) % 10, clients, samples, 0)
