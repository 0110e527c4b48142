"""One policy on one scenario, from its start to its result.

Letters at the end of names: ``M`` models, ``T`` minutes.
"""

import contextlib
import fnmatch
import gc
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sizewise.controller.reconcile import Surroundings, replica_spec
from sizewise.core.policies.registry import JOINT_POLICIES
from sizewise.core.reasons import render
from sizewise.protocols.errors import UsageError
from sizewise.simulation.calibrating import incumbent_for, joint_for
from sizewise.simulation.eyes import Eyes
from sizewise.simulation.foresight import Future
from sizewise.simulation.generators import generate
from sizewise.simulation.incumbents import Change, Joint, Separate
from sizewise.simulation.machines import ground_for
from sizewise.simulation.modelling import mean_over_median
from sizewise.simulation.own import Own, record_of
from sizewise.simulation.parsing import OWN
from sizewise.simulation.plain import PlainPools
from sizewise.simulation.pools import Counts, Pools, PoolSetup, Record, curve_of, quantile_s, record_for
from sizewise.simulation.scenario import Generator, Mode, Past, PolicyChoice, Scenario, SimModel
from sizewise.simulation.spread import factors
from sizewise.simulation.traces import read_trace
from sizewise.simulation.workload import Workload
from sizewise.simulation.world import World

WORTH_COMPILING = 300_000
"""Requests that the general engine replays in about the second that the compiler takes to be loaded."""
POINTS = 600
"""Of the curves over time in a report."""
Tell = Callable[[float], None]


