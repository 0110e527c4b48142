"""How many replicas a demand needs: queue tail, arrival envelope over the load time, and backlog.

Source of the three rules: reference design, section "how many replicas"; the queue whose customers are refused when
they would be late (Barrer 1957) with the heavy-traffic correction for general service (Allen-Cunneen); the envelope
over exactly the start-up lead is InferLine's (Crankshaw et al. 2020, SoCC).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sizewise.core.batching import BATCH_GAIN
from sizewise.core.fleet import Demand
from sizewise.core.profiles import ModelProfile
from sizewise.core.slo import Slo

BATCH_SHARE_OF_SLO = 0.5
"""One batch may take this share of the SLO: a request that just missed one waits for it, then for its own."""

TAIL_SHARE = 1.0
"""Share of the error budget that may be late at the present rate. Most of the time the rate is lower than what is held
for, so that a part of the budget is left for bursts and for the tail of the service itself."""

UTILIZATION = 0.8
"""Share of capacity used where no SLO says more, or where the SLO cannot be met by any number of replicas."""

TICK_S = 1.0
"""Control interval: what a decision adds to the load time before a new replica can answer."""

WINDOW_LOADS, WINDOW_GOALS = 0.3, 2.0
"""Of the rate that a model is sized for; within the windows of ``Demand``."""

LEAST_CHANCE, MOST_CHANCE = 0.5, 1.5
"""Standard deviations of a count (its square root, for arrivals by chance) that are not believed to be a burst: the
least for models that load at once, where a start for nothing is soon over, the most from ``SLOW_LOAD_S`` on."""

SLOW_LOAD_S = 10.0
"""Load time from which the stable rate counts fully: what comes back slowly is not given up for a lull."""

REPLICAS_LIMIT = 1024
_MOST_EXPONENT = 500.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """One replica that always runs its best batch."""

    batch: int
    service_s: float
    """Median of one such batch."""
    service_p95_s: float
    per_s: float
    """Requests per second when saturated; it meets the SLO at less."""
    spread2: float
    """Squared coefficient of variation of the service time."""
    slo: Slo | None
    slack_s: float
    """Seconds a request may wait and still meet the SLO; zero or less where it cannot be met, or there is none."""


class Need(NamedTuple):
    """Replicas by each rule. ``replicas`` is the largest; ``rule`` names it."""

    replicas: int
    rule: str
    rate_per_s: float
    queue: int
    envelope: int
    backlog: int


def capacity_of(profile: ModelProfile, slo: Slo | None, rows_per_request: float = 1.0) -> Capacity:
    """Best batch of the measured curve inside the SLO, and what one replica does with it.

    The largest batch that gains at least ``BATCH_GAIN`` in throughput over the best smaller one and, at its 95th
    percentile, takes at most ``BATCH_SHARE_OF_SLO`` of the SLO. A model that cannot batch answers one request a call.
    """
    question = (slo, rows_per_request)
    kept = profile.worked_out.get("capacity")
    if kept is not None and kept[0] == question and isinstance(kept[1], Capacity):
        return kept[1]
    capacity = _capacity(profile, slo, rows_per_request)
    profile.worked_out["capacity"] = (question, capacity)
    return capacity


def _capacity(profile: ModelProfile, slo: Slo | None, rows_per_request: float) -> Capacity:
    rows = max(rows_per_request, 1.0)
    steps = profile.curve.steps
    limit_s = math.inf if slo is None else BATCH_SHARE_OF_SLO * slo.latency_s
    batch, p50_s, p95_s = steps[0]
    if profile.facts.batchable:
        for size, size_p50_s, size_p95_s in steps[1:]:
            if size_p95_s > limit_s:
                break
            if size * p50_s >= (1 + BATCH_GAIN) * batch * size_p50_s:
                batch, p50_s, p95_s = size, size_p50_s, size_p95_s
    if rows > batch:
        p50_s, p95_s = profile.curve.p50_s(rows), profile.curve.p95_s(rows)
    service_s = max(p50_s, 1e-9)
    service_p95_s = max(p95_s, service_s)
    # With batches, half of the one that is running is waited for on average before one's own begins
    residual_s = service_s / 2 if batch > 1 else 0.0
    sigma = math.log(service_p95_s / service_s) / 1.645  # of a lognormal with these two quantiles
    return Capacity(
        batch=batch,
        service_s=service_s,
        service_p95_s=service_p95_s,
        per_s=max(batch, rows) / rows / service_s,
        spread2=min(math.exp(sigma * sigma) - 1.0, 4.0),
        slo=slo,
        slack_s=0.0 if slo is None else slo.latency_s - service_p95_s - residual_s,
    )


def erlang_c(servers: int, offered: float) -> float:
    """Probability that an arrival waits, M/M/c with ``offered`` = arrivals/s x service time; 1 when overloaded.

    >>> round(erlang_c(2, 1.0), 4)
    0.3333
    """
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return servers * blocked / (servers - offered * (1.0 - blocked))


def late_share(capacity: Capacity, replicas: int, rate_per_s: float) -> float:
    """Share of requests that would wait longer than the slack, and so are refused, with ``replicas`` sharing one queue.

    M/M/c whose customers leave after a wait of d: with B Erlang's loss, q = B / (1 - B), rho = lambda / (c mu) and
    r = exp(-(c mu - lambda) d), q r / (1 + q (1 - r) / (1 - rho) + q r). It holds for any load, overload included,
    where the unlimited queue of Erlang C has no answer. Service that varies otherwise than exponentially counts in the
    exponent (``_decay``). Source: Barrer 1957, Operations Research 5(5).

    >>> one = Capacity(1, 1.0, 1.0, 1.0, 1.0, None, 2.0)
    >>> r = math.exp(-0.5 * 2.0)
    >>> abs(late_share(one, 1, 0.5) - 0.5 * 0.5 * r / (1 - 0.25 * r)) < 1e-12  # M/M/1 with patience, closed form
    True
    """
    offered = rate_per_s / capacity.per_s
    if offered <= 0:
        return 0.0
    if replicas <= 0:
        return 1.0
    blocked = 1.0
    for n in range(1, replicas + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return _refused(capacity, replicas, offered=offered, blocked=blocked)


def sustainable_per_s(capacity: Capacity, replicas: int = 1) -> float:
    """Requests per second that ``replicas`` answer inside the SLO; by utilization alone where there is none."""
    if capacity.slack_s <= 0:
        return UTILIZATION * replicas * capacity.per_s
    low, high = 0.0, replicas * capacity.per_s
    for _ in range(40):
        middle = (low + high) / 2
        if replicas_for(capacity, middle, limit=replicas + 1) <= replicas:
            low = middle
        else:
            high = middle
    return low


def replicas_for(
    capacity: Capacity, rate_per_s: float, *, limit: int = REPLICAS_LIMIT, share: float = TAIL_SHARE
) -> int:
    """Fewest replicas that keep waiting within ``share`` of the error budget at this rate, at most ``limit``."""
    offered = rate_per_s / capacity.per_s
    if offered <= 0:
        return 0
    d_s, slo = capacity.slack_s, capacity.slo
    if slo is None or d_s <= 0:
        return min(limit, max(1, math.ceil(offered / UTILIZATION - 1e-9)))
    allowed = share * slo.budget
    # A busy single server makes an arrival wait longer than one service with probability a^2/2 (M/D/1, small a): the
    # exponential tail below is far too pessimistic there and would give small loads a second replica
    if d_s >= capacity.service_s and offered < 1 and offered * offered * (1 + capacity.spread2) / 2 <= allowed:
        return 1
    blocked = 1.0
    for servers in range(1, limit):
        blocked = offered * blocked / (servers + offered * blocked)
        if servers > offered and _refused(capacity, servers, offered=offered, blocked=blocked) <= allowed:
            return servers
    return limit


def window_s(load_s: float, slo: Slo | None) -> float:
    """Seconds over which the rate that sizes a model is counted: a part of what a load takes, and what may wait twice.

    What is over before a new replica could answer is no reason to start one, and what the goal lets wait is none.
    """
    return max(WINDOW_LOADS * load_s, WINDOW_GOALS * slo.latency_s if slo is not None else 0.0)


def rate_of(demand: Demand, load_s: float) -> float:
    """Requests per second to be ready for, now.

    What of the burst rate is more than chance, the stable rate where that is lower than the burst rate, and never less
    than the stable rate times load_s / ``SLOW_LOAD_S``: models that load quickly follow a lull, and slow ones do not.
    """
    burst = _beyond_chance(demand.burst_per_s * demand.window_s, load_s) / demand.window_s
    usual = min(demand.burst_per_s, demand.stable_per_s)
    return max(burst, usual, min(1.0, load_s / SLOW_LOAD_S) * demand.stable_per_s)


def need_of(
    capacity: Capacity,
    demand: Demand,
    *,
    load_s: float,
    supply_in_s: Sequence[float] = (),
    limit: int = REPLICAS_LIMIT,
) -> Need:
    """Replicas needed from now until one started now could answer.

    ``supply_in_s``: for each replica there is, seconds until it is ready (0 when it is). Never fewer for more load.
    """
    lead_s = load_s + TICK_S
    rate = rate_of(demand, load_s)
    queue = replicas_for(capacity, rate, limit=limit)
    envelope = min(limit, _by_envelope(capacity, demand, lead_s))
    backlog = min(limit, _by_backlog(capacity, demand, rate=rate, lead_s=lead_s, supply_in_s=supply_in_s))
    replicas = max(queue, envelope, backlog)
    rule = "queue" if replicas == queue else "backlog" if replicas == backlog else "envelope"
    if rule == "queue" and capacity.slack_s <= 0:
        rule = "rate" if capacity.slo is None else "slo_unreachable"
    return Need(replicas, rule, rate, queue, envelope, backlog)


def expected_attainment(capacity: Capacity, replicas: int, rate_per_s: float) -> float | None:
    """Share of requests expected inside the SLO; None without an SLO or without demand."""
    slo = capacity.slo
    if slo is None or rate_per_s <= 0:
        return None
    if replicas <= 0:
        return 0.0
    if capacity.service_s > slo.latency_s:
        return 0.0
    # Of the requests that do not wait, those whose service alone is too long are late
    served = 0.95 if capacity.service_p95_s > slo.latency_s else 1.0
    return max(0.0, served * (1.0 - late_share(capacity, replicas, rate_per_s)))


def _refused(capacity: Capacity, servers: int, *, offered: float, blocked: float) -> float:
    """``late_share`` from Erlang's loss."""
    waits = servers * capacity.per_s * max(capacity.slack_s, 0.0)
    decay = _decay(offered / servers, capacity.spread2)
    tail = math.exp(min(_MOST_EXPONENT, -decay * waits))
    full = waits if abs(decay) < 1e-9 else (1.0 - tail) / decay
    odds = blocked / max(1.0 - blocked, 1e-300)
    return odds * tail / (1.0 + odds * (full + tail))


