"""Arrivals: what was counted is what comes, made-up traffic has the shape it was asked for, the same seed the same."""

from dataclasses import replace

import numpy as np
import pytest

from sizewise.simulation.generators import KINDS, fitted, generate
from sizewise.simulation.workload import Chance, RateWorkload, RequestWorkload, Workload, scaled_requests


def times(workload: Workload, model: int = 0) -> np.ndarray:
    parts = []
    for i in range(workload.blocks):
        block = workload.block(i)
        parts.append(block.times_s[block.offsets[model] : block.offsets[model + 1]])
    return np.concatenate(parts)


def test_counts_of_a_trace_arrive_in_their_bucket() -> None:
    counts = np.array([[3.0, 0.0, 5.0], [0.0, 7.0, 0.0]])
    workload = RateWorkload(["a", "b"], counts, bucket_s=60.0, seed=1, chance=Chance(exact=True))
    for model, row in enumerate(counts):
        found = times(workload, model)
        assert (np.diff(found) >= 0).all()
        assert np.bincount((found // 60).astype(int), minlength=3).tolist() == row.tolist()


def test_a_scaled_trace_keeps_its_share() -> None:
    counts = np.full((1, 1000), 100.0)
    half = RateWorkload(["a"], counts, bucket_s=1.0, seed=1, chance=Chance(exact=True, scale=0.255))
    assert len(times(half)) == pytest.approx(25_500, rel=0.01)


def test_blocks_are_the_same_in_any_order_and_cover_all_time() -> None:
    workload = RateWorkload(["a"], np.full((1, 50), 1e5), bucket_s=10.0, seed=3, chance=Chance())
    assert workload.blocks == 3
    again = workload.block(1)
    assert (workload.block(1).times_s == again.times_s).all()
    assert [workload.block(i).end_s for i in range(3)] == [200.0, 400.0, 500.0]
    assert again.times_s[0] >= 200.0
    assert again.times_s[-1] < 400.0


@pytest.mark.parametrize("kind", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_gaps_vary_as_asked(cv: float, kind: str) -> None:
    wanted = replace(fitted(kind), duration_s=20_000.0, rate_per_s=5.0, cv=cv)
    gaps = np.diff(times(generate(wanted, seed=2)))
    assert gaps.mean() == pytest.approx(0.2, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_rate_asked_for(kind: str) -> None:
    wanted = replace(
        fitted(kind), duration_s=200_000.0, rate_per_s=2.0, models=3, weekend=1.0, lasts_s=60.0, off_s=500.0
    )
    workload = generate(wanted, seed=4)
    total = sum(len(times(workload, model)) for model in range(3))
    models = 1 if kind == "zipf" else 3
    assert total == pytest.approx(models * 2.0 * 200_000, rel=0.12)
    other = generate(wanted, seed=5)
    assert len(times(other)) != len(times(workload))


def test_a_day_has_its_peak_and_its_weekend() -> None:
    wanted = replace(fitted("diurnal"), duration_s=7 * 86400.0, rate_per_s=1.0, peak=3.0, weekend=0.5)
    per_hour = np.bincount((times(generate(wanted, seed=1)) // 3600).astype(int), minlength=168)
    weekday, weekend = per_hour[:120], per_hour[120:]
    assert weekday.max() / weekday.mean() == pytest.approx(3.0, rel=0.1)
    assert weekend.mean() / weekday.mean() == pytest.approx(0.5, rel=0.05)


def test_a_crowd_comes_when_asked() -> None:
    wanted = replace(fitted("flash"), duration_s=3600.0, rate_per_s=10.0, peak=5.0, at_s=1200.0, lasts_s=600.0)
    per_minute = np.bincount((times(generate(wanted, seed=1)) // 60).astype(int), minlength=60)
    assert per_minute[:20].mean() == pytest.approx(600, rel=0.05)
    assert per_minute[22:30].mean() == pytest.approx(3000, rel=0.05)


def test_requests_are_repeated_near_each_other() -> None:
    at = np.arange(0.0, 1000.0, 10.0)
    twice = scaled_requests(at, 2.0, np.random.default_rng(1))
    assert len(twice) == 200
    assert np.isin(at, twice).all()
    assert (np.abs(twice[:, None] - at).min(axis=1) <= 1.0).all()
    assert len(times(RequestWorkload(["a"], [twice], end_s=1001.0))) == 200
