"""Cheapest numbers of replicas over time, one model, everything known in advance: a dynamic program over slots.

Source: the discrete right-sizing problem (Lin, Wierman, Andrew, Thereska 2011; Albers and Quedenfeld 2018).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """In one unit of money or replica-seconds. Slots are all of one length."""

    hold: float
    """One replica for one slot."""
    start: float
    """One replica more than in the slot before. A clairvoyant starts early, so a load costs money, not lateness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cheapest schedule."""

    cost: float
    """Holding, starting and penalties."""
    counts: Ints
    """Replicas in each slot, shape (slots,)."""

    def paid(self, prices: Prices) -> float:
        """Holding and starting alone, replicas of the first slot being there already."""
        rises = np.maximum(np.diff(self.counts), 0).sum()
        return float(prices.hold * self.counts.sum() + prices.start * rises)


class Penalties(Protocol):
    """What it costs to have so many replicas in a slot, as a step of the program."""

    slots: int
    most: int
    """Replicas that a slot may have."""

    def step(self, slot: int, before: Floats, prices: Prices) -> tuple[Floats, Ints]:
        """Cheapest costs up to and including ``slot`` by number of replicas, and the number before that gives each."""
        ...

    def close(self, costs: Floats) -> Floats:
        """What is due after the last slot."""
        ...


def schedule(penalties: Penalties, prices: Prices) -> Schedule:
    """The cheapest schedule. Memory: slots x (most + 1) small integers."""
    costs = np.zeros(penalties.most + 1)
    chosen = np.empty((penalties.slots, penalties.most + 1), np.int32)
    for slot in range(penalties.slots):
        costs, came_from = penalties.step(slot, costs, prices)
        chosen[slot] = came_from
    costs = penalties.close(costs)
    counts = np.empty(penalties.slots, np.int64)
    best = at = int(np.argmin(costs))
    for slot in range(penalties.slots - 1, -1, -1):
        counts[slot] = at
        at = int(chosen[slot, at])
    return Schedule(cost=float(costs[best]), counts=counts)


def cheapest_before(costs: Floats, start: float) -> tuple[Floats, Ints]:
    """Cheapest way to have k replicas now, by what there was before: up at ``start`` each, down for nothing.

    min over j <= k of J_j + start (k - j), and min over j >= k of J_j, each by a running minimum: O(K).
    """
    ranks = np.arange(len(costs))
    lifted = costs - start * ranks
    up = np.minimum.accumulate(lifted)
    up_from = _last_minimum(lifted, up)
    falling = costs[::-1]
    down = np.minimum.accumulate(falling)
    down_from = len(costs) - 1 - _last_minimum(falling, down)
    up, down, down_from = up + start * ranks, down[::-1], down_from[::-1]
    rises = up < down
    return np.where(rises, up, down), np.where(rises, up_from, down_from)


def _last_minimum(values: Floats, running: Floats) -> Any:
    """Where each running minimum was reached last."""
    return np.maximum.accumulate(np.where(values == running, np.arange(len(values)), 0))


class SlotPenalties:
    """A penalty that depends on the replicas of its own slot: ``values`` has shape (slots, most + 1); inf forbids."""

    def __init__(self, values: Floats) -> None:
        self.values = values
        self.slots, width = values.shape
        self.most = width - 1
        self._ranks = np.arange(width)

    def step(self, slot: int, before: Floats, prices: Prices) -> tuple[Floats, Ints]:
        if slot == 0:  # what is there at the beginning costs nobody a start
            return prices.hold * self._ranks + self.values[0], self._ranks
        costs, came_from = cheapest_before(before, prices.start)
        return costs + prices.hold * self._ranks + self.values[slot], came_from

    def close(self, costs: Floats) -> Floats:
        return costs


def at_least(needs: Ints, most: int) -> SlotPenalties:
    """No slot may have fewer replicas than it needs. Raises ValueError when one needs more than ``most``."""
    if len(needs) and int(needs.max()) > most:
        raise ValueError(f"a slot needs {int(needs.max())} replicas and at most {most} are allowed")
    return SlotPenalties(np.where(np.arange(most + 1)[None, :] < needs[:, None], np.inf, 0.0))
