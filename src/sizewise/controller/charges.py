"""What memory is charged to whom."""

from collections.abc import Iterable

from sizewise.protocols.backend import ReplicaObserved, Snapshot, WarmObserved

MODEL_ROLES = frozenset({"replica", "command", "host"})
"""Processes whose memory is charged to models; that of all others is overhead."""


def overhead_bytes(snapshot: Snapshot) -> int:
    """Memory of gateway, keeper, warm parents and controller, and what hosts take besides their replicas."""
    hosted = sum(r.memory_bytes for r in snapshot.replicas if r.host)
    shared = max(0, sum(host.memory_bytes for host in snapshot.hosts) - hosted)
    return shared + sum(p.memory_bytes for p in snapshot.processes if p.role not in MODEL_ROLES)


def charged_bytes(replicas: Iterable[ReplicaObserved], warm: Iterable[WarmObserved] = ()) -> int:
    """Private bytes of all, and the mapped weights of each version once, whoever has them mapped."""
    private, mapped = 0, {held.version: held.bytes for held in warm}
    for replica in replicas:
        private += replica.memory_bytes
        mapped[replica.version] = max(mapped.get(replica.version, 0), replica.mapped_bytes)
    return private + sum(mapped.values())
