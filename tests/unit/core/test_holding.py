"""How long a lower need must last, and how that is learned."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.fleet import Demand
from sizewise.core.holding import (
    LEAST_LOADS,
    LOADS_HELD,
    MIN_HOLD_S,
    MOST_LOADS,
    Hold,
    from_state,
    hold_s,
    learned,
    to_state,
)
from sizewise.core.slo import Slo

SLO = Slo(quantile=0.99, latency_s=0.5)
LOAD_S = 35.0


def after(
    hold: Hold, attainment: float | None, *, seconds: int, rate_per_s: float = 10.0, slo: Slo | None = SLO
) -> Hold:
    start_s = hold.at_s if math.isfinite(hold.at_s) else 0.0
    for second in range(seconds + 1):
        demand = Demand(observed_at_s=0, stable_per_s=rate_per_s, attainment=attainment)
        hold = learned(hold, demand, slo=slo, load_s=LOAD_S, now_s=start_s + second)
    return hold


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(LEAST_LOADS, MOST_LOADS))
def test_slower_loads_are_held_longer(a: float, b: float, loads: float) -> None:
    assert MIN_HOLD_S <= hold_s(min(a, b), loads) <= hold_s(max(a, b), loads)


def test_late_requests_lengthen_it_and_requests_in_time_shorten_it() -> None:
    burst = after(Hold(), 0.5, seconds=60)
    assert burst.loads > 1.5 * LOADS_HELD
    assert LEAST_LOADS <= after(burst, 1.0, seconds=3600).loads < burst.loads


@pytest.mark.parametrize("attainment", [0.0, 1.0])
def test_it_stays_within_its_bounds(attainment: float) -> None:
    assert after(Hold(), attainment, seconds=100_000).loads == (MOST_LOADS if attainment == 0 else LEAST_LOADS)


def test_it_rests_where_half_of_the_budget_is_used() -> None:
    assert after(Hold(), 0.995, seconds=3600).loads == pytest.approx(LOADS_HELD)


@pytest.mark.parametrize(
    ("attainment", "slo", "rate_per_s"),
    [
        pytest.param(None, SLO, 10.0, id="nobody asked"),
        pytest.param(0.5, None, 10.0, id="no goal"),
        pytest.param(0.5, SLO, 0.0, id="no rate"),
    ],
)
def test_nothing_is_learned_from_nothing(attainment: float | None, slo: Slo | None, rate_per_s: float) -> None:
    assert after(Hold(), attainment, seconds=600, slo=slo, rate_per_s=rate_per_s).loads == LOADS_HELD


def test_a_clock_that_goes_back_teaches_nothing() -> None:
    demand = Demand(observed_at_s=0, stable_per_s=10.0, attainment=0.0)
    assert learned(Hold(8.0, 100.0), demand, slo=SLO, load_s=LOAD_S, now_s=50.0) == Hold(8.0, 50.0)


def test_it_survives_json_and_nonsense() -> None:
    hold = Hold(7.5, 12.0)
    assert from_state(json.loads(json.dumps({"hold": to_state(hold)}))) == hold
    for nonsense in ({}, {"hold": 3}, {"hold": ["x", 1]}, {"hold": [1e9, 1.0]}, {"hold": [math.nan, 1.0]}):
        assert from_state(nonsense) == Hold()
