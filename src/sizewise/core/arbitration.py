"""Memory, cores and load slots shared out among all models at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sizewise.core.budget import mapped_bytes, reserved_bytes, used_bytes
from sizewise.core.claims import IDLE, SURPLUS, Claim, Holding, claims_of, in_order, rate_per_s
from sizewise.core.fleet import FleetView, Reason, Refused, ReplicaState
from sizewise.core.holding import MIN_HOLD_S
from sizewise.core.reasons import because
from sizewise.core.sizing import TICK_S
from sizewise.core.targets import Plan, useful_replicas
from sizewise.core.tiers import is_held, load_s

TURN_LOADS = 20.0
TURN_LEAST_S = 10.0
"""Between equals that do not fit together each has a turn of at least 20 times the loads that changing over takes, so
that no more than a twentieth of the time is lost; the turn of the more valuable one is longer in proportion."""

STUCK_LOADS = 10.0
STUCK_LEAST_S = 5.0
"""A load that takes ten times as long as it should is stuck and feeds on nothing: its slot is free."""

_NONE = 1e-9
QUICK_LOAD_S = 0.05
"""Longer loads have a slot for themselves. Of quick ones a slot does, one after the other, what takes it ``TICK_S``:
a small model does not wait for a decision of its own."""


@dataclass(slots=True)
class Ledger:
    """What is left while claims are served, in their order."""

    view: FleetView
    plans: list[Plan]
    free_bytes: int = 0
    coming_bytes: int = 0
    """Held by replicas that are leaving; free once they are gone."""
    slots: float = 0.0
    """What is left of them: a quick load takes a part of one."""
    loading: int = 0
    busy_cpus: dict[int, float] = field(default_factory=dict)
    """Cores that demand keeps busy, by priority."""
    holdings: list[Holding] | None = None
    gone: int = 0
    """How many at the front of ``holdings`` have been told to stop."""
    victim_score: float = -math.inf
    """The highest at which an unused model had to go."""
    starting: list[Claim] = field(default_factory=list)
    mapped: set[tuple[str, str]] = field(default_factory=set)
    """Versions whose shared weights are charged already."""
    failed: dict[tuple[int, bool, bool], int] = field(default_factory=dict)
    """Least bytes for which nothing could be evicted, by priority and kind: larger claims need not look again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbitrated:
    """What replicas take of the memory, and what they leave."""

    planned_bytes: int
    """Reserved once everything decided has happened, overhead included."""
    room_bytes: int
    """Neither reserved nor promised to anybody, once those that are leaving are gone."""
    victim_score: float
    """The highest at which an unused model had to go for another; -inf when none had."""
    free_bytes: int
    """Of the room, what nobody needs to leave for."""
    free_slots: float
    """Loads that may begin besides those that do."""


def arbitrate(plans: list[Plan], view: FleetView) -> Arbitrated:
    """Fills in ``start``, ``stop``, ``waiting`` and refusals of every plan.

    Never starts what does not fit beside all that exists now, replicas that load or drain included: memory that must
    be freed first is waited for. Files held in memory for models without a replica are in nobody's way: they are let
    go at once, and the kernel takes back their pages the moment it needs them.
    """
    ledger = _ledger(plans, view)
    _relieve(ledger)
    claims = [c for plan in plans for c in _wanted_claims(plan, view)]
    for claim in sorted(claims, key=lambda c: c.rank):
        _serve(claim, ledger)
    _fill_slots(ledger)
    kept = sum(reserved_bytes(p.model, frozenset(p.stop)) if p.stop else p.reserved_bytes for p in plans)
    return Arbitrated(
        planned_bytes=view.machine.overhead_bytes + kept + _started_bytes(plans),
        room_bytes=max(0, ledger.free_bytes + ledger.coming_bytes),
        victim_score=ledger.victim_score,
        free_bytes=max(0, ledger.free_bytes),
        free_slots=max(0.0, ledger.slots),
    )


def _wanted_claims(plan: Plan, view: FleetView) -> list[Claim]:
    if plan.model.candidate is None and plan.need <= len(plan.staying):
        return []
    return claims_of(plan, useful=useful_replicas(plan.model, view.machine.cpus))


def _ledger(plans: list[Plan], view: FleetView) -> Ledger:
    reserved, coming, loading, taken = 0, 0, 0, 0.0
    ledger = Ledger(view, plans)
    for plan in plans:
        if not plan.model.replicas:
            continue
        plan.reserved_bytes = reserved_bytes(plan.model)
        reserved += plan.reserved_bytes
        leaving = set(plan.stop)
        for replica in plan.model.replicas:
            state = replica.state
            if state is ReplicaState.DRAINING:
                leaving.add(replica.replica_id)
            elif state is not ReplicaState.FAILED and replica.replica_id not in leaving:
                ledger.mapped.add((plan.model.name, replica.version))
            if state is ReplicaState.STARTING or state is ReplicaState.LOADING:
                patience_s = max(STUCK_LEAST_S, STUCK_LOADS * plan.load_s)
                if view.now_s - replica.since_s < patience_s:
                    loading, taken = loading + 1, taken + _slot_share(load_s(plan.model, replica.version))
        if leaving:
            coming += plan.reserved_bytes - reserved_bytes(plan.model, frozenset(leaving))
        busy = rate_per_s(plan) / plan.capacity.per_s if plan.capacity else 0.0
        _keep_busy(plan, min(busy, len(plan.staying)), ledger)
    ledger.free_bytes = view.machine.memory_bytes - view.machine.overhead_bytes - reserved
    ledger.coming_bytes = coming
    ledger.loading = loading
    ledger.slots = view.machine.load_slots - taken
    return ledger


