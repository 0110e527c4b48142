"""Configuration of the Kubernetes HorizontalPodAutoscaler v2, with its published defaults.

Source of every default, unless said otherwise: kube-controller-manager flags and the autoscaling/v2 API defaulting.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from sizewise.core.policies.base import Signal, require, require_bounds


class HpaKind(StrEnum):
    """How a metric becomes a number of replicas."""

    CPU = "cpu"
    """Resource: busy cores as a share of the cores requested, with the rules for replicas that only just started."""
    REPLICA_AVERAGE = "replica_average"
    """Pods: mean concurrency of the replicas that report it."""
    EXTERNAL_VALUE = "external_value"
    """Object or external ``Value``: the ratio multiplies the *ready* replicas."""
    EXTERNAL_AVERAGE = "external_average"
    """Object or external ``AverageValue``: the metric divided by the target, whatever runs now."""


class Select(StrEnum):
    """Which of several change limits binds."""

    LARGEST = "max"
    SMALLEST = "min"
    DISABLED = "disabled"
    """No change in this direction at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaMetric:
    """One metric and its target."""

    kind: HpaKind = HpaKind.CPU
    target: float = 0.8
    """CPU: share of the request, 0 to 1 (0.8 when no metric is given). Otherwise in units of the signal."""
    signal: Signal = Signal.CONCURRENCY
    """What an external metric carries; the other kinds do not read it."""

    def __post_init__(self) -> None:
        require(self, least=1e-9, target=self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLimit:
    """How much may change within a period."""

    replicas: int | None = None
    """Replicas per period; None when ``share`` is set."""
    share: float | None = None
    """Share of the replicas at the start of the period, 1.0 doubles; None when ``replicas`` is set."""
    period_s: float = 15.0

    def __post_init__(self) -> None:
        if (self.replicas is None) == (self.share is None):
            raise ValueError("ChangeLimit takes one of replicas and share")
        require(self, least=0, replicas=self.replicas, share=self.share)
        require(self, least=1, most=1800, period_s=self.period_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Rules for one direction of scaling."""

    window_s: float = 0.0
    """Stabilization window: the least change of those recommended in it is made."""
    limits: tuple[ChangeLimit, ...] = (ChangeLimit(replicas=4), ChangeLimit(share=1.0))
    select: Select = Select.LARGEST

    def __post_init__(self) -> None:
        require(self, least=0, most=3600, window_s=self.window_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """The ``behavior`` section, with the defaults it gets once it is present."""

    up: Direction = Direction()
    down: Direction = field(default_factory=lambda: Direction(window_s=300.0, limits=(ChangeLimit(share=1.0),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaConfig:
    """One HorizontalPodAutoscaler, and the controller's flags that bear on it."""

    metrics: tuple[HpaMetric, ...] = (HpaMetric(),)
    """The largest proposal wins. CPU at 80 % is what the API fills in."""
    min_replicas: int = 1
    """0 needs a feature gate and an external metric."""
    max_replicas: int = 100
    """The API has no default; 100 leaves the rule alone to decide."""
    tolerance_up: float = 0.1
    """Ratio above 1 that is not acted on."""
    tolerance_down: float = 0.1
    """Ratio below 1 that is not acted on."""
    stabilization_s: float = 300.0
    """Without ``behavior``: the highest recommendation of this window wins."""
    cpu_initialization_s: float = 300.0
    """CPU only: replicas younger than this are judged strictly."""
    initial_readiness_s: float = 30.0
    """CPU only: an older replica counts as never ready when readiness last changed within this of its start."""
    sample_window_s: float = 15.0
    """CPU only: the time one sample covers. Source: the manifests of metrics-server (metric-resolution)."""
    request_cores: float = 1.0
    """Cores that each replica requests."""
    behavior: Behavior | None = None
    """None: the older rule, at most the larger of twice the replicas and 4 per sync."""
    interval_s: float = 15.0
    """Seconds between syncs."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=0, most=1, tolerance_down=self.tolerance_down)
        require(self, least=0, tolerance_up=self.tolerance_up, stabilization_s=self.stabilization_s)
        require(self, least=1e-9, request_cores=self.request_cores, interval_s=self.interval_s)
        if not self.metrics:
            raise ValueError("HpaConfig.metrics is empty: name at least one")
