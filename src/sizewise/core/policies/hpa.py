"""Kubernetes HorizontalPodAutoscaler v2: one sync.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal.go. Load time is no input: the only notion of a
replica that warms up are two flags for CPU, the same for every model.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, Step, clip
from sizewise.core.policies.hpa_config import ChangeLimit, Direction, HpaConfig, Select
from sizewise.core.policies.hpa_metrics import proposal
from sizewise.core.reasons import because

Marks = tuple[tuple[float, int], ...]
"""(when, how many), oldest first."""


@dataclass(frozen=True, slots=True)
class HpaState:
    """What the controller remembers of one autoscaler."""

    recommended: Marks = ()
    """Recommendations before stabilization."""
    changes: Marks = ()
    """Replicas added (positive) or removed (negative); kept while ``behavior`` is set only."""


def hpa_start(config: HpaConfig, observation: Observation) -> HpaState:  # noqa: ARG001 - every start has this form
    """A controller that has just begun takes what it finds for its first recommendation."""
    return HpaState(recommended=((observation.now_s, observation.spec),))


def hpa_interval_s(config: HpaConfig, state: HpaState) -> float:  # noqa: ARG001 - every interval has this form
    """The sync period."""
    return config.interval_s


def hpa_step(config: HpaConfig, observation: Observation, state: HpaState) -> Step[HpaState]:
    """One sync of one autoscaler with any number of metrics."""
    return hpa_decide(config, observation, state, proposals=())


def hpa_decide(
    config: HpaConfig, observation: Observation, state: HpaState, *, proposals: tuple[int, ...]
) -> Step[HpaState]:
    """One sync, with ``proposals`` from further metrics beside those of the configuration."""
    cur = observation.spec
    if cur == 0 and config.min_replicas != 0:
        return Step(0, state, because("hpa_disabled"))
    bounded = clip(cur, config.min_replicas, config.max_replicas)
    if bounded != cur:
        return _settle(config, observation, state, step=Step(bounded, state, because("hpa_bounds", replicas=bounded)))
    found = [*(proposal(config, m, observation) for m in config.metrics), *proposals]
    valid = [n for n in found if n is not None]
    if not valid:
        return Step(cur, state, because("hpa_no_metrics"))
    best = max(valid)
    if len(valid) < len(found) and best < cur:
        return Step(cur, state, because("hpa_partial_metrics", best=best))
    limit = _without_behavior if config.behavior is None else _with_behavior
    return _settle(config, observation, state, step=limit(config, observation, state, best=best))


def _settle(config: HpaConfig, observation: Observation, before: HpaState, *, step: Step[HpaState]) -> Step[HpaState]:
    """Writes the change down for the limits of ``behavior``."""
    change = step.desired - observation.spec
    if config.behavior is None or change == 0:
        return step
    limits = config.behavior.up.limits + config.behavior.down.limits
    longest_s = max((limit.period_s for limit in limits), default=0.0)
    kept = _since(before.changes, observation.now_s - longest_s)
    state = HpaState(step.state.recommended, (*kept, (observation.now_s, change)))
    return Step(step.desired, state, step.reason)


def _since(marks: Marks, cutoff_s: float) -> Marks:
    return tuple(mark for mark in marks if mark[0] > cutoff_s)


def _without_behavior(config: HpaConfig, observation: Observation, state: HpaState, *, best: int) -> Step[HpaState]:
    now_s, cur = observation.now_s, observation.spec
    recommended = (*_since(state.recommended, now_s - config.stabilization_s), (now_s, best))
    peak = max(n for _, n in recommended)
    limited = min(peak, max(2 * cur, 4))
    desired = clip(limited, config.min_replicas, config.max_replicas)
    return Step(desired, HpaState(recommended, state.changes), because("hpa", best=best, peak=peak, limited=limited))


def _with_behavior(config: HpaConfig, observation: Observation, state: HpaState, *, best: int) -> Step[HpaState]:
    assert config.behavior is not None
    now_s, cur = observation.now_s, observation.spec
    up, down = config.behavior.up, config.behavior.down
    low = min([best, *(n for _, n in _since(state.recommended, now_s - up.window_s))])
    high = max([best, *(n for _, n in _since(state.recommended, now_s - down.window_s))])
    stable = min(max(cur, low), high)
    kept = _since(state.recommended, now_s - max(up.window_s, down.window_s))
    after = HpaState((*kept, (now_s, best)), state.changes)
    desired = cur
    if stable > cur and up.select is not Select.DISABLED:
        limit = max(cur, _limit(up, observation, state, grow=True))
        desired = min(stable, limit, config.max_replicas)
    elif stable < cur and down.select is not Select.DISABLED:
        limit = min(cur, _limit(down, observation, state, grow=False))
        desired = max(stable, limit, config.min_replicas)
    return Step(desired, after, because("hpa", best=best, stable=stable, limited=desired))


def _limit(direction: Direction, observation: Observation, state: HpaState, *, grow: bool) -> int:
    """How far this direction may go now, from what there was at the start of each limit's period."""
    reached = [_reach(limit, observation, state, grow=grow) for limit in direction.limits]
    furthest: Callable[[list[int]], int] = max if grow == (direction.select is Select.LARGEST) else min
    return furthest(reached) if reached else observation.spec


def _reach(limit: ChangeLimit, observation: Observation, state: HpaState, *, grow: bool) -> int:
    start = observation.spec - sum(n for _, n in _since(state.changes, observation.now_s - limit.period_s))
    if limit.replicas is not None:
        return start + limit.replicas if grow else start - limit.replicas
    share = limit.share or 0.0
    return math.ceil(start * (1.0 + share)) if grow else int(start * (1.0 - share))
