from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.base import Incumbent
from sizewise.core.policies.kpa import Wish, excess_burst, kpa_start, kpa_step, wished
from sizewise.core.policies.kpa_config import Aggregation, KpaConfig, KpaState, Phase
from sizewise.core.policies.registry import KPA
from tests.unit.core.policies.replaying import Load, changes, replay, seen


def kpa(**rest: Any) -> Incumbent[KpaConfig, KpaState]:
    return replace(KPA, config=replace(KpaConfig(), **rest))


@pytest.mark.parametrize(
    ("config", "ready", "averages", "wish"),
    [
        pytest.param(KpaConfig(), 1, (700, 700), Wish(10, 10, over=True), id="700 at 70 each: 10, a panic"),
        pytest.param(KpaConfig(), 6, (700, 700), Wish(10, 10, over=False), id="10 over 6 ready: no panic"),
        pytest.param(KpaConfig(), 5, (350, 700), Wish(5, 10, over=True), id="exactly double: panic"),
        pytest.param(KpaConfig(), 9, (0, 0), Wish(4, 4, over=False), id="at most halved, rounded down"),
        pytest.param(KpaConfig(), 0, (1, 1), Wish(1, 1, over=False), id="none ready counts as one"),
        pytest.param(KpaConfig(max_scale_up_rate=3), 2, (7e3, 7e3), Wish(6, 6, over=True), id="up-rate 3"),
        pytest.param(KpaConfig(activation_scale=4), 1, (1, 0), Wish(4, 0, over=False), id="activation scale"),
        pytest.param(KpaConfig(target=10), 1, (70, 0), Wish(10, 0, over=False), id="annotation: 10 x 0.7"),
        pytest.param(
            KpaConfig(container_concurrency=5, target=10), 1, (35, 0), Wish(10, 0, over=False), id="capped at 5 x 0.7"
        ),
        pytest.param(KpaConfig(metric_is_rate=True), 1, (280, 0), Wish(2, 0, over=False), id="200 x 0.7 per second"),
    ],
)
def test_wish(config: KpaConfig, ready: int, averages: tuple[float, float], wish: Wish) -> None:
    assert wished(config, ready, averages=averages) == wish


@pytest.mark.parametrize(
    ("burst", "ready", "panic", "room"),
    [
        pytest.param(211, 1, 0, -111, id="stock: one replica is in proxy mode"),
        pytest.param(211, 3, 10.5, 78, id="three leave room"),
        pytest.param(0, 1, 500, 0, id="0: only at zero"),
        pytest.param(-1, 9, 0, -1, id="-1: always"),
    ],
)
def test_excess_burst(burst: float, ready: int, panic: float, room: float) -> None:
    assert excess_burst(KpaConfig(target_burst=burst), ready, panic) == room


def until(end_s: float, value: float) -> Load:
    return lambda now_s: value if now_s < end_s else 0.0


def test_panic_holds_a_stable_window_and_then_halves() -> None:
    history = changes(replay(KPA, until(6.0, 700.0), until_s=70.0))
    assert history[:2] == [(0.0, 1), (2.0, 10)]
    # Over the threshold until the panic average no longer asks for twice what is ready, then 60 s more
    left_s, first = history[2]
    assert 62.0 <= left_s <= 70.0
    assert first == 5


def test_zero_after_the_stable_window() -> None:
    history = changes(replay(KPA, until(100.0, 10.0), until_s=300.0))
    assert [n for _, n in history] == [1, 0]
    assert 160.0 <= history[1][0] <= 166.0  # in proxy mode all along, so that the grace is over


def test_grace_when_the_activator_was_out_of_the_path() -> None:
    at_s = changes(replay(kpa(target_burst=0), until(100.0, 10.0), until_s=300.0))[1][0]
    assert 190.0 <= at_s <= 196.0


def test_retention() -> None:
    at_s = changes(replay(kpa(retention_s=120.0), until(100.0, 10.0), until_s=400.0))[1][0]
    assert 280.0 <= at_s <= 286.0


def test_never_zero() -> None:
    assert {n for _, n in replay(kpa(enable_scale_to_zero=False), until(10.0, 10.0), until_s=300.0)} == {1}
    assert {n for _, n in replay(kpa(min_replicas=1), until(10.0, 10.0), until_s=300.0)} == {1}


def test_a_slow_load_is_given_up() -> None:
    """A request gave up waiting; the replica it woke still loads, and is removed after 630 s."""
    history = changes(replay(kpa(), until(20.0, 1.0), until_s=700.0, load_s=3600.0, spec=0))
    assert history == [(0.0, 1), (632.0, 0)]


def test_the_first_request_wakes() -> None:
    config = KpaConfig()
    asleep = kpa_start(config, seen(spec=0))
    assert asleep.phase is Phase.INACTIVE
    assert kpa_step(config, seen(0.3, spec=0, period_s=0.3, queued=1), asleep).desired == 1


def test_no_data_changes_nothing() -> None:
    config, observation = KpaConfig(), seen(spec=3)
    assert kpa_step(config, observation, KpaState()).desired == 3


def test_a_restart_keeps_what_is_ready() -> None:
    assert replay(KPA, until(0.0, 0.0), until_s=58.0, spec=7)[-1][1] == 7


def test_scale_down_delay() -> None:
    history = changes(replay(kpa(scale_down_delay_s=120.0), until(200.0, 140.0), until_s=500.0))
    assert [n for _, n in history][:2] == [1, 2]
    fewer = next(at_s for at_s, n in history if at_s > 100 and n < 2)
    assert fewer >= 320.0


def test_initial_scale_until_reached() -> None:
    history = replay(kpa(initial_scale=3), until(1e9, 1.0), until_s=20.0, load_s=9.0)
    assert [n for _, n in history[1:5]] == [3, 3, 3, 3]


def test_weights_follow_a_step_sooner() -> None:
    def late(now_s: float) -> float:
        return 60.0 if now_s < 100 else 130.0

    linear = replay(kpa(panic_threshold=10), late, until_s=130.0)
    weighted = replay(kpa(panic_threshold=10, aggregation=Aggregation.WEIGHTED_EXPONENTIAL), late, until_s=130.0)
    up_linear, up_weighted = (next(t for t, n in h if n == 2) for h in (linear, weighted))
    assert 100.0 <= up_weighted < up_linear


@given(st.integers(0, 50), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_load_never_wishes_fewer(ready: int, stable: float, panic: float, extra: float) -> None:
    less = wished(KpaConfig(), ready, averages=(stable, panic))
    more = wished(KpaConfig(), ready, averages=(stable + extra, panic + extra))
    assert less.stable <= more.stable
    assert less.panic <= more.panic
    assert less.over <= more.over
