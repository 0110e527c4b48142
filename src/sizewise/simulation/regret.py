"""What a comparison is followed by: every policy in several settings, and what each thing not known costs Sizewise.

Source of the ladder: reference design, section 4.8. Costs of its rungs are read at equal attainment, off the frontier
that each has over the quantiles of the goal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sizewise.core.profiles import LoadTime
from sizewise.core.sizing import capacity_of, replicas_for
from sizewise.simulation.bounding import bounds_of
from sizewise.simulation.bounds.packing import machines_bound
from sizewise.simulation.calibrating import TARGET_KEYS
from sizewise.simulation.frontiers import Point, cost_at
from sizewise.simulation.parsing import OWN
from sizewise.simulation.pools import MINUTE_S
from sizewise.simulation.running import Outcome, models_of, setups_of, workload_of
from sizewise.simulation.scenario import Loading, Mode, PolicyChoice, Scenario, SimModel
from sizewise.simulation.workload import counted

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
"""Of the goals, for Sizewise: the one thing that a user sets."""
FACTORS = (0.6, 0.8, 1.0, 1.25, 1.6)
"""On the targets of others."""
AS_IT_IS, KNOWING, INSTANT, PACKED = (
    "as it is",
    "knowing the rates to come",
    "and with loads in no time",
    "and packed as closely as can be",
)

Run = tuple[Scenario, PolicyChoice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ladder: what the same attainment costs with one trouble less."""

    name: str
    cost: float
    """As the bound: in dollars, or in replica-seconds where nothing has a price."""
    attainment: float


def settings_of(scenario: Scenario, policy: PolicyChoice) -> list[Run]:
    """The policy stricter and laxer than it is, itself among them where that is one of the settings."""
    if policy.name == OWN:
        return [(with_quantile(scenario, quantile), policy) for quantile in QUANTILES]
    if policy.name == "static":
        count = int(policy.parameters.get("replicas", 1))
        counts = sorted({max(1, count + step) for step in (-2, -1, 0, 1, 2)})
        return [(scenario, replace(policy, parameters={"replicas": each})) for each in counts]
    if policy.name in TARGET_KEYS:
        return [(scenario, replace(policy, target_factor=policy.target_factor * each)) for each in FACTORS]
    return [(scenario, policy)]


def with_quantile(scenario: Scenario, quantile: float) -> Scenario:
    """The same latency, asked for more or less often."""
    models = {
        name: replace(model, slo=replace(model.slo, quantile=quantile) if model.slo else None)
        for name, model in scenario.models.items()
    }
    return replace(scenario, models=models)


def ladder_runs(scenario: Scenario) -> dict[str, list[Run]]:
    """What is to be run for each rung between Sizewise as it is and the packing."""
    instant = replace(scenario, models={name: _instant(model) for name, model in scenario.models.items()})
    knowing = PolicyChoice(name=OWN, mode=Mode.PERFECT_FORECAST)
    return {
        KNOWING: [(with_quantile(scenario, quantile), knowing) for quantile in QUANTILES],
        INSTANT: [(with_quantile(instant, quantile), knowing) for quantile in QUANTILES],
    }


def ladder(scenario: Scenario, own: Outcome, found: Mapping[str, Sequence[Outcome]]) -> tuple[Rung, ...]:
    """From what Sizewise costs down to the packing. A rung that no setting of attains as much stands at its best."""
    attained = own.attainment_requests
    rungs = [Rung(name=AS_IT_IS, cost=cost_of(scenario, own), attainment=attained)]
    for name, outcomes in found.items():
        points = [Point(each.attainment_requests, cost_of(scenario, each)) for each in outcomes]
        reached = min(attained, max(point.attainment for point in points))
        cost = cost_at(points, reached)
        assert cost is not None, "one of the points attains it"
        rungs.append(Rung(name=name, cost=cost, attainment=reached))
    packed = _packed(scenario, own)
    if packed is not None:
        rungs.append(Rung(name=PACKED, cost=packed, attainment=attained))
    return tuple(rungs)


def cost_of(scenario: Scenario, outcome: Outcome) -> float:
    """In dollars, or in replica-seconds where nothing has a price."""
    capacity = scenario.capacity
    priced = capacity.replica_usd_per_h or any(pool.price_usd_per_h for pool in capacity.machines)
    return outcome.cost_usd if priced else outcome.replica_seconds


def _instant(model: SimModel) -> SimModel:
    return replace(model, loading=Loading(), profile=replace(model.profile, load=LoadTime()), told=None)


def _packed(scenario: Scenario, own: Outcome) -> float | None:
    """The cheapest replicas whose loads take no time, with as many late requests; on one kind of machine, the fewest
    machines that hold what the steady state of each minute needs. None where nothing like it is known."""
    workload = workload_of(scenario)
    instant = replace(scenario, models={name: _instant(model) for name, model in scenario.models.items()})
    models = models_of(instant, workload.names)
    if scenario.capacity.replicas is not None:
        setups = setups_of(instant, workload.names, models)
        bounds = bounds_of(instant, workload, models=models, setups=setups)
        if bounds is None:
            return None
        price = scenario.capacity.replica_usd_per_h / 3600 or 1.0
        return bounds.expected.cost((1.0 - own.attainment_requests) * bounds.arrived) * price
    if len(scenario.capacity.machines) != 1 or not scenario.capacity.machines[0].price_usd_per_h:
        return None
    (pool,) = scenario.capacity.machines
    counts = counted(workload, [MINUTE_S] * len(models), from_s=scenario.counted_from_s)
    needed = np.array([list(_needed(model, row)) for model, row in zip(models, counts, strict=True)])
    memories = [model.profile.memory for model in models]
    sizes = [(float(memory.replica_bytes), float(memory.device_bytes)) for memory in memories]
    machines = machines_bound(needed, sizes, machine=(float(pool.memory_bytes), float(pool.device_bytes)))
    return float(np.maximum(machines, pool.least).sum()) * MINUTE_S * pool.price_usd_per_h / 3600


def _needed(model: SimModel, counts: Sequence[float] | np.ndarray) -> Iterator[int]:
    capacity = capacity_of(model.profile, model.slo)
    known: dict[float, int] = {}
    for count in counts:
        if count not in known:
            known[count] = replicas_for(capacity, float(count) / MINUTE_S)
        yield known[count]
