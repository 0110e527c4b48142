"""What autoscalers see of the requests: late by the metrics' delay, and blurred by their noise.

The controller reads counters (``Eyes``), the others are shown observations (``Late``).
"""

from collections import deque
from dataclasses import replace

import numpy as np

from sizewise.core.policies.base import Observation, ReplicaSample
from sizewise.simulation.pools import Counts, Pools
from sizewise.simulation.scenario import Metrics

_NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, None, 0.0)


class Late:
    """What was seen a while ago instead of what is."""

    def __init__(self, metrics: Metrics, *, seed: tuple[int, ...]) -> None:
        self._metrics = metrics
        self._rng = np.random.default_rng(seed)
        self._past: deque[Observation] = deque()

    def seen(self, now: Observation) -> Observation:
        """Replicas are counted by the autoscaler's own system, at once; what they do comes through the metrics."""
        if self._metrics.noise > 0:
            factors = np.exp(self._rng.normal(0.0, self._metrics.noise, 2))
            used = now.utilization
            now = replace(
                now,
                concurrency=now.concurrency * float(factors[0]),
                arrivals=now.arrivals * float(factors[1]),
                utilization=None if used is None else min(1.0, used * float(factors[0])),
                replicas=tuple(_blurred(each, float(factors[0])) for each in now.replicas),
            )
        if self._metrics.delay_s <= 0:
            return now
        past, limit_s = self._past, now.now_s - self._metrics.delay_s
        past.append(now)
        while len(past) > 1 and past[1].now_s <= limit_s:
            past.popleft()
        if past[0].now_s > limit_s:
            return replace(now, concurrency=0.0, arrivals=0.0, queued=0.0, utilization=None, replicas=())
        old = past[0]
        return replace(old, now_s=now.now_s, spec=now.spec, ready=now.ready, loading=now.loading)


def _blurred(sample: ReplicaSample, factor: float) -> ReplicaSample:
    if sample.busy_cores is None or sample.concurrency is None:
        return sample
    return replace(sample, busy_cores=sample.busy_cores * factor, concurrency=sample.concurrency * factor)


class Eyes:
    """Look once at each moment; what is seen never goes back in time."""

    def __init__(self, pools: Pools, models: int, metrics: Metrics, *, seed: int) -> None:
        self._pools = pools
        self._metrics = metrics
        self._rng = np.random.default_rng((seed, 19))
        self._past: list[deque[tuple[float, Counts]]] = [deque() for _ in range(models)]
        self._true: list[Counts] = [_NOTHING] * models
        self._shown: list[Counts] = [_NOTHING] * models

    def look(self, model: int, now_s: float) -> Counts:
        """Counters as far as they have come through."""
        counts = self._pools.counts(model)
        if self._metrics.noise > 0:
            counts = self._blurred(model, counts)
        if self._metrics.delay_s <= 0:
            return counts
        past = self._past[model]
        past.append((now_s, counts))
        while len(past) > 1 and past[1][0] <= now_s - self._metrics.delay_s:
            past.popleft()
        return past[0][1] if past[0][0] <= now_s - self._metrics.delay_s else _NOTHING

    def _blurred(self, model: int, counts: Counts) -> Counts:
        """Each increase is multiplied by its own factor, so that totals still only grow."""
        before, shown = self._true[model], self._shown[model]
        self._true[model] = counts
        factor = float(np.exp(self._rng.normal(0.0, self._metrics.noise)))
        seen = replace(
            counts,
            arrived=shown.arrived + round((counts.arrived - before.arrived) * factor),
            concurrency_s=shown.concurrency_s + (counts.concurrency_s - before.concurrency_s) * factor,
        )
        self._shown[model] = seen
        return seen