@dataclass(slots=True)
class Curves:
    """How many replicas there were, over time."""

    at_s: list[float] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    loading: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one policy did. Shares are of requests that ended, by the minute of their arrival."""

    policy: str
    mode: str
    label: str
    requests: int
    served: int
    shed: int
    failed: int
    in_flight: int
    attainment_requests: float
    attainment_model_minutes: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    replica_seconds: float
    mean_replicas: float
    peak_replicas: int
    memory_byte_seconds: float
    cost_usd: float
    cold_starts: int
    cold_seconds: float
    scale_changes: int
    curves: Curves
    latency: NDArray[np.int64]
    per_minute: list[int]
    """Requests that ended, of all models, by the minute of their arrival."""
    cold_loads: list[tuple[str, int, float]]
    """(model, bytes, seconds) of each start from nothing."""
    by_model: dict[str, dict[str, float]]
    decisions: list[tuple[float, str, int, str]]
    """(seconds, model, desired, why)."""
    bound_cost: float | None = None
    """What so many late requests cost at the least; None while nothing bounds the scenario."""
    bound_cost_certified: float | None = None
    cost_to_bound: float | None = None


def workload_of(scenario: Scenario) -> Workload:
    """The arrivals, the same for every policy."""
    if isinstance(scenario.source, Generator):
        return generate(scenario.source, seed=scenario.seed)
    return read_trace(scenario.source, seed=scenario.seed)


def models_of(scenario: Scenario, names: Sequence[str]) -> list[SimModel]:
    """What each model of the trace weighs. Raises UsageError for one that nothing is said of."""
    found = []
    for name in names:
        model = scenario.models.get(name)
        if model is None:
            patterns = (key for key in scenario.models if "*" in key and fnmatch.fnmatchcase(name, key))
            model = scenario.models.get(next(patterns, ""))
        if model is None:
            raise UsageError(
                f"{scenario.file}: the trace has model {name!r}, which has no profile: add it, or '*', under models"
            )
        found.append(model)
    return found


def setups_of(scenario: Scenario, names: Sequence[str], models: Sequence[SimModel]) -> list[PoolSetup]:
    """How requests are handled: as the live controller tells gateway and replicas."""
    tables: dict[tuple[str, float], Any] = {}
    around = Surroundings(records={}, published={}, refused={}, unmeasured=frozenset(), cpus=1024.0, new_id=lambda: "")
    setups = []
    for place, (name, model) in enumerate(zip(names, models, strict=True)):
        key = (model.shape, model.cv)
        if key not in tables:
            tables[key] = factors(model.shape, model.cv, np.random.default_rng((scenario.seed, 23, len(tables))))
        record, curve = record_of(name, model), model.profile.curve
        spec = replica_spec(record, record.serving, model.profile, around=around)
        mean = mean_over_median(model.shape, model.cv)
        points = [(point.batch, point.p50_s * mean) for point in curve.points]
        setups.append(
            PoolSetup(
                curve_s=curve_of(points, spec.max_batch),
                factors=tables[key],
                first_factor=place * 7919,
                max_batch=spec.max_batch,
                max_in_flight=scenario.max_in_flight or spec.max_outstanding,
                max_queue=model.max_queue,
                slo_s=model.slo.latency_s if model.slo else None,
                sheds=scenario.shedding,
                service_s=curve.p50_s(1),
                timeout_s=model.timeout_s,
                hold_s=_hold_s(model),
                dispatch=scenario.dispatch,
            )
        )
    return setups


def pools_for(setups: Sequence[PoolSetup], record: Record, *, requests: float) -> Pools:
    """The compiled engine where there is a compiler and enough to do for it; both give the same answers."""
    if requests >= WORTH_COMPILING and importlib.util.find_spec("numba") is not None:
        from sizewise.simulation.fast import FastPools

        return FastPools(setups, record)
    return PlainPools(setups, record)


def _hold_s(model: SimModel) -> float:
    """As routes have it: long enough for the model to load."""
    from sizewise.controller.reconcile import route_of

    return route_of(record_of("m", model), model.profile, None).hold_s


def run_policy(scenario: Scenario, policy: PolicyChoice, *, tell: Tell = lambda _: None) -> Outcome:
    """One policy alone, from the beginning of time to the end of the trace."""
    with _rare_collections():
        return _run_policy(scenario, policy, tell)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """What a step makes has no cycles; to look through thousands of models for some took a third of its time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run_policy(scenario: Scenario, policy: PolicyChoice, tell: Tell) -> Outcome:
    workload = workload_of(scenario)
    names = workload.names
    models = models_of(scenario, names)
    counted_from_s = scenario.counted_from_s
    record = record_for(len(names), workload.end_s, counted_from_s=counted_from_s)
    pools = pools_for(setups_of(scenario, names, models), record, requests=workload.expected)
    ground = ground_for(scenario.capacity, seed=scenario.seed, paid_from_s=counted_from_s)
    world = World(
        models,
        pools,
        ground=ground,
        workload=workload,
        seed=scenario.seed,
        counted_from_s=counted_from_s,
    )
    for model, name in enumerate(names):
        world.begin_ready(model, _first_replicas(scenario, policy, models[model], past=policy.past.get(name)))
    curves, every_s = Curves(), workload.end_s / POINTS

    def watch(now_s: float) -> None:
        if not curves.at_s or now_s - curves.at_s[-1] >= every_s:
            ready, loading = world.tally()
            curves.at_s.append(now_s)
            curves.ready.append(ready)
            curves.loading.append(loading)
        tell(now_s)

    if policy.name == OWN:
        eyes = Eyes(pools, len(names), scenario.metrics, seed=scenario.seed)
        future = Future(workload, models) if policy.mode is Mode.PERFECT_FORECAST else None
        own = Own(scenario, world, names, eyes=eyes, policy=policy, future=future)
        own.run(workload.end_s, watch)
        begins_s = scenario.begins_unix_s
        decisions = [(d.at_unix_s - begins_s, d.model, d.desired, render(d.reason)) for d in own.decisions if d.effect]
    else:
        changes = _run_incumbent(scenario, policy, world, names=names, end_s=workload.end_s, watch=watch)
        decisions = [(c.at_s, names[c.model], c.desired, render(c.reason)) for c in changes]
    pools.advance_all(workload.end_s)
    outcome = _outcome(policy, world, names, end_s=workload.end_s, curves=curves, decisions=decisions)
    outcome.cost_usd += outcome.replica_seconds * scenario.capacity.replica_usd_per_h / 3600
    return outcome


def _first_replicas(scenario: Scenario, policy: PolicyChoice, model: SimModel, *, past: Past | None) -> int:
    """A fixed number of replicas has always been there."""
    if policy.name != "static":
        return scenario.start_replicas
    return int(incumbent_for(policy, model, past=past, file=scenario.file).config.replicas)


