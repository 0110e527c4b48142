"""What ``status`` prints: one line for each model, what production shows of it, then the machine."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.cli.show_live import LEAST_NAME, live_view
from sizewise.core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

Answer = Mapping[str, Any]
COLUMNS = ("NAME", "STATE", "READY/DESIRED", "WEIGHTS", "MEMORY", "LOAD", "P95", "SLO", "REQUESTS", "REASON")
NUMBERS = ("READY/DESIRED", "WEIGHTS", "MEMORY", "LOAD", "P95", "SLO", "REQUESTS")
NARROW, WIDE = 100, 150
STYLES = {"ready": "green", "loading": "yellow", "warm": "cyan", "cold": "blue", "failed": "bold red"}


def status_view(status: Answer, *, width: int) -> "RenderableType":
    """``width`` columns to print on: where they do not suffice, reasons follow in a list of their own."""
    from rich.console import Group
    from rich.text import Text

    models = status["models"]
    if not models:
        return Group(Text("no models: deploy one with: sizewise deploy NAME FILE"), *_footer(status))
    live = live_view(models, width=width, gap=_gap(width))
    parts: list[RenderableType] = [_rows(models, width=width, reasons=width >= WIDE)]
    if live is not None:
        parts += [Text(), live]
    if width < WIDE:
        parts += [Text(), _reasons(models)]
    return Group(*parts, *_footer(status))


def _gap(width: int) -> int:
    return 1 if width < NARROW else 2


def _rows(models: Sequence[Answer], *, width: int, reasons: bool) -> "Table":
    """Figures are never cut: what is missing in width is taken from the names and the reasons."""
    from rich.text import Text

    narrow, wide = width < NARROW, width >= WIDE
    headers = [_header(column, narrow=narrow) for column in COLUMNS[:-1]]
    cells = [_cells(model, wide=wide) for model in models]
    gap = _gap(width)
    rows = table(*headers, *(["REASON"] if reasons else []), right=(*NUMBERS, "READY"), gap=gap)
    sizes = [max(len(header), *(len(row[i]) for row in cells)) for i, header in enumerate(headers)]
    spare = width - sum(size + gap for size in sizes[1:]) - gap
    sizes[0] = min(sizes[0], max(spare // 2 if reasons else spare, LEAST_NAME))
    for column, size in zip(rows.columns, sizes, strict=False):
        column.width = size
    for model, row in zip(models, cells, strict=True):
        rows.add_row(*row, *([Text(_reason(model), style="dim")] if reasons else []))
    return rows


def _reasons(models: Sequence[Answer]) -> "Table":
    why = table("NAME", "REASON", last_wraps=True)
    for model in models:
        why.add_row(model["name"], "; ".join(filter(None, (_reason(model), *_lost(model)))), style="dim")
    return why


def slo_text(slo: Answer | None) -> str:
    if slo is None:
        return "-"
    goal = format_seconds(slo["latency_s"]).replace(".0 ", " ")
    return goal if slo["quantile"] == 0.95 else f"p{slo['quantile'] * 100:g} {goal}"


def _header(column: str, *, narrow: bool) -> str:
    return "READY" if narrow and column == "READY/DESIRED" else column


def _cells(model: Answer, *, wide: bool) -> list["str | Text"]:
    from rich.text import Text

    replicas, slo, p95_s = model["replicas"], model["slo"], model["p95_s"]
    # For people: cold, but its files are in memory
    state = "warm" if model["state"] == "cold" and model["warm_bytes"] else model["state"]
    counts = f"{replicas['ready']}/{replicas['desired']}"
    late = slo is not None and p95_s is not None and slo["quantile"] <= 0.95 and p95_s > slo["latency_s"]
    lost = f" ({', '.join(_lost(model))})" if wide and _lost(model) else ""
    return [
        model["name"],
        Text(state, style=STYLES.get(state, "")),
        counts,
        format_bytes(model["weights_bytes"] or None),
        format_bytes(model["memory_bytes"]),
        format_seconds(model["load_s"]),
        Text(format_seconds(p95_s), style="red" if late else ""),
        slo_text(slo),
        f"{model['requests_total']}{lost}",
    ]


def _lost(model: Answer) -> list[str]:
    counts = (("failed", model["errors_total"]), ("refused", model["shed_total"]))
    return [f"{count} {what}" for what, count in counts if count]


def _reason(model: Answer) -> str:
    rollout = model.get("rollout")
    words = [model.get("failure") or model["reason"]]
    if model.get("candidate"):
        words.append(f"version {model['candidate']} is being loaded beside {model['version']}")
    elif rollout is not None and rollout["state"] == "failed":
        words.append(f"version {rollout['version']} was given up: {rollout['detail']}")
    words.append(not_inline(model))
    if hosts := model.get("hosts"):
        words.append(f"in a shared process ({', '.join(hosts)})")
    return "; ".join(word for word in words if word)


def not_inline(model: Answer) -> str:
    """Empty unless the owner allowed what is not so."""
    why = model.get("inline_refused")
    return f"not inside the gateway: {why}" if why else ""


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
