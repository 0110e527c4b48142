"""What a scenario costs at the least: the bound beside which every policy is shown.

Two versions, both for replicas that are paid from their order to their end. The Erlang version is close and no bound:
slots in their steady state, a start costs its load. The certified one no policy goes below, whatever it knows: a
replica that is ready in n slots of length D, the first and the last perhaps in part, is paid for its load L and
n - 2 whole slots at the least; so with h = min(D, L / 2) for each slot and L - 2 h for its start it never comes out
dearer here than on the bill. Where the first part of the trace is not counted, a replica that is ready in slot j was
perhaps ordered in that part, so that only j + n - 1 whole slots of it are on the bill: its start is free while j D is
below L. Where service times vary, this holds for the mean over them: replicas ready for t seconds
end t / mean + cv^2 batches each at the most (Lorden 1970), and nobody knows a service time before its end.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sizewise.core.sizing import Capacity, capacity_of, expected_attainment
from sizewise.simulation.bounds.frontier import CertainFleet, ExpectedFleet, Fleet, Frontier
from sizewise.simulation.bounds.rightsizing import Floats
from sizewise.simulation.pools import PoolSetup
from sizewise.simulation.running import Outcome
from sizewise.simulation.scenario import Scenario, SimModel
from sizewise.simulation.workload import Workload, counted

SHORTEST_S, LONGEST_S = 10.0, 60.0
"""Slots of the Erlang version are as long as a load, within these."""
SLOTS_MOST = 500_000
"""Of the certified version, all lengths of slot together: beyond, slots grow."""
ALIKE = 1.02
"""Numbers of requests that differ by less share one row of the Erlang version."""
ALL_IN_TIME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Replica-seconds by late requests; None where nothing is known."""

    arrived: float
    """Requests that count."""
    expected: Frontier
    certified: Frontier


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    setup: PoolSetup
    capacity: Capacity
    load_s: float
    shortest_load_s: float
    goal_s: float


def bounds_of(
    scenario: Scenario, workload: Workload, *, models: Sequence[SimModel], setups: Sequence[PoolSetup]
) -> Bounds | None:
    """None where machines are what is paid, or a model has no goal for its latency."""
    if scenario.capacity.replicas is None or any(model.slo is None for model in models):
        return None
    told = [
        _Model(
            setup=setup,
            capacity=capacity_of(model.profile, model.slo),
            load_s=model.loading.median_s,
            shortest_load_s=model.loading.shortest_s,
            goal_s=model.slo.latency_s if model.slo else math.inf,
        )
        for model, setup in zip(models, setups, strict=True)
    ]
    from_s = scenario.counted_from_s
    span_s, cap = workload.end_s - from_s, scenario.capacity.replicas
    if span_s <= 0:
        return None
    lengths = [min(LONGEST_S, max(SHORTEST_S, each.load_s)) for each in told]
    counts = counted(workload, lengths, from_s=from_s)
    arrived = float(sum(each.sum() for each in counts))
    expected = Frontier(_expected(told, lengths, counts, cap=cap))
    wanted = [max(each.goal_s, min(SHORTEST_S, each.shortest_load_s / 2), 1e-3) for each in told]
    least_s = span_s * len(set(wanted)) / SLOTS_MOST
    lengths = [max(each, least_s) for each in wanted]
    counts = counted(workload, lengths, from_s=from_s)
    fleets = _certified(told, lengths, counts, cap=cap, uncounted=from_s > 0)
    return Bounds(arrived=arrived, expected=expected, certified=Frontier(fleets))


def put_beside(outcome: Outcome, bounds: Bounds, *, usd_per_h: float) -> None:
    """Into the outcome of a policy: the bounds at its own attainment. What is still on its way may come in time.

    Where a replica has no price, in replica-seconds.
    """
    price = usd_per_h / 3600 or 1.0
    late = (1.0 - outcome.attainment_requests) * bounds.arrived
    least_s = bounds.expected.cost(late)
    outcome.bound_cost = least_s * price
    outcome.cost_to_bound = outcome.replica_seconds / least_s if least_s > 0 else None
    outcome.bound_cost_certified = bounds.certified.cost(late + outcome.in_flight) * price


