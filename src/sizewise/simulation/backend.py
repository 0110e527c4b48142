"""The controller's backend, its clock and its files, all simulated."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.state import DecisionRecord, StateStore
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import ModelFacts, ModelProfile
from sizewise.protocols.artifacts import Artifact
from sizewise.protocols.backend import (
    Action,
    Event,
    ModelTraffic,
    ReplicaObserved,
    Snapshot,
    StartReplica,
    StopReplica,
)
from sizewise.protocols.errors import UsageError
from sizewise.simulation.eyes import Eyes
from sizewise.simulation.pools import Counts
from sizewise.simulation.world import Replica, World

VERSION = "1"
_PID = 1000


class SimulatedClock:
    """Shows the world's time; nobody waits for it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now_s(self) -> float:
        return self._world.now_s

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - as the protocol has it
        raise RuntimeError("time passes between steps, not inside one")


class SimulatedBackend:
    """Replicas of a simulated world. Actions it does not know concern what it does not model, and change nothing."""

    name = "simulated"

    def __init__(self, world: World, eyes: Eyes, names: Sequence[str], *, told: Sequence[ModelProfile]) -> None:
        self._world = world
        self._eyes = eyes
        self._names = tuple(names)
        self._index = {name: i for i, name in enumerate(names)}
        self._told = tuple(told)
        self._truthful = all(t is m.profile for t, m in zip(told, world.models, strict=True))
        self._replicas: dict[str, Replica] = {}
        self._seen: list[ModelTraffic] = [ModelTraffic(model=name) for name in names]
        self._counts: list[Counts | None] = [None] * len(self._names)

    async def observe(self) -> Snapshot:
        world = self._world
        now_s = world.now_s
        world.pools.advance_all(now_s)
        machines = world.ground.shown(now_s)
        waits_s = {machine.name: machine.ready_in_s for machine in machines}
        observed = [self._observed(each, waits_s) for each in world.replicas()]
        traffic = tuple(self._traffic(i, now_s) for i in range(len(self._names)))
        return Snapshot(
            at_s=now_s,
            replicas=tuple(observed),
            traffic=traffic,
            # What comes late through metrics does not say so
            traffic_at_s=now_s,
            gateway_epoch="simulated",
            machines=machines,
        )

    async def apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, StartReplica):
                spec = action.spec
                model = self._index[spec.model]
                self._replicas[spec.replica_id] = self._world.order(model, spec.replica_id, where=spec.machine)
            elif isinstance(action, StopReplica):
                replica = self._replicas.pop(action.replica_id, None)
                if replica is not None:
                    self._world.stop(replica)

    async def events(self) -> AsyncIterator[Event]:
        """The run looks into the world by itself; there is nothing to tell."""
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    def adopt(self) -> None:
        """Replicas that were there before the controller."""
        self._replicas.update({each.replica_id: each for each in self._world.replicas()})

    def _observed(self, replica: Replica, waits_s: Mapping[str, float]) -> ReplicaObserved:
        ready = replica.state is ReplicaState.READY
        world = self._world
        memory = self._told[replica.model].memory
        outstanding = world.pools.outstanding(replica.slot) if replica.slot >= 0 else 0
        # A load begins when there is room, so that what waits for a machine counts as supply when it will be ready
        begins_s = world.now_s + waits_s.get(replica.where, 0.0) if replica.placed_s is None else replica.placed_s
        idle_s = 0.0
        if ready and not outstanding:
            idle_s = world.now_s - world.pools.idle_since_s(replica.slot)
        return ReplicaObserved(
            replica_id=replica.replica_id,
            model=self._names[replica.model],
            version=VERSION,
            state=replica.state,
            pid=None if replica.placed_s is None else _PID + replica.number,
            since_s=replica.since_s,
            started_at_s=begins_s,
            ready_at_s=replica.ready_s,
            load=replica.load if ready and self._truthful and replica.ordered_s > 0 else None,
            memory_bytes=memory.replica_bytes if ready else 0,
            mapped_bytes=memory.mapped_bytes if ready else 0,
            peak_bytes=memory.replica_bytes if ready else 0,
            outstanding=outstanding,
            idle_s=idle_s,
            machine=replica.machine.name if replica.machine is not None else replica.where,
        )

    def _traffic(self, model: int, now_s: float) -> ModelTraffic:
        counts = self._eyes.look(model, now_s)
        if counts == self._counts[model]:
            return self._seen[model]
        self._counts[model] = counts
        ready = any(each.state is ReplicaState.READY for each in self._world.of_model[model])
        seen = ModelTraffic(
            model=self._names[model],
            arrivals=counts.arrived,
            answered=counts.served,
            errors=counts.failed,
            shed=counts.shed,
            within_slo=counts.within,
            cold_held=counts.held,
            rows=counts.served,
            queued=counts.queued,
            in_flight=counts.outstanding,
            held=0 if ready else counts.queued,
            last_arrival_s=counts.last_arrival_s,
        )
        self._seen[model] = seen
        return seen


class MemoryState(StateStore):
    """A state that lives as long as the run."""

    durable = False

    def __init__(self, records: Mapping[str, ModelRecord], *, keeps: int) -> None:
        self._records = dict(records)
        self._keeps = keeps
        self._notes: dict[str, Any] = {}
        self.kept: list[DecisionRecord] = []

    async def models(self) -> dict[str, ModelRecord]:
        return dict(self._records)

    async def put_model(self, record: ModelRecord) -> None:
        self._records[record.name] = record

    async def delete_model(self, name: str) -> None:
        self._records.pop(name, None)

    async def add_decisions(self, records: Sequence[DecisionRecord]) -> None:
        self.kept.extend(records[: max(0, self._keeps - len(self.kept))])

    async def decisions(self, model: str, limit: int) -> list[DecisionRecord]:
        return [each for each in reversed(self.kept) if each.model == model][:limit]

    async def note(self, key: str) -> Any:
        return self._notes.get(key)

    async def put_notes(self, notes: Mapping[str, Any]) -> None:
        """Nobody restarts this controller."""

    def close(self) -> None:
        """There is nothing to let go of."""


class KnownWeights:
    """A weigher that was told everything."""

    def __init__(self, profiles: Mapping[str, ModelProfile]) -> None:
        self._profiles = profiles

    def inspect(self, path: Path) -> ModelFacts:
        raise UsageError(f"{path}: a simulation reads no model files")

    def profile(self, version: VersionRecord) -> ModelProfile:
        return self._profiles[version.hash]

    async def measure(self, record: ModelRecord, memory_bytes: int) -> ModelProfile:  # noqa: ARG002 - the protocol
        return self._profiles[record.serving.hash]


class NoFiles:
    """An artifact store without artifacts."""

    def put(self, folder: Path, files: Sequence[str], *, model: str) -> Artifact:  # noqa: ARG002 - the protocol
        raise UsageError(f"{folder}: a simulation stores no model files")

    def get(self, content_hash: str) -> Artifact | None:  # noqa: ARG002 - the protocol
        return None

    def remove(self, content_hash: str) -> None:
        """Nothing was stored."""

    def sizes(self) -> Mapping[str, int]:
        return {}


def with_memory(profile: ModelProfile, bytes_: int) -> ModelProfile:
    """The same model in a world of slots, where each takes one whatever it weighs."""
    memory = replace(profile.memory, resident_bytes=bytes_, base_bytes=0, per_request_bytes=0, peak_bytes=bytes_)
    return replace(profile, memory=replace(memory, mapped_bytes=0))
