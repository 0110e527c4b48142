"""Ray Serve's default autoscaling policy.

Source: ray 2.60.0, python/ray/serve/autoscaling_policy.py and _private/autoscaling_state.py. Loading replicas are not
counted, so the queue that builds up while they load raises the wish again every upscale delay until the maximum.
"""

import math
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, Step, clip, require, require_bounds
from sizewise.core.policies.windows import EMPTY, Window, mean, record
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True, kw_only=True)
class RayServeConfig:
    """A deployment's ``autoscaling_config``."""

    target_ongoing_requests: float = 2.0
    """Requests in flight that one replica is meant to have."""
    min_replicas: int = 1
    """Fewest replicas; 0 permits zero."""
    max_replicas: int = 100
    """1 in the class, 100 for ``num_replicas="auto"``; with 1 nothing would scale."""
    upscale_delay_s: float = 30.0
    """A wish for more must last this long."""
    downscale_delay_s: float = 600.0
    """A wish for fewer must last this long."""
    downscale_to_zero_delay_s: float | None = None
    """The same for the last replica; None: ``downscale_delay_s``."""
    upscaling_factor: float = 1.0
    """Share of a wished increase that is made."""
    downscaling_factor: float = 1.0
    """Share of a wished decrease that is made."""
    look_back_s: float = 30.0
    """Requests in flight are averaged over this time."""
    metrics_interval_s: float = 10.0
    """Metrics reach the controller this often: a wish rests on data up to this old."""
    interval_s: float = 2.0
    """Seconds between steps. The control loop runs every 0.1 s on data recorded every 2 s: more would see no more."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=1e-9, target_ongoing_requests=self.target_ongoing_requests, look_back_s=self.look_back_s)
        require(self, least=1e-9, upscaling_factor=self.upscaling_factor, downscaling_factor=self.downscaling_factor)
        require(self, least=0, upscale_delay_s=self.upscale_delay_s, downscale_delay_s=self.downscale_delay_s)
        require(self, least=0, downscale_to_zero_delay_s=self.downscale_to_zero_delay_s)


@dataclass(frozen=True, slots=True)
class RayServeState:
    """The target, the running timer, and what has been recorded."""

    target: int
    direction: int = 0
    """1 while more is wished, -1 while less is, 0 otherwise."""
    since_s: float = 0.0
    """When the wish in this direction began."""
    ongoing: Window = EMPTY
    pushed_s: float = -math.inf
    """When metrics last reached the controller."""
    total: float = 0.0
    """Mean requests in flight as of then."""


def ray_serve_start(config: RayServeConfig, observation: Observation) -> RayServeState:
    """A fresh deployment's target is what it finds, within its bounds."""
    return RayServeState(target=clip(observation.spec, config.min_replicas, config.max_replicas))


def ray_serve_interval_s(config: RayServeConfig, state: RayServeState) -> float:  # noqa: ARG001 - the common form
    """Fixed."""
    return config.interval_s


def ray_serve_step(config: RayServeConfig, observation: Observation, state: RayServeState) -> Step[RayServeState]:
    """One decision."""
    now_s = observation.now_s
    sample = (now_s, observation.period_s, observation.concurrency)
    ongoing = record(state.ongoing, sample, keep_s=config.look_back_s)
    total, pushed_s = state.total, state.pushed_s
    if now_s - pushed_s >= config.metrics_interval_s:
        total, pushed_s = mean(ongoing, now_s, config.look_back_s) or 0.0, now_s
    # A handle without replicas reports its first queued request at once
    waiting = observation.ready == 0 and (total > 0 or observation.queued > 0)
    wish = (
        max(math.ceil(config.upscaling_factor), state.target)
        if waiting
        else wished(config, observation, state, total=total)
    )
    target, direction, since_s = wish, 0, now_s
    if not waiting and not (observation.ready == 0 and wish > 0):
        target, direction, since_s = _delayed(config, state, wish, now_s=now_s)
    target = clip(target, config.min_replicas, config.max_replicas)
    reason = because("ray_serve", total=total, wish=wish, target=target)
    return Step(target, RayServeState(target, direction, since_s, ongoing, pushed_s, total), reason)


def wished(config: RayServeConfig, observation: Observation, state: RayServeState, *, total: float) -> int:
    """Replicas for ``total`` requests in flight, after smoothing; the present target while nothing runs."""
    running = observation.ready
    if running == 0:
        return state.target
    desired = total / config.target_ongoing_requests
    factor = config.upscaling_factor if desired > running else config.downscaling_factor
    smoothed = math.ceil(running + factor * (desired - running))
    # Without this a small downscaling factor would never leave ``running``
    return smoothed - 1 if math.ceil(desired) < running and smoothed == running else smoothed


def _delayed(config: RayServeConfig, state: RayServeState, wish: int, *, now_s: float) -> tuple[int, int, float]:
    """Target, direction and start of the timer. One equal wish clears it; the wish of the last moment is applied."""
    if wish == state.target:
        return state.target, 0, now_s
    direction = 1 if wish > state.target else -1
    since_s = state.since_s if direction == state.direction else now_s
    delay_s = config.upscale_delay_s
    if direction < 0:
        delay_s = config.downscale_delay_s
        if state.target > 1:
            wish = max(1, wish)
        elif config.downscale_to_zero_delay_s is not None:
            delay_s = config.downscale_to_zero_delay_s
    if now_s - since_s >= delay_s:
        return wish, 0, now_s
    return state.target, direction, since_s
