"""Which settings of those that were tried in training are worth judging; frontiers themselves are the simulator's."""

from collections.abc import Iterable, Sequence
from math import log10

from sizewise.simulation.frontiers import Point, best_of, cost_at, hull

__all__ = ["Point", "best_of", "cost_at", "hull", "worth_trying"]


def worth_trying(points: Iterable[Point], *, attainments: Sequence[float], most: int) -> list[Point]:
    """Of the best in training, those nearest to where costs are to be read off, the strictest always among them."""
    frontier = best_of(points)
    if len(frontier) <= most:
        return frontier

    def distance(point: Point) -> float:
        return min(abs(_nines(point.attainment) - _nines(each)) for each in attainments)

    kept = {frontier[-1], *sorted(frontier, key=distance)[: most - 1]}
    return [point for point in frontier if point in kept]


def _nines(attainment: float) -> float:
    return -log10(max(1.0 - attainment, 1e-6))
