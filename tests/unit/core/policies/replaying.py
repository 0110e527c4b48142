"""Runs one autoscaler against a load that does not depend on what it does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sizewise.core.policies.base import Incumbent, Observation, ReplicaSample

Load = Callable[[float], float]
"""Requests in flight at a moment; as many arrive per second."""


def seen(now_s: float = 0.0, *, spec: int = 1, ready: int | None = None, **rest: Any) -> Observation:
    """An observation in which all that was asked for is ready, unless it says otherwise."""
    there = spec if ready is None else ready
    return Observation(now_s=now_s, spec=spec, ready=there, loading=rest.pop("loading", spec - there), **rest)


def samples(observation: Observation, each: float) -> tuple[ReplicaSample, ...]:
    """Ready replicas with ``each`` in flight and as many cores busy, and loading ones that report nothing."""
    ready = (ReplicaSample(concurrency=each, busy_cores=each),) * observation.ready
    now_s = observation.now_s
    loading = (ReplicaSample(ready=False, started_at_s=now_s, ready_changed_at_s=now_s),) * observation.loading
    return ready + loading


def replay(
    policy: Incumbent[Any, Any],
    load: Load,
    *,
    until_s: float,
    spec: int = 1,
    load_s: float = 0.0,
    step_s: float | None = None,
) -> list[tuple[float, int]]:
    """(time, desired) after every step, the first at 0. New replicas are ready ``load_s`` after they were asked for."""
    starts: list[float] = [-1e9] * spec
    config, now_s, period_s = policy.config, 0.0, 0.0
    state: Any = None
    history: list[tuple[float, int]] = []
    while now_s <= until_s:
        ready = sum(1 for at_s in starts if now_s - at_s >= load_s)
        value = load(now_s - period_s / 2)
        observation = Observation(
            now_s=now_s,
            spec=len(starts),
            ready=ready,
            loading=len(starts) - ready,
            period_s=period_s,
            concurrency=value,
            arrivals=value * period_s,
            queued=value if ready == 0 else 0.0,
            utilization=min(1.0, value / ready) if ready else None,
        )
        observation = with_samples(observation, value)
        state = policy.start(config, observation) if state is None else state
        step = policy.step(config, observation, state)
        state = step.state
        history.append((now_s, step.desired))
        starts = starts[: step.desired] + [now_s] * (step.desired - len(starts))
        period_s = step_s or policy.interval_s(config, state)
        now_s += period_s
    return history


def with_samples(observation: Observation, value: float) -> Observation:
    """The same with metrics of each replica: ``value`` shared evenly among the ready."""
    each = value / observation.ready if observation.ready else 0.0
    return replace(observation, replicas=samples(observation, each))


def changes(history: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """The steps at which the number changed, with the first."""
    return [mark for i, mark in enumerate(history) if i == 0 or mark[1] != history[i - 1][1]]
