"""A property for every promise of the decision, over arbitrary fleets."""

import math
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core.alternatives import with_alternatives
from sizewise.core.arbitration import QUICK_LOAD_S
from sizewise.core.budget import reserved_bytes
from sizewise.core.decide import decide
from sizewise.core.fleet import Demand, FleetView, ModelView, ReplicaState, ReplicaView, ScalingPolicy
from sizewise.core.reasons import CODES, render
from sizewise.core.tiers import load_s
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import machine, profile
from tests.unit.core.views import NOW_S, of

EXAMPLES = settings(max_examples=60)

rates = st.one_of(st.just(0.0), st.floats(0.01, 500))


@st.composite
def replicas(draw: st.DrawFn, name: str) -> tuple[ReplicaView, ...]:
    found = []
    for i in range(draw(st.integers(0, 3))):
        state = draw(st.sampled_from(list(ReplicaState)))
        since_s = NOW_S - draw(st.floats(0, 200))
        pending = state in {ReplicaState.STARTING, ReplicaState.LOADING}
        found.append(
            ReplicaView(
                replica_id=f"{name}-{i}",
                version=draw(st.sampled_from(["v1", "v1", "v1", "v0"])),
                state=state,
                since_s=since_s,
                ready_at_s=NOW_S + 1 if pending else since_s,
                idle_s=draw(st.floats(0, 100)),
            )
        )
    return tuple(found)


@st.composite
def models(draw: st.DrawFn, name: str) -> ModelView:
    rate = draw(rates)
    shape = profile(
        load_s=draw(st.floats(0.01, 30)),
        private=draw(st.integers(1, 400)) * MIB,
        mapped=draw(st.integers(0, 400)) * MIB,
        service_s=draw(st.floats(0.001, 0.2)),
        threads=draw(st.integers(1, 3)),
    )
    least = draw(st.integers(0, 2))
    queued = draw(st.sampled_from([0, 0, 1, 40]))
    return ModelView(
        name=name,
        version="v1",
        profile=shape,
        slo=None,
        policy=ScalingPolicy(
            min_replicas=least, max_replicas=least + draw(st.integers(0, 4)), priority=draw(st.integers(0, 2))
        ),
        demand=Demand(
            observed_at_s=NOW_S - draw(st.sampled_from([0.1, 0.1, 0.1, 9.0])),
            burst_per_s=rate,
            stable_per_s=rate,
            queued=queued,
            held=queued,
            idle_s=0.1 if rate or queued else draw(st.floats(5, 500)),
            gap_s=draw(st.floats(0.01, 500)),
            envelope=((1.0, rate), (2.0, 2 * rate)),
        ),
        replicas=draw(replicas(name)),
        state=draw(st.sampled_from([{}, {"peaks": []}, {"peaks": [[NOW_S - 2, 2]]}])),
        parked_until_s=draw(st.sampled_from([None, None, None, NOW_S + 5])),
        candidate=draw(st.sampled_from([None, None, None, "v2"])),
    )


@st.composite
def fleets(draw: st.DrawFn) -> FleetView:
    names = [f"m{i}" for i in range(draw(st.integers(1, 6)))]
    on = machine(
        memory=draw(st.integers(1, 40)) * 100 * MIB, cpus=draw(st.integers(1, 16)), slots=draw(st.integers(1, 3))
    )
    return FleetView(now_s=NOW_S, machine=on, models=tuple(draw(models(name)) for name in names))


def charged(view: FleetView) -> int:
    return view.machine.overhead_bytes + sum(reserved_bytes(m) for m in view.models)


def after_starts(view: FleetView) -> FleetView:
    """The fleet with everything started that was decided, and nothing gone yet of what was stopped."""
    decision = decide(view)
    grown = []
    for m in view.models:
        d = of(decision.models, m.name)
        fresh = tuple(
            ReplicaView(
                replica_id=f"new-{m.name}-{i}",
                version=d.start_version,
                state=ReplicaState.STARTING,
                since_s=NOW_S,
                ready_at_s=NOW_S + 1,
            )
            for i in range(d.start)
        )
        grown.append(replace(m, replicas=(*m.replicas, *fresh)))
    return replace(view, models=tuple(grown))


@EXAMPLES
@given(fleets())
def test_the_same_view_gives_the_same_decision_in_any_order(view: FleetView) -> None:
    decision = decide(view)
    assert decide(view) == decision
    shuffled = list(view.models)
    random.Random(3).shuffle(shuffled)
    other = decide(replace(view, models=tuple(shuffled)))
    assert {m.name: m for m in other.models} == {m.name: m for m in decision.models}
    assert other.memory_planned_bytes == decision.memory_planned_bytes


