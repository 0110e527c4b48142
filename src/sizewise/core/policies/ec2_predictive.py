"""EC2 predictive scaling on top of target tracking: an hourly forecast sets a floor, tracking does the rest.

Source: AWS documentation of predictive scaling. The forecaster is not published; taken here is the mean of the same
hour of the week, or of the day until a week is known, over at most 14 days. A forecast only ever scales out.
"""

import math
from dataclasses import dataclass, field, replace

from sizewise.core.policies.base import Observation, Step, clip, require
from sizewise.core.policies.target_tracking import (
    Tracked,
    TrackingConfig,
    TrackingState,
    tracking_start,
    tracking_step,
)
from sizewise.core.reasons import because

HOUR_S = 3600.0
DAY = 24
WEEK = 168


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictiveConfig:
    """A predictive policy and the dynamic one beside it."""

    tracking: TrackingConfig = field(default_factory=lambda: TrackingConfig(tracked=Tracked.UTILIZATION, target=0.5))
    """Target tracking, whose target the forecast shares. 50 % CPU is the documented example."""
    history: tuple[float, ...] = ()
    """Load of past hours, oldest first, the last one ending when the autoscaler starts; in replicas x tracked unit."""
    least_hours: int = 24
    """No forecast before this much history."""
    most_hours: int = 336
    """Older hours are forgotten: 14 days."""
    buffer_s: float = 300.0
    """A floor is in force this long before its hour (SchedulingBufferTime), whatever a start takes."""

    def __post_init__(self) -> None:
        require(self, least=1, most=self.most_hours, least_hours=self.least_hours)
        require(self, least=0, most=HOUR_S, buffer_s=self.buffer_s)


@dataclass(frozen=True, slots=True)
class PredictiveState:
    """History by the hour, the hour being gathered, and the state of tracking."""

    tracking: TrackingState
    hours: tuple[float, ...]
    begun_s: float
    gathered: float = 0.0
    """Load x seconds of the hour so far."""


def predictive_start(config: PredictiveConfig, observation: Observation) -> PredictiveState:
    """Begins an hour now."""
    hours = config.history[-config.most_hours :]
    return PredictiveState(tracking_start(config.tracking, observation), hours, observation.now_s)


def predictive_interval_s(config: PredictiveConfig, state: PredictiveState) -> float:  # noqa: ARG001 - the common form
    """One datapoint of tracking."""
    return config.tracking.period_s


def predictive_step(
    config: PredictiveConfig, observation: Observation, state: PredictiveState
) -> Step[PredictiveState]:
    """The larger of what tracking and what the forecast for now and soon ask for."""
    state = _gathered(config, observation, state)
    tracked = tracking_step(config.tracking, observation, state.tracking)
    soon = observation.now_s - state.begun_s >= HOUR_S - config.buffer_s
    load = max([forecast(config, state.hours, ahead) for ahead in ((0, 1) if soon else (0,))])
    tracking = config.tracking
    floor = clip(math.ceil(load / tracking.target), tracking.min_replicas, tracking.max_replicas)
    after = replace(state, tracking=tracked.state)
    if floor > tracked.desired:
        return Step(floor, after, because("forecast", load=load, replicas=floor))
    return Step(tracked.desired, after, tracked.reason)


def forecast(config: PredictiveConfig, hours: tuple[float, ...], ahead: int) -> float:
    """Load of the hour that begins ``ahead`` hours from the end of ``hours``; 0 while the history is too short."""
    if len(hours) < config.least_hours:
        return 0.0
    season = WEEK if len(hours) >= WEEK else DAY
    known = hours[len(hours) + ahead - season :: -season] if len(hours) + ahead >= season else ()
    return sum(known) / len(known) if known else 0.0


def _gathered(config: PredictiveConfig, observation: Observation, state: PredictiveState) -> PredictiveState:
    kind = config.tracking.tracked
    if kind is Tracked.INVOCATIONS:
        added = observation.arrivals * 60.0
    elif kind is Tracked.CONCURRENCY:
        added = observation.concurrency * observation.period_s
    else:
        added = (observation.utilization or 0.0) * observation.ready * observation.period_s
    gathered, begun_s, hours = state.gathered + added, state.begun_s, state.hours
    if observation.now_s - begun_s >= HOUR_S:
        hours = (*hours, gathered / (observation.now_s - begun_s))[-config.most_hours :]
        gathered, begun_s = 0.0, begun_s + HOUR_S * math.floor((observation.now_s - begun_s) / HOUR_S)
    return replace(state, hours=hours, begun_s=begun_s, gathered=gathered)
