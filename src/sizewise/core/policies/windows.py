"""Averages over the last seconds, kept as values: a sample is the mean over the period that ended with it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Samples as (end, seconds, mean), oldest first."""

    samples: tuple[tuple[float, float, float], ...] = ()
    first_s: float = math.inf
    """When the first period ever recorded began; infinite: nothing seen so far."""


EMPTY = Window()
"""Nothing seen so far."""


def record(window: Window, sample: tuple[float, float, float], *, keep_s: float) -> Window:
    """The window with one more (end, seconds, mean), less what ended more than ``keep_s`` before. Empty periods are
    left out.
    """
    end_s, seconds, _ = sample
    if seconds <= 0:
        return window
    kept = tuple(s for s in window.samples if s[0] > end_s - keep_s)
    return Window((*kept, sample), min(window.first_s, end_s - seconds))


def total(window: Window, now_s: float, span_s: float) -> float:
    """Sum of mean x seconds over the last ``span_s`` seconds; a period that reaches out of it counts in part."""
    since_s = now_s - span_s
    return sum(
        mean * (min(end_s, now_s) - max(end_s - seconds, since_s))
        for end_s, seconds, mean in window.samples
        if end_s > since_s and end_s - seconds < now_s
    )


def mean(window: Window, now_s: float, span_s: float) -> float | None:
    """Mean over the last ``span_s`` seconds, or over its age while the window is younger.

    Seconds without a sample count as 0, so a window that was not written for ``span_s`` gives 0. None: nothing was
    ever seen.
    """
    if window.first_s >= now_s:
        return None
    return total(window, now_s, span_s) / min(span_s, now_s - window.first_s)


def weighted_mean(window: Window, now_s: float, span_s: float) -> float | None:
    """Exponentially weighted mean, the newest second heaviest: weight s, then s (1-s), s (1-s)^2 and so on.

    s = max(1 - 0.0001 ** (1 / n), 0.2) over a window of n seconds. Weights of a young window are not scaled up, so it
    reads low. Source: the optional aggregation of knative/serving, pkg/autoscaler/aggregation/max and bucketing.
    """
    if window.first_s >= now_s:
        return None
    smoothing = max(1.0 - 0.0001 ** (1.0 / max(span_s, 1.0)), 0.2)
    result = 0.0
    for end_s, seconds, value in window.samples:
        newest_s, oldest_s = max(0.0, now_s - end_s), min(span_s, now_s - end_s + seconds)
        if oldest_s > newest_s:
            result += value * ((1.0 - smoothing) ** newest_s - (1.0 - smoothing) ** oldest_s)
    return result
