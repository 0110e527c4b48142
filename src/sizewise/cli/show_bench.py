"""What ``bench`` prints: one line for each window, then how latency is spread."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.cli.show_status import slo_text
from sizewise.core.units import format_bytes, format_seconds
from sizewise.loadgen.bench import BenchReport, Level
from sizewise.loadgen.tally import Latency, Window
from sizewise.protocols.serde import to_jsonable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PER_DECADE = 6
MOST_BAR = 50
WIDE = 100
_QUANTILES = ("p50_s", "p90_s", "p95_s", "p99_s", "p99_9_s", "max_s")
_HEADERS = ("P50", "P90", "P95", "P99", "P99.9", "MAX")


def bench_view(report: BenchReport, *, width: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    last = report.levels[-1]
    parts: list[RenderableType] = [
        Text(report.url, style="bold"),
        Text("\n".join(f"  {line}" for line in head_lines(report))),
        Text(),
        _loads(report, width=width),
        Text(),
    ]
    parts += [_latencies(report.levels), Text()]
    if last.window.latency.histogram:
        parts += [Text(f"latency at {last.name}"), Text(plot(last.window.latency, width=width)), Text()]
    parts += [Text(line, style="yellow") for line in _errors(report.levels)]
    return Group(*parts)


def bench_json(report: BenchReport) -> dict[str, Any]:
    found: dict[str, Any] = to_jsonable(report)
    return {**found, "bottleneck": report.bottleneck}


def plot(latency: Latency, *, width: int) -> str:
    """A bar for each sixth of a factor of ten, as long as its share; the smallest that holds anything has a dot."""
    total = sum(count for _, count in latency.histogram)
    bins = _bins(latency.histogram)
    most, room = max(bins.values()), max(10, min(MOST_BAR, width - 24))
    lines = []
    for step in range(min(bins), max(bins) + 1):
        count = bins.get(step, 0)
        bar = "#" * round(room * count / most) or ("." if count else "")
        share = f"{count / total:7.2%}" if count else " " * 7
        lines.append(f"  <= {format_seconds(10 ** (step / PER_DECADE)):>8} {share}  {bar}".rstrip())
    return "\n".join(lines)


def _bins(histogram: Sequence[tuple[float, int]]) -> Mapping[int, int]:
    placed = ((math.ceil(PER_DECADE * math.log10(upper_s) - 1e-9), count) for upper_s, count in histogram)
    return {step: sum(count for _, count in group) for step, group in groupby(placed, key=lambda pair: pair[0])}


def head_lines(report: BenchReport) -> list[str]:
    """What was sent, and what is wanted."""
    slo = report.slo
    lines = [
        f"body          {format_bytes(report.body_bytes) if report.body_bytes else 'none (GET)'}",
        f"first answer  {format_seconds(report.first_answer_s)}",
    ]
    if slo is not None:
        lines.append(f"goal          {slo_text({'quantile': slo.quantile, 'latency_s': slo.latency_s})}")
    return lines


def _loads(report: BenchReport, *, width: int) -> "Table":
    """Where columns are few, those that decide nothing are left out."""
    columns = ["OFFERED/S", "ANSWERED/S", "SENT", "ERRORS", "IN GOAL", "CONNECTIONS", "OWN LAG", "OWN CPU"]
    if report.slo is None:
        columns.remove("IN GOAL")
    if width < WIDE:
        columns.remove("CONNECTIONS")
    rows = table("LOAD", *columns, right=columns, gap=2 if width >= WIDE else 1)
    for level in report.levels:
        cells = _cells(level.window)
        rows.add_row(level.name, *(cells[column] for column in columns))
    return rows


def _cells(window: Window) -> dict[str, str]:
    is_open = window.offered_per_s is not None
    return {
        "OFFERED/S": f"{window.offered_per_s:,.0f}" if is_open else "-",
        "ANSWERED/S": f"{window.answered_per_s:,.0f}",
        "SENT": f"{window.sent:,}",
        "ERRORS": f"{window.errors:,}",
        "IN GOAL": "-" if window.attainment is None else f"{window.attainment:.2%}",
        "CONNECTIONS": str(window.connections),
        "OWN LAG": format_seconds(window.lag_p99_s),
        "OWN CPU": f"{window.cpu_share:.0%}",
    }


def _latencies(levels: Sequence[Level]) -> "Table":
    rows = table("LATENCY", "FROM", *_HEADERS, right=_HEADERS)
    for level in levels:
        window = level.window
        kinds = {"when due": window.latency, "when sent": window.service}
        for name, latency in kinds.items() if window.kind == "open" else [("when sent", window.latency)]:
            rows.add_row(level.name, name, *(format_seconds(getattr(latency, each)) for each in _QUANTILES))
    return rows


def _errors(levels: Sequence[Level]) -> list[str]:
    failed = [level for level in levels if level.window.errors]
    return [f"errors at {level.name}: {', '.join(reasons(level.window))}" for level in failed]


def reasons(window: Window) -> list[str]:
    """How often what went wrong, statuses first."""
    bad = [f"{count:,} x {status}" for status, count in window.statuses.items() if not "200" <= status < "400"]
    return bad + [f"{count:,} x {reason}" for reason, count in window.failures.items()]
