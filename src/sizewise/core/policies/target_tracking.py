"""Target tracking of AWS Application Auto Scaling (SageMaker variants) and EC2 Auto Scaling.

Source: AWS documentation, and the alarms that a policy really creates (re:Post QUf450Wsd9RROGGOIwaolN9w): above the
target in 3 of 3 minutes, or below 0.9 of it in 15 of 15. The step inside is not published; taken here is the accepted
model, proportional in both directions and rounded up.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from sizewise.core.policies.base import Observation, Step, clip, require, require_bounds
from sizewise.core.reasons import because


class Tracked(StrEnum):
    """The figure of one machine that is held at the target."""

    INVOCATIONS = "invocations"
    """Requests per minute (SageMakerVariantInvocationsPerInstance)."""
    CONCURRENCY = "concurrency"
    """Requests in flight (ConcurrentRequestsPerModel); published every 10 s, see ``period_s``."""
    UTILIZATION = "utilization"
    """Busy share, 0 to 1 (ASGAverageCPUUtilization)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig:
    """One target-tracking policy with the two alarms it makes."""

    tracked: Tracked = Tracked.INVOCATIONS
    """The figure that is held at ``target``."""
    target: float = 70.0
    """Per replica, in the unit of ``tracked``. It must be set; 70 invocations per minute is the documented example."""
    min_replicas: int = 1
    """Fewest replicas; 0 would need a step policy besides to come back."""
    max_replicas: int = 100
    """Must be set; 100 leaves the rule alone to decide."""
    period_s: float = 60.0
    """Time that one datapoint covers: 60, or 10 for the high-resolution metrics."""
    lag_s: float = 60.0
    """Age at which a datapoint becomes visible. Documented as one to two minutes with the period; taken here: one."""
    high_points: int = 3
    """Datapoints in a row above the target for a scale-out."""
    low_points: int = 15
    """Datapoints in a row below ``low_share`` of the target for a scale-in."""
    low_share: float = 0.9
    """Share of the target below which the low alarm counts: as the created alarms show it."""
    scale_out_cooldown_s: float = 300.0
    """After a scale-out, what it added counts as there: only what is needed beyond it is added."""
    scale_in_cooldown_s: float = 300.0
    """After a scale-in, none follows; a scale-out always may."""
    zero_is_missing: bool = False
    """Whether a period without requests gives no datapoint, which stops scale-in. Reports differ. Off: counts as 0."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=1e-9, target=self.target, period_s=self.period_s)
        require(self, least=0, lag_s=self.lag_s, low_share=self.low_share)
        require(self, least=1, high_points=self.high_points, low_points=self.low_points)
        require(self, least=0, scale_out_cooldown_s=self.scale_out_cooldown_s)
        require(self, least=0, scale_in_cooldown_s=self.scale_in_cooldown_s)


Point = tuple[float, float | None]
"""(end of the period, value of one replica); None: no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingState:
    """Datapoints, the one being gathered, and the last changes."""

    points: tuple[Point, ...] = ()
    begun_s: float = 0.0
    """When the period being gathered began."""
    gathered: float = 0.0
    """Requests in it, or value x seconds."""
    arrived: float = 0.0
    """Requests in it."""
    out_s: float = -math.inf
    """When it last scaled out."""
    out_from: int = 0
    """Replicas before the scale-outs of the present cooldown."""
    in_s: float = -math.inf
    """When it last scaled in."""
    judged_s: float = -math.inf
    """End of the newest datapoint acted on: each is judged once."""


def tracking_start(config: TrackingConfig, observation: Observation) -> TrackingState:  # noqa: ARG001 - the common form
    """Alarms without data."""
    return TrackingState(begun_s=observation.now_s)


def tracking_interval_s(config: TrackingConfig, state: TrackingState) -> float:  # noqa: ARG001 - the common form
    """One datapoint."""
    return config.period_s


def tracking_step(config: TrackingConfig, observation: Observation, state: TrackingState) -> Step[TrackingState]:
    """Gathers, and judges the alarms whenever a new datapoint has become visible."""
    now_s, cur = observation.now_s, observation.spec
    state = _gathered(config, observation, state)
    visible = [point for point in state.points if point[0] + config.lag_s <= now_s]
    bounded = clip(cur, config.min_replicas, config.max_replicas)
    if not visible or visible[-1][0] <= state.judged_s or bounded != cur:
        return Step(bounded, state, because("tracking_waits"))
    state = replace(state, judged_s=visible[-1][0])
    latest = visible[-1][1]
    highs = [value is not None and value > config.target for _, value in visible[-config.high_points :]]
    if latest is not None and len(highs) == config.high_points and all(highs):
        return _out(config, observation, state, latest=latest)
    lows = [
        value is not None and value < config.low_share * config.target for _, value in visible[-config.low_points :]
    ]
    if latest is not None and len(lows) == config.low_points and all(lows):
        return _in(config, observation, state, latest=latest)
    return Step(cur, state, because("tracking_quiet"))


def _gathered(config: TrackingConfig, observation: Observation, state: TrackingState) -> TrackingState:
    value = observation.arrivals
    if config.tracked is Tracked.CONCURRENCY:
        value = observation.concurrency * observation.period_s
    elif config.tracked is Tracked.UTILIZATION:
        value = (observation.utilization or 0.0) * observation.period_s
    gathered, arrived = state.gathered + value, state.arrived + observation.arrivals
    elapsed_s = observation.now_s - state.begun_s
    if elapsed_s < config.period_s:
        return replace(state, gathered=gathered, arrived=arrived)
    missing = config.zero_is_missing and arrived == 0
    point = (observation.now_s, None if missing else _per_replica(config, observation, gathered, elapsed_s=elapsed_s))
    points = (*state.points, point)[-config.low_points - math.ceil(config.lag_s / config.period_s) - 1 :]
    return replace(state, points=points, begun_s=observation.now_s, gathered=0.0, arrived=0.0)


def _per_replica(
    config: TrackingConfig, observation: Observation, gathered: float, *, elapsed_s: float
) -> float | None:
    if config.tracked is Tracked.UTILIZATION:
        return gathered / elapsed_s if observation.ready else None
    unit_s = 60.0 if config.tracked is Tracked.INVOCATIONS else 1.0
    return gathered * unit_s / elapsed_s / max(1, observation.ready)


def _out(
    config: TrackingConfig, observation: Observation, state: TrackingState, *, latest: float
) -> Step[TrackingState]:
    now_s, cur = observation.now_s, observation.spec
    cooling = now_s - state.out_s < config.scale_out_cooldown_s
    base = state.out_from if cooling else cur
    wish = clip(math.ceil(base * latest / config.target), config.min_replicas, config.max_replicas)
    reason = because("tracking_out", value=latest, wish=wish, base=base)
    if wish <= cur:
        return Step(cur, state, reason)
    return Step(wish, replace(state, out_s=now_s, out_from=base), reason)


def _in(
    config: TrackingConfig, observation: Observation, state: TrackingState, *, latest: float
) -> Step[TrackingState]:
    now_s, cur = observation.now_s, observation.spec
    if now_s - state.in_s < config.scale_in_cooldown_s:
        return Step(cur, state, because("tracking_cooldown", left_s=state.in_s + config.scale_in_cooldown_s - now_s))
    # Rounded up: the level after it would still be within the target
    wish = min(cur, clip(math.ceil(cur * latest / config.target), config.min_replicas, config.max_replicas))
    after = replace(state, in_s=now_s) if wish < cur else state
    return Step(wish, after, because("tracking_in", value=latest, wish=wish))
