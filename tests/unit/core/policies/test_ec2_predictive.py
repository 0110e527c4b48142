from dataclasses import replace

import pytest

from sizewise.core.policies.ec2_predictive import PredictiveConfig, forecast
from sizewise.core.policies.registry import EC2_PREDICTIVE
from sizewise.core.policies.target_tracking import Tracked, TrackingConfig
from tests.unit.core.policies.replaying import changes, replay

DAY = (1.0,) * 12 + (6.0,) * 12


@pytest.mark.parametrize(
    ("hours", "ahead", "load"),
    [
        pytest.param(DAY[:23], 0, 0.0, id="less than a day: no forecast"),
        pytest.param(DAY, 0, 1.0, id="a day: the same hour of it"),
        pytest.param(DAY + DAY[:11], 1, 6.0, id="the hour after"),
        pytest.param(DAY + (3.0,) * 24, 0, 2.0, id="two days: their mean"),
        pytest.param((9.0, *([1.0] * 167)), 0, 9.0, id="a week: the same hour of the week"),
        pytest.param((9.0, *([1.0] * 167), 5.0, *([1.0] * 167)), 0, 7.0, id="two weeks: their mean"),
    ],
)
def test_forecast(hours: tuple[float, ...], ahead: int, load: float) -> None:
    assert forecast(PredictiveConfig(), hours, ahead) == pytest.approx(load)


def test_the_floor_comes_before_its_hour_and_never_scales_in() -> None:
    tracking = TrackingConfig(tracked=Tracked.CONCURRENCY, target=2.0, low_points=3)
    config = PredictiveConfig(tracking=tracking, history=DAY[11:] + DAY[:11])
    policy = replace(EC2_PREDICTIVE, config=config)
    history = changes(replay(policy, lambda _: 1.0, until_s=7200.0))
    assert history == [(0.0, 1), (3300.0, 3)]
    # An unforeseen load still finds tracking
    surge = changes(replay(policy, lambda _: 30.0, until_s=600.0))
    assert surge[-1] == (240.0, 15)


def test_hours_are_gathered_as_they_pass() -> None:
    tracking = TrackingConfig(tracked=Tracked.CONCURRENCY, target=2.0)
    policy = replace(EC2_PREDICTIVE, config=PredictiveConfig(tracking=tracking, least_hours=24))

    def daily(now_s: float) -> float:
        return 8.0 if 3600 * 5 <= now_s % 86400 < 3600 * 6 else 0.5

    history = changes(replay(policy, daily, until_s=86400 + 3600 * 5))
    second_day = [mark for mark in history if mark[0] > 86400]
    assert second_day[0] == (86400 + 3600 * 5 - 300.0, 4)