@EXAMPLES
@given(fleets())
def test_starts_fit_beside_all_that_exists(view: FleetView) -> None:
    before, after = charged(view), charged(after_starts(view))
    assert after == before or after <= view.machine.memory_bytes


@EXAMPLES
@given(fleets())
def test_planned_memory_counts_every_start_and_stop(view: FleetView) -> None:
    decision = decide(view)
    grown = after_starts(view)
    gone = [
        replace(m, replicas=tuple(r for r in m.replicas if r.replica_id not in of(decision.models, m.name).stop))
        for m in grown.models
    ]
    assert decision.memory_planned_bytes == charged(replace(grown, models=tuple(gone)))


@EXAMPLES
@given(fleets())
def test_loads_never_exceed_the_slots(view: FleetView) -> None:
    """Quick ones take a part of a slot; of those that take longer each has one for itself."""
    loading = sum(
        r.state in {ReplicaState.STARTING, ReplicaState.LOADING}
        and NOW_S - r.since_s < 30
        and load_s(m, r.version) > QUICK_LOAD_S
        for m in view.models
        for r in m.replicas
    )
    decisions = decide(view).models
    slow = [m for m in view.models if load_s(m, of(decisions, m.name).start_version or m.version) > QUICK_LOAD_S]
    started = sum(of(decisions, m.name).start for m in slow)
    assert started <= max(0, view.machine.load_slots - loading)


@EXAMPLES
@given(fleets())
def test_nothing_is_taken_from_models_with_old_observations(view: FleetView) -> None:
    decision = decide(view)
    for m in view.models:
        if NOW_S - m.demand.observed_at_s > view.stale_after_s:
            assert of(decision.models, m.name).stop == ()


@EXAMPLES
@given(fleets())
def test_wanted_and_desired_stay_within_bounds(view: FleetView) -> None:
    decision = decide(view)
    for m in view.models:
        d = of(decision.models, m.name)
        live = sum(r.version == "v1" and r.state not in {"failed", "draining"} for r in m.replicas)
        assert 0 <= d.desired <= max(live, m.policy.max_replicas)
        assert d.start >= 0
        assert set(d.stop) <= {r.replica_id for r in m.replicas}
        assert len(set(d.stop)) == len(d.stop)
        if m.parked_until_s is not None:
            assert d.start == 0


@EXAMPLES
@given(fleets())
def test_every_reason_can_be_said_in_one_sentence(view: FleetView) -> None:
    for bare, subject in zip(decide(view).models, view.models, strict=True):
        d = with_alternatives(bare, subject, view)
        for reason in (d.reason, *(r.reason for r in d.refused)):
            assert reason.code in CODES
            sentence = render(reason)
            assert "\n" not in sentence
            assert "?" not in sentence


@EXAMPLES
@given(fleets(), st.floats(0, 200), st.integers(0, 50))
def test_more_load_never_means_fewer_wanted(view: FleetView, extra: float, queued: int) -> None:
    """For each model alone: what it wants before it meets the others."""
    for m in view.models:
        demand = m.demand
        envelope = tuple((w, n + extra * w) for w, n in demand.envelope)
        more = replace(
            demand,
            burst_per_s=demand.burst_per_s + extra,
            stable_per_s=demand.stable_per_s + extra,
            queued=demand.queued + queued,
            idle_s=min(demand.idle_s, 0.1) if extra or queued else demand.idle_s,
            envelope=envelope,
        )
        alone = replace(view, models=(m,), machine=machine(memory=64 * GIB))
        less = decide(alone).models[0].wanted
        assert less <= decide(replace(alone, models=(replace(m, demand=more),))).models[0].wanted


@EXAMPLES
@given(fleets())
def test_work_of_higher_priority_is_never_evicted_for_lower(view: FleetView) -> None:
    decision = decide(view)
    for m in view.models:
        d = of(decision.models, m.name)
        busy = m.demand.queued > 0 or m.demand.idle_s < 5
        if d.reason.code == "evicted" and busy:
            claimant = next(c for c in view.models if c.name == d.reason.numbers["claimant"])
            surplus = len(m.replicas) > 1
            assert surplus or claimant.policy.priority >= m.policy.priority


@EXAMPLES
@given(fleets(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_no_number_makes_it_fail(view: FleetView, wild: float) -> None:
    broken = tuple(replace(m, demand=replace(m.demand, burst_per_s=wild, gap_s=wild)) for m in view.models)
    for d in decide(replace(view, models=broken)).models:
        assert d.stop == ()