def _relieve(ledger: Ledger) -> None:
    """Replicas that really occupy more than the budget: the least valuable go until the rest fits."""
    machine = ledger.view.machine
    used = machine.overhead_bytes + sum(used_bytes(p.model) for p in ledger.plans if p.model.replicas)
    over = used - machine.memory_bytes - ledger.coming_bytes
    if over <= 0:
        return
    for holding in _holdings(ledger):
        if over <= 0:
            break
        reason = because("over_budget", used_bytes=used, have_bytes=machine.memory_bytes)
        _evict(holding, ledger, reason)
        over -= max(0, holding.replica.memory_bytes) or holding.freed_bytes


def _serve(claim: Claim, ledger: Ledger) -> None:
    plan = claim.plan
    size = _claim_bytes(claim, ledger)
    machine = ledger.view.machine
    if size + machine.overhead_bytes > machine.memory_bytes:
        need = size + machine.overhead_bytes
        return _deny(claim, because("too_large", need_bytes=need, have_bytes=machine.memory_bytes))
    if _cpus_taken(claim, ledger):
        return _deny(claim, because("cpu_busy", cpus=machine.cpus))
    if size > ledger.free_bytes + ledger.coming_bytes:
        _make_room(claim, size - ledger.free_bytes - ledger.coming_bytes, ledger)
    if size > ledger.free_bytes + ledger.coming_bytes:
        free = max(0, ledger.free_bytes)
        code = "rollout_memory" if claim.rollout else "memory"
        return _deny(claim, because(code, need_bytes=size, free_bytes=free, **_versions(claim)))
    _charge_cpu(claim, ledger)
    short = size - max(0, ledger.free_bytes)
    if size <= ledger.free_bytes:
        ledger.free_bytes -= size
        ledger.mapped.add((plan.model.name, claim.version))
        ledger.starting.append(claim)
        return None
    # It gets what is free and what is coming, so that nothing of lower rank takes it in between
    ledger.coming_bytes -= short + max(0, -ledger.free_bytes)
    ledger.free_bytes = 0
    ledger.mapped.add((plan.model.name, claim.version))
    return _wait(claim, because("memory_wait", need_bytes=size, short_bytes=short))


def _charge_cpu(claim: Claim, ledger: Ledger) -> None:
    capacity = claim.plan.capacity
    if capacity is not None and not claim.rollout:
        busy = rate_per_s(claim.plan) / capacity.per_s - (claim.number - 1)
        _keep_busy(claim.plan, min(max(busy, 0.0), 1.0), ledger)


def _keep_busy(plan: Plan, replicas: float, ledger: Ledger) -> None:
    if plan.model.profile.facts.runtime != "command":
        priority = plan.model.policy.priority
        ledger.busy_cpus[priority] = ledger.busy_cpus.get(priority, 0.0) + replicas * plan.model.profile.threads


def _cpus_taken(claim: Claim, ledger: Ledger) -> bool:
    """Whether one more replica would only share cores that models of its priority or above keep busy already."""
    if claim.number <= max(1, claim.plan.floor) or claim.rollout or claim.plan.model.profile.facts.runtime == "command":
        return False
    taken = sum(cpus for priority, cpus in ledger.busy_cpus.items() if priority >= claim.priority)
    return taken >= ledger.view.machine.cpus


def _claim_bytes(claim: Claim, ledger: Ledger) -> int:
    model = claim.plan.model
    charged = (model.name, claim.version) in ledger.mapped
    return claim.private_bytes + (0 if charged else mapped_bytes(model, claim.version))


def _make_room(claim: Claim, short: int, ledger: Ledger) -> None:
    """Evicts the least valuable holdings that may go for this claim, or none when they would not suffice."""
    kind = (claim.priority, claim.waiting, claim.first)
    if not claim.rollout and short >= ledger.failed.get(kind, math.inf):
        return
    chosen: list[Holding] = []
    freed = 0
    for holding in _holdings(ledger):
        if freed >= short:
            break
        if _may_go(holding, claim, ledger.view.now_s):
            chosen.append(holding)
            freed += holding.freed_bytes
    if freed < short:
        ledger.failed[kind] = min(short, ledger.failed.get(kind, short))
        return
    for holding in tuple(chosen):
        # A large one that came last may have made smaller ones before it unnecessary. Replicas of one model go in
        # order, so only whole models can be spared.
        alone = sum(1 for h in chosen if h.plan is holding.plan) == 1
        if alone and freed - holding.freed_bytes >= short:
            chosen.remove(holding)
            freed -= holding.freed_bytes
    for holding in chosen:
        _evict(holding, ledger, because("evicted", claimant=claim.plan.model.name))
        if holding.rank == IDLE:
            ledger.victim_score = max(ledger.victim_score, holding.score)
        holding.plan.yields_until_s = ledger.view.now_s + _turn_s(holding, claim)


