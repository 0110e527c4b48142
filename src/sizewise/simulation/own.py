"""Sizewise itself: the controller that runs live, on a simulated clock and backend."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from sizewise.controller.controller import Controller
from sizewise.controller.parts import Parts
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.state import DecisionRecord
from sizewise.controller.view import Budget
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, ModelProfile
from sizewise.core.units import GIB
from sizewise.protocols.backend import Action
from sizewise.simulation.backend import (
    VERSION,
    KnownWeights,
    MemoryState,
    NoFiles,
    SimulatedBackend,
    SimulatedClock,
    with_memory,
)
from sizewise.simulation.eyes import Eyes
from sizewise.simulation.foresight import ForeseeingLedger, Future
from sizewise.simulation.scenario import Mode, PolicyChoice, Scenario, SimModel
from sizewise.simulation.world import World

DECISIONS_KEPT = 20_000
Tell = Callable[[float], None]


class Own:
    """Steps the controller at every interval, and when a request comes for a model without a replica."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        names: Sequence[str],
        *,
        eyes: Eyes,
        policy: PolicyChoice,
        future: Future | None = None,
    ) -> None:
        self._scenario = scenario
        self._world = world
        slots = scenario.capacity.replicas is not None
        truth = [told_of(model, slots=slots) for model in world.models]
        told = [median_profile(truth)] * len(truth) if policy.mode is Mode.SIZE_BLIND else truth
        self._backend = SimulatedBackend(world, eyes, names, told=told)
        ids = itertools.count(1)
        records = {name: record_of(name, model) for name, model in zip(names, world.models, strict=True)}
        profiles = dict(zip(names, told, strict=True))
        self._state = MemoryState(records, keeps=DECISIONS_KEPT)
        clock = SimulatedClock(world)
        parts = Parts(
            backend=self._backend,
            clock=clock,
            state=self._state,
            store=NoFiles(),
            weigher=KnownWeights(profiles),
            unix_s=lambda: scenario.begins_unix_s + clock.now_s(),
            new_id=lambda: f"s{next(ids)}",
        )
        self._controller = Controller(parts, budget_of(scenario))
        self._controller.profiles.update(profiles)
        self._future = future

    @property
    def decisions(self) -> list[DecisionRecord]:
        return self._state.kept

    def run(self, end_s: float, tell: Tell) -> None:
        """From now on to ``end_s``."""
        world, scenario = self._world, self._scenario
        self._backend.adopt()
        asyncio.run(self._first())
        tick, asked = 0, set[int]()
        while world.now_s < end_s:
            next_s = min(end_s, (tick + 1) * scenario.decide_every_s)
            woken = (float("inf"), -1)
            if scenario.wake_s < scenario.decide_every_s:
                woken = world.next_cold_s(asked)
            at_s = max(woken[0], world.now_s) + scenario.wake_s
            if at_s < next_s:
                asked.add(woken[1])
                world.run_until(min(at_s, world.block_end_s))
            else:
                world.run_until(next_s)
                tick += 1
                asked.clear()
            if world.now_s < end_s:
                drive(self._controller.step())
            tell(world.now_s)

    async def _first(self) -> None:
        await self._controller.open()
        if self._future is not None:
            self._controller.ledger = ForeseeingLedger(self._controller.counters, self._future)
        await self._controller.step()


def drive(step: Coroutine[Any, Any, tuple[Action, ...]]) -> tuple[Action, ...]:
    """Runs a step whose awaits all complete at once, without an event loop."""
    try:
        step.send(None)
    except StopIteration as done:
        actions: tuple[Action, ...] = done.value
        return actions
    step.close()
    raise RuntimeError("the controller waited for something that a simulation does not have")


def told_of(model: SimModel, *, slots: bool) -> ModelProfile:
    """What the controller is told of a model; under a cap of replicas, each takes one slot."""
    profile = model.told or model.profile
    return with_memory(profile, GIB) if slots else profile


def budget_of(scenario: Scenario) -> Budget:
    """A cap of replicas is a machine with room, cores and bandwidth for as many; machines count at their most."""
    capacity = scenario.capacity
    if capacity.replicas is not None:
        threads = max(model.profile.threads for model in scenario.models.values())
        return Budget(
            cpus=float(capacity.replicas * threads),
            memory_bytes=capacity.replicas * GIB,
            disk_bytes=GIB,
            load_slots=capacity.replicas,
            warmth=scenario.warmth,
        )
    pools = capacity.machines
    return Budget(
        cpus=sum(pool.cpus * pool.most for pool in pools),
        memory_bytes=sum(pool.memory_bytes * pool.most for pool in pools),
        disk_bytes=GIB,
        load_slots=sum(pool.load_slots * pool.most for pool in pools),
        warmth=scenario.warmth,
    )


def record_of(name: str, model: SimModel) -> ModelRecord:
    wants = ModelSpec(
        name=name,
        slo=model.slo,
        scaling=model.scaling,
        timeout_s=model.timeout_s,
        max_queue=model.max_queue,
        hold_s=model.hold_s,
    )
    version = VersionRecord(hash=name, version=VERSION, uri="", facts=model.profile.facts)
    return ModelRecord(wants=wants, origin="spec", serving=version)


def median_profile(profiles: Sequence[ModelProfile]) -> ModelProfile:
    """What is left of a catalogue when sizes are not known: the median of each figure, for every model."""
    first = profiles[0]
    bytes_ = int(median(profile.memory.replica_bytes for profile in profiles))
    load_s = median(profile.load.total_s for profile in profiles)
    batching = [profile for profile in profiles if profile.facts.batchable]
    batchable = 2 * len(batching) > len(profiles)
    known = [profile.curve for profile in (batching if batchable else profiles)]
    batches = sorted({point.batch for curve in known for point in curve.points}) if batchable else [1]
    points = tuple(
        BatchPoint(
            batch=batch,
            p50_s=median(curve.p50_s(batch) for curve in known),
            p95_s=median(curve.p95_s(batch) for curve in known),
        )
        for batch in batches
    )
    blind = replace(
        first,
        facts=replace(first.facts, batchable=batchable),
        load=LoadTime(load_s=load_s),
        curve=LatencyCurve(points),
        threads=int(median(profile.threads for profile in profiles)),
    )
    return with_memory(blind, bytes_)