def _decay(utilization: float, spread2: float) -> float:
    """How quickly the tail of the wait falls, in units of the servers' joint rate.

    1 - rho for exponential service, the root of rho (e^x - 1) = x for constant service (Tijms 1994), and between the
    two in proportion, so that heavy traffic has its 2 (1 - rho) / (1 + Cs^2). Overloaded it is negative.
    """
    spare = 1.0 - utilization
    if spare <= 0 or spread2 >= 1:
        return spare * 2.0 / (1.0 + spread2)
    exponential = 2.0 * spread2 / (1.0 + spread2)
    return exponential * spare + (1.0 - exponential) * _constant_decay(utilization)


def _constant_decay(utilization: float) -> float:
    place = utilization * (len(_DECAYS) - 1)
    below = min(int(place), len(_DECAYS) - 2)
    return _DECAYS[below] + (place - below) * (_DECAYS[below + 1] - _DECAYS[below])


def _root(utilization: float) -> float:
    low, high = 0.0, 60.0
    for _ in range(40):
        middle = (low + high) / 2
        if utilization * math.expm1(middle) < middle:
            low = middle
        else:
            high = middle
    return low


_DECAYS = tuple(_root(max(i / 128, 1e-3)) for i in range(129))
"""By utilization, from 0 to 1."""


