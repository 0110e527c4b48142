"""The chance of the next use, from the gaps that were seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.demand import DemandState, Reading, demand, update
from sizewise.core.returns import CLASSES, Gaps, returns_per_s, with_gap
from sizewise.core.warmth import value_per_byte


def seen(gaps_s: list[float]) -> Gaps:
    found: Gaps = ()
    for gap_s in gaps_s:
        found = with_gap(found, gap_s)
    return found


def test_steady_use_at_random_has_the_same_chance_however_long_it_is_quiet() -> None:
    gaps = seen(np.random.default_rng(1).exponential(600.0, 2000).tolist())
    for idle_s in (10.0, 300.0, 900.0, 1800.0):
        assert returns_per_s(gaps, idle_s) == pytest.approx(1 / 600, rel=0.35)


def test_after_a_burst_it_is_expected_back_when_bursts_usually_come_again() -> None:
    bursts = seen(([2.0] * 50 + [7000.0]) * 10)
    assert returns_per_s(bursts, 1.0) > 20 * returns_per_s(bursts, 600.0)
    # Two hours after the last burst the next one is due, which no mean of the gaps would say
    assert returns_per_s(bursts, 5000.0) > 2 * returns_per_s(bursts, 600.0)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40), st.floats(0, 1e12))
def test_there_is_always_a_chance_and_never_a_certainty(gaps_s: list[float], idle_s: float) -> None:
    gaps = seen(gaps_s)
    assert len(gaps) == CLASSES
    assert sum(gaps) == len(gaps_s)
    assert 0 <= returns_per_s(gaps, idle_s) < math.inf


def test_demand_counts_gaps_between_uses_and_not_those_within_one() -> None:
    state = DemandState()
    for turn, at_s in enumerate((10.0, 10.5, 11.0, 131.0, 431.0), start=1):
        state = update(state, Reading(at_s=at_s - 0.2, arrivals=turn - 1, last_arrival_s=state.last_arrival_s))
        state = update(state, Reading(at_s=at_s, arrivals=turn, last_arrival_s=at_s))
    now = demand(state, 500.0)
    assert {place: n for place, n in enumerate(now.gaps) if n} == {6: 1, 8: 1}
    assert value_per_byte(now, load_s=2.0, held_bytes=1) == pytest.approx(2.0 * returns_per_s(now.gaps, 69.0))
