"""llm-d's workload-variant autoscaler, token capacity (V2), for one variant of a model.

Source: llm-d-workload-variant-autoscaler b08b1c7 (February 2026). It counts replicas that load as supply, so it sizes
right for present demand, and has no lead. Concurrency stands for tokens; the result is applied through an HPA, of
which only the advised stabilization of 240 s on the way down is kept.
"""

import math
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, Step, clip, require, require_bounds
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True, kw_only=True)
class WvaConfig:
    """Thresholds of the saturation engine."""

    capacity: float = 64.0
    """Requests in flight (tokens, in the original) that one replica holds. Measured; 64 is our stand-in."""
    scale_up_threshold: float = 0.85
    """Share of capacity that demand may fill."""
    scale_down_boundary: float = 0.70
    """Share of capacity below which replicas are spare."""
    min_replicas: int = 0
    """Fewest replicas; 0 permits zero."""
    max_replicas: int = 100
    """Devices of the accelerator type; 100 leaves the rule alone to decide."""
    retention_s: float = 600.0
    """Without a request for this long it goes to zero."""
    stabilization_s: float = 240.0
    """The highest result of this time wins, as the documents advise for the HPA behind it."""
    interval_s: float = 15.0
    """Seconds between decisions."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=1e-9, capacity=self.capacity, interval_s=self.interval_s)
        require(self, least=0.01, most=1, scale_up_threshold=self.scale_up_threshold)
        require(self, least=0.01, most=1, scale_down_boundary=self.scale_down_boundary)
        require(self, least=0, retention_s=self.retention_s, stabilization_s=self.stabilization_s)


@dataclass(frozen=True, slots=True)
class WvaState:
    """When there last was a request, and results of late."""

    used_s: float
    recommended: tuple[tuple[float, int], ...] = ()


def wva_start(config: WvaConfig, observation: Observation) -> WvaState:  # noqa: ARG001 - every start has this form
    """As if it had just been used."""
    return WvaState(observation.now_s)


def wva_interval_s(config: WvaConfig, state: WvaState) -> float:  # noqa: ARG001 - every interval has this form
    """Fixed; what scales from zero looks ten times a second."""
    return config.interval_s


def wva_step(config: WvaConfig, observation: Observation, state: WvaState) -> Step[WvaState]:
    """One pass: idle to zero, a queue at zero to one, otherwise by capacity."""
    now_s = observation.now_s
    used = observation.arrivals > 0 or observation.concurrency > 0 or observation.queued > 0
    used_s = now_s if used else state.used_s
    if observation.live == 0 and observation.spec == 0:
        wish = 1 if used else 0
    else:
        wish = observation.spec + change(config, observation)
    idle = now_s - used_s >= config.retention_s
    wish = clip(0 if idle else max(wish, 1 if observation.spec else wish), config.min_replicas, config.max_replicas)
    kept = () if idle else tuple(m for m in state.recommended if m[0] > now_s - config.stabilization_s)
    recommended = (*kept, (now_s, wish))
    desired = wish if wish >= observation.spec or idle else min(observation.spec, max(n for _, n in recommended))
    return Step(desired, WvaState(used_s, recommended), because("wva", wish=wish, demand=observation.concurrency))


def change(config: WvaConfig, observation: Observation) -> int:
    """Replicas to add (required capacity, rounded up) or to take away (spare capacity, rounded down)."""
    demand, capacity = observation.concurrency, config.capacity
    required = demand / config.scale_up_threshold - observation.live * capacity
    if required > 0:
        return math.ceil(required / capacity)
    spare = observation.ready * capacity - demand / config.scale_down_boundary
    return -math.floor(spare / capacity) if spare > 0 else 0
