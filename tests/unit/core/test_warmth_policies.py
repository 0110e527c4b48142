"""Rules about unused models, each as its paper has it, and each in a fleet that is short of memory."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.decide import decide
from sizewise.core.reasons import CODES, render
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB
from sizewise.core.warmth import release_s, value_per_byte
from sizewise.core.warmth_policies import (
    GAP_BINS,
    POLICIES,
    Uses,
    Warm,
    from_state,
    habit_s,
    policy_of,
    to_state,
    used,
)
from tests.unit.core.fleet_sim import Fleet, Rate, SimModel, machine, profile
from tests.unit.core.views import asked, model, of, replica, view

LARGE = profile(load_s=1.5, private=100 * MIB, mapped=500 * MIB, service_s=0.05)


def warm(**rest: Any) -> Warm:
    figures: dict[str, Any] = {
        "demand": asked(idle_s=100.0, gap_s=50.0),
        "idle_s": 100.0,
        "load_s": 2.0,
        "held_bytes": 100 * MIB,
        "machine_bytes": 4 * GIB,
    }
    return Warm(**{**figures, **rest})


def test_ours_is_what_warmth_says() -> None:
    ours, item = policy_of("ours"), warm()
    assert ours.release_s(item) == release_s(load_s=2.0, held_bytes=100 * MIB, machine_bytes=4 * GIB, gap_s=50.0)
    assert ours.score(item) == value_per_byte(item.demand, load_s=2.0, held_bytes=100 * MIB)
    assert policy_of("ours:inf").release_s(item) == math.inf
    assert policy_of("ours:inf").score(item) == ours.score(item)


@pytest.mark.parametrize(
    ("name", "expected_s"),
    [
        pytest.param("ttl", 600.0, id="ten minutes for everybody"),
        pytest.param("ttl:30", 30.0, id="or another time"),
        pytest.param("lru_bytes", math.inf, id="as long as memory lasts"),
        pytest.param("lru_count", math.inf, id="as long as there are few"),
        pytest.param("gdsf", math.inf, id="until something is worth more"),
        pytest.param("landlord", math.inf, id="until its credit is used up"),
    ],
)
def test_release(name: str, expected_s: float) -> None:
    assert policy_of(name).release_s(warm()) == expected_s


@pytest.mark.parametrize(
    ("name", "uses", "clock", "credit"),
    [
        pytest.param("gdsf", 1, 0.0, 2.0 / 1000, id="GDSF: cost / size at first"),
        pytest.param("gdsf", 5, 0.0, 5 * 2.0 / 1000, id="GDSF: times the uses"),
        pytest.param("gdsf", 5, 3.0, 3 + 5 * 2.0 / 1000, id="GDSF: on top of the clock"),
        pytest.param("landlord", 5, 0.0, 2.0 / 1000, id="Landlord: uses do not count"),
        pytest.param("landlord", 1, 3.0, 3 + 2.0 / 1000, id="Landlord: on top of the clock"),
    ],
)
def test_credit(name: str, uses: float, clock: float, credit: float) -> None:
    item = warm(held_bytes=1000, uses=Uses(count=uses))
    assert policy_of(name).credit(item, clock) == pytest.approx(credit)


@pytest.mark.parametrize(
    ("gaps", "habit"),
    [
        pytest.param({10: 30}, (540.0, 726.0), id="every ten minutes: woken after nine, kept for twelve"),
        pytest.param({0: 30}, (0.0, 66.0), id="all the time: never unloaded before a minute is over"),
        pytest.param({10: 1, 30: 98, 200: 1}, (30 * 60 * 0.9, 31 * 60 * 1.1), id="5th and 99th percentile"),
        pytest.param({10: 5}, None, id="too few to tell"),
        pytest.param(dict.fromkeys(range(GAP_BINS), 1), None, id="flat: no habit"),
        pytest.param({GAP_BINS: 20, 3: 10}, None, id="mostly longer than the histogram"),
    ],
)
def test_habit(gaps: Mapping[int, int], habit: tuple[float, float] | None) -> None:
    found = habit_s(gaps)
    assert found == (None if habit is None else pytest.approx(habit))


def test_a_habit_unloads_at_once_and_wakes_in_time() -> None:
    policy = policy_of("hybrid_histogram")
    uses = Uses(last_s=900.0, gaps={10: 30})
    assert policy.release_s(warm(idle_s=5.0, uses=uses)) == 0.0
    assert policy.wake_s(uses) == pytest.approx(540.0)
    assert policy.release_s(warm(idle_s=600.0, uses=uses)) == pytest.approx(726.0)
    assert policy.release_s(warm(uses=Uses())) == 600.0
    assert policy.wake_s(Uses()) == math.inf


@given(st.lists(st.floats(0, 1e6), max_size=300))
def test_what_is_remembered_is_bounded_and_plain(times_s: list[float]) -> None:
    uses = Uses()
    for last_s in times_s:
        uses = used(uses, last_s)
    assert len(uses.gaps) <= GAP_BINS + 1
    if math.isfinite(uses.last_s):
        assert from_state(json.loads(json.dumps(to_state(uses)))) == uses


@pytest.mark.parametrize("raw", [None, 3, "x", [], [1, 2, 3], ["a", 1, 1, []], [1, 1, 1, 5], [1, 1, 1, [[1]]]])
def test_a_state_that_cannot_be_read_is_no_past(raw: object) -> None:
    assert from_state(raw) == Uses()


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    for name in ("newest", "ttl:soon", "lru_bytes:4"):
        with pytest.raises(ValueError, match="ours, lru_bytes, lru_count"):
            policy_of(name)


def calls(*at: float) -> Rate:
    return lambda t: 1.0 if t in at else 0.0


def fleet(name: str, *models: SimModel, memory: int = 1400 * MIB) -> Fleet:
    return Fleet(replace(machine(memory=memory), warmth=name), *models)


def sim(name: str, rate: Rate, **rest: Any) -> SimModel:
    return SimModel(name, rate, slo=Slo(0.95, 0.5), **{"profile": LARGE, **rest})


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_makes_room_for_a_waiting_request_and_can_say_why(name: str) -> None:
    models = [sim(f"m{i}", calls(20 * i, 20 * i + 1)) for i in range(4)]
    run = fleet(name, *models).run(100)
    assert all(m.served == m.arrived for m in models)
    for decision in run.history:
        for decided in decision.models:
            assert decided.reason.code in CODES
            assert "?" not in render(decided.reason)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        pytest.param("lru_bytes", "old", id="the least recently used"),
        pytest.param("landlord", "cheap", id="the least seconds of load per byte"),
        pytest.param("ours", "cheap", id="the least seconds of load per byte, as likely as it is to come back"),
    ],
)
def test_who_goes(name: str, gone: str) -> None:
    old = sim("old", calls(0, 10, 20))
    cheap = sim("cheap", calls(30), profile=profile(load_s=0.5, private=100 * MIB, mapped=500 * MIB, service_s=0.05))
    run = fleet(name, old, cheap, sim("late", calls(60))).run(70)
    assert {m for m in ("old", "cheap") if run.series(m)[-1] == 0} == {gone}


def test_what_was_often_used_once_stays_with_gdsf_and_goes_with_landlord() -> None:
    left = {}
    for name in ("gdsf", "landlord"):
        often = sim("often", lambda t: 1.0 if t < 30 and int(t) % 3 == 0 else 0.0)
        run = fleet(name, often, sim("a", calls(60)), sim("b", calls(90)), sim("c", calls(120))).run(140)
        left[name] = run.series("often")[-1]
    assert left == {"gdsf": 1, "landlord": 0}


def test_a_bound_by_count_ignores_what_models_weigh() -> None:
    small = [sim(f"s{i}", calls(10 * i), profile=profile()) for i in range(5)]
    run = fleet("lru_count:2", *small, memory=8 * GIB).run(60)
    assert [run.series(m.name)[-1] for m in small] == [0, 0, 0, 1, 1]


def test_a_fixed_time_is_the_same_for_all() -> None:
    run = fleet("ttl:20", sim("large", calls(5)), sim("small", calls(5), profile=profile())).run(60)
    for name in ("large", "small"):
        assert run.series(name)[20] == 1
        assert run.series(name)[40:] == [0] * 20


def test_a_habit_is_met_by_a_model_that_is_there_again() -> None:
    gaps = {5: 40}
    subject = model(
        "m",
        asked(idle_s=280.0, gap_s=300.0),
        profile=LARGE,
        state={"peaks": [], "uses": to_state(Uses(last_s=720.0, count=0.0, gaps=gaps))},
    )
    on = replace(machine(), warmth="hybrid_histogram")
    woken = of(decide(view(subject, on=on)).models, "m")
    assert (woken.start, woken.reason.code) == (1, "woken")
    early = replace(subject, demand=asked(idle_s=100.0))
    assert of(decide(view(early, on=on)).models, "m").start == 0
    assert of(decide(view(replace(early, replicas=(replica("a"),)), on=on)).models, "m").stop == ("a",)
