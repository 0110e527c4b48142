"""Tables of named cases: what is decided about one model, and among several, at one moment."""

import math
from dataclasses import replace
from typing import Any

import pytest

from sizewise.core.alternatives import with_alternatives
from sizewise.core.decide import decide
from sizewise.core.fleet import FleetDecision, ModelDecision, ModelView, ReplicaState
from sizewise.core.reasons import CODES, render
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import machine, profile
from tests.unit.core.views import NOW_S, asked, model, of, replica, view

READY, LOADING, DRAINING, FAILED = (
    ReplicaState.READY,
    ReplicaState.LOADING,
    ReplicaState.DRAINING,
    ReplicaState.FAILED,
)
LARGE = profile(load_s=2.0, private=100 * MIB, mapped=500 * MIB, service_s=0.02)


def one(subject: ModelView, **on: Any) -> ModelDecision:
    return decide(view(subject, on=machine(**on))).models[0]


def all_of(*models: ModelView, **on: Any) -> FleetDecision:
    return decide(view(*models, on=machine(**on)))


COLD = asked(0.0, queued=1, held=1, idle_s=0.1)


@pytest.mark.parametrize(
    ("subject", "desired", "start", "stop", "code"),
    [
        pytest.param(model("m"), 0, 0, (), "idle", id="nothing runs, nothing asks"),
        pytest.param(model("m", COLD), 1, 1, (), "cold_request", id="a held request: one"),
        pytest.param(
            model("m", COLD, replicas=(replica("a", LOADING, ready_at_s=NOW_S + 1),)),
            1, 0, (), "cold_request", id="a held request, and it loads already"),
        pytest.param(model("m", asked(20.0), replicas=(replica("a"),)), 1, 0, (), "queue", id="one is enough"),
        pytest.param(model("m", asked(600.0), replicas=(replica("a"),)), 3, 2, (), "queue", id="scale out"),
        pytest.param(model("m", asked(5000.0), max_replicas=2), 2, 2, (), "max", id="bounded by the user"),
        pytest.param(model("m", min_replicas=2), 2, 2, (), "min", id="floor"),
        pytest.param(model("m", pinned=1), 1, 1, (), "pinned", id="loaded by hand"),
        pytest.param(
            model("m", asked(5.0), pinned=0, replicas=(replica("a"),)),
            0, 0, ("a",), "unloaded", id="unloaded by hand"),
        pytest.param(
            model("m", COLD, parked_until_s=NOW_S + 30), 0, 0, (), "parked", id="crash-looping: starts nothing"),
        pytest.param(model("m", COLD, parked_until_s=NOW_S - 1), 1, 1, (), "cold_request", id="park is over"),
        pytest.param(
            model("m", asked(idle_s=3.0), replicas=(replica("a"),)), 1, 0, (), "warm", id="just idle: kept"),
        pytest.param(
            model("m", asked(idle_s=30.0), replicas=(replica("a"),)),
            0, 0, ("a",), "released", id="small and idle: goes"),
        pytest.param(
            model("m", asked(idle_s=30.0), replicas=(replica("a", ready_at_s=NOW_S - 1),)),
            1, 0, (), "warm", id="it has only just come"),
        pytest.param(
            model("m", asked(idle_s=120.0), profile=LARGE, replicas=(replica("a"),)),
            1, 0, (), "warm", id="large and idle for two minutes: kept"),
        pytest.param(
            model("m", asked(), replicas=(replica("a", LOADING, ready_at_s=NOW_S + 1),)),
            1, 0, (), "loading", id="a load under way is finished"),
        pytest.param(
            model("m", asked(idle_s=math.inf, in_flight=1), replicas=(replica("a"),)),
            1, 0, (), "in_flight", id="in flight"),
        pytest.param(
            model("m", asked(20.0), replicas=(replica("a", FAILED),)), 1, 1, ("a",), "queue", id="failed is no supply"),
        pytest.param(
            model("m", asked(20.0), replicas=(replica("a", DRAINING),)), 1, 1, (), "queue", id="draining is no supply"),
        pytest.param(
            model("m", asked(20.0), replicas=(replica("a"), replica("old", version="v0"))),
            1, 0, ("old",), "queue", id="after the switch the old version goes"),
    ],
)  # fmt: skip
def test_one_model(subject: ModelView, desired: int, start: int, stop: tuple[str, ...], code: str) -> None:
    decision = one(subject)
    assert (decision.desired, decision.start, decision.stop, decision.reason.code) == (desired, start, stop, code)


