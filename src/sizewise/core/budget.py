"""Bytes: what each model is charged, what fits, and when a replica has grown beyond what was measured."""

from dataclasses import dataclass

from sizewise.core.fleet import MachineView, ModelView, ReplicaState, ReplicaView
from sizewise.core.profiles import ModelProfile, Source
from sizewise.core.units import MIB

OVERWEIGHT = 1.5
"""A replica may pass its measured peak by half."""

OVERWEIGHT_LEAST_BYTES = 64 * MIB
"""Half of a very small peak is within an allocator's noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why one replica can never run on a machine."""

    need_bytes: int
    """Overhead included."""
    have_bytes: int


def fits(machine: MachineView, profile: ModelProfile) -> Refusal | None:
    """None when one replica alone would fit into the machine's budget; the numbers when it would not."""
    need = machine.overhead_bytes + profile.memory.replica_bytes + profile.memory.mapped_bytes
    return Refusal(need_bytes=need, have_bytes=machine.memory_bytes) if need > machine.memory_bytes else None


def overweight(profile: ModelProfile, memory_bytes: int) -> bool:
    """Whether a replica must be ended because it passes its measured peak by half, 64 MiB at least.

    ``profile`` is the measured one, not the effective one: live figures follow a leak and would excuse it. An estimate
    is no measurement and condemns nobody.
    """
    if profile.source is Source.ESTIMATED:
        return False
    known = profile.memory.replica_bytes
    return memory_bytes > max(OVERWEIGHT * known, known + OVERWEIGHT_LEAST_BYTES)


def profile_of(model: ModelView, version: str) -> ModelProfile:
    """The profile of one version of the model; of versions that are going, the current one stands in."""
    if version == model.candidate and model.candidate_profile is not None:
        return model.candidate_profile
    return model.profile


def replica_bytes(model: ModelView, replica: ReplicaView) -> int:
    """Private bytes reserved for a replica: what it has, and what it is expected to need while it serves."""
    seen = max(replica.memory_bytes, 0)
    if replica.state is ReplicaState.FAILED:
        return seen
    if replica.host and seen:
        return seen  # what it added to the process that it shares was measured; the rest is charged to nobody's model
    return max(seen, profile_of(model, replica.version).memory.replica_bytes)


def mapped_bytes(model: ModelView, version: str) -> int:
    """Weights shared by all replicas of one version, charged once."""
    known = profile_of(model, version).memory.mapped_bytes
    return max(model.mapped_bytes, known) if version == model.version else known


def reserved_bytes(model: ModelView, gone: frozenset[str] = frozenset()) -> int:
    """Charged for all replicas but ``gone``: loading and draining ones too, shared weights once per version."""
    total = 0
    versions: list[str] = []
    for replica in model.replicas:
        if replica.replica_id in gone:
            continue
        total += replica_bytes(model, replica)
        if replica.version not in versions and replica.state is not ReplicaState.FAILED:
            versions.append(replica.version)
            total += mapped_bytes(model, replica.version)
    return total


def used_bytes(model: ModelView) -> int:
    """What the replicas really occupy now, as far as it was read."""
    if not model.replicas:
        return 0
    return sum(max(0, r.memory_bytes) for r in model.replicas) + max(0, model.mapped_bytes)
