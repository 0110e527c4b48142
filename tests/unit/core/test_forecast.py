"""Replays of days against the forecast, and what it may never do."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core.decide import decide
from sizewise.core.forecast import (
    ENOUGH_ERRORS,
    ERRORS_KEPT,
    GUESSES_PER_LEAD,
    LEAST_LEAD_S,
    ForecastState,
    Seen,
    critical_ratio,
    floor_per_s,
    updated,
)
from sizewise.core.seasonal import BIN_S, BINS, DAY_S
from tests.unit.core.fleet_sim import profile
from tests.unit.core.test_seasonal import MONDAY_S
from tests.unit.core.views import asked, model, replica, view

LEAD_S = 120.0
Rate = Callable[[float], float]


def replayed(
    rate: Rate, days: float, *, noise: float = 0.0, lead_s: float = LEAD_S
) -> list[tuple[float, float, float]]:
    """(second, rate, floor) of the last day."""
    state, arrivals, rng, rows = ForecastState(), 0.0, random.Random(3), []
    step_s = lead_s / GUESSES_PER_LEAD
    for k in range(int(days * DAY_S / step_s)):
        t = k * step_s
        now = rate(t % DAY_S) * (1 + rng.uniform(-noise, noise))
        arrivals += now * step_s
        seen = Seen(now_s=t, unix_s=MONDAY_S + t, arrivals=arrivals, rate_per_s=now, lead_s=lead_s, quantile=0.9)
        state = updated(state, seen)
        if t >= (days - 1) * DAY_S:
            rows.append((t % DAY_S, now, floor_per_s(state, t)))
    return rows


def hourly(t: float) -> float:
    """From 10 to 100 requests/s within the first ten minutes of each hour, and back in the last ten."""
    minute = t % 3600 / 60
    return 10 + 90 * min(1.0, minute / 10, (60 - minute) / 10)


def test_what_repeats_every_day_is_there_before_it_is_needed() -> None:
    rows = replayed(hourly, 2.5)
    rising = [(rate, floor) for t, rate, floor in rows if 180 < t % 3600 < 420]
    ahead = [floor for rate, floor in rising if floor > rate]
    assert len(ahead) > 0.8 * len(rising)
    lead_rise = 90 * LEAD_S / 600
    assert sum(f - r for r, f in rising) / len(rising) > lead_rise / 2


@pytest.mark.parametrize("noise", [pytest.param(0.0, id="quiet"), pytest.param(0.3, id="noisy")])
def test_what_does_not_change_is_not_forecast(noise: float) -> None:
    assert sum(floor > 0 for _, _, floor in replayed(lambda _: 50.0, 2.2, noise=noise)) == 0


def test_a_season_that_has_gone_is_not_believed_for_long() -> None:
    state, arrivals = ForecastState(), 0.0
    floors = []
    step_s = LEAD_S / GUESSES_PER_LEAD
    for k in range(int(3 * DAY_S / step_s)):
        t = k * step_s
        now = hourly(t) if t < 2 * DAY_S else 10.0
        arrivals += now * step_s
        state = updated(
            state, Seen(now_s=t, unix_s=MONDAY_S + t, arrivals=arrivals, rate_per_s=now, lead_s=LEAD_S, quantile=0.9)
        )
        floors.append((t, floor_per_s(state, t)))
    late = [floor for t, floor in floors if t > 2 * DAY_S + 2 * 3600]
    assert sum(floor > 20 for floor in late) < 0.05 * len(late)


@pytest.mark.parametrize("lead_s", [pytest.param(LEAST_LEAD_S - 1, id="quick to load"), pytest.param(60.0, id="slow")])
def test_nothing_is_said_before_a_day_was_seen(lead_s: float) -> None:
    rows = replayed(hourly, 0.2, lead_s=lead_s)
    assert not any(floor for _, _, floor in rows)


looks = st.tuples(st.floats(0.1, 400), st.floats(0, 500), st.floats(16, 600), st.floats(0.5, 0.995))


@settings(max_examples=40)
@given(st.lists(looks, max_size=80))
def test_what_is_remembered_is_bounded_whatever_comes(steps: list[tuple[float, float, float, float]]) -> None:
    state, now_s, arrivals = ForecastState(), 0.0, 0.0
    for passed_s, rate, lead_s, quantile in steps:
        now_s += passed_s
        arrivals += rate * passed_s
        state = updated(
            state,
            Seen(
                now_s=now_s,
                unix_s=MONDAY_S + now_s,
                arrivals=arrivals,
                rate_per_s=rate,
                lead_s=lead_s,
                quantile=quantile,
            ),
        )
        assert len(state.guesses) <= GUESSES_PER_LEAD + 2
        assert max(len(state.present.errors), len(state.seasonal.errors)) <= ERRORS_KEPT
        assert len(state.season.rates_per_s) <= 2 * BINS
        assert 0 < state.faith <= 1
        floor = floor_per_s(state, now_s)
        assert floor >= 0
        assert floor == 0 or state.judged >= ENOUGH_ERRORS


@settings(max_examples=40)
@given(st.floats(0, 800), st.floats(0, 800), st.integers(0, 4), st.floats(0.05, 60))
def test_a_forecast_never_lowers_what_is_wanted(rate: float, expected: float, running: int, load_s: float) -> None:
    replicas = tuple(replica(f"r{i}") for i in range(running))
    plain = model("m", asked(rate), profile=profile(load_s=load_s), replicas=replicas)
    foreseen = replace(plain, demand=replace(plain.demand, forecast_per_s=expected, forecast_lead_s=load_s + 2))
    without, having = (decide(view(m)).models[0] for m in (plain, foreseen))
    assert having.wanted >= without.wanted
    assert set(having.stop) <= set(without.stop)
    assert having.wanted <= max(without.wanted, plain.policy.max_replicas)


def test_a_forecast_starts_replicas_and_says_so() -> None:
    demand = replace(asked(20.0), forecast_per_s=600.0, forecast_lead_s=62.0)
    decision = decide(view(model("m", demand, profile=profile(load_s=60.0), replicas=(replica("a"),)))).models[0]
    assert (decision.desired, decision.start, decision.reason.code) == (3, 2, "forecast")
    asleep = replace(asked(0.0), forecast_per_s=5.0, forecast_lead_s=62.0)
    woken = decide(view(model("m", asleep, profile=profile(load_s=60.0)))).models[0]
    assert (woken.start, woken.reason.code) == (1, "forecast")


def test_a_forecast_is_not_remembered_by_the_hold() -> None:
    demand = replace(asked(20.0), forecast_per_s=600.0, forecast_lead_s=62.0)
    subject = model("m", demand, profile=profile(load_s=60.0), replicas=tuple(replica(f"r{i}") for i in range(3)))
    decision = decide(view(subject)).models[0]
    assert decision.state["peaks"] == [[1000.0, 1]]


@pytest.mark.parametrize(
    ("short", "spare", "ratio"),
    [
        pytest.param(1.0, 1.0, 0.5, id="even"),
        pytest.param(99.0, 1.0, 0.99, id="waiting is dear"),
        pytest.param(1.0, 99.0, 0.5, id="never below the median"),
        pytest.param(0.0, 0.0, 0.5, id="nothing costs anything"),
        pytest.param(1e9, 1.0, 0.995, id="never certain"),
    ],
)
def test_critical_ratio(short: float, spare: float, ratio: float) -> None:
    assert critical_ratio(short_cost=short, spare_cost=spare) == pytest.approx(ratio)


def test_a_bin_is_longer_than_what_nobody_forecasts() -> None:
    assert BIN_S > LEAST_LEAD_S