def test_the_longest_idle_goes_and_those_not_ready_before_it() -> None:
    running = (replica("busy"), replica("idle", idle_s=50.0), replica("new", LOADING, ready_at_s=NOW_S + 1))
    decision = one(model("m", asked(20.0), replicas=running))
    assert decision.stop == ("new", "idle")


def test_scale_in_waits_after_a_restart_of_the_controller() -> None:
    running = (replica("a"), replica("b"))
    decision = one(model("m", asked(20.0), replicas=running, state={}))
    assert (decision.desired, decision.reason.code) == (2, "hold")


def test_what_loads_for_long_goes_one_at_a_time() -> None:
    slow = profile(load_s=90.0)
    running = tuple(replica(f"r{i}") for i in range(4))
    decision = one(model("m", asked(1.0), profile=slow, replicas=running))
    assert len(decision.stop) == 1


@pytest.mark.parametrize(
    ("demand", "code"),
    [
        pytest.param({"observed_at_s": NOW_S - 6}, "stale", id="old"),
        pytest.param({"observed_at_s": -math.inf}, "unread", id="never read"),
        pytest.param({"observed_at_s": math.nan}, "unread", id="no time"),
        pytest.param({"observed_at_s": NOW_S + 60}, "future", id="from the future"),
        pytest.param({"burst_per_s": math.nan}, "absurd", id="rate is no number"),
        pytest.param({"stable_per_s": -1.0}, "absurd", id="negative rate"),
        pytest.param({"queued": -3}, "absurd", id="negative queue"),
        pytest.param({"idle_s": math.nan}, "absurd", id="idle is no number"),
        pytest.param({"envelope": ((1.0, math.inf),)}, "absurd", id="endless burst"),
    ],
)
def test_what_cannot_be_believed_takes_nothing_away(demand: dict[str, Any], code: str) -> None:
    running = tuple(replica(f"r{i}", idle_s=900.0) for i in range(3))
    decision = one(model("m", replace(asked(), **demand), replicas=running))
    assert (decision.desired, decision.stop, decision.start, decision.reason.code) == (3, (), 0, code)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"now_s": math.nan}, id="no clock"),
        pytest.param({"on": machine(memory=0)}, id="no memory"),
        pytest.param({"on": machine(cpus=math.nan)}, id="no cores"),
        pytest.param({"on": machine(overhead=-1)}, id="negative overhead"),
    ],
)
def test_a_machine_that_cannot_be_takes_nothing_away(broken: dict[str, Any]) -> None:
    running = tuple(replica(f"r{i}", idle_s=900.0) for i in range(3))
    decision = decide(view(model("m", replicas=running), model("n", asked(50.0)), **broken))
    assert [(m.desired, m.start, m.stop, m.reason.code) for m in decision.models] == [
        (3, 0, (), "absurd"),
        (0, 0, (), "absurd"),
    ]


def test_absurd_live_figures_take_nothing_away() -> None:
    broken = replace(profile(), load=replace(profile().load, load_s=math.nan))
    decision = one(model("m", asked(), profile=broken, replicas=(replica("a"),)))
    assert (decision.desired, decision.reason.code) == (1, "absurd")


def test_a_floor_is_kept_even_without_observations() -> None:
    decision = one(model("m", replace(asked(), observed_at_s=-math.inf), min_replicas=1))
    assert decision.start == 1


