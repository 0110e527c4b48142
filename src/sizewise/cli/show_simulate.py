"""What ``simulate`` prints: one line a policy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.core.units import format_seconds
from sizewise.simulation.figures import headline

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("POLICY", "MODE", "IN SLO", "MINUTES", "P50", "P95", "P99", "SHED", "FAILED", "REPLICAS", "PEAK")
_MORE = ("COLD", "CHANGES")


def simulate_view(rows: Sequence[Mapping[str, Any]], *, end_s: float, models: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    priced = any(row["cost_usd"] for row in rows)
    bounded = any(row["cost_to_bound"] for row in rows)
    columns = [*_COLUMNS, *_MORE, *(["COST"] if priced else []), *(["COST/BOUND"] if bounded else [])]
    made = table(*columns, right=columns[2:])
    for row in rows:
        cells = [
            str(row["policy"]),
            str(row["mode"]),
            _share(row["attainment_requests"]),
            _share(row["attainment_model_minutes"]),
            *(format_seconds(row[key]) for key in ("p50_s", "p95_s", "p99_s")),
            f"{row['shed']:,}",
            f"{row['failed']:,}",
            f"{row['mean_replicas']:.2f}",
            f"{row['peak_replicas']:,}",
            f"{row['cold_starts']:,}",
            f"{row['scale_changes']:,}",
        ]
        if priced:
            cells.append(f"${row['cost_usd']:.2f}")
        if bounded:
            cells.append(f"{row['cost_to_bound']:.2f}" if row["cost_to_bound"] else "-")
        made.add_row(*cells)
    requests = max((row["requests"] for row in rows), default=0)
    head = headline(requests, models, end_s)
    return Group(Text(head, style="bold"), Text(), made)


def ladder_view(rungs: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """Costs in dollars, or in replica-seconds where nothing has a price."""
    from rich.console import Group
    from rich.text import Text

    made = table("SIZEWISE", "COST", "IN SLO", right=["COST", "IN SLO"])
    for rung in rungs:
        made.add_row(str(rung["name"]), f"{rung['cost']:,.4g}", _share(rung["attainment"]))
    return Group(Text(), made)


def _share(value: float) -> str:
    """Not 100.00% unless it is all of them."""
    return f"{min(value, 0.9999) if value < 1 else value:.2%}"
