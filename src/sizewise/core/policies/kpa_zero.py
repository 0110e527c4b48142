"""Knative pod autoscaler: bounds, and the way of the last replica to zero.

Source: knative/serving 98e5ef9, pkg/reconciler/autoscaling/kpa/scaler.go and kpa.go. The activator is taken to answer
its probe. A model that loads for longer than the progress deadline is scaled to zero while it loads
(kserve/kserve#3795).
"""

from dataclasses import replace

from sizewise.core.policies.base import Observation, clip
from sizewise.core.policies.kpa_config import KpaConfig, KpaState, Phase

BUFFER_S = 30.0
"""Added to the progress deadline before a revision that never got ready is given up."""


def applied(
    config: KpaConfig, observation: Observation, state: KpaState, *, wish: int, excess_burst: float
) -> tuple[int, KpaState, str]:
    """Replicas to ask for, the state after, and the rule that bound."""
    started = state.started or observation.ready >= config.initial_scale
    initial = config.initial_scale if not started and config.initial_scale > 1 else 0
    bounded = clip(wish, max(config.min_replicas, initial), config.max_replicas)
    state = _in_path(replace(state, started=started), observation, proxy=excess_burst < 0 or bounded == 0)
    if bounded > 0:
        return bounded, _wanted(config, state, observation), "wish"
    if not config.enable_scale_to_zero:
        return 1, _wanted(config, state, observation), "never_zero"
    return _to_zero(config, observation, state)


def _in_path(state: KpaState, observation: Observation, *, proxy: bool) -> KpaState:
    if not proxy:
        return replace(state, proxy_s=None)
    return state if state.proxy_s is not None else replace(state, proxy_s=observation.now_s)


def _enter(state: KpaState, phase: Phase, now_s: float) -> KpaState:
    return state if state.phase is phase else replace(state, phase=phase, phase_s=now_s)


def _wanted(config: KpaConfig, state: KpaState, observation: Observation) -> KpaState:
    enough = observation.ready >= max(1, config.min_replicas)
    return _enter(state, Phase.ACTIVE if enough else Phase.ACTIVATING, observation.now_s)


def _to_zero(config: KpaConfig, observation: Observation, state: KpaState) -> tuple[int, KpaState, str]:
    now_s = observation.now_s
    for_s = now_s - state.phase_s
    if state.phase is Phase.ACTIVATING:
        if observation.ready >= max(1, config.min_replicas):
            return max(1, observation.spec), _enter(state, Phase.ACTIVE, now_s), "activated"
        if for_s > config.progress_deadline_s + BUFFER_S:
            return 0, _enter(state, Phase.INACTIVE, now_s), "given_up"
        return observation.spec, state, "activating"
    if state.phase is Phase.ACTIVE:
        if for_s >= config.stable_window_s:
            return observation.spec, _enter(state, Phase.INACTIVE, now_s), "inactive"
        return 1, state, "young"
    if for_s >= max(config.grace_s, config.retention_s):
        return 0, state, "zero"
    if config.retention_s > 0 and for_s < config.retention_s:
        return observation.spec, state, "retention"
    if state.proxy_s is not None and now_s - state.proxy_s >= config.grace_s:
        return 0, state, "zero"
    return observation.spec, state, "grace"