def test_more_replicas_than_cores_add_nothing() -> None:
    decision = one(model("m", asked(900.0), profile=profile(threads=2), replicas=(replica("a"),)), cpus=4)
    assert (decision.desired, decision.reason.code) == (2, "cpu")
    command = one(model("m", asked(900.0), profile=profile(threads=2, runtime="command")), cpus=4)
    assert command.desired == 4


def test_cores_taken_by_equals_are_not_shared_out_again() -> None:
    busy = model("busy", asked(400.0), replicas=(replica("a"), replica("b")))
    more = model("more", asked(400.0), replicas=(replica("c"),))
    assert of(all_of(busy, more, cpus=2).models, "more").refused[-1].reason.code == "cpu_busy"
    first = replace(more, policy=replace(more.policy, priority=10))
    assert of(all_of(busy, first, cpus=2).models, "more").start == 1


def test_too_large_for_the_budget_is_never_started() -> None:
    decision = one(model("m", COLD, profile=LARGE), memory=600 * MIB)
    assert (decision.desired, decision.start, decision.reason.code) == (0, 0, "too_large")


def test_memory_is_freed_first_and_waited_for() -> None:
    idle = model("idle", asked(idle_s=60.0), profile=LARGE, replicas=(replica("a"),))
    cold = model("cold", COLD, profile=LARGE)
    first = all_of(idle, cold, memory=1 * GIB)
    assert of(first.models, "idle").stop == ("a",)
    assert of(first.models, "idle").reason.code == "evicted"
    assert (of(first.models, "cold").desired, of(first.models, "cold").start) == (1, 0)
    assert of(first.models, "cold").reason.code == "memory_wait"

    leaving = replace(idle, replicas=(replica("a", DRAINING),))
    also = model("also", asked(idle_s=60.0), profile=profile(private=200 * MIB), replicas=(replica("b"),))
    second = all_of(leaving, cold, replace(also, demand=asked(idle_s=2.0)), memory=1300 * MIB)
    assert of(second.models, "also").stop == (), "what is leaving already suffices"
    third = all_of(replace(idle, replicas=()), cold, memory=1 * GIB)
    assert of(third.models, "cold").start == 1


def test_the_lowest_value_per_byte_goes_first() -> None:
    rare = model("rare", asked(idle_s=600.0, gap_s=600.0), profile=LARGE, replicas=(replica("r"),))
    often = model("often", asked(idle_s=20.0, gap_s=30.0), profile=LARGE, replicas=(replica("o"),))
    decision = all_of(often, rare, model("cold", COLD, profile=LARGE), memory=1400 * MIB)
    assert of(decision.models, "rare").stop == ("r",)
    assert of(decision.models, "often").stop == ()


def test_nothing_more_is_evicted_than_is_needed() -> None:
    small = model("small", asked(idle_s=600.0, gap_s=3000.0), profile=profile(load_s=1.0), replicas=(replica("s"),))
    large = model("large", asked(idle_s=60.0, gap_s=30.0), profile=LARGE, replicas=(replica("l"),))
    decision = all_of(small, large, model("cold", COLD, profile=LARGE), memory=800 * MIB)
    assert (of(decision.models, "small").stop, of(decision.models, "large").stop) == ((), ("l",))


@pytest.mark.parametrize(
    ("holder", "claimant", "served_s", "evicted"),
    [
        pytest.param(10, 0, 900.0, False, id="never higher priority with traffic for lower"),
        pytest.param(0, 10, 900.0, True, id="lower gives way to higher"),
        pytest.param(0, 10, 5.0, False, id="but not before it has paid for its load"),
        pytest.param(0, 0, 30.0, False, id="equals: not before its turn is over"),
        pytest.param(0, 0, 90.0, True, id="equals: by turns"),
    ],
)
def test_who_gives_way_to_whom(holder: int, claimant: int, served_s: float, evicted: bool) -> None:
    there = replica("a", ready_at_s=NOW_S - served_s)
    busy = model("busy", asked(5.0), profile=LARGE, priority=holder, replicas=(there,))
    cold = model("cold", asked(5.0, queued=3, held=3), profile=LARGE, priority=claimant)
    decision = all_of(busy, cold, memory=1 * GIB)
    assert of(decision.models, "busy").stop == (("a",) if evicted else ())
    if not evicted:
        assert of(decision.models, "cold").reason.code == "memory"