def _run_incumbent(
    scenario: Scenario, policy: PolicyChoice, world: World, *, names: Sequence[str], end_s: float, watch: Tell
) -> list[Change]:
    if policy.name in JOINT_POLICIES:
        joint = Joint(scenario, world, joint_for(policy, list(world.models), scenario))
        joint.run(end_s, watch)
        return joint.changes
    made: dict[int, Any] = {}
    if policy.past:
        pasts = [policy.past.get(name) for name in names]
        each = [incumbent_for(policy, m, past=p, file=scenario.file) for m, p in zip(world.models, pasts, strict=True)]
    else:
        each = [made.setdefault(id(m), incumbent_for(policy, m, file=scenario.file)) for m in world.models]
    separate = Separate(scenario, world, each)
    separate.run(end_s, watch)
    return separate.changes


def _outcome(
    policy: PolicyChoice,
    world: World,
    names: Sequence[str],
    *,
    end_s: float,
    curves: Curves,
    decisions: list[tuple[float, str, int, str]],
) -> Outcome:
    record = world.pools.record
    counts = [_counted(world, i) for i in range(len(names))]
    replica_s, byte_s = world.paid_s()
    first = int(record.counted_from_s / 60.0)
    ended_MT, in_time_MT = record.ended_MT[:, first:], record.in_time_MT[:, first:]
    ended = int(ended_MT.sum())
    bill, counted_s = world.bill, max(end_s - world.bill.from_s, 1e-9)
    mode = Mode.TUNED if policy.parameters and policy.name != "static" and policy.mode is Mode.STOCK else policy.mode
    return Outcome(
        policy=policy.name,
        mode=mode.value,
        label=policy.label,
        **_totals(counts, record, whole=not world.before),
        attainment_requests=float(in_time_MT.sum()) / ended if ended else 1.0,
        attainment_model_minutes=_by_minutes(record, first),
        p50_s=quantile_s(record.latency, 0.50),
        p95_s=quantile_s(record.latency, 0.95),
        p99_s=quantile_s(record.latency, 0.99),
        replica_seconds=replica_s,
        mean_replicas=replica_s / counted_s,
        peak_replicas=bill.peak,
        memory_byte_seconds=byte_s,
        cost_usd=world.ground.cost_usd(end_s),
        cold_starts=bill.cold_starts,
        cold_seconds=bill.cold_s,
        scale_changes=bill.changes,
        curves=curves,
        latency=record.latency.copy(),
        per_minute=record.ended_MT.sum(axis=0).tolist(),
        cold_loads=[(names[m], world.models[m].profile.memory.replica_bytes, s) for m, s in bill.cold_loads],
        by_model={
            name: _model_row(c, ended_MT[i], in_time_MT[i])
            for i, (name, c) in enumerate(zip(names, counts, strict=True))
        },
        decisions=decisions,
    )


def _totals(counts: Sequence[Counts], record: Record, *, whole: bool) -> dict[str, int]:
    """``whole``: from the beginning of time."""
    requests, shed, served = sum(c.arrived for c in counts), sum(c.shed for c in counts), int(record.latency.sum())
    in_flight = sum(c.queued + c.outstanding for c in counts)
    failed = sum(c.failed for c in counts) if whole else requests - served - shed - in_flight
    return {"requests": requests, "served": served, "shed": shed, "failed": failed, "in_flight": in_flight}


def _counted(world: World, model: int) -> Counts:
    """Without what came before anything counted. What came then and was served or failed later is in nobody's figures:
    latencies go by arrival, and what is shed is shed on arrival."""
    now = world.pools.counts(model)
    if not world.before:
        return now
    was = world.before[model]
    return replace(now, arrived=now.arrived - was.arrived, served=now.served - was.served, shed=now.shed - was.shed)


def _model_row(counts: Counts, ended_T: NDArray[np.int32], in_time_T: NDArray[np.int32]) -> dict[str, float]:
    attained = float(in_time_T.sum()) / max(1, int(ended_T.sum()))
    return {"requests": counts.arrived, "served": counts.served, "attainment": attained}


def _by_minutes(record: Record, first: int) -> float:
    """Mean over models of the mean over minutes of the share in time; a minute without requests counts 1."""
    ended_MT, in_time_MT = record.ended_MT[:, first:], record.in_time_MT[:, first:]
    if not ended_MT.size:
        return 1.0
    total = 0.0
    for ended_T, in_time_T in zip(ended_MT, in_time_MT, strict=True):
        total += float(np.where(ended_T > 0, in_time_T / np.maximum(ended_T, 1), 1.0).mean())
    return total / len(ended_MT)
