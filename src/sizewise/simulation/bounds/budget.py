"""The cheapest way to keep a share of all requests in time: one budget of late requests for all models and slots.

Source: Lagrangian relaxation; by weak duality max over theta of [ sum of DP_m(theta) - theta x allowed ] is below the
cost of every schedule that stays within the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sizewise.simulation.bounds.lateness import Lateness
from sizewise.simulation.bounds.rightsizing import Prices, Schedule, schedule

DOUBLINGS = 40
HALVINGS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model: its lateness by schedule, and what its replicas cost."""

    lateness: Lateness
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    cost: float
    """Nothing within the budget of late requests is cheaper."""
    price_of_lateness: float
    """The theta that gave it: what one late request more would have saved."""
    schedules: tuple[Schedule, ...]
    """Cheapest schedules found that stay within the budget, one for each model; empty when none was found."""
    achieved: float | None
    """What those cost: the optimum lies between ``cost`` and this."""
    late: float | None
    """Late requests of those."""


@dataclass(frozen=True, slots=True)
class _Trial:
    dual: float
    late: float
    paid: float
    schedules: tuple[Schedule, ...]


def cheapest(candidates: Sequence[Candidate], *, late_share: float) -> Bound:
    """Bound at a share of late requests over all models together. Raises ValueError for a share outside [0, 1]."""
    if not 0 <= late_share <= 1:
        raise ValueError(f"a share of late requests is between 0 and 1, not {late_share}")
    allowed = late_share * sum(each.lateness.arrived for each in candidates)
    best, kept = _try(candidates, 0.0, allowed), None
    if best.late <= allowed:
        return _bound(best, 0.0, best)
    low, high, theta = 0.0, 0.0, _first_weight(candidates)
    best_theta = 0.0
    for _ in range(DOUBLINGS + HALVINGS):
        trial = _try(candidates, theta, allowed)
        if trial.dual > best.dual:
            best, best_theta = trial, theta
        if trial.late <= allowed + 1e-9:
            high = theta
            kept = trial if kept is None or trial.paid < kept.paid else kept
        else:
            low = theta
        if high == 0.0:
            theta *= 2
        elif high - low <= 1e-4 * high:
            break
        else:
            theta = (low + high) / 2
    return _bound(best, best_theta, kept)


def _first_weight(candidates: Sequence[Candidate]) -> float:
    """A late request costs what a replica costs for a slot: small beside what it ends up as."""
    return max(min((each.prices.hold for each in candidates), default=1.0), 1e-12)


def _try(candidates: Sequence[Candidate], theta: float, allowed: float) -> _Trial:
    schedules = tuple(schedule(each.lateness.weighted(theta), each.prices) for each in candidates)
    pairs = tuple(zip(candidates, schedules, strict=True))
    return _Trial(
        dual=sum(each.cost for each in schedules) - theta * allowed,
        late=sum(each.lateness.count(found.counts) for each, found in pairs),
        paid=sum(found.paid(each.prices) for each, found in pairs),
        schedules=schedules,
    )


def _bound(best: _Trial, theta: float, kept: _Trial | None) -> Bound:
    return Bound(
        cost=max(0.0, best.dual),
        price_of_lateness=theta,
        schedules=kept.schedules if kept else (),
        achieved=kept.paid if kept else None,
        late=kept.late if kept else None,
    )
