import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.demand import DemandState, Reading, demand, update
from sizewise.core.fleet import Demand


def replay(rate: Callable[[float], float], seconds: int, *, horizon_s: float = 8.0) -> DemandState:
    state, total = DemandState(), 0.0
    last: float | None = None
    for t in range(seconds + 1):
        at_s = 100.0 + t
        state = update(state, Reading(at_s=at_s, arrivals=int(total), last_arrival_s=last), horizon_s=horizon_s)
        total += rate(t)
        if rate(t):
            last = at_s + 0.99
    return state


def seen(rate: Callable[[float], float], seconds: int) -> Demand:
    return demand(replay(rate, seconds), 100.0 + seconds)


def test_steady_rate_shows_in_both_windows() -> None:
    result = seen(lambda t: 20.0, 120)
    assert result.burst_per_s == pytest.approx(20)
    assert result.stable_per_s == pytest.approx(20)
    assert result.gap_s == pytest.approx(1 / 20)


def test_burst_rate_follows_a_step_within_three_seconds_and_forgets_it() -> None:
    assert seen(lambda t: 100.0 if t >= 60 else 1.0, 63).burst_per_s == pytest.approx(100)
    assert seen(lambda t: 100.0 if t < 60 else 0.0, 63).burst_per_s == 0


def test_without_a_reading_it_is_infinitely_old() -> None:
    assert demand(DemandState(), 5.0).observed_at_s == -math.inf


def test_first_reading_is_a_starting_point_and_no_rate() -> None:
    state = update(DemandState(), Reading(at_s=1.0, arrivals=10_000, queued=3))
    result = demand(state, 1.0)
    assert (result.burst_per_s, result.stable_per_s, result.queued) == (0, 0, 3)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(Reading(at_s=10.0, arrivals=30), id="counter fell"),
        pytest.param(Reading(at_s=10.0, arrivals=30, epoch="b"), id="new epoch"),
    ],
)
def test_restart_of_the_gateway_is_bridged(second: Reading) -> None:
    state = update(DemandState(), Reading(at_s=1.0, arrivals=0))
    state = update(state, Reading(at_s=9.0, arrivals=500))
    assert demand(update(state, second), 10.0).stable_per_s == pytest.approx((500 + 30) / 9)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"at_s": 1.0}, id="not newer"),
        pytest.param({"at_s": math.nan}, id="no time"),
        pytest.param({"arrivals": -1}, id="negative"),
        pytest.param({"queued": math.nan}, id="not a number"),
    ],
)
def test_readings_that_cannot_be_true_change_nothing(bad: dict[str, float]) -> None:
    state = update(DemandState(), Reading(at_s=2.0, arrivals=5))
    changed = update(state, replace(Reading(at_s=3.0, arrivals=6), **bad))  # type: ignore[arg-type]
    assert changed is state
    assert demand(changed, 60.0).observed_at_s == 2.0


def test_missing_readings_spread_what_came_meanwhile() -> None:
    state = update(DemandState(), Reading(at_s=0.0))
    state = update(state, Reading(at_s=10.0, arrivals=100))
    assert demand(state, 10.0).burst_per_s == pytest.approx(10)


def test_idle_and_gap_between_uses() -> None:
    every_twenty = replay(lambda t: 1.0 if t % 20 == 0 else 0.0, 205)
    result = demand(every_twenty, 305.0)
    assert result.gap_s == pytest.approx(20, abs=1.5)
    assert result.idle_s == pytest.approx(305 - 300.99)


def test_bursts_do_not_hide_the_gaps_between_them() -> None:
    bursts = seen(lambda t: 50.0 if t % 60 < 5 else 0.0, 300)
    assert 50 < bursts.gap_s < 60


def test_envelope_holds_the_most_arrivals_of_each_window_and_decays() -> None:
    state = replay(lambda t: 100.0 if t == 50 else 1.0, 52)
    windows = dict(demand(state, 152.0).envelope)
    assert list(windows) == [1, 2, 4, 8]
    # A quarter of a window's decay after the burst second
    assert windows[1] == pytest.approx(100 * 0.5 ** (1 / 3), rel=0.01)
    assert windows[8] == pytest.approx(108, abs=1.5)
    later = dict(seen(lambda t: 100.0 if t == 50 else 1.0, 75).envelope)
    assert later[1] < 2


@given(st.lists(st.integers(0, 500), min_size=5, max_size=120), st.floats(1, 300))
def test_envelope_rises_with_the_window(arrivals: list[int], horizon_s: float) -> None:
    state, total = DemandState(), 0
    for t, n in enumerate(arrivals):
        total += n
        state = update(state, Reading(at_s=float(t), arrivals=total), horizon_s=horizon_s)
    counts = [n for _, n in demand(state, float(len(arrivals))).envelope]
    assert all(a <= b + 1e-9 for a, b in pairwise(counts))


@given(st.lists(st.integers(0, 50), min_size=5, max_size=60), st.integers(0, 50))
def test_more_arrivals_never_show_as_less(arrivals: list[int], extra: int) -> None:
    def rates(more: int) -> Demand:
        state, total = DemandState(), 0
        for t, n in enumerate(arrivals):
            total += n + more
            state = update(state, Reading(at_s=float(t), arrivals=total))
        return demand(state, float(len(arrivals)))

    less, more = rates(0), rates(extra)
    assert less.burst_per_s <= more.burst_per_s + 1e-9
    assert less.stable_per_s <= more.stable_per_s + 1e-9


def test_history_stays_small_for_hours() -> None:
    state = DemandState()
    for t in range(4000):
        state = update(state, Reading(at_s=float(t), arrivals=10 * t), horizon_s=300.0)
    assert len(state.points) <= 130
    assert demand(state, 4000.0).stable_per_s == pytest.approx(10)
    assert dict(demand(state, 4000.0).envelope)[256] == pytest.approx(2560, rel=0.02)


def test_rows_and_attainment_over_the_last_minute() -> None:
    state = update(DemandState(), Reading(at_s=0.0))
    state = update(state, Reading(at_s=10.0, arrivals=100, answered=90, shed=10, within_slo=80, rows=360))
    result = demand(state, 10.0)
    assert result.rows_per_request == pytest.approx(4)
    assert result.attainment == pytest.approx(0.8)
    assert result.shed_per_s == pytest.approx(1)


@given(st.lists(st.sampled_from([0, 0, 0, 1, 40]), min_size=5, max_size=90))
def test_what_lies_within_a_quiet_time_need_not_be_kept(arrivals: list[int]) -> None:
    """Rates are those of a history in which every reading was kept."""
    state, whole, total = DemandState(), [(0.0, 0)], 0
    state = update(state, Reading(at_s=0.0))
    for t, n in enumerate(arrivals, 1):
        total += n
        whole.append((float(t), total))
        state = update(state, Reading(at_s=float(t), arrivals=total))
    end = len(arrivals)
    before = dict(whole)
    result = demand(state, float(end))
    for window, rate in ((3, result.burst_per_s), (60, result.stable_per_s)):
        known = min(window, end)
        assert rate == (total - before[float(end - known)]) / known
    assert len(state.points) <= 2 + sum(a != b for a, b in pairwise(arrivals)) + 2 * sum(map(bool, arrivals))


def test_an_hour_of_silence_is_two_points() -> None:
    state = replay(lambda t: 50.0 if t < 100 else 0.0, 3600)
    assert len(state.points) == 2
    assert demand(state, 3700.0).gap_s > 1
