"""How long one decision about a whole catalogue takes, in milliseconds of one core.

Mixed: a fifth of the models is busy with one to three replicas, three in ten are idle and warm, half are asleep. Busy:
all of them. Short: mixed, with memory for half of what runs and requests held for one in twenty of those asleep.
The next decision is handed what this one asked to be handed back, and every model has a profile of its own.

Usage: python -m benchmarks.decide [--repeats 15]
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.common import save
from sizewise.core.decide import decide
from sizewise.core.fleet import (
    Demand,
    FleetView,
    MachineView,
    ModelView,
    ReplicaState,
    ReplicaView,
    ScalingPolicy,
)
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB

SEED = 7
NOW_S = 1e5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    rows, figures = [], {}
    for name, fleet in (("mixed", mixed), ("busy", all_busy), ("short", short)):
        for count in (1_000, 10_000):
            times_ms = times(fleet(count), options.repeats if count == 1_000 else max(3, options.repeats // 3))
            rows.append(
                {
                    "fleet": name,
                    "models": count,
                    "least_ms": round(min(times_ms), 1),
                    "median_ms": round(statistics.median(times_ms), 1),
                }
            )
            figures[f"{name}_{count}_ms"] = round(min(times_ms), 1)
    note = "CPU time of one process; figures are the least, as whatever else the machine does only adds"
    save("decide", rows, note=note, figures=figures)


def times(view: FleetView, repeats: int) -> list[float]:
    """Milliseconds of CPU for each of ``repeats`` decisions in a row, after one that nobody counts."""
    samples = []
    for turn in range(repeats + 1):
        started = time.process_time()
        decision = decide(view)
        if turn:
            samples.append((time.process_time() - started) * 1e3)
        states = {d.name: d.state for d in decision.models}
        view = replace(view, models=tuple(replace(m, state=states[m.name]) for m in view.models))
    return samples


def mixed(count: int) -> FleetView:
    return _fleet(count, lambda i: _busy if i % 10 < 2 else _warm if i % 10 < 5 else _asleep)


def all_busy(count: int) -> FleetView:
    return _fleet(count, lambda _: _busy)


def short(count: int) -> FleetView:
    view = _fleet(count, lambda i: _busy if i % 10 < 2 else _warm if i % 10 < 5 else _held if i % 20 == 5 else _asleep)
    held = sum(r.memory_bytes for m in view.models for r in m.replicas)
    return replace(view, machine=replace(view.machine, memory_bytes=held // 2))


Make = Callable[[str, random.Random], ModelView]


def _fleet(count: int, kind: Callable[[int], Make]) -> FleetView:
    rng = random.Random(SEED)
    machine = MachineView(cpus=4.0 * count, memory_bytes=count * GIB, overhead_bytes=GIB, load_slots=64)
    models = tuple(kind(i)(f"model-{i:05}", rng) for i in range(count))
    return FleetView(now_s=NOW_S, machine=machine, models=models)


def _busy(name: str, rng: random.Random) -> ModelView:
    profile = _profile(rng)
    one_per_s = 1.0 / profile.curve.points[0].p50_s
    demand = _asked(rng.uniform(0.2, 3.0) * one_per_s, profile.load.total_s)
    return _model(name, profile, demand, replicas=rng.randint(1, 3))


def _warm(name: str, rng: random.Random) -> ModelView:
    profile = _profile(rng)
    idle_s = rng.uniform(5, 600)
    demand = Demand(observed_at_s=NOW_S, idle_s=idle_s, gap_s=rng.uniform(5, 600), envelope=((1.0, 0.5), (2.0, 0.5)))
    return _model(name, profile, demand, replicas=1)


def _held(name: str, rng: random.Random) -> ModelView:
    return _model(name, _profile(rng), Demand(observed_at_s=NOW_S, queued=1, held=1, idle_s=0.2), replicas=0)


def _asleep(name: str, rng: random.Random) -> ModelView:
    return _model(name, _profile(rng), Demand(observed_at_s=NOW_S, idle_s=rng.uniform(600, 1e5)), replicas=0)


def _model(name: str, profile: ModelProfile, demand: Demand, *, replicas: int) -> ModelView:
    idle_s = 0.0 if demand.burst_per_s else demand.idle_s
    return ModelView(
        name=name,
        version="v1",
        profile=profile,
        slo=Slo(0.95, 0.25),
        policy=ScalingPolicy(max_replicas=8),
        demand=demand,
        replicas=tuple(
            ReplicaView(
                replica_id=f"{name}-{n}",
                version="v1",
                state=ReplicaState.READY,
                since_s=100.0,
                ready_at_s=100.0,
                memory_bytes=profile.memory.replica_bytes,
                idle_s=idle_s,
            )
            for n in range(replicas)
        ),
        state={"peaks": []},
    )


def _asked(rate: float, load_s: float) -> Demand:
    windows_s = [2.0**k for k in range(7) if 2.0**k <= max(2.0, 2 * load_s)]
    return Demand(
        observed_at_s=NOW_S,
        burst_per_s=rate,
        stable_per_s=0.9 * rate,
        idle_s=0.01,
        gap_s=1 / rate,
        envelope=tuple((w, rate * w * 1.1) for w in windows_s),
    )


def _profile(rng: random.Random) -> ModelProfile:
    service_s = rng.uniform(0.002, 0.08)
    points = tuple(
        BatchPoint(batch=b, p50_s=service_s * (1 + 0.4 * (b - 1)), p95_s=1.3 * service_s * (1 + 0.4 * (b - 1)))
        for b in (1, 2, 4, 8, 16, 32)
    )
    weights = rng.choice((1, 10, 100, 500)) * MIB
    return ModelProfile(
        facts=ModelFacts(format="onnx", platform="onnx_onnxv1", runtime="onnx", disk_bytes=weights),
        load=LoadTime(load_s=0.05 + weights / GIB * 4),
        memory=Memory(base_bytes=20 * MIB, resident_bytes=weights),
        curve=LatencyCurve(points),
        source=Source.MEASURED,
    )


if __name__ == "__main__":
    main()
