"""Latency against batch: how often to call, and when larger batches stop paying."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sizewise.core.profiles import BatchPoint

MAX_BATCH = 1024
LEAST_GAIN = 1.05
"""A doubling that gives less than 5 % more rows per second has stopped paying: that is within the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveBudget:
    """What measuring one curve may take."""

    total_s: float = 20.0
    point_s: float = 0.5
    """Seconds of calls at one batch size."""
    least: int = 5
    """Calls at one batch size, however slow they are."""
    most: int = 300
    slow_s: float = 2.0
    """No larger batches once a call takes this long: nobody waits for them."""


def sample(call: Callable[[], object], budget: CurveBudget, now_s: Callable[[], float]) -> list[float]:
    """Seconds of each of several calls."""
    samples: list[float] = []
    began_s = now_s()
    while len(samples) < budget.least or (now_s() - began_s < budget.point_s and len(samples) < budget.most):
        start_s = now_s()
        call()
        samples.append(now_s() - start_s)
    return samples


def point(batch: int, samples: Sequence[float]) -> BatchPoint:
    return BatchPoint(batch=batch, p50_s=quantile(samples, 0.5), p95_s=quantile(samples, 0.95), samples=len(samples))


def quantile(samples: Sequence[float], share: float) -> float:
    """Linear between the two nearest samples.

    >>> quantile([1.0, 2.0, 3.0], 0.5)
    2.0
    """
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def goes_on(points: Sequence[BatchPoint], budget: CurveBudget, *, left_s: float) -> bool:
    """Whether twice the last batch is worth measuring: not after two doublings in a row that gained nothing, and not
    when ``left_s`` is too short for it (twice the rows may take twice as long).
    """
    last = points[-1]
    if last.batch >= MAX_BATCH or last.p50_s >= budget.slow_s or 2 * last.p50_s * budget.least > left_s:
        return False
    rates = [p.batch / p.p50_s for p in points]
    gains = [after / before for before, after in pairwise(rates)]
    return len(gains) < 2 or max(gains[-2:]) >= LEAST_GAIN
