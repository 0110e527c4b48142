"""What one tick of the controller costs: observe, decide, act, record; in milliseconds of one core.

A fifth of the models is busy with one to three replicas, three in ten are idle and warm, half are asleep; decisions
every second. All that is seen is made anew for every tick, as it is when it comes from another process.

Usage: python -m benchmarks.tick [--steps 10] [--profile]
"""

import argparse
import asyncio
import cProfile
import itertools
import pstats
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from benchmarks.common import save
from benchmarks.decide import SEED, _profile
from sizewise.controller.controller import Controller
from sizewise.controller.parts import Parts
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.view import Budget
from sizewise.core.fleet import ReplicaState, ScalingPolicy
from sizewise.core.profiles import ModelProfile
from sizewise.core.slo import Slo
from sizewise.core.units import GIB
from sizewise.protocols.backend import Action, Event, ModelTraffic, ReplicaObserved, Snapshot, StartReplica, StopReplica
from sizewise.protocols.fakes import ManualClock
from sizewise.simulation.backend import VERSION, KnownWeights, MemoryState, NoFiles

WARMING = 15
"""Ticks that nobody counts: until windows have filled and what was started is there."""


class Fleet:
    """Models with a steady rate each; replicas are ready as soon as they are started."""

    name = "steady"

    def __init__(self, clock: ManualClock, profiles: dict[str, ModelProfile]) -> None:
        self._clock = clock
        self._profiles = profiles
        self._replicas: dict[str, ReplicaObserved] = {}
        rng = random.Random(SEED)
        self._rates = {
            name: rng.uniform(0.2, 3.0) / profile.curve.points[0].p50_s if i % 10 < 2 else 0.0
            for i, (name, profile) in enumerate(profiles.items())
        }
        for i, name in enumerate(profiles):
            for n in range(rng.randint(1, 3) if i % 10 < 2 else int(i % 10 < 5)):
                self._put(f"{name}-{n}", name)

    async def observe(self) -> Snapshot:
        now_s = self._clock.now_s()
        return Snapshot(
            at_s=now_s,
            replicas=tuple(replace(replica) for replica in self._replicas.values()),
            traffic=tuple(self._traffic(i, name, now_s) for i, name in enumerate(self._profiles)),
            traffic_at_s=now_s,
            gateway_epoch="one",
        )

    async def apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, StartReplica):
                self._put(action.spec.replica_id, action.spec.model)
            elif isinstance(action, StopReplica):
                self._replicas.pop(action.replica_id, None)

    async def events(self) -> AsyncIterator[Event]:
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    def _put(self, replica_id: str, model: str) -> None:
        now_s, memory = self._clock.now_s(), self._profiles[model].memory
        self._replicas[replica_id] = ReplicaObserved(
            replica_id=replica_id,
            model=model,
            version=VERSION,
            state=ReplicaState.READY,
            pid=1000 + len(self._replicas),
            since_s=now_s,
            started_at_s=now_s,
            ready_at_s=now_s,
            memory_bytes=memory.replica_bytes,
            peak_bytes=memory.replica_bytes,
        )

    def _traffic(self, place: int, name: str, now_s: float) -> ModelTraffic:
        rate = self._rates[name]
        count = int(rate * now_s)
        if not rate:
            # Used once, long ago, as far as it is warm
            return (
                ModelTraffic(model=name, arrivals=1, last_arrival_s=0.0) if place % 10 < 5 else ModelTraffic(model=name)
            )
        return ModelTraffic(
            model=name,
            arrivals=count,
            answered=count,
            within_slo=count,
            rows=count,
            in_flight=1,
            last_arrival_s=now_s,
            latency_counts=(count // 2, count - count // 2) + (0,) * 30,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead, and save nothing")
    options = parser.parse_args()
    rows, figures = [], {}
    for count in (1_000, 10_000):
        steps = options.steps if count == 1_000 else max(4, options.steps // 2)
        times_ms = asyncio.run(times(count, steps, profile=options.profile))
        least_ms, median_ms = round(min(times_ms), 1), round(statistics.median(times_ms), 1)
        rows.append({"models": count, "least_ms": least_ms, "median_ms": median_ms})
        figures[f"median_{count}_ms"] = median_ms
        print(rows[-1])
    if not options.profile:
        note = "CPU time of one process; a journal in memory; machine and gateway, which others see to, not counted"
        save("tick", rows, note=note, figures=figures)


async def times(count: int, steps: int, *, profile: bool = False) -> list[float]:
    """Milliseconds of CPU for each of ``steps`` ticks in a row, without what it takes to make up what is seen."""
    rng = random.Random(SEED)
    profiles = {f"model-{i:05}": _profile(rng) for i in range(count)}
    clock = ManualClock()
    fleet = Fleet(clock, profiles)
    ids = itertools.count()
    parts = Parts(
        backend=fleet,
        clock=clock,
        state=MemoryState({name: _record(name, each) for name, each in profiles.items()}, keeps=0),
        store=NoFiles(),
        weigher=KnownWeights(profiles),
        unix_s=lambda: 1.7e9 + clock.now_s(),
        new_id=lambda: f"r{next(ids)}",
    )
    controller = Controller(parts, Budget(cpus=4.0 * count, memory_bytes=count * GIB, disk_bytes=GIB, load_slots=64))
    controller.profiles.update(profiles)
    await controller.open()
    samples = []
    watch = cProfile.Profile()
    for turn in range(WARMING + steps):
        clock.advance(1.0)
        counts = profile and turn >= WARMING
        if counts:
            watch.enable()
        began_s = time.process_time()
        await controller.step()
        spent_s = time.process_time() - began_s
        watch.disable()
        began_s = time.process_time()
        await fleet.observe()
        if turn >= WARMING:
            samples.append((spent_s - (time.process_time() - began_s)) * 1e3)
    if profile:
        pstats.Stats(watch).sort_stats("tottime").print_stats(30)
    return samples


def _record(name: str, profile: ModelProfile) -> ModelRecord:
    version = VersionRecord(hash=name, version=VERSION, uri="", facts=profile.facts)
    wants = ModelSpec(name=name, slo=Slo(0.95, 0.25), scaling=ScalingPolicy(max_replicas=8))
    return ModelRecord(wants=wants, origin="spec", serving=version)


if __name__ == "__main__":
    main()
