"""Which models may share a process with others, what they add to it, and when they do."""

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import cast

from sizewise.core.budget import replica_bytes
from sizewise.core.fleet import FleetView, Isolation, ModelView, Reason, ReplicaState
from sizewise.core.inline import why_not_inline
from sizewise.core.profiles import Memory, ModelFacts, ModelProfile, Source
from sizewise.core.reasons import because
from sizewise.core.units import KIB, MIB

OWN_PROCESSES = 100
"""Small replicas that may have a process each; more of them share."""
FEW = 60
"""They go on sharing until there are fewer than this, so that one model more or less moves nobody."""
PRESSURE, RELIEF = 0.8, 0.7
"""Share of the budget that processes of their own would take, from which on small replicas share, or still do."""

SMALL_BYTES = 16 * MIB
"""Private memory that a small model adds to a process of its own, what its runtime sets up once included."""
SMALL_CALL_S = 0.02
"""A call of a small model; everybody in its process waits that long."""
HOT, COOL = 0.25, 0.1
"""Share of a core: above the first a replica leaves its company, below the second it may join one."""

RESIDENT: Mapping[str, tuple[int, float]] = {
    "onnx": (160 * KIB, 1.25),
    "xgboost": (384 * KIB, 5.0),
    "lightgbm": (256 * KIB, 2.5),
    "sklearn": (512 * KIB, 6.5),
}
"""Runtimes whose files are data, with the private bytes that one more model adds to a process: once, and for each byte
of weights."""

LIVING = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})


class Trust(StrEnum):
    """What a model can do to those that share its process."""

    DATA = "data"
    """Its file is data, which a runtime interprets."""
    CODE = "code"
    """Its file is a program; it shares with nobody."""


def trust_of(facts: ModelFacts) -> Trust:
    return Trust.DATA if facts.runtime in RESIDENT else Trust.CODE


def hosted_bytes(profile: ModelProfile) -> int:
    """Private bytes that one replica is expected to add to a host, which is less than it takes in a process of its own:
    what a runtime sets up once is there already."""
    once, per_byte = RESIDENT.get(profile.facts.runtime or "", (0, math.inf))
    if per_byte is math.inf:
        return profile.memory.replica_bytes
    return min(once + round(per_byte * profile.facts.weights_bytes), profile.memory.replica_bytes)


def hosted_profile(profile: ModelProfile) -> ModelProfile:
    """The same model in a process that it shares; the same object as long as the profile is the same."""
    known = profile.worked_out.get("hosted")
    if known is None:
        memory = Memory(resident_bytes=hosted_bytes(profile))
        known = profile.worked_out["hosted"] = (None, replace(profile, memory=memory))
    return cast("ModelProfile", known[1])


def why_alone(model: ModelView) -> Reason | None:
    """Why a model has processes of its own however many there are; None when it may share."""
    profile = model.profile
    if model.isolation is Isolation.INLINE:
        why = why_not_inline(profile.facts.runtime, profile)
        return because("inline") if why is None else because("not_inline", why=why)
    if model.isolation is not Isolation.AUTO:
        return because("isolation", isolation=str(model.isolation))
    if model.alone is not None:
        return because("alone", why=model.alone)
    if trust_of(profile.facts) is Trust.CODE:
        return because("code", runtime=profile.facts.runtime or "")
    if (size := _added_bytes(profile)) > SMALL_BYTES:
        return because("large", bytes=size, most_bytes=SMALL_BYTES)
    call_s = profile.curve.p95_s(1)
    if call_s > SMALL_CALL_S:
        return because("slow", call_s=call_s, most_s=SMALL_CALL_S)
    busy, hosted = busy_share(model), any(r.host for r in model.replicas)
    if busy > (HOT if hosted else COOL):
        return because("hot", busy=busy)
    return None


def _added_bytes(profile: ModelProfile) -> int:
    """As measured; estimates are careful, so for those the bytes of the weights have to speak."""
    memory = profile.memory
    estimated = profile.source is Source.ESTIMATED
    return memory.mapped_bytes + (hosted_bytes(profile) if estimated else memory.replica_bytes - memory.base_bytes)


def busy_share(model: ModelView) -> float:
    """Share of a core that each replica is expected to keep busy."""
    demand = model.demand
    rate = max(demand.burst_per_s, demand.stable_per_s)
    living = sum(r.state in LIVING for r in model.replicas) if rate else 0
    return rate * max(demand.rows_per_request, 1.0) * model.profile.curve.p50_s(1) / max(living, 1)


def why_share(view: FleetView, alone: Mapping[str, Reason]) -> Reason | None:
    """Counted and weighed as if every small replica had a process of its own, so that sharing does not disprove its
    own reason."""
    small, own_bytes, charged = 0, 0, view.machine.overhead_bytes
    hosted = False
    for model in view.models:
        if not model.replicas and not is_wanted(model):
            continue
        living = sum(r.state in LIVING and not r.replaces for r in model.replicas) or int(is_wanted(model))
        if model.name in alone:
            charged += sum(replica_bytes(model, r) for r in model.replicas)
            continue
        small += living
        own_bytes += living * model.profile.memory.replica_bytes
        hosted = hosted or any(r.host for r in model.replicas)
    if small > (FEW if hosted else OWN_PROCESSES):
        return because("many", small=small, most=OWN_PROCESSES)
    budget = view.machine.memory_bytes
    if small > 1 and charged + own_bytes > (RELIEF if hosted else PRESSURE) * budget:
        return because("pressure", small=small, need_bytes=charged + own_bytes, have_bytes=budget)
    return None


def is_wanted(model: ModelView) -> bool:
    demand = model.demand
    return bool(demand.held or demand.queued or model.policy.min_replicas or model.pinned)
