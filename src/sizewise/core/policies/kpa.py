"""Knative pod autoscaler: the decision every two seconds.

Source: knative/serving 98e5ef9, pkg/autoscaler/scaling/autoscaler.go. Ready replicas enter only through the rate limits
and the panic ratio. While replicas load, what waits for them counts as concurrency: a long cold start looks like a
surge. What becomes of the wish, and the way to zero, is in ``kpa_zero``.
"""

import math
from dataclasses import dataclass, replace

from sizewise.core.policies.base import Observation, Step
from sizewise.core.policies.kpa_config import Aggregation, KpaConfig, KpaState, Phase
from sizewise.core.policies.kpa_zero import applied
from sizewise.core.policies.windows import mean, record, weighted_mean
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True)
class Wish:
    """What the two windows ask for, and whether the burst is one to panic over."""

    stable: int
    panic: int
    over: bool


def kpa_start(config: KpaConfig, observation: Observation) -> KpaState:
    """With more than one replica ready and no history it starts in panic, so that a restart removes nothing at once."""
    now_s = observation.now_s
    burst = observation.ready > 1
    ready = observation.ready >= max(1, config.min_replicas)
    at_zero = observation.spec == 0
    return KpaState(
        panic_s=now_s if burst else None,
        panic_replicas=observation.ready if burst else 0,
        phase=Phase.INACTIVE if at_zero else Phase.ACTIVE if ready else Phase.ACTIVATING,
        phase_s=now_s,
        proxy_s=now_s if at_zero else None,
        started=at_zero or observation.ready >= config.initial_scale,
    )


def kpa_interval_s(config: KpaConfig, state: KpaState) -> float:  # noqa: ARG001 - every interval has this form
    """Fixed; at zero replicas the first request has it asked at once besides."""
    return config.interval_s


def kpa_step(config: KpaConfig, observation: Observation, state: KpaState) -> Step[KpaState]:
    """One decision and what the reconciler makes of it."""
    now_s = observation.now_s
    state = _recorded(config, observation, state)
    average = mean if config.aggregation is Aggregation.LINEAR else weighted_mean
    stable = average(state.load, now_s, config.stable_window_s)
    panic = average(state.load, now_s, config.panic_window_s)
    if stable is None or panic is None:
        return Step(observation.spec, state, because("kpa_no_data"))
    wish = wished(config, observation.ready, averages=(stable, panic))
    state = _panicking(config, state, wish, now_s=now_s)
    desired = wish.stable if state.panic_s is None else state.panic_replicas
    if config.scale_down_delay_s > 0:
        kept = tuple(w for w in state.wishes if w[0] > now_s - config.scale_down_delay_s)
        state = replace(state, wishes=(*kept, (now_s, desired)))
        desired = max(n for _, n in state.wishes)
    burst = excess_burst(config, observation.ready, panic)
    desired, state, rule = applied(config, observation, state, wish=desired, excess_burst=burst)
    numbers = {"stable": stable, "panic": panic, "panicking": int(state.panic_s is not None)}
    return Step(desired, state, because(f"kpa_{rule}", **numbers, replicas=desired))


def _recorded(config: KpaConfig, observation: Observation, state: KpaState) -> KpaState:
    value = observation.rate_per_s if config.metric_is_rate else observation.concurrency
    period_s = observation.period_s
    if observation.spec == 0 and observation.queued > 0:
        # The activator reports the request that wakes a revision at once, as one whole second of it
        value, period_s = max(value, 1.0), max(period_s, 1.0)
    load = record(state.load, (observation.now_s, period_s, value), keep_s=config.stable_window_s)
    return replace(state, load=load)


def wished(config: KpaConfig, ready_replicas: int, *, averages: tuple[float, float]) -> Wish:
    """What the stable and the panic average ask for, within the rates of change."""
    ready = max(1, ready_replicas)
    most = math.ceil(config.max_scale_up_rate * ready)
    least = math.floor(ready / config.max_scale_down_rate)
    stable, panic = (math.ceil(average / config.per_replica) for average in averages)
    limited_stable, limited_panic = min(max(stable, least), most), min(max(panic, least), most)
    if config.activation_scale > 1:
        limited_stable = max(limited_stable, config.activation_scale) if stable > 0 else limited_stable
        limited_panic = max(limited_panic, config.activation_scale) if panic > 0 else limited_panic
    return Wish(limited_stable, limited_panic, panic / ready >= config.panic_threshold)


def _panicking(config: KpaConfig, state: KpaState, wish: Wish, *, now_s: float) -> KpaState:
    """Panic begins or is extended above the threshold, ends a stable window after the last such moment, and never
    lowers the number while it lasts.
    """
    if wish.over:
        state = replace(state, panic_s=now_s)
    elif state.panic_s is not None and state.panic_s + config.stable_window_s < now_s:
        state = replace(state, panic_s=None, panic_replicas=0)
    if state.panic_s is None:
        return state
    return replace(state, panic_replicas=max(state.panic_replicas, wish.stable, wish.panic))


def excess_burst(config: KpaConfig, ready: int, panic: float) -> float:
    """Room beyond the burst to be expected; below 0 the activator stays in the path and can queue."""
    if config.target_burst <= 0:
        return config.target_burst
    return math.floor(ready * config.total - config.target_burst - panic)
