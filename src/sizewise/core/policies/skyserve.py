"""SkyServe's request-rate autoscaler.

Source: SkyPilot 0.14.1, sky/serve/autoscalers.py (RequestRateAutoscaler). Loading replicas count as supply, and the
rate does not grow with a backlog; the delays are the same for models that load in a second and in minutes.
"""

import math
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, Step, clip, require, require_bounds
from sizewise.core.policies.windows import EMPTY, Window, record, total
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyServeConfig:
    """A service's ``replica_policy``."""

    target_per_s: float = 1.0
    """Requests per second of one replica (``target_qps_per_replica``). It must be set; 1 is the examples' value."""
    min_replicas: int = 1
    """Fewest replicas; 0 permits zero, and requests then fail until one is up."""
    max_replicas: int = 100
    """Must be set to scale at all; 100 leaves the rule alone to decide."""
    window_s: float = 60.0
    """Requests of this time make the rate."""
    upscale_delay_s: float = 300.0
    """Becomes whole ticks of ``interval_s``: 15."""
    downscale_delay_s: float = 1200.0
    """Becomes whole ticks of ``interval_s``: 60."""
    overprovision: int = 0
    """Replicas on top of the target (``num_overprovision``)."""
    interval_s: float = 20.0
    """Seconds between decisions."""
    interval_at_zero_s: float = 5.0
    """Seconds between decisions while the target is 0."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=0, upscale_delay_s=self.upscale_delay_s, downscale_delay_s=self.downscale_delay_s)
        require(self, least=1e-9, target_per_s=self.target_per_s, window_s=self.window_s, interval_s=self.interval_s)
        require(self, least=0, overprovision=self.overprovision)


@dataclass(frozen=True, slots=True)
class SkyServeState:
    """The target, and how many ticks in a row wished to leave it."""

    target: int
    ups: int = 0
    downs: int = 0
    arrivals: Window = EMPTY


def skyserve_start(config: SkyServeConfig, observation: Observation) -> SkyServeState:
    """A fresh service begins at what it finds, within its bounds."""
    found = observation.spec - config.overprovision
    return SkyServeState(target=clip(found, config.min_replicas, config.max_replicas))


def skyserve_interval_s(config: SkyServeConfig, state: SkyServeState) -> float:
    """It looks more often while there is nothing."""
    return config.interval_at_zero_s if state.target == 0 else config.interval_s


def skyserve_step(config: SkyServeConfig, observation: Observation, state: SkyServeState) -> Step[SkyServeState]:
    """One decision: the rate's wish, applied after enough equal-minded ticks."""
    sample = (observation.now_s, observation.period_s, observation.rate_per_s)
    arrivals = record(state.arrivals, sample, keep_s=config.window_s)
    # Requests are counted whole: what floating point leaves of one is none
    requests = round(total(arrivals, observation.now_s, config.window_s), 6)
    rate = requests / config.window_s
    wish = clip(math.ceil(rate / config.target_per_s), config.min_replicas, config.max_replicas)
    target, ups, downs = hysteresis(config, state, wish)
    reason = because("skyserve", rate_per_s=rate, wish=wish, target=target, ups=ups, downs=downs)
    return Step(target + config.overprovision, SkyServeState(target, ups, downs, arrivals), reason)


def hysteresis(config: SkyServeConfig, state: SkyServeState, wish: int) -> tuple[int, int, int]:
    """Target and both counters after one more wish. From a target of 0 it leaves at once."""
    if state.target == 0:
        return wish, state.ups, state.downs
    if wish > state.target:
        ups = state.ups + 1
        return (wish, 0, 0) if ups >= int(config.upscale_delay_s / config.interval_s) else (state.target, ups, 0)
    if wish < state.target:
        downs = state.downs + 1
        return (wish, 0, 0) if downs >= int(config.downscale_delay_s / config.interval_s) else (state.target, 0, downs)
    return state.target, 0, 0
