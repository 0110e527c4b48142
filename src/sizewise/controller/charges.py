"""What memory is charged to whom."""

from collections.abc import Iterable

from sizewise.protocols.backend import ReplicaObserved, Snapshot, WarmObserved

MODEL_ROLES = frozenset({"replica", "command"})
"""Processes whose memory is charged to their model; that of all others is overhead."""


def overhead_bytes(snapshot: Snapshot) -> int:
    """Memory of gateway, keeper, warm parents and controller."""
    return sum(p.memory_bytes for p in snapshot.processes if p.role not in MODEL_ROLES)


def charged_bytes(replicas: Iterable[ReplicaObserved], warm: Iterable[WarmObserved] = ()) -> int:
    """Private bytes of all, and the mapped weights of each version once, whoever has them mapped."""
    private, mapped = 0, {held.version: held.bytes for held in warm}
    for replica in replicas:
        private += replica.memory_bytes
        mapped[replica.version] = max(mapped.get(replica.version, 0), replica.mapped_bytes)
    return private + sum(mapped.values())
