"""When a model that is not used now will be asked for again, from the gaps between its uses so far.

Gaps are counted by their order of magnitude, and what is estimated is the chance of a use within as long again as it
has been quiet already: how a cache learns which of its items are hit from the ages at which they were.

Source: least hit density (Beckmann, Chen, Cidon 2018, NSDI), with a histogram for each model; actuarial estimate of a
hazard from counts in intervals.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

CLASSES = 18
"""Gaps of 1 s to more than a day, doubling."""

USUAL, SURE = 0.5, 1.0
"""Of the gaps that reach a class, the share that ends in it as long as nothing was seen; that belief weighs as much as
so many gaps. A model that was used once may come back at any time."""

LEAST_AHEAD_S = 300.0
"""What is looked ahead at the least: whoever leaves memory for less would be back at once."""

LONGEST_S = 2.0 ** (CLASSES - 1)

Gaps = tuple[int, ...]


def with_gap(gaps: Gaps, gap_s: float) -> Gaps:
    """One more."""
    counts = list(gaps) or [0] * CLASSES
    counts[_class(gap_s)] += 1
    return tuple(counts)


def returns_per_s(gaps: Sequence[int], idle_s: float) -> float:
    """Chance per second of the next use, on the mean over as long again as it has been idle.

    >>> often = with_gap(with_gap((), 10.0), 12.0)
    >>> returns_per_s(often, 5.0) > 10 * returns_per_s(often, 3600.0) > 0
    True
    """
    begin_s = min(max(1.0, idle_s), LONGEST_S)
    ahead_s = max(begin_s, LEAST_AHEAD_S)
    summed = _summed(tuple(gaps))
    return (_until(summed, begin_s + ahead_s) - _until(summed, begin_s)) / ahead_s


@lru_cache(maxsize=16_384)
def _summed(gaps: Gaps) -> tuple[float, ...]:
    """The hazard summed up to where each class begins; within one it is even. It changes with a use only."""
    reach, summed = sum(gaps), [0.0]
    for count in gaps:
        summed.append(summed[-1] - math.log1p(-(count + SURE * USUAL) / (reach + SURE)))
        reach -= count
    return tuple(summed)


def _until(summed: Sequence[float], seconds: float) -> float:
    share, place = math.frexp(seconds)
    if place > CLASSES:
        return summed[CLASSES]
    low = summed[place - 1]
    return low + (2.0 * share - 1.0) * (summed[place] - low)


def _class(seconds: float) -> int:
    return min(CLASSES - 1, max(0, math.frexp(seconds)[1] - 1))
