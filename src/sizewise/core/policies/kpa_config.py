"""Configuration and state of the Knative pod autoscaler, with its published defaults.

Source of every default: knative/serving 98e5ef9, config-autoscaler.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from sizewise.core.policies.base import require, require_bounds
from sizewise.core.policies.windows import EMPTY, Window


class Aggregation(StrEnum):
    """How the samples of a window become one figure."""

    LINEAR = "linear"
    """Every second weighs the same."""
    WEIGHTED_EXPONENTIAL = "weighted_exponential"
    """The newest second weighs most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaConfig:
    """One revision's autoscaling annotations over the defaults of the cluster."""

    metric_is_rate: bool = False
    """Scale on requests per second instead of concurrency."""
    container_concurrency: int = 0
    """Most requests one replica takes at once; 0: unlimited, and ``default_total`` is its capacity."""
    target: float | None = None
    """The annotation: concurrency or requests per second of one replica before utilization; None: the defaults."""
    default_total: float = 100.0
    """Capacity of a replica without limit (container-concurrency-target-default)."""
    default_rate_per_s: float = 200.0
    """Requests per second of a replica, before utilization (requests-per-second-target-default)."""
    target_utilization: float = 0.7
    """Share of capacity aimed at, for concurrency and rate alike."""
    stable_window_s: float = 60.0
    """6 s to an hour are allowed."""
    panic_window_share: float = 0.1
    """Panic window as a share of the stable one: 6 s, at least 1."""
    panic_threshold: float = 2.0
    """Wish of the panic window over ready replicas from which it panics."""
    max_scale_up_rate: float = 1000.0
    """Factor on the ready replicas per decision."""
    max_scale_down_rate: float = 2.0
    """Divisor of the ready replicas per decision."""
    min_replicas: int = 0
    """Fewest replicas; 0 permits zero."""
    max_replicas: int | None = None
    """None: unlimited, which Knative writes as 0."""
    initial_scale: int = 1
    """Replicas that a new revision must reach once."""
    activation_scale: int = 1
    """Replicas at least when there is any demand; 1: not set."""
    scale_down_delay_s: float = 0.0
    """The highest wish of this time wins; 0: off."""
    enable_scale_to_zero: bool = True
    """Whether the last replica may go."""
    grace_s: float = 30.0
    """Time for the activator to get into the path before the last replica goes."""
    retention_s: float = 0.0
    """The last replica stays at least this long after it became inactive."""
    progress_deadline_s: float = 600.0
    """A replica that is not ready by then, and 30 s more, is given up: scaled to zero however it is loading."""
    target_burst: float = 211.0
    """Requests that could come at once (target-burst-capacity); decides how early the activator is in the path.
    0: only at zero replicas; -1: always."""
    aggregation: Aggregation = Aggregation.LINEAR
    """How a window is averaged."""
    interval_s: float = 2.0
    """Seconds between decisions."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=6, most=3600, stable_window_s=self.stable_window_s)
        require(self, least=0.01, most=1, target_utilization=self.target_utilization)
        require(self, least=0.01, most=1, panic_window_share=self.panic_window_share)
        require(self, least=1.1, most=10, panic_threshold=self.panic_threshold)
        require(self, least=0.01, target=self.target, interval_s=self.interval_s)
        require(self, least=1.01, max_scale_up_rate=self.max_scale_up_rate)
        require(self, least=1.01, max_scale_down_rate=self.max_scale_down_rate)
        require(self, least=0, container_concurrency=self.container_concurrency, grace_s=self.grace_s)
        require(self, least=-1, target_burst=self.target_burst)

    @property
    def total(self) -> float:
        """What one replica holds, before utilization."""
        if self.metric_is_rate:
            return self.default_rate_per_s if self.target is None else self.target
        if self.target is None:
            return float(self.container_concurrency or self.default_total)
        return min(self.target, self.container_concurrency or math.inf)

    @property
    def per_replica(self) -> float:
        """What one replica is aimed at."""
        return max(0.01, self.total * self.target_utilization)

    @property
    def panic_window_s(self) -> float:
        """Whole seconds, at least 1."""
        return max(1.0, math.floor(self.stable_window_s * self.panic_window_share + 0.5))


class Phase(StrEnum):
    """Where a revision is on its way to zero and back."""

    ACTIVATING = "activating"
    """Wanted, and too few are ready."""
    ACTIVE = "active"
    INACTIVE = "inactive"
    """Not wanted; its replicas may still be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaState:
    """What the decider and the reconciler remember of one revision."""

    load: Window = EMPTY
    panic_s: float | None = None
    """When the panic threshold was last exceeded; None: no panic."""
    panic_replicas: int = 0
    """Most wished since the panic began."""
    wishes: tuple[tuple[float, int], ...] = ()
    """(when, how many) within the scale-down delay."""
    phase: Phase = Phase.ACTIVATING
    phase_s: float = 0.0
    """When the phase began."""
    proxy_s: float | None = None
    """Since when the activator is in the path; None: it is not."""
    started: bool = False
    """The initial scale was reached once."""