def test_an_idle_model_of_higher_priority_does_give_way_to_a_waiting_request() -> None:
    idle = model("idle", asked(idle_s=60.0), profile=LARGE, priority=10, replicas=(replica("a"),))
    decision = all_of(idle, model("cold", COLD, profile=LARGE), memory=1 * GIB)
    assert of(decision.models, "idle").stop == ("a",)


def test_a_promised_floor_gives_way_to_higher_priority_only() -> None:
    promised = model("promised", asked(idle_s=60.0), profile=LARGE, min_replicas=1, replicas=(replica("a"),))
    cold = model("cold", COLD, profile=LARGE)
    assert of(all_of(promised, cold, memory=1 * GIB).models, "promised").stop == ()
    higher = replace(cold, policy=replace(cold.policy, priority=5))
    assert of(all_of(promised, higher, memory=1 * GIB).models, "promised").stop == ("a",)


def test_a_popular_model_is_not_thrown_out_for_a_rare_large_one() -> None:
    popular = model("popular", asked(100.0), profile=profile(private=200 * MIB), replicas=(replica("a"),))
    rare = model("rare", asked(0.0, queued=1, held=1, idle_s=0.1, burst_per_s=0.3), profile=LARGE)
    decision = all_of(popular, rare, memory=850 * MIB)
    assert of(decision.models, "popular").stop == ()
    assert of(decision.models, "rare").reason.code == "memory"


def test_over_the_budget_the_least_valuable_goes() -> None:
    grown: dict[str, Any] = {"memory_bytes": 600 * MIB}
    idle = model("idle", asked(idle_s=20.0), profile=LARGE, replicas=(replica("i", **grown),))
    busy = model("busy", asked(20.0), profile=LARGE, replicas=(replica("b", **grown),))
    decision = all_of(idle, busy, memory=1 * GIB)
    assert of(decision.models, "idle").reason.code == "over_budget"
    assert [of(decision.models, name).stop for name in ("idle", "busy")] == [("i",), ()]


def test_no_more_loads_at_once_than_storage_can_feed() -> None:
    names = [f"m{i}" for i in range(5)]
    decision = all_of(*(model(name, COLD) for name in names), slots=2)
    assert sum(m.start for m in decision.models) == 2
    assert [m.desired for m in decision.models] == [1] * 5
    assert {m.reason.code for m in decision.models if not m.start} == {"load_slot"}


def test_quick_loads_share_a_slot() -> None:
    """Else a hundred small models that are asked for at once would wait for a hundred decisions."""
    small = profile(private=6 * MIB, load_s=0.02)
    models = [model(f"m{i:03}", COLD, profile=small) for i in range(100)]
    decision = all_of(*models, slots=1)
    assert sum(m.start for m in decision.models) == 50, "a second's worth"
    slow = model("slow", COLD)
    assert of(all_of(*models[:10], slow, slots=1).models, "slow").start == 1


def test_loads_go_to_waiting_requests_first_then_short_ones_of_weight() -> None:
    waiting = model("waiting", COLD, profile=profile(load_s=9.0))
    quick = model("quick", asked(300.0), profile=profile(load_s=0.1), replicas=(replica("q"),))
    slow = model("slow", asked(300.0), profile=profile(load_s=5.0), replicas=(replica("s"),))
    order = []
    for slots in (1, 2, 3):
        decision = all_of(waiting, quick, slow, slots=slots)
        order.append({m.name for m in decision.models if m.start})
    assert order[0] == {"waiting"}
    assert order[1] == {"waiting", "quick"}


