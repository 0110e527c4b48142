"""How many requests of a slot are late, at the least or as queueing theory expects, for a number of replicas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sizewise.core.sizing import Capacity, expected_attainment
from sizewise.simulation.bounds.rightsizing import Floats, Ints, Penalties, Prices, SlotPenalties


class Lateness(Protocol):
    """Late requests as a function of a schedule."""

    arrived: float
    """All requests."""

    def weighted(self, weight: float) -> Penalties:
        """Each late request costs ``weight``."""
        ...

    def count(self, counts: Ints) -> float:
        """Late requests of a schedule."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """One model's demand cut into slots of ``seconds``: ``arrivals`` has shape (slots,)."""

    seconds: float
    arrivals: Floats
    most: int
    """Replicas that a slot may have."""


class ExpectedLateness:
    """The Erlang version: each slot in its steady state, late = arrivals x P(wait > slack). Close, and no bound.

    Real minutes average out what a steady state does not, so a policy may come out a little below it.
    """

    def __init__(self, demand: Slots, capacity: Capacity) -> None:
        self.slots, self.most = len(demand.arrivals), demand.most
        self.arrived = float(demand.arrivals.sum())
        known: dict[float, Floats] = {}
        late = np.empty((self.slots, demand.most + 1))
        for slot, arrivals in enumerate(demand.arrivals):
            if (row := known.get(arrivals)) is None:
                row = known[arrivals] = self._row(arrivals / demand.seconds, capacity) * arrivals
            late[slot] = row
        self.late = late

    def _row(self, rate_per_s: float, capacity: Capacity) -> Floats:
        if rate_per_s <= 0:
            return np.zeros(self.most + 1)
        shares = [expected_attainment(capacity, count, rate_per_s) for count in range(self.most + 1)]
        return 1.0 - np.array([0.0 if share is None else share for share in shares])

    def weighted(self, weight: float) -> SlotPenalties:
        return SlotPenalties(weight * self.late)

    def count(self, counts: Ints) -> float:
        return float(self.late[np.arange(self.slots), counts].sum())


class CertainLateness:
    """The certified version: no policy has fewer late requests with these replicas, however it queues and batches.

    Late requests of a slot can only be saved by capacity of that slot and of one latency goal after it. So at least as
    many are late as must be dropped, largest first, until the work left fits into x_t seconds + x_(t+1) goal. The next
    slot may use the same capacity again, which only makes this more optimistic.
    """

    def __init__(self, demand: Slots, *, goal_s: float, works_s: Sequence[Floats] | float) -> None:
        """``works_s``: seconds of a replica that each request takes at the least, by slot, or one figure for all.

        Raises ValueError when a slot is shorter than the goal.
        """
        if demand.seconds < goal_s:
            raise ValueError(f"slots of {demand.seconds:g} s are shorter than the latency goal of {goal_s:g} s")
        self.slots, self.most = len(demand.arrivals), demand.most
        self.arrived = float(demand.arrivals.sum())
        ranks = np.arange(demand.most + 1)
        self._fits_s = ranks[:, None] * demand.seconds + ranks[None, :] * goal_s
        self._arrivals = demand.arrivals
        self._uniform = np.floor(self._fits_s / works_s + 1e-9) if isinstance(works_s, float) else None
        self._sums = [] if isinstance(works_s, float) else [np.cumsum(np.sort(works)) for works in works_s]

    def late(self, slot: int) -> Floats:
        """By replicas in the slot and in the next, shape (most + 1, most + 1)."""
        if self._uniform is not None:
            late: Floats = np.maximum(0.0, self._arrivals[slot] - self._uniform)
            return late
        sums = self._sums[slot]
        kept = np.searchsorted(sums, self._fits_s + 1e-9, side="right")
        return (len(sums) - kept).astype(np.float64)

    def weighted(self, weight: float) -> Penalties:
        return _PairPenalties(self, weight)

    def count(self, counts: Ints) -> float:
        after = np.append(counts[1:], self.most)
        return float(sum(self.late(slot)[counts[slot], after[slot]] for slot in range(self.slots)))


class _PairPenalties:
    """The penalty of a slot is known one step later, with the replicas of the next: O(K^2) a step."""

    def __init__(self, lateness: CertainLateness, weight: float) -> None:
        self.slots, self.most = lateness.slots, lateness.most
        self._lateness = lateness
        self._weight = weight
        self._ranks = np.arange(lateness.most + 1, dtype=np.int64)
        self._rises = np.maximum(self._ranks[None, :] - self._ranks[:, None], 0)

    def step(self, slot: int, before: Floats, prices: Prices) -> tuple[Floats, Ints]:
        held = (prices.hold * self._ranks).astype(np.float64)
        if slot == 0:
            return held, self._ranks
        paths = before[:, None] + prices.start * self._rises + self._weight * self._lateness.late(slot - 1)
        came_from = np.argmin(paths, axis=0)
        costs: Floats = paths[came_from, self._ranks] + held
        return costs, np.asarray(came_from, np.int64)

    def close(self, costs: Floats) -> Floats:
        # Behind the end there is all capacity one could wish for
        return costs + self._weight * self._lateness.late(self.slots - 1)[:, self.most]
