"""What ``status`` prints: one line for each model, then the machine."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import NARROW, table
from sizewise.core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

Answer = Mapping[str, Any]
COLUMNS = ("NAME", "STATE", "READY/DESIRED", "WEIGHTS", "MEMORY", "LOAD", "P95", "SLO", "REQUESTS", "REASON")
NUMBERS = ("READY/DESIRED", "WEIGHTS", "MEMORY", "LOAD", "P95", "SLO", "REQUESTS")
STYLES = {"ready": "green", "loading": "yellow", "cold": "blue", "failed": "bold red"}


def status_view(status: Answer, *, width: int) -> "RenderableType":
    """``width`` columns to print on; narrow ones give reasons lines of their own."""
    from rich.console import Group
    from rich.text import Text

    models = status["models"]
    if not models:
        return Group(Text("no models: deploy one with: sizewise deploy NAME FILE"), *_footer(status))
    narrow = width < NARROW
    shown = COLUMNS[:-1] if narrow else COLUMNS
    rows = table(*(_header(column, narrow=narrow) for column in shown), right=(*NUMBERS, "READY"))
    rows.columns[0].max_width = 16 if narrow else 28
    for model in models:
        cells = [*_cells(model, narrow=narrow), Text(_reason(model), style="dim")]
        rows.add_row(*cells[: len(shown)])
    parts: list[RenderableType] = [rows]
    if narrow:
        why = table("", "REASON", last_wraps=True)
        why.columns[0].max_width = 16
        for model in models:
            why.add_row(model["name"], _reason(model), style="dim")
        parts += [Text(), why]
    return Group(*parts, *_footer(status))


def slo_text(slo: Answer | None) -> str:
    if slo is None:
        return "-"
    goal = format_seconds(slo["latency_s"]).replace(".0 ", " ")
    return goal if slo["quantile"] == 0.95 else f"p{slo['quantile'] * 100:g} {goal}"


def _header(column: str, *, narrow: bool) -> str:
    return "READY" if narrow and column == "READY/DESIRED" else column


def _cells(model: Answer, *, narrow: bool) -> list["str | Text"]:
    from rich.text import Text

    replicas, state, slo, p95_s = model["replicas"], model["state"], model["slo"], model["p95_s"]
    counts = f"{replicas['ready']}/{replicas['desired']}"
    late = slo is not None and p95_s is not None and slo["quantile"] <= 0.95 and p95_s > slo["latency_s"]
    failed = f" ({model['errors_total']} failed)" if model["errors_total"] and not narrow else ""
    return [
        model["name"],
        Text(state, style=STYLES.get(state, "")),
        counts,
        format_bytes(model["weights_bytes"]),
        format_bytes(model["memory_bytes"]),
        format_seconds(model["load_s"]),
        Text(format_seconds(p95_s), style="red" if late else ""),
        slo_text(slo),
        f"{model['requests_total']}{failed}",
    ]


def _reason(model: Answer) -> str:
    rollout = model.get("rollout")
    words = [model.get("failure") or model["reason"]]
    if model.get("candidate"):
        words.append(f"version {model['candidate']} is being loaded beside {model['version']}")
    elif rollout is not None and rollout["state"] == "failed":
        words.append(f"version {rollout['version']} was given up: {rollout['detail']}")
    return "; ".join(word for word in words if word)


def _footer(status: Answer) -> list["RenderableType"]:
    from rich.text import Text

    machine = status["machine"]
    lines = [
        Text(),
        Text(
            f"machine: {machine['cpus']:g} CPUs, "
            f"memory {format_bytes(machine['memory_used_bytes'])} of {format_bytes(machine['memory_bytes'])}, "
            f"disk {format_bytes(machine['disk_used_bytes'])} of {format_bytes(machine['disk_bytes'])}",
            style="dim",
        ),
    ]
    lines += [Text(f"not observed: {problem}", style="yellow") for problem in status.get("problems", ())]
    return list(lines)