def test_a_stuck_load_does_not_hold_its_slot_for_ever() -> None:
    stuck = model("stuck", asked(1.0), replicas=(replica("a", LOADING, ready_at_s=NOW_S, since_s=NOW_S - 40),))
    fresh = model("fresh", asked(1.0), replicas=(replica("b", LOADING, ready_at_s=NOW_S, since_s=NOW_S - 1),))
    assert of(all_of(stuck, model("cold", COLD), slots=1).models, "cold").start == 1
    assert of(all_of(fresh, model("cold", COLD), slots=1).models, "cold").start == 0


ROLLOUT: dict[str, Any] = {"candidate": "v2", "candidate_profile": LARGE, "profile": LARGE}


@pytest.mark.parametrize(
    ("rest", "start", "stop", "code"),
    [
        pytest.param({"replicas": (replica("a"), replica("b"))}, 2, (), "rollout", id="as many as serve"),
        pytest.param({}, 1, (), "rollout", id="a cold model: one, to see whether it works"),
        pytest.param(
            {"replicas": (replica("a"), replica("n", LOADING, version="v2", ready_at_s=NOW_S + 1))},
            0, (), "queue", id="under way: the old one stays"),
        pytest.param(
            {"replicas": (replica("a"), replica("n", FAILED, version="v2"))},
            1, ("n",), "rollout", id="a failed attempt is cleared"),
        pytest.param({"replicas": (replica("a"),), "parked_until_s": NOW_S + 9}, 0, (), "parked", id="parked"),
    ],
)  # fmt: skip
def test_rollout(rest: dict[str, Any], start: int, stop: tuple[str, ...], code: str) -> None:
    decision = one(model("m", asked(5.0), **{**ROLLOUT, **rest}))
    assert (decision.start, decision.stop, decision.reason.code) == (start, stop, code)
    assert decision.start_version == ("v2" if start else "")


def test_rollout_evicts_what_is_idle_and_says_when_there_is_no_room() -> None:
    subject = model("m", asked(5.0), **ROLLOUT, replicas=(replica("a"),))
    idle = model("idle", asked(idle_s=60.0), profile=LARGE, replicas=(replica("i"),))
    assert of(all_of(subject, idle, memory=1400 * MIB).models, "idle").stop == ("i",)
    refused = one(subject, memory=1 * GIB)
    assert (refused.start, refused.stop, refused.reason.code) == (0, (), "rollout_memory")
    unused = one(replace(subject, demand=asked(idle_s=60.0)), memory=1 * GIB)
    assert unused.stop == ("a",), "of an unused model the old version makes room itself"


def test_every_decision_names_what_was_refused_and_what_to_expect() -> None:
    subject = model("m", asked(300.0), replicas=(replica("a"), replica("b")))
    fleet = view(subject, on=machine())
    bare = decide(fleet).models[0]
    assert (bare.refused, bare.expected_attainment) == ((), None), "worked out for nobody"
    decision = with_alternatives(bare, subject, fleet)
    assert decision.expected_attainment is not None
    assert decision.expected_attainment > 0.9
    assert [r.desired for r in decision.refused] == [decision.desired - 1, decision.desired + 1]
    assert all(r.reason.code in CODES for r in decision.refused)
    assert all("?" not in render(r.reason) for r in decision.refused)


def test_what_a_budget_refused_stands_in_for_one_more() -> None:
    subject = model("m", COLD, profile=LARGE)
    fleet = view(subject, on=machine(memory=600 * MIB))
    decision = with_alternatives(decide(fleet).models[0], subject, fleet)
    assert [(r.desired, r.reason.code) for r in decision.refused] == [(1, "too_large")]


def test_planned_memory_is_what_will_be_charged() -> None:
    decision = all_of(model("m", COLD, profile=LARGE), model("n", asked(idle_s=60.0), replicas=(replica("a"),)))
    assert decision.memory_planned_bytes == (100 + 600) * MIB
