import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.fleet import Demand
from sizewise.core.holding import MIN_HOLD_S
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, KIB, MIB
from sizewise.core.warmth import (
    LATE_S,
    break_even_s,
    has_traffic,
    hazard_per_s,
    release_s,
    reload_s,
    value_per_byte,
)

SLO = Slo(quantile=0.99, latency_s=0.6)


@pytest.mark.parametrize(
    ("load_s", "held", "machine", "least_s", "most_s"),
    [
        pytest.param(0.02, 20 * MIB, 4 * GIB, 2, 10, id="a few KB, milliseconds: seconds"),
        pytest.param(0.35, 60 * MIB, 4 * GIB, 2, 15, id="small and not quite quick: seconds still"),
        pytest.param(1.0, 550 * MIB, 4 * GIB, 120, 3600, id="500 MB, one second: minutes"),
        pytest.param(1.0, 550 * MIB, 1536 * MIB, 120, 3600, id="500 MB on a small machine: minutes"),
        pytest.param(4.0, 550 * MIB, 2 * GIB, 300, 3600, id="500 MB, four seconds: many minutes"),
        pytest.param(0.02, 1 * KIB, 0, 2, 10, id="no machine to speak of"),
    ],
)
def test_release(load_s: float, held: int, machine: int, least_s: float, most_s: float) -> None:
    assert least_s <= release_s(load_s=load_s, held_bytes=held, machine_bytes=machine) <= most_s


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from([None, SLO]), st.floats(0.1, math.inf))
def test_slower_loads_cost_more(a: float, b: float, slo: Slo | None, gap_s: float) -> None:
    assert reload_s(min(a, b), slo=slo, gap_s=gap_s) <= reload_s(max(a, b), slo=slo, gap_s=gap_s)


def test_with_a_goal_late_requests_count_and_not_how_late_they_are() -> None:
    rarely = [reload_s(load_s, slo=SLO) for load_s in (60.0, 600.0)]
    assert rarely == [pytest.approx(LATE_S, rel=0.03)] * 2
    # A request every two seconds: 1 + 30 of them, and 1 + 300
    assert reload_s(60.0, slo=SLO, gap_s=2.0) == pytest.approx(31 * LATE_S, rel=0.03)
    assert reload_s(600.0, slo=SLO, gap_s=2.0) == pytest.approx(301 * LATE_S, rel=0.03)
    assert reload_s(0.5, slo=SLO) == 0.0, "within the goal"


@given(st.floats(0, 100), st.integers(0, 8 * GIB), st.integers(0, 8 * GIB))
def test_larger_models_are_held_shorter_at_the_same_load_time(load_s: float, a: int, b: int) -> None:
    small = break_even_s(reload_s(load_s), held_bytes=min(a, b), machine_bytes=4 * GIB)
    large = break_even_s(reload_s(load_s), held_bytes=max(a, b), machine_bytes=4 * GIB)
    assert small >= large >= 0


def test_a_habit_keeps_even_a_small_model() -> None:
    small = release_s(load_s=0.05, held_bytes=MIB, machine_bytes=GIB, gap_s=8.0)
    assert small == 16.0
    assert release_s(load_s=0.05, held_bytes=MIB, machine_bytes=GIB, gap_s=60.0) == MIN_HOLD_S


def test_hazard_is_the_rate_in_use_halves_after_a_gap_and_falls_with_the_square() -> None:
    def hazard(idle_s: float) -> float:
        return hazard_per_s(Demand(observed_at_s=0, gap_s=10.0, idle_s=idle_s))

    assert hazard(0) == pytest.approx(0.1)
    assert hazard(10) == pytest.approx(0.05)
    assert hazard(1000) == pytest.approx(1 / (10 + 1e5))


@pytest.mark.parametrize(
    "demand",
    [
        pytest.param(Demand(observed_at_s=0), id="never used"),
        pytest.param(Demand(observed_at_s=0, idle_s=5.0), id="used once"),
        pytest.param(Demand(observed_at_s=0, gap_s=0.0, idle_s=0.0), id="gap too short to tell"),
        pytest.param(Demand(observed_at_s=0, gap_s=1.0, idle_s=math.inf), id="long ago"),
    ],
)
def test_hazard_is_always_a_number(demand: Demand) -> None:
    assert 0 <= hazard_per_s(demand) < math.inf
    assert 0 <= value_per_byte(demand, load_s=0.0, held_bytes=0) < math.inf


def test_value_is_per_byte_and_second_of_load() -> None:
    demand = Demand(observed_at_s=0, gap_s=10.0, idle_s=20.0)
    base = value_per_byte(demand, load_s=1.0, held_bytes=MIB)
    assert value_per_byte(demand, load_s=2.0, held_bytes=MIB) == pytest.approx(2 * base)
    assert value_per_byte(demand, load_s=1.0, held_bytes=2 * MIB) == pytest.approx(base / 2)


@pytest.mark.parametrize(
    ("demand", "traffic"),
    [
        pytest.param(Demand(observed_at_s=0, in_flight=1), True, id="in flight"),
        pytest.param(Demand(observed_at_s=0, queued=1), True, id="queued"),
        pytest.param(Demand(observed_at_s=0, idle_s=1.0), True, id="a moment ago"),
        pytest.param(Demand(observed_at_s=0, idle_s=30.0), False, id="a while ago"),
    ],
)
def test_has_traffic(demand: Demand, traffic: bool) -> None:
    assert has_traffic(demand) is traffic