def _expected(told: Sequence[_Model], lengths: Sequence[float], counts: Sequence[Floats], *, cap: int) -> list[Fleet]:
    groups: dict[tuple[float, int], list[int]] = defaultdict(list)
    for i, (model, length) in enumerate(zip(told, lengths, strict=True)):
        groups[length, _most_expected(model.capacity, counts[i].max() / length, cap)].append(i)
    fleets: list[Fleet] = []
    for (length, most), members in groups.items():
        rows: dict[tuple[Capacity, float], int] = {}
        places = []
        for i in members:
            alike, which = np.unique(_rounded(counts[i]), return_inverse=True)
            kept = [rows.setdefault((told[i].capacity, float(count)), len(rows)) for count in alike]
            places.append(np.array(kept)[which])
        table = np.array([_late(capacity, count, length=length, most=most) for capacity, count in rows])
        fleets.append(
            ExpectedFleet(
                rows=table,
                row_MT=np.array(places),
                hold_M=np.full(len(members), length),
                start_M=np.array([told[i].load_s for i in members]),
            )
        )
    return fleets


def _rounded(counts: Floats) -> Floats:
    powers = np.round(np.log(np.maximum(counts, 1.0)) / math.log(ALIKE))
    return np.where(counts < 1 / (ALIKE - 1), counts, np.exp(powers * math.log(ALIKE)))


def _late(capacity: Capacity, count: float, *, length: float, most: int) -> Floats:
    if count <= 0:
        return np.zeros(most + 1)
    shares = [expected_attainment(capacity, replicas, count / length) or 0.0 for replicas in range(most + 1)]
    return count * (1.0 - np.array(shares))


def _most_expected(capacity: Capacity, rate_per_s: float, cap: int) -> int:
    """Replicas beyond which none is late, as a power of two, so that models share a table."""
    best = expected_attainment(capacity, cap, rate_per_s) or 0.0
    most = 1
    while most < cap and best - (expected_attainment(capacity, most, rate_per_s) or 0.0) > ALL_IN_TIME:
        most *= 2
    return min(most, cap)


def _certified(
    told: Sequence[_Model], lengths: Sequence[float], counts: Sequence[Floats], *, cap: int, uncounted: bool
) -> list[Fleet]:
    """``uncounted``: there was a time before the first slot in which replicas were bought off the bill."""
    groups: dict[tuple[float, int], list[int]] = defaultdict(list)
    for i, (model, length) in enumerate(zip(told, lengths, strict=True)):
        needed = math.ceil(counts[i].max() * _work_s(model.setup) / length) or 1
        groups[length, min(cap, 2 ** math.ceil(math.log2(needed)))].append(i)
    fleets: list[Fleet] = []
    for (length, most), members in groups.items():
        loads_s = np.array([told[i].shortest_load_s for i in members])
        held = np.minimum(length, loads_s / 2)
        fleets.append(
            CertainFleet(
                arrivals_MT=np.array([counts[i] for i in members]),
                fits_MKK=np.array([_fits(told[i], length, most) for i in members]),
                hold_M=held,
                start_M=loads_s - 2 * held,
                free_M=np.ceil(loads_s / length).astype(np.int64) * uncounted,
            )
        )
    return fleets


def _work_s(setup: PoolSetup) -> float:
    """Mean seconds of a replica that a request takes, in the batch that suits best."""
    batches = np.arange(1, setup.max_batch + 1)
    return float((setup.curve_s[1:] / batches).min() * setup.factors.mean())


def _fits(model: _Model, length: float, most: int) -> Floats:
    """Requests that replicas of a slot (first axis) and of one goal behind it (second) can answer."""
    ranks = np.arange(most + 1, dtype=np.float64)
    work_s, factors = _work_s(model.setup), model.setup.factors
    fits: Floats = (ranks[:, None] * length + ranks[None, :] * model.goal_s) / work_s
    cv2 = float(factors.var() / factors.mean() ** 2)
    if cv2 > 0:
        return fits + (ranks[:, None] + ranks[None, :]) * cv2 * model.setup.max_batch
    return np.floor(fits + 1e-9)
