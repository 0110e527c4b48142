"""From what was observed to what a decision looks at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sizewise.controller.charges import overhead_bytes
from sizewise.controller.ledger import UNSEEN, Ledger
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.core import estimates
from sizewise.core.backoff import raised
from sizewise.core.fleet import FleetView, HostView, MachineView, ModelView, ReplicaState, ReplicaView
from sizewise.core.profiles import Memory, ModelProfile
from sizewise.protocols.backend import ReplicaObserved, Snapshot

Profiles = Mapping[str, ModelProfile]
"""Measured or estimated profiles by hash of the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What this machine lends to everything Sizewise runs."""

    cpus: float
    memory_bytes: int
    disk_bytes: int
    load_slots: int = 1
    warmth: str = "ours"
    """Which rule says what stays in memory unused; another than ours is for comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What views are made with, besides the snapshot."""

    ledger: Ledger
    profiles: Profiles
    budget: Budget
    parked_until_s: Mapping[str, float]
    memory_floor_bytes: Mapping[str, int]
    """Least private memory to reserve for a replica, by model."""
    room_bytes: int
    """What Sizewise's own processes leave of the budget."""


def view_of(snapshot: Snapshot, records: Iterable[ModelRecord], around: Surroundings, *, now_s: float) -> FleetView:
    budget = around.budget
    machine = MachineView(
        cpus=budget.cpus,
        memory_bytes=budget.memory_bytes,
        overhead_bytes=overhead_bytes(snapshot),
        load_slots=budget.load_slots,
        warmth=budget.warmth,
    )
    models = tuple(_model_view(snapshot, record, around, now_s=now_s) for record in records)
    hosts = tuple(
        HostView(host=h.host, runtime=h.runtime, memory_bytes=h.memory_bytes, unexplained=h.unexplained)
        for h in snapshot.hosts
    )
    return FleetView(
        now_s=now_s,
        machine=machine,
        models=models,
        machines=snapshot.machines,
        hosts=hosts,
        state=around.ledger.fleet_state,
    )


def _model_view(snapshot: Snapshot, record: ModelRecord, around: Surroundings, *, now_s: float) -> ModelView:
    profiles = {version.version: _effective(record.name, version, around, now_s=now_s) for version in record.versions}
    serving = record.serving.version
    own = snapshot.replicas_of(record.name)
    held = next(iter(snapshot.warm_of(record.name)), None)
    return ModelView(
        name=record.name,
        version=serving,
        profile=profiles[serving],
        slo=record.wants.slo,
        policy=record.wants.scaling,
        demand=around.ledger.demand(record.name, now_s),
        replicas=tuple(_replica_view(r, profiles.get(r.version, profiles[serving]), now_s) for r in own),
        mapped_bytes=max((r.mapped_bytes for r in own if r.version == serving), default=0),
        warm_version=held.version if held else None,
        warm_bytes=held.bytes if held else 0,
        warm_since_s=held.since_s if held else None,
        candidate=record.candidate.version if record.candidate else None,
        candidate_profile=profiles[record.candidate.version] if record.candidate else None,
        parked_until_s=around.parked_until_s.get(record.name),
        pinned=record.pinned,
        isolation=record.wants.isolation,
        alone=record.alone,
        state=around.ledger.of(record.name).state,
    )


def _effective(model: str, version: VersionRecord, around: Surroundings, *, now_s: float) -> ModelProfile:
    known, live = around.profiles[version.hash], around.ledger.live(model, version.version)
    if live is UNSEEN and model not in around.memory_floor_bytes:
        return known
    profile = estimates.effective(known, live, now_s)
    memory = raised(profile.memory, around.memory_floor_bytes.get(model, 0))
    memory = _possible(memory, known.memory, around.room_bytes)
    # The same object for the same figures: what is worked out of a profile is kept with it
    return profile if memory is profile.memory else replace(profile, memory=memory)


def _possible(memory: Memory, known: Memory, room_bytes: int) -> Memory:
    """What was seen reserves more than what is known, up to all there is: that it once held more than this machine
    has is no reason never to run it again, and would never be disproved if it were."""
    most = max(known.replica_bytes, room_bytes - memory.mapped_bytes)
    if memory.replica_bytes <= most:
        return memory
    resident = min(memory.resident_bytes, max(0, most - memory.base_bytes - memory.per_request_bytes))
    return replace(memory, resident_bytes=resident, peak_bytes=min(memory.peak_bytes, most))


def _replica_view(replica: ReplicaObserved, profile: ModelProfile, now_s: float) -> ReplicaView:
    if replica.state is ReplicaState.READY:
        ready_at_s = replica.ready_at_s if replica.ready_at_s is not None else replica.since_s
    else:
        # One that takes longer than expected is expected any moment.
        ready_at_s = max(now_s, replica.started_at_s + profile.load.total_s)
    return ReplicaView(
        replica_id=replica.replica_id,
        version=replica.version,
        state=replica.state,
        since_s=replica.since_s,
        ready_at_s=ready_at_s,
        memory_bytes=replica.memory_bytes,
        outstanding=replica.outstanding,
        idle_s=replica.idle_s,
        machine=replica.machine,
        host=replica.host,
        replaces=replica.replaces,
    )
