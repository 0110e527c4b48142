"""The figures of a comparison, as everybody prints them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sizewise.core.units import format_seconds
from sizewise.simulation.comparing import Compared
from sizewise.simulation.running import Outcome

FIGURES = (
    *("policy", "mode", "requests", "served", "shed", "failed", "in_flight"),
    *("attainment_requests", "attainment_model_minutes"),
    *("p50_s", "p95_s", "p99_s", "replica_seconds", "mean_replicas", "peak_replicas", "memory_byte_seconds"),
    *("cost_usd", "cold_starts", "cold_seconds", "scale_changes"),
    *("bound_cost", "bound_cost_certified", "cost_to_bound"),
)


def figures(outcome: Outcome) -> Mapping[str, Any]:
    """One policy. ``bound_cost`` is None while nothing bounds the scenario."""
    return {name: getattr(outcome, name) for name in FIGURES}


def as_json(compared: Compared) -> dict[str, Any]:
    """``frontiers`` and ``ladder`` only where they were asked for."""
    found: dict[str, Any] = {"policies": [figures(outcome) for outcome in compared.outcomes]}
    if compared.frontiers:
        found["frontiers"] = {
            label: [{"mean_replicas": point.cost, "attainment_model_minutes": point.attainment} for point in points]
            for label, points in compared.frontiers.items()
        }
    if compared.ladder:
        found["ladder"] = [asdict(rung) for rung in compared.ladder]
    return found


def headline(requests: int, models: int, end_s: float) -> str:
    """What was replayed, in one line."""
    return f"{requests:,} requests for {models:,} model{'s' * (models != 1)} in {format_seconds(end_s)}"
