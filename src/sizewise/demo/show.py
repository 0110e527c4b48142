"""The demo on the screen: a live table in a terminal, plain lines without one, and the report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizewise.core.units import format_bytes, format_seconds
from sizewise.demo.report import ModelReport, Report
from sizewise.demo.timeline import Moment, Timeline

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

TIMELINE_WIDTH = 40
LOST_SHARE = 0.01
"""A larger share of requests without an answer is said apart: it is no picture of how Sizewise serves."""
STYLES = {"ready": "green", "loading": "yellow", "cold": "blue", "failed": "bold red"}


def _table(title: str | None = None) -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")


def live_view(moment: Moment) -> "RenderableType":
    """One line a model: what it weighs, what runs, and what ran so far."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    status, timeline, seconds = moment.status, moment.timeline, moment.seconds
    rows = _table()
    for name, justify in (
        ("MODEL", "left"),
        ("WEIGHTS", "right"),
        ("LOAD", "right"),
        ("STATE", "left"),
        ("READY", "right"),
        ("P95", "right"),
        ("IN SLO", "right"),
        ("REPLICAS OVER TIME", "left"),
    ):
        rows.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    for model in sorted(status["models"], key=lambda found: -found["weights_bytes"]):
        attainment = model["slo_attainment"]
        rows.add_row(
            model["name"],
            format_bytes(model["weights_bytes"] or None),
            format_seconds(model["load_s"]),
            Text(model["state"], style=STYLES.get(model["state"], "")),
            str(model["replicas"]["ready"]),
            format_seconds(model["p95_s"]),
            "-" if attainment is None else f"{attainment:.1%}",
            Text(timeline.line(model["name"], seconds=seconds, width=TIMELINE_WIDTH), style="cyan"),
        )
    machine = status["machine"]
    used, budget = machine["memory_used_bytes"], machine["memory_bytes"]
    footer = Text(
        f"{moment.at_s:5.0f} of {seconds:.0f} s   {moment.answered} of {moment.total} requests answered   "
        f"memory {format_bytes(used)} of {format_bytes(budget)}",
        style="dim",
    )
    bar = ProgressBar(total=seconds, completed=min(moment.at_s, seconds), width=60)
    return Group(rows, Text(), bar, footer)


def plain_line(moment: Moment) -> str:
    """The same for a log: who is ready, and how full the machine is."""
    status = moment.status
    ready = [
        f"{model['name']}x{model['replicas']['ready']}" for model in status["models"] if model["replicas"]["ready"]
    ]
    machine = status["machine"]
    return (
        f"{moment.at_s:4.0f}/{moment.seconds:.0f} s  {moment.answered}/{moment.total} requests answered  "
        f"memory {format_bytes(machine['memory_used_bytes'])} of {format_bytes(machine['memory_bytes'])}  "
        f"ready: {' '.join(ready) or 'none'}"
    )


def report_view(report: Report, timeline: Timeline, *, width: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    rows = _table()
    for name, right in (
        ("MODEL", False),
        ("WEIGHTS", True),
        ("REQUESTS", True),
        ("IN SLO", True),
        ("P95", True),
        ("COLD STARTS", True),
        ("REPLICA-S", True),
        ("MEMORY-TIME", True),
        ("ALWAYS ON*", True),
    ):
        rows.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in _by_weight(report.models):
        rows.add_row(*_cells(row))
    lines = _table()
    lines.add_column("MODEL", no_wrap=True)
    lines.add_column(f"REPLICAS OVER {report.seconds:.0f} S  (· none, … loading, ▁▃▅ ready)", no_wrap=True)
    for row in _by_weight(report.models):
        mark = timeline.line(row.name, seconds=report.seconds, width=min(width - 16, 60))
        lines.add_row(row.name, Text(mark, style="cyan"))
    return Group(lines, Text(), rows, Text(), *[Text(line) for line in summary(report)])


def summary(report: Report) -> list[str]:
    """The run in sentences."""
    saved = 1 - report.memory_byte_seconds / report.always_on_memory_byte_seconds
    fewer = 1 - report.replica_seconds / report.always_on_replica_seconds
    unmeasured = ", ".join(row.name for row in report.models if not row.profile_measured)
    return [
        (
            f"{report.requests} requests, {report.failed} failed, {report.shed} refused at once because they would "
            f"have been late, {report.slo_attainment:.2%} within their SLO, {report.cold_starts} cold starts."
        ),
        (
            f"Models held {_gib_s(report.memory_byte_seconds)} of memory-time and {report.replica_seconds:.0f} "
            "replica-seconds."
        ),
        (
            f"*Computed from the measured profiles: one replica of each model for {report.lasted_s:.0f} s takes "
            f"{_gib_s(report.always_on_memory_byte_seconds)} and {report.always_on_replica_seconds:.0f} "
            f"replica-seconds; this run took {saved:.0%} less memory-time and {fewer:.0%} fewer replica-seconds."
        ),
        *([f"~Not measured beforehand, so as expected at the end of this run: {unmeasured}."] if unmeasured else []),
        (
            f"All models together weigh {format_bytes(report.models_sum_bytes)} in memory; the budget, Sizewise itself "
            f"included, was {format_bytes(report.memory_budget_bytes)}."
        ),
    ]


def many_lost(report: Report) -> str | None:
    """When more than ``LOST_SHARE`` of the requests have no answer: how many, and what to look at."""
    lost = report.failed + report.shed
    if lost <= LOST_SHARE * report.requests:
        return None
    return (
        f"{lost} of {report.requests} requests were not answered ({report.failed} failed, {report.shed} refused): "
        "this machine was probably too busy: end what else runs and try again, or see which models and why"
    )


def _by_weight(models: Sequence[ModelReport]) -> list[ModelReport]:
    return sorted(models, key=lambda row: -row.weights_bytes)


def _cells(row: ModelReport) -> tuple[str, ...]:
    lost = [f"{row.failed} failed"] * bool(row.failed) + [f"{row.shed} refused"] * bool(row.shed)
    failed = f" ({', '.join(lost)})" if lost else ""
    return (
        row.name,
        format_bytes(row.weights_bytes or None),
        f"{row.requests}{failed}",
        "-" if row.slo_attainment is None else f"{row.slo_attainment:.1%}",
        format_seconds(row.p95_s),
        str(row.cold_starts),
        f"{row.replica_seconds:.0f}",
        _gib_s(row.memory_byte_seconds),
        ("" if row.profile_measured else "~") + _gib_s(row.always_on_memory_byte_seconds),
    )


def _gib_s(byte_seconds: float) -> str:
    gib_s = byte_seconds / 2**30
    return f"{gib_s:.1f} GiB-s" if gib_s >= 0.1 else f"{gib_s * 1024:.1f} MiB-s"
