"""The state of everything, as values that ``status`` prints and ``/metrics`` shows."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizewise.controller.charges import charged_bytes, overhead_bytes
from sizewise.controller.records import ModelRecord
from sizewise.controller.report import (
    Figure,
    MachineStatus,
    ModelState,
    ModelStatus,
    ProcessStatus,
    ReplicaCounts,
    StageStatus,
    Status,
)
from sizewise.core import estimates
from sizewise.core.fleet import Isolation, ReplicaState
from sizewise.core.forms import MAPPED, PACKED
from sizewise.core.inline import why_not_inline
from sizewise.core.profiles import ModelProfile
from sizewise.core.reasons import render
from sizewise.core.version import VERSION
from sizewise.protocols.backend import ReplicaObserved

if TYPE_CHECKING:
    from sizewise.controller.controller import Controller

LOADING = frozenset({ReplicaState.STARTING, ReplicaState.LOADING})


def fleet_status(controller: "Controller", now_s: float, now_unix_s: float) -> Status:
    snapshot, budget = controller.snapshot, controller.budget
    charged = {r.model for r in snapshot.replicas} | {w.model for w in snapshot.warm}
    used_bytes = overhead_bytes(snapshot) + sum(
        charged_bytes(snapshot.replicas_of(name), (w for w in snapshot.warm if w.model == name)) for name in charged
    )
    return Status(
        models=tuple(
            model_status(controller, record, now_s=now_s, now_unix_s=now_unix_s) for record in controller.registry
        ),
        machine=MachineStatus(
            cpus=budget.cpus,
            memory_bytes=budget.memory_bytes,
            memory_used_bytes=used_bytes,
            disk_bytes=budget.disk_bytes,
            disk_used_bytes=controller.disk_used_bytes,
        ),
        processes=tuple(
            ProcessStatus(role=p.role, pid=p.pid, model=p.model, version=p.version, memory_bytes=p.memory_bytes)
            for p in snapshot.processes
        ),
        data_url=controller.data_url,
        grpc_address=controller.grpc_address,
        admin_url=controller.admin_url,
        pid=os.getpid(),
        version=VERSION,
        problems=snapshot.problems,
    )


def model_status(controller: "Controller", record: ModelRecord, *, now_s: float, now_unix_s: float) -> ModelStatus:
    serving, facts = record.serving, record.serving.facts
    track, totals = controller.ledger.of(record.name), controller.counters.total(record.name)
    own = controller.snapshot.replicas_of(record.name)
    held = controller.snapshot.warm_of(record.name)
    decision, profile = track.decision, controller.profile(serving)
    failure = controller.failure(record.name)
    live = estimates.effective(profile, controller.ledger.live(record.name, serving.version), now_s)
    counts = _counts(own, serving.version, decision.desired if decision else 0)
    return ModelStatus(
        name=record.name,
        version=serving.version,
        state=_state(counts, failure),
        replicas=counts,
        weights_bytes=facts.weights_bytes,
        memory_bytes=charged_bytes(own, held),
        warm_bytes=sum(w.bytes for w in held),
        replica_memory_bytes=live.memory.replica_bytes + live.memory.mapped_bytes,
        load_s=live.load.total_s if own or held else live.reload_s,
        requests_total=totals.arrivals,
        errors_total=totals.errors,
        shed_total=totals.shed,
        cold_starts_total=track.cold_starts,
        replica_seconds=track.replica_seconds,
        memory_byte_seconds=track.memory_byte_seconds,
        slo_attainment=track.attainment() if record.wants.slo else None,
        p95_s=track.p95_s(),
        reason=failure or (render(decision.reason) if decision else "not decided yet"),
        origin=record.origin,
        uri=serving.uri,
        format=facts.format,
        platform=facts.platform,
        runtime=facts.runtime or "",
        disk_bytes=facts.disk_bytes,
        parameters=facts.parameters,
        slo=record.wants.slo,
        candidate=record.candidate.version if record.candidate else None,
        rollout=record.rollout,
        pinned=record.pinned,
        profile_source=str(profile.source),
        profile_age_s=None if profile.measured_at_s is None else max(0.0, now_unix_s - profile.measured_at_s),
        figures=_figures(controller, record, now_s),
        stages=_stages(profile, own, serving.version),
        failure=failure,
        last_exit=controller.parking.last_exit(record.name),
        inline_refused=_inline_refused(record, profile, own),
        hosts=tuple(sorted({r.host for r in own if r.host})),
        host_reason=render(shares) if (shares := controller.company.reasons.get(record.name)) else None,
        form=controller.form_note(serving),
    )


def _inline_refused(record: ModelRecord, profile: ModelProfile, own: Sequence[ReplicaObserved]) -> str | None:
    if record.wants.isolation is not Isolation.INLINE:
        return None
    if why := why_not_inline(profile.facts.runtime, profile):
        return why
    # Inside the gateway there is no process of its own to observe
    return "its replicas were started before that was known" if any(r.pid is not None for r in own) else None


def _counts(own: Sequence[ReplicaObserved], version: str, desired: int) -> ReplicaCounts:
    return ReplicaCounts(
        desired=desired,
        ready=sum(r.state is ReplicaState.READY and r.version == version for r in own),
        loading=sum(r.state in LOADING for r in own),
    )


def _state(counts: ReplicaCounts, failure: str | None) -> ModelState:
    if counts.ready:
        return "ready"
    if failure is not None:
        return "failed"
    # What was decided a moment ago is not observed yet.
    if counts.loading or counts.desired:
        return "loading"
    return "cold"


def _stages(profile: ModelProfile, own: Sequence[ReplicaObserved], version: str) -> tuple[StageStatus, ...]:
    ready = [r.stage for r in own if r.state is ReplicaState.READY and r.version == version and r.stage]
    measured = {stage.name: stage for stage in profile.stages}
    return tuple(
        StageStatus(
            name=name,
            ready=ready.count(name),
            open_s=stage.open_s if (stage := measured.get(name)) else None,
            p50_s={point.batch: point.p50_s for point in stage.curve.points} if stage else {},
        )
        for name in (MAPPED, PACKED)
        if name in measured or name in ready
    )


def _figures(controller: "Controller", record: ModelRecord, now_s: float) -> dict[str, Figure]:
    version = record.serving
    live = controller.ledger.live(record.name, version.version)
    compared = estimates.compare(controller.profile(version), live, now_s)
    return {c.figure: Figure(profiled=c.profiled, live=c.live, samples=c.samples, age_s=c.age_s) for c in compared}
