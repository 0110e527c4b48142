"""Where a model's weights are: in a replica, in memory without one, or on disk; and for how long the second pays.

Source: ski rental and GreedyDual value per byte, as for replicas (``warmth``), with what a load saves when its files
need not be read from disk, C(disk) - C(memory), in place of the whole load.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sizewise.core.budget import mapped_bytes, profile_of
from sizewise.core.fleet import FleetView, ModelDecision, ModelView, Reason, ReplicaState
from sizewise.core.observations import distrust
from sizewise.core.reasons import because
from sizewise.core.warmth import WAIT_PRICE, hazard_per_s, noticed_s
from sizewise.core.warmth_policies import OURS

LEAST_SHARE = 0.005
"""Files are charged at least this share of the machine: they cost no process, but somebody looks after them."""

LEAST_HOLD_S = 15.0
"""What would be let go again so soon is not worth taking up."""

HELD_SHARE = 0.9
"""Of its files: with less of them in memory, a load reads from disk as if there were none."""

SERVING = frozenset({ReplicaState.READY, ReplicaState.DRAINING})


def is_held(model: ModelView, version: str) -> bool:
    """Whether files of this version are in memory without a replica."""
    return (
        model.warm_version == version and model.warm_bytes >= HELD_SHARE * profile_of(model, version).facts.disk_bytes
    )


def load_s(model: ModelView, version: str) -> float:
    """Seconds that the next load takes: from memory when its files are held or a replica uses them, else from disk."""
    profile = profile_of(model, version)
    warm = is_held(model, version) or any(r.version == version and r.state in SERVING for r in model.replicas)
    return profile.load.total_s if warm else profile.reload_s


def hold_limit_s(model: ModelView, machine_bytes: int) -> float:
    """Idle seconds for which files without a replica are kept in memory; 0 when that does not pay or is not wanted.

    Holding: their share of the machine's memory. Gain: what of the wait for a load from disk is noticed, less what is
    noticed of one from memory. Both in ``WAIT_PRICE``, so that the two tiers are weighed alike.
    """
    profile = model.profile
    size = profile.facts.disk_bytes
    if size <= 0 or model.pinned == 0 or model.parked_until_s is not None:
        return 0.0
    gain_s = noticed_s(profile.reload_s) - noticed_s(profile.load.total_s)
    share = max(LEAST_SHARE, size / max(machine_bytes, 1))
    limit_s = WAIT_PRICE * gain_s / share
    return limit_s if limit_s >= LEAST_HOLD_S else 0.0


def extra_bytes(model: ModelView) -> int:
    """What holding its files takes beyond what its replicas are charged for: the same pages are charged once."""
    size = max(model.profile.facts.disk_bytes, model.warm_bytes)
    shared = any(r.version == model.version and r.state is not ReplicaState.FAILED for r in model.replicas)
    return max(0, size - mapped_bytes(model, model.version)) if shared else size


def hold(decisions: dict[str, ModelDecision], view: FleetView, *, room_bytes: int, planned_bytes: int) -> int:
    """Says for each model whether its files are held, and why; returns the bytes that takes beside all replicas.

    Replaces decisions in place. Candidates are models whose last replica goes, whose files are held already, or that
    are just loading from them. The room that replicas leave goes to those that avoid most waiting for each byte; they
    are the first to go when anybody needs it. ``planned_bytes`` are those of replicas, leaving ones included.
    """
    planned = taken = 0
    spare_bytes = view.machine.memory_bytes - planned_bytes
    for each in sorted(_candidates(decisions, view), key=lambda c: (-c.value, c.model.name)):
        fits = taken + each.needs_bytes <= room_bytes and planned + each.adds_bytes <= spare_bytes
        kept = each.idle_s < each.limit_s and fits
        if kept:
            taken += each.needs_bytes
            planned += each.adds_bytes
        decided = decisions[each.model.name]
        decisions[each.model.name] = _said(decided, each, kept=kept, room_bytes=max(0, room_bytes - taken))
    return planned


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    model: ModelView
    size_bytes: int
    needs_bytes: int
    """Of the room that is left once those that are leaving are gone."""
    adds_bytes: int
    """To what is planned, where replicas that are leaving may be charged for the same pages still."""
    idle_s: float
    limit_s: float
    value: float
    """Seconds of waiting avoided, per second and byte."""


def _candidates(decisions: dict[str, ModelDecision], view: FleetView) -> Iterator[_Candidate]:
    if view.machine.warmth != OURS:
        return  # a rule that is compared with ours knows two tiers
    for model in view.models:
        if model.warm_version is None and not model.replicas:
            continue
        decided = decisions[model.name]
        held = model.warm_version == model.version
        own = [r for r in model.replicas if r.version == model.version and r.state is not ReplicaState.FAILED]
        kept = [r for r in own if r.replica_id not in decided.stop]
        if any(r.state is ReplicaState.READY for r in kept):
            continue  # it has what it needs
        loading = decided.desired > 0
        going = not loading and any(r.state in SERVING for r in own)
        if held or going:
            yield _candidate(model, view, loading=loading, charged=loading or bool(kept))


def _candidate(model: ModelView, view: FleetView, *, loading: bool, charged: bool) -> _Candidate:
    size = max(model.profile.facts.disk_bytes, model.warm_bytes)
    beside = max(0, size - mapped_bytes(model, model.version))
    gain_s = max(0.0, model.profile.reload_s - model.profile.load.total_s)
    # Whoever loads must not lose what it reads, and what is held is not let go on observations that cannot be believed
    held = model.warm_version == model.version
    at_any_price = loading or (held and distrust(model, view) is not None)
    return _Candidate(
        model=model,
        size_bytes=size,
        needs_bytes=beside if loading else size,
        adds_bytes=beside if charged else size,
        idle_s=_idle_s(model, view.now_s),
        limit_s=math.inf if at_any_price else hold_limit_s(model, view.machine.memory_bytes),
        value=math.inf if at_any_price else hazard_per_s(model.demand) * gain_s / max(size, 1),
    )


def _idle_s(model: ModelView, now_s: float) -> float:
    """After a restart it is not known when the model was last used: no longer ago than its files are held."""
    if math.isfinite(model.demand.idle_s):
        return model.demand.idle_s
    return max(0.0, now_s - model.warm_since_s) if model.warm_since_s is not None else 0.0


def _said(decided: ModelDecision, each: _Candidate, *, kept: bool, room_bytes: int) -> ModelDecision:
    """With a reason of its own where nothing else happens to the model."""
    held = each.model.warm_version == each.model.version
    busy = decided.stop or decided.start or decided.desired or not math.isfinite(each.limit_s)
    if busy or each.limit_s <= 0 or not (held or kept):
        return replace(decided, hold_warm=kept)
    return replace(decided, hold_warm=kept, reason=_why(each, kept=kept, room_bytes=room_bytes))


def _why(each: _Candidate, *, kept: bool, room_bytes: int) -> Reason:
    if kept:
        profile = each.model.profile
        return because(
            "held_warm",
            idle_s=each.idle_s,
            held_bytes=each.size_bytes,
            release_s=each.limit_s,
            load_s=profile.load.total_s,
            reload_s=profile.reload_s,
        )
    if each.idle_s < each.limit_s:
        return because("warm_taken", idle_s=each.idle_s, held_bytes=each.size_bytes, room_bytes=room_bytes)
    return because("warm_released", idle_s=each.idle_s, held_bytes=each.size_bytes)