def _beyond_chance(arrivals: float, load_s: float) -> float:
    chance = LEAST_CHANCE + (MOST_CHANCE - LEAST_CHANCE) * min(1.0, load_s / SLOW_LOAD_S)
    return max(0.0, arrivals - chance * math.sqrt(arrivals))


def _by_envelope(capacity: Capacity, demand: Demand, lead_s: float) -> int:
    """Max over windows up to the lead of E(window) / (mu (window + slack)): nothing started now can help before."""
    d_s = capacity.slack_s
    if d_s <= 0:
        return 0
    most = 0.0
    before = (0.0, 0.0)
    for window_s, arrivals in demand.envelope:
        if window_s > lead_s:
            part = (lead_s - before[0]) / (window_s - before[0])
            partial = before[1] + part * (arrivals - before[1])
            most = max(most, _beyond_chance(partial, lead_s) / (lead_s + d_s))
            break
        most = max(most, _beyond_chance(arrivals, lead_s) / (window_s + d_s))
        before = (window_s, arrivals)
    return math.ceil(most / capacity.per_s - 1e-9)


def _by_backlog(
    capacity: Capacity,
    demand: Demand,
    *,
    rate: float,
    lead_s: float,
    supply_in_s: Sequence[float],
) -> int:
    """Replicas that serve the rate and drain what will still wait when a replica started now is ready."""
    if demand.queued <= 0:
        return 0
    served = capacity.per_s * sum(max(0.0, lead_s - ready_s) for ready_s in supply_in_s)
    waiting = demand.queued + rate * lead_s - served
    # What waits for longer than the goal allows is refused, or late whatever is done: it needs no replica any more
    waiting = min(waiting, max(demand.queued, len(supply_in_s) * capacity.per_s * max(capacity.slack_s, 0.0)))
    if waiting <= 0:
        return 0
    drain_s = max(capacity.slo.latency_s if capacity.slo is not None else TICK_S, lead_s / 2)
    return math.ceil((rate + waiting / drain_s) / capacity.per_s - 1e-9)
