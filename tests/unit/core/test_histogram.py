import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core import histogram as h

seconds = st.floats(1.01e-4, 150)


def counts_of(samples: list[float]) -> list[int]:
    counts = [0] * h.BUCKETS
    for sample in samples:
        counts[h.bucket_of(sample)] += 1
    return counts


def test_bounds_cover_100_us_to_over_100_s_in_steps_of_a_fifth() -> None:
    assert h.BOUNDS_S[0] == pytest.approx(1e-4)
    assert h.BOUNDS_S[-1] > 150
    assert all(1.2 < b / a < 1.22 for a, b in pairwise(h.BOUNDS_S))


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        pytest.param(0.0, 0, id="zero"),
        pytest.param(-1.0, 0, id="negative"),
        pytest.param(float("nan"), 0, id="not a number"),
        pytest.param(h.BOUNDS_S[3], 3, id="a bound is inclusive"),
        pytest.param(float("inf"), h.BUCKETS - 1, id="infinite"),
    ],
)
def test_bucket_of(value: float, bucket: int) -> None:
    assert h.bucket_of(value) == bucket


@given(st.lists(seconds, min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_quantile_is_within_a_bucket_of_the_true_one(samples: list[float], q: float) -> None:
    found = h.quantile(counts_of(samples), q)
    ordered = sorted(samples)
    rank = min(len(ordered) - 1, max(0, -(-q * len(ordered) // 1) - 1))
    assert found is not None
    assert 1 / 1.25 <= found / ordered[int(rank)] <= 1.25


def test_quantile_of_many_samples_is_within_ten_percent() -> None:
    rng = random.Random(7)
    samples = [rng.lognormvariate(-4, 0.7) for _ in range(5000)]
    for q in (0.5, 0.9, 0.95, 0.99):
        found = h.quantile(counts_of(samples), q)
        assert found == pytest.approx(sorted(samples)[int(q * 5000)], rel=0.1)


def test_no_samples_say_nothing() -> None:
    assert h.quantile([0] * h.BUCKETS, 0.5) is None
    assert h.quantile((), 0.5) is None
    assert h.share_below((), 1.0) is None


@given(st.lists(seconds, min_size=1, max_size=100), seconds, seconds)
def test_share_below_rises_with_the_threshold(samples: list[float], a: float, b: float) -> None:
    low, high = h.share_below(counts_of(samples), min(a, b)), h.share_below(counts_of(samples), max(a, b))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= 1


def test_share_below_counts_whole_buckets() -> None:
    counts = counts_of([0.001] * 30 + [1.0] * 10)
    assert h.share_below(counts, 0.1) == pytest.approx(0.75)
    assert h.share_below(counts, 1000.0) == 1.0


@pytest.mark.parametrize(
    ("new", "old", "gained"),
    [
        pytest.param((3, 5), (1, 5), (2, 0), id="grew"),
        pytest.param((1, 0), (4, 2), (1, 0), id="began anew"),
        pytest.param((1, 2), (), (1, 2), id="nothing before"),
    ],
)
def test_difference(new: tuple[int, ...], old: tuple[int, ...], gained: tuple[int, ...]) -> None:
    assert h.difference(new, old) == gained


def test_merged_takes_empty_ones() -> None:
    assert h.merged((1, 2), (3, 4)) == (4, 6)
    assert h.merged((), (3, 4)) == (3, 4)
