"""Cost against attainment: one policy in many settings, and what it costs at a given attainment.

Between two settings a policy can be in the one for a part of the time and in the other for the rest, so the frontier is
the lower convex hull of its points: the kindest reading that there is, for everybody alike.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """One setting."""

    attainment: float
    cost: float
    label: str = ""


def best_of(points: Iterable[Point]) -> list[Point]:
    """Those that no other beats in both, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.attainment)):
        if not kept or point.attainment > kept[-1].attainment:
            kept.append(point)
    return kept


def hull(points: Iterable[Point]) -> list[Point]:
    """The convex ones of the best, cheapest first."""
    kept: list[Point] = []
    for point in best_of(points):
        while len(kept) > 1 and _gain(kept[-2], point) >= _gain(kept[-2], kept[-1]):
            kept.pop()
        kept.append(point)
    return kept


def _gain(low: Point, high: Point) -> float:
    return (high.attainment - low.attainment) / (high.cost - low.cost)


def cost_at(points: Sequence[Point], attainment: float) -> float | None:
    """On the frontier; None where no setting attains so much."""
    frontier = hull(points)
    if not frontier or frontier[-1].attainment < attainment:
        return None
    above = next(i for i, point in enumerate(frontier) if point.attainment >= attainment)
    if above == 0:
        return frontier[0].cost
    low, high = frontier[above - 1], frontier[above]
    share = (attainment - low.attainment) / (high.attainment - low.attainment)
    return low.cost + share * (high.cost - low.cost)