def _may_go(holding: Holding, claim: Claim, now_s: float) -> bool:
    """Whether this replica may be stopped for that claim.

    Surplus: for anybody. A last replica that nobody uses: for a waiting request, or for what is worth more. One with
    work: never for lower priority; for higher priority once it has paid for its load; between equals by turns, and
    only for a model that has nothing at all.
    """
    same = holding.plan is claim.plan
    if (same and not (claim.rollout and holding.rank == IDLE)) or _is_going(holding):
        return False
    if holding.protected and holding.priority >= claim.priority and not same:
        return False
    if holding.rank == SURPLUS:
        return True
    if holding.rank == IDLE:
        return claim.waiting or (holding.priority <= claim.priority and holding.value < claim.value)
    served_s = now_s - holding.replica.ready_at_s
    change_s = holding.plan.load_s + claim.load_s
    if holding.priority < claim.priority:
        return served_s >= max(MIN_HOLD_S, 2 * change_s)
    if holding.priority > claim.priority or not (claim.first and claim.waiting):
        return False
    return served_s >= _turn_s(holding, claim) * max(1.0, holding.value / max(claim.value, 1e-300))


def _turn_s(holding: Holding, claim: Claim) -> float:
    return max(TURN_LEAST_S, TURN_LOADS * (holding.plan.load_s + claim.load_s))


def _holdings(ledger: Ledger) -> Iterator[Holding]:
    """Those that are left, the least worth holding first; what went is mostly at the front and is not passed again."""
    if ledger.holdings is None:
        ledger.holdings = in_order(ledger.plans, ledger.view)
    holdings = ledger.holdings
    while ledger.gone < len(holdings) and _is_going(holdings[ledger.gone]):
        ledger.gone += 1
    return islice(holdings, ledger.gone, None)


def _is_going(holding: Holding) -> bool:
    return holding.replica.replica_id in holding.plan.stop


def _evict(holding: Holding, ledger: Ledger, reason: Reason) -> None:
    plan = holding.plan
    if _is_going(holding):
        return
    plan.stop += (holding.replica.replica_id,)
    plan.evicted += 1
    plan.reason = reason
    ledger.coming_bytes += holding.freed_bytes
    if not plan.staying:
        ledger.mapped.discard((plan.model.name, plan.model.version))


def _deny(claim: Claim, reason: Reason) -> None:
    plan = claim.plan
    plan.denied += not claim.rollout
    if claim.first or not plan.refused:
        plan.refused += (Refused(desired=claim.number, reason=reason),)
    # One that was evicted says so first; that it does not come back at once goes without saying
    if not plan.evicted:
        plan.reason = reason


def _wait(claim: Claim, reason: Reason) -> None:
    plan = claim.plan
    plan.waiting += not claim.rollout
    plan.reason = because("rollout_wait", **_versions(claim)) if claim.rollout else reason


def _fill_slots(ledger: Ledger) -> None:
    for claim in sorted(ledger.starting, key=lambda c: c.load_rank):
        plan = claim.plan
        if ledger.slots <= _NONE and not _without_disk(claim, ledger):
            _wait(claim, because("load_slot", loading=ledger.loading, slots=ledger.view.machine.load_slots))
            continue
        ledger.slots -= _slot_share(claim.load_s)
        ledger.loading += 1
        plan.start += 1
        plan.start_version = claim.version
        if claim.rollout:
            plan.reason = because("rollout", **_versions(claim))


def _slot_share(takes_s: float) -> float:
    return takes_s / TICK_S if takes_s <= QUICK_LOAD_S else 1.0


def _without_disk(claim: Claim, ledger: Ledger) -> bool:
    """Whether it loads from memory: it keeps nobody from the disk, and only processors bound how many do at once."""
    return is_held(claim.plan.model, claim.version) and ledger.loading < int(ledger.view.machine.cpus)


def _versions(claim: Claim) -> dict[str, str]:
    return {"candidate": claim.version, "version": claim.plan.model.version} if claim.rollout else {}


def _started_bytes(plans: list[Plan]) -> int:
    total = 0
    for plan in plans:
        if plan.start:
            model, version = plan.model, plan.start_version
            memory = model.profile.memory if version == model.version else None
            if memory is None and model.candidate_profile is not None:
                memory = model.candidate_profile.memory
            total += plan.start * (memory or model.profile.memory).replica_bytes
            running = {
                r.version
                for r in model.replicas
                if r.state is not ReplicaState.FAILED and r.replica_id not in plan.stop
            }
            total += 0 if version in running else mapped_bytes(model, version)
    return total
