"""Who asks for memory and who could give it up: claims of models, and holdings with what each is worth."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sizewise.core.budget import mapped_bytes, profile_of, replica_bytes
from sizewise.core.fleet import FleetView, ReplicaState, ReplicaView
from sizewise.core.sizing import expected_attainment
from sizewise.core.targets import Plan, stopping_order, warm_of
from sizewise.core.tiers import load_s
from sizewise.core.warmth import LATE_S, has_traffic, hazard_per_s, value_per_byte
from sizewise.core.warmth_policies import policy_of

LEAST_PER_S = 1e-9
"""Rate of a model that nobody calls; only orders what is otherwise equal."""

SURPLUS, IDLE, BUSY = 0, 1, 2
"""Ranks of holdings: replicas beyond the need, last replicas of unused models, replicas with work."""


@dataclass(slots=True)
class Claim:
    """One replica that a model asks for."""

    plan: Plan
    version: str
    number: int
    """Which of the model's replicas it would be, from 1."""
    private_bytes: int
    value: float
    """Seconds of waiting avoided, per second and byte."""
    waiting: bool
    """A request is held for it, or the user was promised it."""

    @property
    def priority(self) -> int:
        return self.plan.model.policy.priority

    @property
    def first(self) -> bool:
        return self.number == 1

    @property
    def rollout(self) -> bool:
        return self.version != self.plan.model.version

    @property
    def rate_per_s(self) -> float:
        return rate_per_s(self.plan)

    @property
    def load_s(self) -> float:
        return max(load_s(self.plan.model, self.version), 1e-3)

    @property
    def rank(self) -> tuple[object, ...]:
        """Order in which claims are served: priority, promises, turns, value; the name makes it the same every time."""
        yields = self.plan.yields_until_s is not None
        return (-self.priority, not self.waiting, yields, -self.value, self.plan.model.name, self.version, self.number)

    @property
    def load_rank(self) -> tuple[object, ...]:
        """Order of loads: held requests first, then weighted shortest load first (Smith's rule: pi lambda / L)."""
        weight = 2.0 ** (min(max(self.priority, -100), 100) / 10)
        return (not self.waiting, -weight * self.rate_per_s / self.load_s, *self.rank)


@dataclass(slots=True)
class Holding:
    """One replica that could be stopped for somebody else."""

    plan: Plan
    replica: ReplicaView
    rank: int
    value: float
    score: float
    """What the policy about unused models says; ``value`` where it has no say."""
    freed_bytes: int
    protected: bool
    """Promised by the user (min_replicas, loaded by hand)."""

    @property
    def priority(self) -> int:
        return self.plan.model.policy.priority

    @property
    def order(self) -> tuple[object, ...]:
        idle_s = self.plan.model.demand.idle_s
        return (self.rank, self.priority if self.rank == BUSY else 0, self.score, -idle_s, self.plan.model.name)


def rate_per_s(plan: Plan) -> float:
    """How often the model is called for, or is expected to be."""
    rate = plan.sized.rate_per_s if plan.sized is not None else 0.0
    return max(rate, plan.model.demand.burst_per_s, hazard_per_s(plan.model.demand), LEAST_PER_S)


def claims_of(plan: Plan, *, useful: float) -> list[Claim]:
    """What a plan asks for beyond what it has. While a version is being rolled out, only that one is started."""
    model = plan.model
    if model.candidate is not None:
        return _rollout_claims(plan, useful)
    have = len(plan.staying)
    private = model.profile.memory.replica_bytes
    shared = mapped_bytes(model, model.version)
    claims: list[Claim] = []
    for number in range(have + 1, plan.need + 1):
        value = _value(plan, number, private + (shared if number == 1 else 0))
        # A later replica of a model is never worth more than an earlier one: they are asked for in order
        value = min([value, *(c.value for c in claims[-1:])])
        waiting = number <= plan.floor or (number == 1 and plan.need >= 1)
        claims.append(Claim(plan, model.version, number, private, value, waiting))
    return claims


def holdings_of(plan: Plan, view: FleetView) -> Iterator[Holding]:
    """The replicas of a plan, the one to go first first. None on observations that are not trusted."""
    if not plan.trusted:
        return
    model = plan.model
    staying = [r for r in stopping_order(plan.staying) if r.state is ReplicaState.READY]
    shared = mapped_bytes(model, model.version)
    traffic = has_traffic(model.demand)
    others = len(plan.staying)
    policy = policy_of(view.machine.warmth)
    for replica in staying:
        last = others == 1
        private = replica_bytes(model, replica)
        freed = private + (shared if last else 0)
        if others > max(plan.need, 1):
            rank, value = SURPLUS, 0.0
            score = value
        elif last and not traffic:
            rank = IDLE
            item = warm_of(plan, view, held_bytes=freed, idle_s=model.demand.idle_s)
            value = value_per_byte(model.demand, load_s=item.load_s, held_bytes=freed, slo=model.slo)
            score = policy.score(item)
        else:
            rank, value = BUSY, _value(plan, others, freed)
            score = value
        yield Holding(plan, replica, rank, value, score, freed, others <= plan.floor)
        others -= 1


def in_order(plans: Iterable[Plan], view: FleetView) -> list[Holding]:
    """All holdings, the least worth holding first."""
    return sorted((h for plan in plans for h in holdings_of(plan, view)), key=lambda h: h.order)


def _rollout_claims(plan: Plan, useful: float) -> list[Claim]:
    model = plan.model
    version = model.candidate or ""
    exist = sum(1 for r in model.replicas if r.version == version and r.state is not ReplicaState.FAILED)
    wanted = int(min(max(1, len(plan.live), plan.target), useful))
    if _is_parked(plan):
        return []
    private = profile_of(model, version).memory.replica_bytes
    return [
        # The first one decides whether the rollout can go on at all; somebody asked for it by hand
        Claim(plan, version, number, private, _value(plan, number, private), number == 1)
        for number in range(exist + 1, wanted + 1)
    ]


def _is_parked(plan: Plan) -> bool:
    return plan.reason.code == "parked"


def _value(plan: Plan, number: int, size: int) -> float:
    """Seconds of waiting that replica ``number`` avoids, per second and byte."""
    rate = rate_per_s(plan)
    size = max(size, 1)
    if number == 1:
        # Without it every request is late; where no goal says so, it waits for a load
        return rate * (LATE_S if plan.model.slo is not None else max(plan.load_s, LATE_S)) / size
    if plan.capacity is None:
        return LEAST_PER_S / size
    more = expected_attainment(plan.capacity, number, rate)
    less = expected_attainment(plan.capacity, number - 1, rate)
    if more is None or less is None:
        # Without an SLO what counts is what can be served at all
        served = min(rate, number * plan.capacity.per_s) - min(rate, (number - 1) * plan.capacity.per_s)
        return max(served, LEAST_PER_S) * LATE_S / size
    return max((more - less) * rate, LEAST_PER_S) * LATE_S / size
