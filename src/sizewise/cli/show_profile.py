"""What ``profile`` prints of one model."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.cli.show_explain import figure_text
from sizewise.cli.show_stages import Column, stages_view
from sizewise.cli.show_status import NARROW
from sizewise.core.inline import why_not_inline
from sizewise.core.profiles import ModelFacts, ModelProfile, Stage
from sizewise.core.units import format_bytes, format_seconds
from sizewise.profiling.report import Figure, Report

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLUMNS = (
    "MODEL", "FORMAT", "PARAMETERS", "ON DISK", "PRIVATE", "MAPPED", "LOAD", "COLD", "CALL", "BATCH", "REQUESTS/S",
)  # fmt: skip
FEW = ("MODEL", "ON DISK", "PRIVATE", "MAPPED", "LOAD", "CALL", "REQUESTS/S")
GAP = 2
SERVER_PER_S = 50_000
"""About what HTTP and JSON leave of two cores: above it the model is not what bounds."""
_LABELS = {
    "start_s": "start of a process",
    "fetch_s": "fetch",
    "load_s": "load",
    "warmup_s": "first call",
    "ready_s": "until it answers",
    "ready_cold_s": "until it answers, cold page cache",
    "base_bytes": "memory before it",
    "resident_bytes": "memory it adds",
    "mapped_bytes": "mapped, shared by replicas",
    "per_request_bytes": "per concurrent request",
    "peak_bytes": "peak",
    "call_p50_s": "call at batch 1, p50",
    "call_p95_s": "call at batch 1, p95",
}


def profile_view(found: Report) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    facts = found.profile.facts
    parts: list[RenderableType] = [Text(found.path, style="bold"), _facts(facts), Text(), _figures(found)]
    if found.measured is not None:
        parts += [Text(), _curve(found.measured, best=found.sustained.batch)]
    if found.formed is not None and found.formed.stages:
        parts += [Text(), stages_view([_stage(each) for each in found.formed.stages], indent="  ")]
    parts += [Text(), Text(_sustained(found))]
    parts += [Text(line, style="dim") for line in _notes(found)]
    return Group(*parts, Text())


def profiles_view(found: Sequence[Report], *, width: int) -> "RenderableType":
    """Several models side by side, the heaviest first. Figures are never cut: columns are left out, then names cut."""
    cells = [_cells(each) for each in sorted(found, key=lambda report: -report.profile.facts.disk_bytes)]
    shown = COLUMNS if width >= NARROW and _needed(COLUMNS, cells) <= width else FEW
    rows = table(*shown, right=shown[1:] if shown is FEW else shown[2:])
    rows.columns[0].width = max(8, _longest("MODEL", cells) - max(0, _needed(shown, cells) - width))
    for row in cells:
        rows.add_row(*(row[column] for column in shown))
    return rows


def _longest(column: str, cells: Sequence[Mapping[str, str]]) -> int:
    return max(len(column), *(len(row[column]) for row in cells))


def _needed(columns: Sequence[str], cells: Sequence[Mapping[str, str]]) -> int:
    return sum(_longest(column, cells) + GAP for column in columns)


def _cells(found: Report) -> dict[str, str]:
    profile, facts, sustained = found.profile, found.profile.facts, found.sustained
    # The mark goes first: where names are cut, it must not be what is lost.
    mark = "" if found.measured is not None else "(estimated) "
    return {
        "MODEL": mark + found.path.rsplit("/", 1)[-1],
        "FORMAT": facts.format,
        "PARAMETERS": "-" if facts.parameters is None else f"{facts.parameters:,}",
        "ON DISK": format_bytes(facts.disk_bytes),
        "PRIVATE": format_bytes(profile.memory.replica_bytes),
        "MAPPED": format_bytes(profile.memory.mapped_bytes or None),
        "LOAD": format_seconds(profile.load.total_s),
        "COLD": format_seconds(profile.load_cold.total_s if profile.load_cold is not None else None),
        "CALL": format_seconds(profile.curve.p50_s(1)),
        "BATCH": str(sustained.batch),
        "REQUESTS/S": f"{sustained.per_s:,.0f}" if sustained.per_s < SERVER_PER_S else f">{SERVER_PER_S:,}",
    }


def profile_json(found: Report) -> dict[str, Any]:
    from sizewise.protocols.serde import to_jsonable

    plain: dict[str, Any] = to_jsonable(found)
    for figure, shown in zip(found.figures, plain["figures"], strict=True):
        shown["error"] = figure.error
    return plain


def _facts(facts: ModelFacts) -> "Table":
    from rich.table import Table

    weights = ", ".join(f"{format_bytes(size)} {datatype}" for datatype, size in facts.weight_bytes)
    files = max(1, len(facts.files))
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("  format", f"{facts.format} ({facts.platform})")
    rows.add_row("  size", f"{format_bytes(facts.disk_bytes)} on disk, {files} file{'s' if files != 1 else ''}")
    parameters = "unknown" if facts.parameters is None else f"{facts.parameters:,}"
    rows.add_row("  parameters", parameters + (f" ({weights})" if weights else ""))
    for label, tensors in (("  inputs", facts.inputs), ("  outputs", facts.outputs)):
        for tensor in tensors:
            rows.add_row(label, f"{tensor.name} {tensor.datatype} {list(tensor.shape)}".replace("[", "\\["))
    return rows


def _figures(found: Report) -> "Table":
    rows = table("  FIGURE", "ESTIMATED", "MEASURED", "OFF BY", right=("ESTIMATED", "MEASURED", "OFF BY"))
    for figure in found.figures:
        if figure.estimated == 0 and not figure.measured:
            continue
        rows.add_row(
            f"  {_LABELS[figure.name]}",
            figure_text(figure.name, figure.estimated),
            figure_text(figure.name, figure.measured),
            _off(figure),
        )
    return rows


def _off(figure: Figure) -> str:
    """In percent, and as a factor where a percentage says nothing any more."""
    if figure.error is None:
        return "-"
    return f"{figure.error:+.0%}" if figure.error < 9.995 else f"{figure.error + 1:,.0f}x"


def _curve(profile: ModelProfile, *, best: int) -> "Table":
    rows = table("  BATCH", "P50", "P95", "ROWS/S", "CALLS", "", right=("  BATCH", "P50", "P95", "ROWS/S", "CALLS"))
    for point in profile.curve.points:
        rows.add_row(
            str(point.batch),
            format_seconds(point.p50_s),
            format_seconds(point.p95_s),
            f"{point.batch / point.p50_s:,.0f}",
            str(point.samples),
            "best" if point.batch == best else "",
        )
    return rows


def _stage(stage: Stage) -> Column:
    curve = {point.batch: point.p50_s for point in stage.curve.points}
    return Column(name=stage.name, open_s=stage.open_s, p50_s=curve)


def _sustained(found: Report) -> str:
    goal = (
        f"with p{found.slo.quantile * 100:g} within {format_seconds(found.slo.latency_s)}"
        if found.slo
        else "at a safe utilization; name a goal with --slo-p95-ms"
    )
    threads, rate = found.profile.threads, _rate(found.sustained.per_s)
    return (
        f"  one replica ({threads} thread{'s' if threads > 1 else ''}, batches up to {found.sustained.batch}) "
        f"sustains {rate} requests/s {goal}"
    )


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s < SERVER_PER_S else f"more than {SERVER_PER_S:,}"


def _notes(found: Report) -> list[str]:
    lines = []
    if found.line is not None:
        lines.append(
            f"  as a straight line: {format_seconds(found.line.fixed_s)} + {format_seconds(found.line.per_row_s)} "
            f"per row, off by up to {found.line.worst:.0%}; decisions use the points"
        )
    profile = found.profile
    if why_not_inline(profile.facts.runtime, profile) is None:
        lines.append("  a call is short enough to run inside the gateway, if you trust the file: isolation: inline")
    if profile.measured_at_s is not None:
        at = datetime.fromtimestamp(profile.measured_at_s).astimezone()
        known = "measured before, " if found.reused else "measured "
        lines.append(f"  {known}{at:%Y-%m-%d %H:%M} on {profile.machine}")
        lines.append("  " + ", ".join(f"{name} {number}" for name, number in profile.versions))
    else:
        lines.append("  not measured: these are estimates from the file")
    return lines + [f"  note: {note}" for note in (*profile.facts.notes, *profile.errors)]
