"""What may be believed. A decision that rests on missing, old or impossible figures must not take anything away."""

import math

from sizewise.core.fleet import Demand, FleetView, ModelView, Reason
from sizewise.core.reasons import because

FUTURE_S = 1.0
"""A reading may be ahead of the decision's clock by no more than rounding and one tick."""


def distrust(model: ModelView, view: FleetView) -> Reason | None:
    """Why this model's figures cannot be used, or None when they can."""
    demand = model.demand
    age_s = view.now_s - demand.observed_at_s
    if not age_s <= view.stale_after_s:  # NaN and never read (-inf) included
        if math.isfinite(age_s):
            return because("stale", age_s=age_s, stale_after_s=view.stale_after_s)
        return because("unread")
    if age_s < -FUTURE_S:
        return because("future", ahead_s=-age_s)
    wrong = _impossible_demand(demand) or model.profile.impossible
    return None if wrong is None else because("absurd", figure=wrong[0], value=wrong[1])


def distrust_machine(view: FleetView) -> Reason | None:
    """Why nothing at all can be decided, or None: the clock or the budget makes no sense."""
    machine = view.machine
    for name, value in (("now_s", view.now_s), ("cpus", machine.cpus), ("memory_bytes", machine.memory_bytes)):
        if not math.isfinite(value) or (name != "now_s" and value <= 0):
            return because("absurd", figure=name, value=value)
    if machine.overhead_bytes < 0:
        return because("absurd", figure="overhead_bytes", value=machine.overhead_bytes)
    return None


def _impossible_demand(demand: Demand) -> tuple[str, float] | None:
    # In one expression first: nearly all are in order, and this runs for every model at every decision
    total = (
        demand.burst_per_s + demand.stable_per_s + demand.rows_per_request + demand.shed_per_s + demand.forecast_per_s
    )
    least = min(
        demand.burst_per_s, demand.stable_per_s, demand.shed_per_s, demand.rows_per_request, demand.forecast_per_s
    )
    waiting = min(demand.in_flight, demand.queued, demand.held)
    times = demand.idle_s >= 0 and demand.gap_s >= 0
    if math.isfinite(total) and least >= 0 and waiting >= 0 and times:
        wrong = next((n for w, n in demand.envelope if not (n >= 0 and w > 0 and n < math.inf)), None)
        return None if wrong is None else ("envelope", wrong)
    for name in ("burst_per_s", "stable_per_s", "shed_per_s", "rows_per_request", "forecast_per_s"):
        value = getattr(demand, name)
        if not (0 <= value < math.inf):
            return name, value
    for name in ("in_flight", "queued", "held", "idle_s", "gap_s"):
        value = getattr(demand, name)
        if not value >= 0:
            return name, value
    return "demand", total
