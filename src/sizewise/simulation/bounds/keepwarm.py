"""Fewest cold seconds that a memory of given size can cost, with all uses known in advance.

Source: PFOO-L (Berger, Beckmann, Harchol-Balter 2018, "Practical bounds on optimal caching with variable object
sizes"): memory is limited in total over time instead of at each moment, which makes the best choice a knapsack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A model as a cache sees it."""

    size_bytes: float
    cold_cost: float
    """What one use costs when it is not there: seconds of load, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepWarmBound:
    cost: float
    """Cold cost that cannot be avoided."""
    without_memory: float
    """Cold cost when nothing is ever kept."""
    first_uses: float
    """Of ``cost``: uses before which nothing could have been kept."""


def keep_warm_bound(
    uses: Sequence[tuple[float, str]], items: Mapping[str, Item], *, memory_bytes: float
) -> KeepWarmBound:
    """``uses``: (time in seconds, model), sorted. O(n log n).

    Each interval between two uses of a model may be kept (its cold cost is saved) for size x length of memory; the
    best value for its space first, and the last one in part. Raises ValueError for times that fall.
    """
    last: dict[str, float] = {}
    saved, space, total, first = [], [], 0.0, 0.0
    began_s = ended_s = uses[0][0] if uses else 0.0
    for at_s, name in uses:
        if at_s < ended_s:
            raise ValueError(f"uses are not sorted: {name} at {at_s:g} s comes after {ended_s:g} s")
        item, ended_s = items[name], at_s
        total += item.cold_cost
        if name in last:
            saved.append(item.cold_cost)
            space.append(item.size_bytes * (at_s - last[name]))
        else:
            first += item.cold_cost
        last[name] = at_s
    kept = _fractional_knapsack(np.array(saved), np.array(space), memory_bytes * (ended_s - began_s))
    return KeepWarmBound(cost=max(first, total - kept), without_memory=total, first_uses=first)


def _fractional_knapsack(values: np.ndarray, weights: np.ndarray, room: float) -> float:
    if not len(values):
        return 0.0
    order = np.argsort(-values / np.maximum(weights, 1e-300), kind="stable")
    values, weights = values[order], weights[order]
    filled = np.cumsum(weights)
    whole = int(np.searchsorted(filled, room, side="right"))
    best = float(values[:whole].sum())
    if whole < len(values):
        left = room - (float(filled[whole - 1]) if whole else 0.0)
        best += float(values[whole]) * max(0.0, left) / float(weights[whole])
    return best
