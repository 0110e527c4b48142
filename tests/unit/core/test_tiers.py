"""Files in memory without a replica: when that pays, for how long, who goes first, and what it is charged."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core import tiers
from sizewise.core.decide import decide
from sizewise.core.fleet import Demand, FleetDecision, ModelView, ReplicaState
from sizewise.core.profiles import LoadTime, ModelProfile
from sizewise.core.reasons import render
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import machine, profile
from tests.unit.core.views import NOW_S, asked, model, of, replica, view

BUDGET = 4 * GIB
COLD = asked(0.0, queued=1, held=1, idle_s=0.1)


def weights(*, size: int = GIB, load_s: float = 0.07, reload_s: float = 1.0, private: int = 10 * MIB) -> ModelProfile:
    """Mapped: from memory it loads in ``load_s``, from disk in ``reload_s``."""
    made = profile(load_s=load_s, private=private, mapped=size)
    return replace(made, facts=replace(made.facts, disk_bytes=size), load_cold=LoadTime(load_s=reload_s))


def large(name: str, demand: Demand | None = None, **rest: Any) -> ModelView:
    rest = {"profile": weights(), **rest}
    return model(name, demand or asked(idle_s=60.0), **rest)


def held(name: str, demand: Demand | None = None, **rest: Any) -> ModelView:
    known = {"warm_version": "v1", "warm_bytes": GIB, "warm_since_s": NOW_S - 30, **rest}
    return large(name, demand, **known)


def decided(*models: ModelView, **on: Any) -> FleetDecision:
    return decide(view(*models, on=machine(**on)))


@pytest.mark.parametrize(
    ("subject", "hold", "code"),
    [
        pytest.param(large("m", replicas=(replica("a"),)), True, "released", id="the last replica goes: taken up"),
        pytest.param(
            large("m", replicas=(replica("a", ReplicaState.DRAINING),)), True, "held_warm", id="it drains: taken up"),
        pytest.param(
            large("m", asked(idle_s=7200.0, observed_at_s=NOW_S - 9), replicas=(replica("a", ReplicaState.DRAINING),)),
            False, "stale", id="on old observations nothing new is taken up"),
        pytest.param(
            held("m", asked(idle_s=7200.0, observed_at_s=NOW_S - 9)), True, "stale", id="and nothing let go"),
        pytest.param(held("m"), True, "held_warm", id="held, and worth it still"),
        pytest.param(held("m", asked(idle_s=3600.0)), False, "warm_released", id="longer than it is worth"),
        pytest.param(held("m", asked(idle_s=math.inf)), True, "held_warm", id="after a restart: since it is held"),
        pytest.param(
            held("m", asked(idle_s=math.inf), warm_since_s=NOW_S - 3600), False, "warm_released",
            id="after a restart, long held"),
        pytest.param(large("m"), False, "idle", id="on disk: nothing is read for a mere chance"),
        pytest.param(
            large("m", asked(idle_s=3.0), replicas=(replica("a"),)), False, "warm", id="a replica has what it needs"),
        pytest.param(held("m", pinned=0), False, "unloaded", id="unloaded by hand: all of it"),
        pytest.param(held("m", parked_until_s=NOW_S + 9), False, "parked", id="crash-looping: not worth it"),
        pytest.param(
            held("m", profile=weights(reload_s=0.3)), False, "idle", id="nobody would notice the load from disk"),
        pytest.param(
            held("m", profile=weights(size=3 * MIB, reload_s=0.5), warm_bytes=3 * MIB), True, "held_warm",
            id="small and slow to read: cheap to keep"),
        pytest.param(held("m", warm_version="v0"), False, "idle", id="of another version"),
        pytest.param(
            held("m", COLD), True, "cold_request", id="it loads now: what it reads stays until it is ready"),
        pytest.param(
            held("m", asked(idle_s=3.0), replicas=(replica("a"),)), False, "warm", id="ready: no longer needed"),
        pytest.param(
            held("m", asked(observed_at_s=NOW_S - 60, idle_s=9999.0)), True, "stale", id="not seen: nothing is let go"),
        pytest.param(
            large("m", replicas=(replica("a", ReplicaState.FAILED),)), False, "idle", id="one that failed"),
    ],
)  # fmt: skip
def test_one_model(subject: ModelView, hold: bool, code: str) -> None:
    found = decided(subject, memory=BUDGET).models[0]
    assert (found.hold_warm, found.reason.code) == (hold, code)
    assert render(found.reason)


def test_nothing_is_let_go_when_the_clock_makes_no_sense() -> None:
    found = decide(view(held("m"), on=machine(memory=-1)))
    assert found.models[0].hold_warm
    assert found.memory_planned_bytes >= GIB


@pytest.mark.parametrize(
    ("reload_s", "size", "limit_s"),
    [
        pytest.param(0.3, GIB, 0.0, id="not noticed from disk either"),
        pytest.param(1.0, GIB, 345.6, id="240 x 0.36 / (1/4)"),
        pytest.param(1.0, 2 * GIB, 172.8, id="twice the bytes, half the time"),
        pytest.param(30.0, 64 * MIB, 448593.92, id="slow and small: for days"),
        pytest.param(0.45, GIB, 0.0, id="gone again before it is of use"),
    ],
)
def test_for_how_long_it_pays(reload_s: float, size: int, limit_s: float) -> None:
    subject = large("m", profile=weights(size=size, reload_s=reload_s))
    assert tiers.hold_limit_s(subject, BUDGET) == pytest.approx(limit_s)


def test_slow_from_memory_too_gains_only_the_difference() -> None:
    slow = tiers.hold_limit_s(large("m", profile=weights(load_s=1.0, reload_s=1.5)), BUDGET)
    quick = tiers.hold_limit_s(large("m", profile=weights(load_s=0.1, reload_s=1.5)), BUDGET)
    assert 0 < slow < quick


def test_an_idle_replica_goes_soon_when_its_files_can_stay() -> None:
    """What is released is the process; before there was a warm tier it stayed for minutes, for all its bytes."""
    stays = decided(large("m", asked(idle_s=3.0), replicas=(replica("a"),)), memory=BUDGET).models[0]
    goes = decided(large("m", asked(idle_s=6.0), replicas=(replica("a"),)), memory=BUDGET).models[0]
    assert (stays.desired, stays.hold_warm, goes.desired, goes.hold_warm) == (1, False, 0, True)


def test_the_least_valuable_goes_first_when_room_is_short() -> None:
    rare, often = held("rare", asked(idle_s=60.0, gap_s=600.0)), held("often", asked(idle_s=60.0, gap_s=50.0))
    found = decided(rare, often, memory=GIB + 200 * MIB)
    assert (of(found.models, "rare").hold_warm, of(found.models, "often").hold_warm) == (False, True)
    assert of(found.models, "rare").reason.code == "warm_taken"


def test_a_replica_takes_the_room_at_once() -> None:
    """Pages that only files stand behind are given back in no time: nothing is waited for."""
    claims = model("claims", COLD, profile=profile(private=3500 * MIB))
    found = decided(held("m"), claims, memory=BUDGET)
    assert of(found.models, "claims").start == 1
    assert not of(found.models, "m").hold_warm
    assert found.memory_planned_bytes <= BUDGET


def test_what_was_evicted_is_held_only_if_there_is_room_after_all() -> None:
    idle = large("m", asked(idle_s=2.0), replicas=(replica("a"),), profile=weights(size=3 * GIB))
    claims = model("claims", COLD, profile=profile(private=2 * GIB))
    found = decided(idle, claims, memory=BUDGET)
    assert of(found.models, "m").stop == ("a",)
    assert not of(found.models, "m").hold_warm, "its memory is promised already"


def test_loads_from_memory_need_no_load_slot() -> None:
    cold = [large(name, COLD, profile=weights(size=100 * MIB)) for name in ("a", "b")]
    warm = [held(name, COLD, profile=weights(size=100 * MIB), warm_bytes=100 * MIB) for name in ("c", "d")]
    found = decided(*cold, *warm, memory=BUDGET, slots=1)
    assert {d.name for d in found.models if d.start} == {"c", "d"}, "and they go before what must be read"
    assert of(decided(*cold, memory=BUDGET, slots=1).models, "a").start == 1


def test_what_reads_from_disk_goes_by_demand_over_load_time() -> None:
    quick = large("quick", asked(5.0, held=1, queued=1), profile=weights(size=100 * MIB, reload_s=1.0))
    slow = large("slow", asked(5.0, held=1, queued=1), profile=weights(size=100 * MIB, reload_s=20.0))
    wanted = large("wanted", asked(50.0, held=1, queued=1), profile=weights(size=100 * MIB, reload_s=5.0))
    started = []
    for models in ((quick, slow, wanted), (quick, slow), (slow,)):
        found = decided(*models, memory=BUDGET, slots=1)
        started += [d.name for d in found.models if d.start]
    assert started == ["wanted", "quick", "slow"]


def test_the_next_load_is_expected_from_where_the_files_are() -> None:
    assert tiers.load_s(large("m"), "v1") == 1.0
    assert tiers.load_s(held("m"), "v1") == 0.07
    assert tiers.load_s(held("m", warm_bytes=GIB // 2), "v1") == 1.0, "half of them: as if there were none"
    assert tiers.load_s(held("m", warm_version="v0"), "v1") == 1.0
    assert tiers.load_s(large("m", replicas=(replica("a"),)), "v1") == 0.07
    assert tiers.load_s(large("m", replicas=(replica("a", ReplicaState.LOADING),)), "v1") == 1.0


@st.composite
def fleets(draw: st.DrawFn) -> list[ModelView]:
    found = []
    for i in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 3000)) * MIB
        states = draw(st.lists(st.sampled_from(list(ReplicaState)), max_size=2))
        found.append(
            large(
                f"m{i}",
                draw(st.sampled_from([COLD, asked(5.0), asked(idle_s=6.0), asked(idle_s=math.inf), asked()])),
                profile=weights(
                    size=size, reload_s=draw(st.floats(0.07, 20.0)), private=draw(st.integers(1, 900)) * MIB
                ),
                replicas=tuple(replica(f"m{i}-{n}", state) for n, state in enumerate(states)),
                warm_version=draw(st.sampled_from([None, "v1", "v0"])),
                warm_bytes=draw(st.sampled_from([0, size])),
            )
        )
    return found


@settings(max_examples=150)
@given(fleets(), st.integers(500, 8000))
def test_never_beyond_the_budget_and_never_in_the_way(models: list[ModelView], memory_mib: int) -> None:
    bare = [replace(m, warm_version=None, warm_bytes=0) for m in models]
    with_files = decided(*models, memory=memory_mib * MIB)
    without = decided(*bare, memory=memory_mib * MIB)
    added = with_files.memory_planned_bytes - without.memory_planned_bytes
    if added > 0:
        assert with_files.memory_planned_bytes <= memory_mib * MIB
    assert sum(d.start for d in with_files.models) >= sum(d.start for d in without.models)
    for mine, other, subject in zip(with_files.models, without.models, models, strict=True):
        assert (mine.stop, mine.desired) == (other.stop, other.desired), "nobody's replicas go or stay for its sake"
        if mine.hold_warm:
            assert mine.desired == 0 or not any(r.state is ReplicaState.READY for r in subject.replicas)
