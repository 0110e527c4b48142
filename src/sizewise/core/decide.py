"""The decision: all models at once, purely, from what is seen to what should be."""

import math
from collections.abc import Mapping

from sizewise.core import tiers
from sizewise.core.arbitration import arbitrate
from sizewise.core.assignment import assign
from sizewise.core.budget import reserved_bytes
from sizewise.core.fleet import (
    FleetDecision,
    FleetView,
    ModelDecision,
    ModelView,
    Reason,
    ReplicaState,
)
from sizewise.core.observations import distrust_machine
from sizewise.core.reasons import because
from sizewise.core.targets import Plan, plan_of, state_of, stopping_order, warm_of
from sizewise.core.warmth_policies import policy_of


def decide(view: FleetView) -> FleetDecision:
    """Desired replicas of every model, with reasons; ``start`` and ``stop`` are what to do about it now.

    Deterministic, and independent of the order of the models. Scales nothing in on observations that are missing,
    older than ``stale_after_s``, ahead of the clock or impossible. What it starts fits into the budget beside all that
    exists now; what must be freed first is waited for. Source: reference design, sections 3.3 to 3.8.
    """
    broken = distrust_machine(view)
    if broken is not None:
        return _nothing_changes(view, broken)
    decisions: dict[str, ModelDecision] = {}
    plans: list[Plan] = []
    for model in view.models:
        if _asleep(model, view):
            decisions[model.name] = _sleeping(model)
        else:
            plans.append(plan_of(model, view))
    policy = policy_of(view.machine.warmth)
    if policy.most_models < math.inf:
        _bound(plans, view)
    for plan in plans:
        _release(plan)
    arbitrated = arbitrate(plans, view)
    if view.machines:
        assign(plans, view)
    for plan in plans:
        decisions[plan.model.name] = _decided(plan)
    warm_bytes = tiers.hold(decisions, view, room_bytes=arbitrated.room_bytes, planned_bytes=arbitrated.planned_bytes)
    return FleetDecision(
        at_s=view.now_s,
        models=tuple(decisions[m.name] for m in view.models),
        memory_planned_bytes=arbitrated.planned_bytes + warm_bytes,
        free_bytes=arbitrated.free_bytes,
        free_slots=arbitrated.free_slots,
        state=_clock(view, arbitrated.victim_score) if policy.remembers else {},
    )


def _clock(view: FleetView, victim_score: float) -> Mapping[str, object]:
    """GreedyDual's clock: what was worth less than what had to go lately is worth nothing now."""
    known = view.state.get("clock", 0.0)
    return {"clock": max(victim_score, known if isinstance(known, int | float) else 0.0)}


def _bound(plans: list[Plan], view: FleetView) -> None:
    """Lets go of unused models beyond the number that a policy keeps, the lowest score first."""
    policy = policy_of(view.machine.warmth)
    there = [p for p in plans if p.live and p.target > 0]
    unused = [p for p in there if p.reason.code == "kept" and p.target == 1]

    def score(plan: Plan) -> tuple[float, str]:
        warm = warm_of(plan, view, held_bytes=plan.model.profile.memory.replica_bytes, idle_s=plan.model.demand.idle_s)
        return policy.score(warm), plan.model.name

    beyond = int(max(0, len(there) - policy.most_models))
    for plan in sorted(unused, key=score)[:beyond]:
        plan.target = 0
        plan.reason = because("let_go", idle_s=plan.model.demand.idle_s, policy=view.machine.warmth)


def _asleep(model: ModelView, view: FleetView) -> bool:
    """Nothing runs and nothing asks: most models of a long catalogue, most of the time."""
    demand = model.demand
    return not (
        model.replicas
        or demand.burst_per_s
        or demand.stable_per_s
        or demand.forecast_per_s
        or demand.queued
        or demand.held
        or demand.in_flight
        or any(n for _, n in demand.envelope)
        or model.policy.min_replicas > 0
        or model.pinned is not None
        or model.candidate is not None
        or model.parked_until_s is not None
        or "uses" in model.state
    ) and (0 <= view.now_s - demand.observed_at_s <= view.stale_after_s and demand.idle_s >= 0)


def _sleeping(model: ModelView) -> ModelDecision:
    return ModelDecision(
        name=model.name,
        desired=0,
        wanted=0,
        reason=because("idle", idle_s=model.demand.idle_s),
    )


def _nothing_changes(view: FleetView, why: Reason) -> FleetDecision:
    reserved = sum(reserved_bytes(model) for model in view.models)
    models = []
    for model in view.models:
        supply = (ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY)
        live = sum(1 for r in model.replicas if r.version == model.version and r.state in supply)
        held = model.warm_version == model.version
        models.append(
            ModelDecision(name=model.name, desired=live, wanted=live, reason=why, hold_warm=held, state=model.state)
        )
    held_bytes = sum(tiers.extra_bytes(model) for model in view.models if model.warm_version == model.version)
    planned = max(0, view.machine.overhead_bytes) + reserved + held_bytes
    return FleetDecision(at_s=view.now_s, models=tuple(models), memory_planned_bytes=planned)


def _release(plan: Plan) -> None:
    """Stops what the model itself gives up: other versions, failed replicas, and those beyond the target."""
    if not plan.trusted:
        return
    model = plan.model
    for replica in model.replicas:
        superseded = replica.version not in (model.version, model.candidate)
        if replica.state is not ReplicaState.DRAINING and (superseded or replica.state is ReplicaState.FAILED):
            plan.stop += (replica.replica_id,)
    if model.candidate is not None:
        # The old version serves until the controller has switched; its count is left alone
        plan.target = max(plan.target, len(plan.live))
        return
    surplus = len(plan.live) - plan.target
    if surplus > 0:
        plan.stop += tuple(r.replica_id for r in stopping_order(plan.live)[:surplus])


def _decided(plan: Plan) -> ModelDecision:
    return ModelDecision(
        name=plan.model.name,
        desired=plan.desired,
        wanted=plan.target,
        reason=plan.reason,
        start=plan.start,
        start_version=plan.start_version if plan.start else "",
        machines=plan.machines,
        stop=plan.stop,
        refused=plan.refused,
        state=state_of(plan),
    )
