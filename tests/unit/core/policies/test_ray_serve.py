from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.base import Incumbent
from sizewise.core.policies.ray_serve import RayServeConfig, RayServeState, ray_serve_step, wished
from sizewise.core.policies.registry import RAY_SERVE
from tests.unit.core.policies.replaying import changes, replay, seen


def ray(**rest: Any) -> Incumbent[RayServeConfig, RayServeState]:
    return replace(RAY_SERVE, config=replace(RayServeConfig(), **rest))


@pytest.mark.parametrize(
    ("config", "ready", "total", "wish"),
    [
        pytest.param(RayServeConfig(), 1, 10, 5, id="10 at 2 each: 5"),
        pytest.param(RayServeConfig(), 4, 8.1, 5, id="no tolerance"),
        pytest.param(RayServeConfig(upscaling_factor=0.5), 1, 10, 3, id="half of the way up"),
        pytest.param(RayServeConfig(downscaling_factor=0.5), 9, 2, 5, id="half of the way down"),
        pytest.param(RayServeConfig(downscaling_factor=0.1), 2, 2, 1, id="not stuck for rounding"),
        pytest.param(RayServeConfig(), 0, 0, 7, id="nothing runs: the target"),
    ],
)
def test_wish(config: RayServeConfig, ready: int, total: float, wish: int) -> None:
    assert wished(config, seen(spec=ready), RayServeState(target=7), total=total) == wish


def test_up_after_30_s() -> None:
    history = changes(replay(RAY_SERVE, lambda _: 10.0, until_s=100.0))
    # Metrics arrive at 10 s; the wish has then to last for 30
    assert history == [(0.0, 1), (40.0, 5)]


@pytest.mark.parametrize(
    ("low", "wanted"),
    [
        pytest.param(0, [1, 0], id="to 1 first, and another 600 s later to 0"),
        pytest.param(2, [2], id="to the minimum"),
    ],
)
def test_down_after_600_s(low: int, wanted: list[int]) -> None:
    history = changes(replay(ray(min_replicas=low), lambda _: 0.0, until_s=2000.0, spec=5))
    assert [n for _, n in history] == [5, *wanted]
    times = [at_s for at_s, _ in history[1:]]
    assert times[0] == 600.0
    assert all(b - a == pytest.approx(600.0, abs=4.0) for a, b in pairwise(times))


def test_to_zero_has_its_own_delay() -> None:
    history = changes(replay(ray(min_replicas=0, downscale_to_zero_delay_s=60.0), lambda _: 0.0, until_s=200.0))
    assert history == [(0.0, 1), (60.0, 0)]


def test_one_equal_wish_restarts_the_delay() -> None:
    def dip(now_s: float) -> float:
        return 2.0 if 20 < now_s < 60 else 10.0

    assert changes(replay(ray(look_back_s=10.0), dip, until_s=200.0))[1][0] > 90.0


def test_woken_at_once() -> None:
    config = RayServeConfig(min_replicas=0)
    assert ray_serve_step(config, seen(5.0, spec=0, period_s=0.1, queued=1), RayServeState(target=0)).desired == 1


def test_loading_replicas_do_not_compound_on_a_steady_total() -> None:
    history = replay(RAY_SERVE, lambda _: 10.0, until_s=400.0, load_s=300.0)
    assert max(n for _, n in history) == 5


@given(st.integers(1, 50), st.floats(0, 1e3), st.floats(0, 1e3))
def test_more_in_flight_never_wishes_fewer(ready: int, total: float, extra: float) -> None:
    state, observation = RayServeState(target=ready), seen(spec=ready)
    config = RayServeConfig()
    assert wished(config, observation, state, total=total) <= wished(config, observation, state, total=total + extra)
