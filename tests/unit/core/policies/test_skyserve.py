from dataclasses import replace
from typing import Any

import pytest

from sizewise.core.policies.base import Incumbent
from sizewise.core.policies.registry import SKYSERVE
from sizewise.core.policies.skyserve import (
    SkyServeConfig,
    SkyServeState,
    hysteresis,
    skyserve_interval_s,
    skyserve_step,
)
from tests.unit.core.policies.replaying import changes, replay, seen


def sky(**rest: Any) -> Incumbent[SkyServeConfig, SkyServeState]:
    return replace(SKYSERVE, config=replace(SkyServeConfig(), **rest))


@pytest.mark.parametrize(
    ("state", "wish", "after"),
    [
        pytest.param(SkyServeState(0), 4, (4, 0, 0), id="from zero at once"),
        pytest.param(SkyServeState(1, ups=13), 2, (1, 14, 0), id="14th tick: not yet"),
        pytest.param(SkyServeState(1, ups=14), 2, (2, 0, 0), id="15th tick in a row"),
        pytest.param(SkyServeState(3, ups=14), 2, (3, 0, 1), id="another direction clears the count"),
        pytest.param(SkyServeState(3, ups=14), 3, (3, 0, 0), id="no wish clears both"),
        pytest.param(SkyServeState(3, downs=59), 1, (1, 0, 0), id="60th tick down: all at once"),
    ],
)
def test_hysteresis(state: SkyServeState, wish: int, after: tuple[int, int, int]) -> None:
    assert hysteresis(SkyServeConfig(), state, wish) == after


def test_120_requests_in_60_s_wish_for_two() -> None:
    step = skyserve_step(SkyServeConfig(), seen(60.0, period_s=60.0, arrivals=120), SkyServeState(1, ups=14))
    assert step.desired == 2


def test_applied_on_the_15th_tick() -> None:
    history = changes(replay(SKYSERVE, lambda _: 2.0, until_s=600.0))
    # The rate is above 1 from the second full tick on: 40 s of 2 per second over 60 s
    assert history == [(0.0, 1), (40.0 + 14 * 20.0, 2)]


def test_down_after_1200_s() -> None:
    history = changes(replay(SKYSERVE, lambda _: 0.0, until_s=2000.0, spec=5))
    assert history == [(0.0, 5), (59 * 20.0, 1)]


def test_zero_is_watched_closely_and_left_at_once() -> None:
    policy = sky(min_replicas=0)
    assert skyserve_interval_s(policy.config, SkyServeState(0)) == 5.0
    history = changes(replay(policy, lambda now_s: 1.0 if now_s > 100 else 0.0, until_s=200.0, spec=0))
    assert history == [(0.0, 0), (105.0, 1)]


def test_overprovision_comes_on_top() -> None:
    assert replay(sky(overprovision=2), lambda _: 0.5, until_s=100.0, spec=3)[-1][1] == 3
