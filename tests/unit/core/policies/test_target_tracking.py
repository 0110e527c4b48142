from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.base import Incumbent
from sizewise.core.policies.registry import SAGEMAKER
from sizewise.core.policies.target_tracking import Tracked, TrackingConfig, TrackingState
from tests.unit.core.policies.replaying import Load, changes, replay

PER_MINUTE = 60.0


def tracking(**rest: Any) -> Incumbent[TrackingConfig, TrackingState]:
    return replace(SAGEMAKER, config=replace(TrackingConfig(), **rest))


def steady(per_minute: float) -> Load:
    return lambda _: per_minute / PER_MINUTE


def test_out_after_three_minutes_and_the_lag() -> None:
    history = changes(replay(SAGEMAKER, steady(300.0), until_s=600.0))
    # Points end at 60, 120 and 180 s and the third is visible at 240 s: 300 / 70 rounded up
    assert history == [(0.0, 1), (240.0, 5)]


def test_in_after_fifteen_minutes() -> None:
    history = changes(replay(SAGEMAKER, steady(100.0), until_s=1800.0, spec=6))
    assert history == [(0.0, 6), (960.0, 2)]


@pytest.mark.parametrize(
    ("per_minute", "spec"),
    [
        pytest.param(70.0, 1, id="exactly the target: not above"),
        pytest.param(63.0, 1, id="0.9 of it: not below"),
        pytest.param(140.0 * 0.95, 2, id="between the alarms"),
    ],
)
def test_quiet(per_minute: float, spec: int) -> None:
    assert {n for _, n in replay(SAGEMAKER, steady(per_minute), until_s=3600.0, spec=spec)} == {spec}


def test_two_minutes_are_not_three() -> None:
    def pulse(now_s: float) -> float:
        return 10.0 if now_s < 120 else 1.1

    assert {n for _, n in replay(SAGEMAKER, pulse, until_s=1800.0)} == {1}


def test_during_the_cooldown_only_the_excess_is_added() -> None:
    def growing(now_s: float) -> float:
        return 300.0 / PER_MINUTE if now_s < 200 else 400.0 / PER_MINUTE

    history = changes(replay(SAGEMAKER, growing, until_s=520.0, load_s=3600.0))
    # Four replicas load: counted as there, so that 400 a minute on the one asks for 6 and not for 5 x 400 / 70
    assert history == [(0.0, 1), (240.0, 5), (300.0, 6)]


def test_over_adds_when_a_load_outlasts_the_cooldown() -> None:
    history = changes(replay(SAGEMAKER, steady(300.0), until_s=540.0, load_s=3600.0))
    assert history == [(0.0, 1), (240.0, 5), (540.0, 22)]


def test_scale_in_waits_for_its_cooldown() -> None:
    def falling(now_s: float) -> float:
        return (100.0 if now_s < 960 else 30.0) / PER_MINUTE

    config = tracking(scale_in_cooldown_s=1800.0, low_points=3)
    history = changes(replay(config, falling, until_s=3000.0, spec=6))
    assert [n for _, n in history] == [6, 2, 1]
    assert history[2][0] - history[1][0] == pytest.approx(1800.0, abs=60.0)


@pytest.mark.parametrize(
    ("missing", "wanted"), [pytest.param(False, 1, id="0 counts"), pytest.param(True, 4, id="no data: no scale-in")]
)
def test_no_traffic(missing: bool, wanted: int) -> None:
    assert replay(tracking(zero_is_missing=missing), steady(0.0), until_s=1800.0, spec=4)[-1][1] == wanted


def test_high_resolution_is_six_times_as_fast() -> None:
    config = tracking(tracked=Tracked.CONCURRENCY, target=2.0, period_s=10.0, lag_s=10.0)
    assert changes(replay(config, lambda _: 9.0, until_s=100.0)) == [(0.0, 1), (40.0, 5)]


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_more_load_never_means_fewer(less: float, extra: float) -> None:
    runs = [replay(SAGEMAKER, steady(rate), until_s=240.0)[-1][1] for rate in (less, less + extra)]
    assert runs[0] <= runs[1]
