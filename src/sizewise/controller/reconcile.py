"""From a decision to actions: the difference between what was decided and what is."""

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.core.density import Placement
from sizewise.core.fleet import FleetDecision, ModelDecision, ModelView, ReplicaState
from sizewise.core.forms import MAPPED, Form, second_pays
from sizewise.core.inline import runs_inline
from sizewise.core.profiles import ModelProfile
from sizewise.core.reasons import render
from sizewise.core.sizing import capacity_of
from sizewise.protocols.backend import (
    Action,
    HoldWarm,
    ModelRoute,
    PublishModel,
    ReleaseWarm,
    ReplicaObserved,
    ReplicaSpec,
    Snapshot,
    StartReplica,
    StopReplica,
    TakeForm,
    WithdrawModel,
)

OUTSTANDING_BATCHES = 2
"""Requests that a replica may hold, in best batches: one that is computed, and one that is ready when it ends. More
would only wait where another replica cannot take them."""
MOST_AHEAD = 64
AHEAD_S = 0.02
"""Quick requests must keep a replica busy while answers travel: up to ``MOST_AHEAD`` of them, as far as they are
computed within ``AHEAD_S``. What waits longer waits at the gateway, which knows the SLO and other replicas."""
COMMAND_OUTSTANDING = 256
"""A server of the user's queues and batches by itself, and knows best how much it can do at once."""
UNMEASURED_ROWS = (16, 64)
UNMEASURED_S = 0.05
"""Rows that a replica may compute at once while nobody has measured what pays: the former at least, up to the latter
where one after the other they would take no longer than this. It finds out which batches pay, and those it computes are
the measurement."""
_MOVED = 1.5
"""A service time is published again when it has changed by this factor; the gateway corrects small errors itself."""
_LOADS_HELD = 4.0
"""A request may wait for a cold model for this many expected loads at least, whatever ``hold_s`` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    records: Mapping[str, ModelRecord]
    published: Mapping[str, ModelRoute]
    """Routes that the backend has accepted since this controller began."""
    refused: Mapping[str, str]
    """Models that cannot be woken, and the text clients get."""
    unmeasured: Set[str]
    """Artifacts, by hash, of which only an estimate is known."""
    cpus: float
    new_id: Callable[[], str]
    form_of: Callable[[str], Form | None] = lambda _: None
    """The load-ready form of an artifact, by its hash."""
    placement: Placement = field(default_factory=Placement)
    """Which processes replicas share; its hosts have their names."""


def actions_of(
    snapshot: Snapshot, decision: FleetDecision, views: Mapping[str, ModelView], *, around: Surroundings
) -> tuple[Action, ...]:
    """Routes first, so that a stopped replica has a successor; then stops, which free what starts need."""
    decisions = {d.name: d for d in decision.models}
    routes = [
        PublishModel(route=route)
        for name, record in around.records.items()
        if (route := _new_route(record, views[name].profile, around)) is not None
    ]
    starts: list[Action] = []
    for name, decided in decisions.items():
        if decided.start > 0:
            starts += _starts(around.records[name], decided, views[name], around=around)
    holds, releases = _warm(snapshot, decisions, around)
    return (
        *routes,
        *_withdrawals(snapshot, around),
        *holds,  # before stops: what a replica has in memory need not be read again
        *_stops(snapshot, decisions, around),
        *releases,
        *starts,
        *_takes(snapshot, views, around),
    )


def route_of(record: ModelRecord, profile: ModelProfile, refuse: str | None) -> ModelRoute:
    wants, facts = record.wants, record.serving.facts
    return ModelRoute(
        model=record.name,
        version=record.serving.version,
        platform=facts.platform,
        runtime=facts.runtime or "",
        inputs=facts.inputs,
        outputs=facts.outputs,
        batchable=facts.batchable,
        slo_s=wants.slo.latency_s if wants.slo else None,
        service_s=profile.curve.p50_s(1),
        max_queue=wants.max_queue,
        hold_s=_hold_s(wants, profile),
        timeout_s=wants.timeout_s,
        refuse=refuse,
    )


def _hold_s(wants: ModelSpec, profile: ModelProfile) -> float:
    """0 means what it says; anything else must give the model a chance to load."""
    if wants.hold_s == 0:
        return 0.0
    # Whole powers of two: a load time that moves a little is not worth a new route.
    loads_s = _LOADS_HELD * max(profile.load.total_s, 1e-3)
    return max(wants.hold_s, 2.0 ** math.ceil(math.log2(loads_s)))


def _new_route(record: ModelRecord, profile: ModelProfile, around: Surroundings) -> ModelRoute | None:
    question = (record, around.refused.get(record.name))
    kept = profile.worked_out.get("route")
    if kept is not None and kept[0] == question and isinstance(kept[1], ModelRoute):
        route = kept[1]
    else:
        route = route_of(record, profile, question[1])
        profile.worked_out["route"] = (question, route)
    old = around.published.get(record.name)
    if route is old:
        return None
    if old is None or old.version != route.version:
        return route
    moved = max(route.service_s, old.service_s) > _MOVED * min(route.service_s, old.service_s)
    if not moved:
        route = replace(route, service_s=old.service_s)
    return None if route == old else route


def _withdrawals(snapshot: Snapshot, around: Surroundings) -> list[Action]:
    known = {t.model for t in snapshot.traffic} | around.published.keys()
    return [WithdrawModel(model=name) for name in sorted(known - around.records.keys())]


def _stops(snapshot: Snapshot, decisions: Mapping[str, ModelDecision], around: Surroundings) -> list[Action]:
    stops: list[Action] = []
    for replica in snapshot.replicas:
        record = around.records.get(replica.model)
        if replica.state is ReplicaState.DRAINING:
            continue
        if record is None:
            why = "its model is not deployed"
        elif record.version_of(replica.version) is None:
            why = "its version was replaced"
        elif replica.replica_id in decisions[replica.model].stop:
            why = render(decisions[replica.model].reason)
        else:
            continue
        stops.append(StopReplica(replica_id=replica.replica_id, why=why))
    return stops


def _warm(
    snapshot: Snapshot, decisions: Mapping[str, ModelDecision], around: Surroundings
) -> tuple[list[Action], list[Action]]:
    """What is to be held, and what no longer."""
    held = {each.model: (each.version, each.path) for each in snapshot.warm}
    wanted = {name for name, decided in decisions.items() if decided.hold_warm}
    holds: list[Action] = []
    for name in sorted(wanted):
        serving = around.records[name].serving
        form = around.form_of(serving.hash)  # what the next load reads
        path = form.path if form is not None else serving.path
        if held.get(name) != (serving.version, path) and serving.path:
            files = form.files if form is not None else serving.facts.files
            holds.append(HoldWarm(model=name, version=serving.version, path=path, files=files))
    return holds, [ReleaseWarm(model=name) for name in sorted(held.keys() - wanted)]


def _starts(record: ModelRecord, decided: ModelDecision, view: ModelView, *, around: Surroundings) -> list[Action]:
    version = record.version_of(decided.start_version or record.serving.version)
    if version is None or decided.start <= 0:
        return []
    spec = replica_spec(record, version, _profile_of(record, version, view), around=around)
    hosts = around.placement.hosts.get(record.name, ("",) * decided.start)
    machines = decided.machines or ("",) * decided.start
    return [
        StartReplica(spec=in_host(replace(spec, replica_id=around.new_id(), machine=machine), host))
        for host, machine in zip(hosts, machines, strict=True)
    ]


def _takes(snapshot: Snapshot, views: Mapping[str, ModelView], around: Surroundings) -> list[Action]:
    """Replicas that were loaded before there was a form of their artifact."""
    takes: list[Action] = []
    for replica in snapshot.replicas:
        record = around.records.get(replica.model)
        version = record.version_of(replica.version) if record is not None else None
        if record is None or version is None or not _can_take(replica):
            continue
        form = _form_of(version, _profile_of(record, version, views[record.name]), around)
        if form is not None and form.key != replica.form and form.runtime == version.facts.runtime:
            takes.append(TakeForm(replica_id=replica.replica_id, form=form))
    return takes


def _can_take(replica: ReplicaObserved) -> bool:
    """It serves the model as it was deployed, in a process of its own."""
    return replica.state is ReplicaState.READY and replica.settled and not replica.stage and not replica.host


def _profile_of(record: ModelRecord, version: VersionRecord, view: ModelView) -> ModelProfile:
    candidate = record.candidate is not None and version.version == record.candidate.version
    return view.candidate_profile if candidate and view.candidate_profile else view.profile


def _form_of(version: VersionRecord, profile: ModelProfile, around: Surroundings) -> Form | None:
    """The load-ready form that its replicas open."""
    form = around.form_of(version.hash)
    if form is not None and second_pays(profile) is False:
        return replace(form, name=MAPPED)  # its first session is the better one
    return form


def in_host(spec: ReplicaSpec, host: str) -> ReplicaSpec:
    """Of those that share a process, one computes at a time, on one core."""
    return replace(spec, host=host, threads=1) if host else spec


def _outstanding(version: VersionRecord, profile: ModelProfile, batch: int) -> int:
    if version.command is not None:
        return COMMAND_OUTSTANDING
    return max(OUTSTANDING_BATCHES * batch, min(MOST_AHEAD, int(AHEAD_S / max(profile.curve.p50_s(1), 1e-9))))


def replica_spec(
    record: ModelRecord, version: VersionRecord, profile: ModelProfile, *, around: Surroundings
) -> ReplicaSpec:
    """Everything but its id. Threads as the profile was taken with, never more than there are processors."""
    batch = 1
    if version.facts.batchable:
        batch = capacity_of(profile, record.wants.slo).batch
        if version.hash in around.unmeasured:
            fewest, most = UNMEASURED_ROWS
            batch = max(batch, fewest, min(most, int(UNMEASURED_S / max(profile.curve.p50_s(1), 1e-9))))
    form = _form_of(version, profile, around)
    # What another runtime opens is a model of its own; what the same one opens is a better way to the same model.
    other = form if form is not None and form.runtime != version.facts.runtime else None
    runtime = other.runtime if other else version.facts.runtime
    inline = runs_inline(record.wants.isolation, runtime, profile)
    return ReplicaSpec(
        replica_id="",
        model=record.name,
        version=version.version,
        runtime=runtime or "",
        path=other.path if other else version.path,
        entry=other.entry if other else version.facts.entry,
        form=None if other or inline else form,
        threads=max(1, min(profile.threads, int(around.cpus))),
        max_batch=batch,
        max_outstanding=_outstanding(version, profile, batch),
        inputs=version.facts.inputs,
        outputs=version.facts.outputs,
        self_check=record.candidate is not None and version.version == record.candidate.version,
        load_timeout_s=max(600.0, 20 * profile.load.total_s),
        command=version.command,
        inline=inline,
    )
