"""What a share of late requests costs at the least, for many models at once and every share.

Source: the Lagrangian of ``budget``; here its dual alone, for a whole ladder of weights in one pass over the slots,
without the schedules. Letters at the end of names: ``M`` models, ``T`` slots, ``W`` weights, ``K`` replicas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sizewise.simulation.bounds.rightsizing import Floats, Ints

LADDER = np.concatenate(([0.0], np.geomspace(1e-3, 1e6, 37)))
"""Replica-seconds that one late request more is worth; the best is looked for between two steps once more."""
STEPS = 12


class Fleet(Protocol):
    """Models whose slots are equally long, and the same number of them."""

    def duals(self, weights_W: Floats) -> Floats:
        """Cheapest schedules of all models together, where each late request costs so much; shape (W,)."""
        ...


class Frontier:
    """Cost against late requests: convex, and below the cost of every schedule."""

    def __init__(self, fleets: Sequence[Fleet]) -> None:
        self._fleets = tuple(fleets)
        self._known: dict[float, float] = {}

    def cost(self, late: float) -> float:
        """Replica-seconds that no schedule with so many late requests can do without."""
        values = self._values(LADDER) - LADDER * late
        best = int(np.argmax(values))
        low, high = LADDER[max(0, best - 1)], LADDER[min(len(LADDER) - 1, best + 1)]
        fine = np.linspace(low, high, STEPS + 2)[1:-1]
        return max(0.0, float(values[best]), float((self._values(fine) - fine * late).max()))

    def _values(self, weights_W: Floats) -> Floats:
        unknown = np.array([weight for weight in weights_W if weight not in self._known])
        if len(unknown):
            values = sum((fleet.duals(unknown) for fleet in self._fleets), np.zeros(len(unknown)))
            self._known.update(zip(unknown.tolist(), values.tolist(), strict=True))
        return np.array([self._known[weight] for weight in weights_W.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFleet:
    """The Erlang version: lateness of a slot by its own replicas. What is there at first costs nobody a start."""

    rows: Floats
    """Late requests by row and replicas, shape (rows, K)."""
    row_MT: Ints
    hold_M: Floats
    """Of one replica for one slot."""
    start_M: Floats

    def duals(self, weights_W: Floats) -> Floats:
        ranks = np.arange(self.rows.shape[1], dtype=np.float64)
        held = self.hold_M[:, None, None] * ranks
        starts = self.start_M[:, None, None] * ranks
        costs = np.zeros((len(self.hold_M), len(weights_W), len(ranks)))
        for slot in range(self.row_MT.shape[1]):
            if slot:
                costs = _moved(costs, starts)
            late_MK = self.rows[self.row_MT[:, slot]]
            costs = costs + held + weights_W[None, :, None] * late_MK[:, None, :]
        found: Floats = costs.min(axis=2).sum(axis=0)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CertainFleet:
    """The certified version: requests that can be in time by replicas of their slot and of the next.

    What is there in the first slot is free in it: it may have been about to end.
    """

    arrivals_MT: Floats
    fits_MKK: Floats
    hold_M: Floats
    start_M: Floats
    free_M: Ints
    """Slots at the beginning in which a start costs nothing."""

    def duals(self, weights_W: Floats) -> Floats:
        ranks = np.arange(self.fits_MKK.shape[1], dtype=np.float64)
        held = self.hold_M[:, None, None] * ranks
        risen = np.maximum(ranks[None, :] - ranks[:, None], 0.0)
        costs = np.zeros((len(self.hold_M), len(weights_W), len(ranks)))
        weights = weights_W[None, :, None, None]
        for slot in range(1, self.arrivals_MT.shape[1]):
            start_M = np.where(slot < self.free_M, 0.0, self.start_M)[:, None, None]
            came_M = self.arrivals_MT[:, slot - 1]
            if came_M.any():
                late = np.maximum(0.0, came_M[:, None, None] - self.fits_MKK)
                paths = costs[:, :, :, None] + (start_M * risen)[:, None] + weights * late[:, None]
                costs = paths.min(axis=2) + held
            else:
                costs = _moved(costs, start_M * ranks) + held
        # Behind the end there is all capacity one could wish for
        late_MK = np.maximum(0.0, self.arrivals_MT[:, -1, None] - self.fits_MKK[:, :, -1])
        closed = costs + weights_W[None, :, None] * late_MK[:, None, :]
        found: Floats = closed.min(axis=2).sum(axis=0)
        return found


def _moved(costs: Floats, starts: Floats) -> Floats:
    """Cheapest way to have k replicas now, by what there was before: up at a price each, down for nothing."""
    up = np.minimum.accumulate(costs - starts, axis=2) + starts
    down = np.minimum.accumulate(costs[:, :, ::-1], axis=2)[:, :, ::-1]
    moved: Floats = np.minimum(up, down)
    return moved
