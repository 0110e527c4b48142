"""Latency histograms on fixed bounds, so that counts of any two processes and moments can be added and subtracted."""

from bisect import bisect_left
from collections.abc import Sequence

PER_DECADE = 12

BOUNDS_S: tuple[float, ...] = tuple(1e-4 * 10 ** (i / PER_DECADE) for i in range(PER_DECADE * 6 + 4))
"""Upper bounds in seconds, inclusive, from 100 us to 178 s.

Twelve to a factor of ten: a quantile read off them is within 10 % of the true one (10 ** (1 / 24) = 1.10) even
without interpolation.
"""

BUCKETS = len(BOUNDS_S) + 1
"""Counts in a histogram: one for each bound, and one for what is above the last."""


def bucket_of(seconds: float) -> int:
    """Index of the count that ``seconds`` belongs to. Anything below the first bound, NaN included, is in the first.

    >>> bucket_of(1e-4), bucket_of(1e9) == BUCKETS - 1
    (0, True)
    """
    return bisect_left(BOUNDS_S, seconds)


def difference(new: Sequence[int], old: Sequence[int]) -> tuple[int, ...]:
    """Counts that ``new`` gained since ``old``; all of ``new`` when its counter began anew in between."""
    if len(old) != len(new) or any(now < before for now, before in zip(new, old, strict=True)):
        return tuple(new)
    return tuple(now - before for now, before in zip(new, old, strict=True))


def merged(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """Sum of two histograms, either of which may be empty."""
    if not a or not b:
        return tuple(a or b)
    return tuple(x + y for x, y in zip(a, b, strict=True))


def quantile(counts: Sequence[int], q: float) -> float | None:
    """Seconds below which the share ``q`` lies, or None without samples. Above the last bound it is that bound.

    >>> counts = [0] * BUCKETS
    >>> counts[bucket_of(0.05)] = 10
    >>> 0.045 < quantile(counts, 0.5) < 0.055
    True
    """
    total = sum(counts)
    if total <= 0:
        return None
    rank = min(max(q, 0.0), 1.0) * total
    seen = 0
    for i, count in enumerate(counts):
        if count and seen + count >= rank:
            return _within(i, (rank - seen) / count)
        seen += count
    return BOUNDS_S[-1]


def share_below(counts: Sequence[int], threshold_s: float) -> float | None:
    """Share of samples at or below ``threshold_s``, or None without samples."""
    total = sum(counts)
    if total <= 0:
        return None
    last = bucket_of(threshold_s)
    below = float(sum(counts[:last]))
    if last < len(counts):
        below += counts[last] * _share_of_bucket(last, threshold_s)
    return below / total


def _edges(bucket: int) -> tuple[float, float]:
    low = BOUNDS_S[bucket - 1] if bucket else BOUNDS_S[0] / 2
    return low, BOUNDS_S[min(bucket, len(BOUNDS_S) - 1)]


def _within(bucket: int, share: float) -> float:
    low, high = _edges(bucket)
    # The bounds are equal steps of the logarithm, so samples are taken to be spread evenly on it
    return float(low * (high / low) ** min(max(share, 0.0), 1.0))


def _share_of_bucket(bucket: int, seconds: float) -> float:
    low, high = _edges(bucket)
    if bucket >= len(BOUNDS_S):
        return 0.0
    return min(max((seconds - low) / (high - low), 0.0), 1.0)
