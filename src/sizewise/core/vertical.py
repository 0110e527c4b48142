"""More threads for each replica, or more replicas: what either costs at the same SLO.

Cost is the larger of two shares of the machine, memory held and cores kept busy: the one that runs out first (dominant
share, Ghodsi et al. 2011). Source of the comparison: vertical before horizontal, reference design, section 2.1.
"""

from dataclasses import dataclass, replace

from sizewise.core.fleet import MachineView
from sizewise.core.profiles import LatencyCurve, ModelProfile
from sizewise.core.sizing import capacity_of, replicas_for
from sizewise.core.slo import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """So many replicas of so many threads each, for one rate at one SLO."""

    threads: int
    replicas: int
    memory_share: float
    cpu_share: float
    meets: bool
    """One call meets the SLO, and the cores suffice."""

    @property
    def cost(self) -> float:
        return max(self.memory_share, self.cpu_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the shapes are for."""

    rate_per_s: float
    slo: Slo | None
    rows_per_request: float
    most: int
    """Replicas that the user allows."""


def shapes_of(profile: ModelProfile, ask: Ask, machine: MachineView) -> tuple[Shape, ...]:
    """One for each number of threads that was measured, the profile's own first."""
    measured = ((profile.threads, profile.curve), *((other.threads, other.curve) for other in profile.other_threads))
    return tuple(_shape(profile, curve, threads, ask=ask, machine=machine) for threads, curve in measured)


def _shape(profile: ModelProfile, curve: LatencyCurve, threads: int, *, ask: Ask, machine: MachineView) -> Shape:
    shaped = profile if threads == profile.threads else replace(profile, curve=curve, threads=threads)
    capacity = capacity_of(shaped, ask.slo, ask.rows_per_request)
    replicas = max(1, replicas_for(capacity, ask.rate_per_s, limit=ask.most + 1))
    memory = profile.memory
    held = replicas * memory.replica_bytes + memory.mapped_bytes
    busy = min(replicas, ask.rate_per_s / capacity.per_s) * threads
    reachable = ask.slo is None or capacity.slack_s > 0
    return Shape(
        threads=threads,
        replicas=replicas,
        memory_share=held / max(machine.memory_bytes, 1),
        cpu_share=busy / machine.cpus,
        meets=reachable and replicas <= ask.most and busy <= machine.cpus,
    )
