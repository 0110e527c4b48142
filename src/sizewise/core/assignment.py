"""What was granted of all machines together, put on one machine each; what fits on none is not started."""

from collections.abc import Sequence

from sizewise.core.budget import mapped_bytes, profile_of, replica_bytes
from sizewise.core.fleet import FleetView, Refused, ReplicaState
from sizewise.core.placement import Item, place
from sizewise.core.reasons import because
from sizewise.core.targets import Plan

_LOADING = frozenset({ReplicaState.STARTING, ReplicaState.LOADING})


def assign(plans: Sequence[Plan], view: FleetView) -> None:
    """Fills in ``machines`` of every plan that starts something, and takes back starts that fit nowhere."""
    items = [item for plan in plans for item in (*_running(plan), *_starting(plan))]
    placement = place(items, view.machines)
    waiting = frozenset(placement.waiting)
    for plan in plans:
        if not plan.start:
            continue
        keys = [item.key for item in _starting(plan)]
        plan.machines = tuple(placement.machines[key] for key in keys if key in placement.machines)
        _take_back(plan, len(keys) - len(plan.machines), view, slots=any(key in waiting for key in keys))


def _take_back(plan: Plan, count: int, view: FleetView, *, slots: bool) -> None:
    if not count:
        return
    number = plan.desired
    plan.start -= count
    if slots:
        plan.waiting += count if plan.start_version == plan.model.version else 0
        loading = sum(r.state in _LOADING for r in plan.model.replicas)
        plan.reason = because("load_slot", loading=loading, slots=view.machine.load_slots)
        return
    need = profile_of(plan.model, plan.start_version).memory
    reason = because("no_machine", need_bytes=need.replica_bytes + need.mapped_bytes, machines=len(view.machines))
    plan.denied += count
    plan.refused += (Refused(desired=number, reason=reason),)
    if not plan.evicted:
        plan.reason = reason


def _running(plan: Plan) -> list[Item]:
    model = plan.model
    return [
        Item(
            key=replica.replica_id,
            model=model.name,
            version=replica.version,
            private_bytes=replica_bytes(model, replica),
            shared_bytes=mapped_bytes(model, replica.version),
            cpus=_cpus(plan) if replica.state is not ReplicaState.DRAINING else 0.0,
            device_bytes=profile_of(model, replica.version).memory.device_bytes,
            disk_bytes=profile_of(model, replica.version).facts.disk_bytes,
            machine=replica.machine or "?",
            loading=replica.state in _LOADING,
        )
        for replica in model.replicas
        if replica.state is not ReplicaState.FAILED
    ]


def _starting(plan: Plan) -> list[Item]:
    if not plan.start:
        return []
    model, version = plan.model, plan.start_version
    profile = profile_of(model, version)
    return [
        Item(
            key=f"{model.name}#{number}",
            model=model.name,
            version=version,
            private_bytes=profile.memory.replica_bytes,
            shared_bytes=mapped_bytes(model, version),
            # The first one runs wherever there is memory: late is better than never
            cpus=_cpus(plan) if plan.live else 0.0,
            device_bytes=profile.memory.device_bytes,
            disk_bytes=profile.facts.disk_bytes,
            load_s=profile.load.total_s,
            reload_s=profile.reload_s,
            priority=model.policy.priority,
        )
        for number in range(plan.start)
    ]


def _cpus(plan: Plan) -> float:
    """Cores that one replica keeps busy while all that are wanted share the load."""
    if plan.capacity is None or plan.sized is None or plan.model.profile.facts.runtime == "command":
        return 0.0
    share = plan.sized.rate_per_s / plan.capacity.per_s / max(1, len(plan.staying), plan.need)
    return min(1.0, share) * plan.model.profile.threads
