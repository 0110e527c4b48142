"""How many replicas one model should have, looked at alone: need, hold, release, bounds. Budgets come after."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sizewise.core import holding
from sizewise.core.budget import mapped_bytes
from sizewise.core.fleet import FleetView, ModelView, Reason, Refused, ReplicaState, ReplicaView
from sizewise.core.holding import Hold, hold_s, learned
from sizewise.core.observations import distrust
from sizewise.core.reasons import because
from sizewise.core.sizing import TAIL_SHARE, Capacity, Need, capacity_of, need_of, replicas_for
from sizewise.core.tiers import hold_limit_s
from sizewise.core.warmth import break_even_s, reload_s
from sizewise.core.warmth_policies import NO_USES, OURS, Uses, Warm, from_state, policy_of, to_state, used

SUPPLY = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})
"""States of replicas that answer or will: failed and draining ones do not."""

ONE_AT_A_TIME_S = 60.0
"""Models that load for longer give up one replica at a decision."""

Peaks = tuple[tuple[float, int], ...]


@dataclass(slots=True)
class Plan:
    """One model on its way through a decision. Later steps fill in ``start`` and ``stop`` and may change the reason."""

    model: ModelView
    live: list[ReplicaView]
    """Supply of the current version."""
    target: int
    """Replicas to have: what is needed, and what is held although it is not."""
    need: int
    """Replicas to start for: never raised by a hold."""
    reason: Reason
    trusted: bool = True
    """False: nothing may be taken away on these observations."""
    capacity: Capacity | None = None
    sized: Need | None = None
    floor: int = 0
    peaks: Peaks = ()
    hold: Hold = field(default_factory=Hold)
    """How many loads a lower need must last, as learned so far."""
    start: int = 0
    start_version: str = ""
    machines: tuple[str, ...] = ()
    """Where each of those that start is to start; empty where there is one machine."""
    reserved_bytes: int = 0
    """Charged for all its replicas before anything of it goes."""
    waiting: int = 0
    """Granted, but not to be started at this moment."""
    denied: int = 0
    stop: tuple[str, ...] = ()
    evicted: int = 0
    uses: Uses | None = None
    """What the policy about unused models remembers; None where it remembers nothing."""
    yields_until_s: float | None = None
    """It was evicted for another: until then it asks for memory after its equals, or it would be back first."""
    refused: tuple[Refused, ...] = ()

    @property
    def load_s(self) -> float:
        return self.model.profile.load.total_s

    @property
    def staying(self) -> list[ReplicaView]:
        """Supply that has not been told to stop."""
        return [r for r in self.live if r.replica_id not in self.stop] if self.stop else self.live

    @property
    def desired(self) -> int:
        """Replicas of the current version once everything decided here has happened."""
        own = self.start if self.start_version == self.model.version else 0
        return len(self.staying) + own + self.waiting


def plan_of(model: ModelView, view: FleetView) -> Plan:
    """Target, need and reason for one model, before it meets the others."""
    live = [r for r in model.replicas if r.version == model.version and r.state in SUPPLY]
    floor = _floor(model)
    doubt = distrust(model, view)
    if doubt is not None:
        plan = Plan(model, live, max(len(live), floor), max(len(live), floor), doubt, trusted=False, floor=floor)
        plan.peaks = _peaks_in(model.state) or ()
    elif model.pinned == 0:
        plan = Plan(model, live, 0, 0, because("unloaded"))
    else:
        plan = _sized(model, view, live)
    if plan.uses is None and "uses" in model.state:
        plan.uses = uses_of(model)
    until_s = model.state.get("yields_until_s")
    if isinstance(until_s, int | float) and view.now_s < until_s:
        plan.yields_until_s = until_s
    return _parked(plan, view.now_s)


def useful_replicas(model: ModelView, cpus: float) -> float:
    """Most replicas that add capacity: each keeps ``threads`` cores busy while it computes.

    Of a server that the user brings it is not known that it computes; it may wait for something else.
    """
    if model.profile.facts.runtime == "command":
        return math.inf
    return max(1, int(cpus // max(model.profile.threads, 1)))


def stopping_order(replicas: Iterable[ReplicaView]) -> list[ReplicaView]:
    """First to go first: those not ready yet, then the longest idle; routing keeps the others busy."""
    return sorted(
        replicas,
        key=lambda r: (r.state is ReplicaState.READY, -r.idle_s, r.outstanding, -r.ready_at_s, r.replica_id),
    )


def state_of(plan: Plan) -> Mapping[str, object]:
    """What the next decision must be handed back."""
    state: dict[str, object] = {"peaks": [list(p) for p in plan.peaks], "hold": holding.to_state(plan.hold)}
    if plan.uses is not None and math.isfinite(plan.uses.last_s):
        state["uses"] = to_state(plan.uses)
    if plan.yields_until_s is not None:
        state["yields_until_s"] = plan.yields_until_s
    return state


def _floor(model: ModelView) -> int:
    return min(max(model.policy.min_replicas, model.pinned or 0), max(model.policy.max_replicas, 0))


def _sized(model: ModelView, view: FleetView, live: list[ReplicaView]) -> Plan:
    floor = _floor(model)
    capacity = capacity_of(model.profile, model.slo, model.demand.rows_per_request)
    useful = useful_replicas(model, view.machine.cpus)
    most = min(max(model.policy.max_replicas, 0), useful)
    limit = int(most) + 1
    supply_in_s = [max(0.0, r.ready_at_s - view.now_s) for r in live]
    load_s = model.profile.load.total_s
    sized = need_of(capacity, model.demand, load_s=load_s, supply_in_s=supply_in_s, limit=limit)
    wanted, reason = _wanted(model, sized)
    if wanted > most:
        rule = "cpu" if useful < model.policy.max_replicas else "max"
        wanted = int(most)
        threads, cpus = model.profile.threads, view.machine.cpus
        reason = because(rule, most=wanted, rate_per_s=sized.rate_per_s, cpus=cpus, threads=threads)
    plan = Plan(model, live, wanted, wanted, reason, capacity=capacity, sized=sized, floor=floor)
    if policy_of(view.machine.warmth).remembers:
        _remember(plan, view)
    _hold(plan, view)
    if plan.target < len(live):
        _keep_safe(plan, capacity, sized=sized, most=int(most))
    if plan.target == 0 and live:
        _keep_warm(plan, view)
    elif plan.target == 0 and plan.uses is not None and most >= 1:
        _wake(plan, view)
    if plan.target < len(live) - 1 and plan.load_s > ONE_AT_A_TIME_S:
        plan.target = len(live) - 1
    if model.demand.forecast_per_s > 0:
        _foresee(plan, capacity, most=int(most))
    if floor > plan.need:
        plan.need = floor
        if floor > plan.target:
            plan.target = floor
            rule = "pinned" if (model.pinned or 0) >= floor else "min"
            plan.reason = because(rule, replicas=floor)
    return plan


def _wanted(model: ModelView, sized: Need) -> tuple[int, Reason]:
    demand = model.demand
    # What was asked for a while ago may size a second replica, but whether the last one stays is a matter of warmth
    past = sized.replicas == 1 and demand.burst_per_s == 0
    if sized.replicas == 0 or (past and demand.queued == 0):
        if demand.held > 0 or demand.queued > 0:
            return 1, because("cold_request", held=max(demand.held, demand.queued))
        if demand.in_flight > 0:
            return 1, because("in_flight", in_flight=demand.in_flight)
        return 0, because("idle", idle_s=demand.idle_s)
    if sized.replicas == 1 and demand.held > 0:
        return 1, because("cold_request", held=demand.held)
    reason = because(sized.rule, rate_per_s=sized.rate_per_s, replicas=sized.replicas, queued=demand.queued)
    return sized.replicas, reason


def _hold(plan: Plan, view: FleetView) -> None:
    """Scale-in waits: the highest need of the last hold stays, as far as its replicas exist."""
    now_s = view.now_s
    plan.hold = learned(
        holding.from_state(plan.model.state), plan.model.demand, slo=plan.model.slo, load_s=plan.load_s, now_s=now_s
    )
    wait_s = hold_s(plan.load_s, plan.hold.loads)
    known = _peaks_in(plan.model.state)
    if known is None or any(at_s > now_s for at_s, _ in known):
        # The first decision on what runs already, after a restart say: what it needed before is not known
        known = ((now_s, len(plan.live)),)
    recent = [p for p in known if now_s - wait_s < p[0] and p[1] > plan.need]
    if plan.need > 0:
        recent.append((now_s, plan.need))
    plan.peaks = tuple(recent)
    held = min(len(plan.live), max((n for _, n in recent), default=0))
    if held == 1 and view.machine.warmth != OURS:
        return  # other policies have times of their own for the last one; ours is never shorter than the hold
    if held > plan.target:
        since_s = max(t for t, n in recent if n >= held)
        plan.target = held
        plan.reason = because(
            "hold", need=plan.need, left_s=since_s + wait_s - now_s, hold_s=wait_s, loads=plan.hold.loads
        )


def _foresee(plan: Plan, capacity: Capacity, *, most: int) -> None:
    """A forecast that has been right lately raises the need, and nothing else: what is held stays, what goes does not
    remember it. Source: reference design, 3.9."""
    demand = plan.model.demand
    replicas = min(most, replicas_for(capacity, demand.forecast_per_s, limit=most + 1))
    if replicas > plan.need:
        plan.need = replicas
        if replicas > plan.target:
            plan.target = replicas
            plan.reason = because(
                "forecast", rate_per_s=demand.forecast_per_s, lead_s=demand.forecast_lead_s, replicas=replicas
            )


def _keep_safe(plan: Plan, capacity: Capacity, *, sized: Need, most: int) -> None:
    """A replica goes only if without it the rule still holds at half the allowed lateness."""
    queue = replicas_for(capacity, sized.rate_per_s, limit=most + 1, share=TAIL_SHARE / 2)
    strict = min(max(queue, sized.envelope, sized.backlog), most, len(plan.live))
    if strict > max(plan.target, 1):  # the last one is a matter of warmth
        plan.target = strict
        plan.reason = because("safe_removal", need=plan.need, replicas=strict)


def _keep_warm(plan: Plan, view: FleetView) -> None:
    """The last replica goes once it has been idle for longer than coming back is worth."""
    demand, memory = plan.model.demand, plan.model.profile.memory
    pending = [r for r in plan.live if r.state is not ReplicaState.READY]
    if len(pending) == len(plan.live):
        plan.target = 1
        plan.reason = because("loading", load_s=plan.load_s)
        return
    since_s = view.now_s - max(r.ready_at_s for r in plan.live if r.state is ReplicaState.READY)
    idle_s = min(demand.idle_s, since_s)
    held = memory.replica_bytes + mapped_bytes(plan.model, plan.model.version)
    item = warm_of(plan, view, held_bytes=held, idle_s=idle_s)
    if view.machine.warmth == OURS and hold_limit_s(plan.model, item.machine_bytes) > 0:
        # What goes first is the process alone: its files stay in memory, and it comes back as from a warm load
        held = max(0, held - plan.model.profile.facts.disk_bytes)
        item = replace(item, load_s=plan.model.profile.load.total_s, held_bytes=held)
    limit_s = policy_of(view.machine.warmth).release_s(item)
    warm = idle_s < limit_s
    plan.target = 1 if warm else 0
    if view.machine.warmth != OURS:
        plan.reason = because("kept" if warm else "let_go", idle_s=idle_s, policy=view.machine.warmth)
        return
    plan.reason = because(
        "warm" if warm else "released",
        idle_s=idle_s,
        release_s=limit_s,
        break_even_s=break_even_s(
            reload_s(item.load_s, slo=item.slo, gap_s=demand.gap_s), held_bytes=held, machine_bytes=item.machine_bytes
        ),
        load_s=item.load_s,
        held_bytes=held,
    )


def warm_of(plan: Plan, view: FleetView, *, held_bytes: int, idle_s: float) -> Warm:
    """The model as a policy about unused models sees it."""
    return Warm(
        demand=plan.model.demand,
        idle_s=idle_s,
        load_s=plan.model.profile.reload_s,
        held_bytes=held_bytes,
        machine_bytes=view.machine.memory_bytes,
        slo=plan.model.slo,
        uses=plan.uses or NO_USES,
    )


def _remember(plan: Plan, view: FleetView) -> None:
    """For policies that go by more than the present: the last use, how often, how long in between."""
    known = uses_of(plan.model)
    uses = used(known, view.now_s - plan.model.demand.idle_s)
    if not plan.live:
        uses = replace(uses, count=0.0, credit=0.0)
    elif uses is not known or uses.count == 0:
        uses = replace(uses, count=max(uses.count, 1.0))  # loading it was a use
        clock = view.state.get("clock", 0.0)
        held = plan.model.profile.memory.replica_bytes + mapped_bytes(plan.model, plan.model.version)
        plan.uses = uses
        item = warm_of(plan, view, held_bytes=held, idle_s=0.0)
        credit = policy_of(view.machine.warmth).credit(item, clock if isinstance(clock, int | float) else 0.0)
        uses = replace(uses, credit=credit)
    plan.uses = uses


def _wake(plan: Plan, view: FleetView) -> None:
    """Some policies load a model before it is asked for, by habit."""
    policy, idle_s = policy_of(view.machine.warmth), plan.model.demand.idle_s
    wake_s = math.inf if plan.uses is None else policy.wake_s(plan.uses)
    if wake_s <= idle_s < policy.release_s(warm_of(plan, view, held_bytes=0, idle_s=idle_s)):
        plan.need = plan.target = 1
        plan.reason = because("woken", wake_s=wake_s, policy=view.machine.warmth)


def uses_of(model: ModelView) -> Uses:
    return from_state(model.state.get("uses"))


def _parked(plan: Plan, now_s: float) -> Plan:
    until_s = plan.model.parked_until_s
    if until_s is not None and now_s < until_s:
        plan.need = 0
        plan.target = min(plan.target, len(plan.live))
        plan.reason = because("parked", left_s=until_s - now_s)
    return plan


def _peaks_in(state: Mapping[str, object]) -> Peaks | None:
    """Peaks from a state that may have been through JSON; None where there are none to read."""
    raw = state.get("peaks")
    if not isinstance(raw, list | tuple):
        return None
    peaks = []
    for item in raw:
        if isinstance(item, list | tuple) and len(item) == 2:
            at_s, count = item
            if isinstance(at_s, int | float) and isinstance(count, int) and math.isfinite(at_s):
                peaks.append((float(at_s), count))
    return tuple(peaks)
