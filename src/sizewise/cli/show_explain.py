"""What ``explain`` prints: what is known of a model, then its last decisions with everything they rest on."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.cli.show_live import age_text
from sizewise.cli.show_stages import Column, stages_view
from sizewise.cli.show_status import not_inline, slo_text
from sizewise.core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Answer = Mapping[str, Any]


def explain_view(found: Answer) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    model, decisions = found["model"], found["decisions"]
    parts: list[RenderableType] = [_headline(model), Text(), _figures(model)]
    if stages := model.get("stages"):
        parts += [Text(), stages_view([_column(stage) for stage in stages])]
    for decision in reversed(decisions):
        parts += [Text(), _decision(decision)]
    if not decisions:
        parts += [Text(), Text("nothing has been decided about it yet")]
    return Group(*parts)


def figure_text(name: str, value: float | None) -> str:
    """A figure with the unit its name ends in."""
    if value is None:
        return "-"
    plain = name.partition("[")[0]
    if plain.endswith("_bytes"):
        return format_bytes(value)
    return format_seconds(value) if plain.endswith("_s") and not plain.endswith("_per_s") else f"{value:.4g}"


def _headline(model: Answer) -> "RenderableType":
    from rich.text import Text

    replicas, age_s = model["replicas"], model["profile_age_s"]
    taken = f", {format_seconds(age_s)} ago" if age_s is not None else ""
    parts = [
        f"version {model['version']}",
        f"{model['state']}, {replicas['ready']} of {replicas['desired']} replicas ready",
        f"goal {slo_text(model['slo'])}",
        f"weights {format_bytes(model['weights_bytes'])}",
        f"profile {model['profile_source']}{taken}",
    ]
    if model.get("host_reason"):
        shared = f"host {', '.join(model['hosts'])}: " if model.get("hosts") else ""
        parts.append(f"{shared}{model['host_reason']}")
    if why := not_inline(model):
        parts.append(why)
    if model.get("form"):
        parts.append(model["form"])
    if model.get("last_exit"):
        parts.append(f"last exit {model['last_exit']}")
    return Text.assemble((model["name"], "bold"), "  ", ", ".join(parts))


def _figures(model: Answer) -> "Table":
    """Of the latency curve batch 1, and every batch size that production has shown."""
    rows = table("FIGURE", "PROFILED", "LIVE", "SAMPLES", "AGE", right=("PROFILED", "LIVE", "SAMPLES", "AGE"))
    for name, figure in model["figures"].items():
        if "[" in name and not name.endswith("[1]") and not figure["samples"]:
            continue
        rows.add_row(
            _label(name),
            figure_text(name, figure["profiled"]),
            figure_text(name, figure["live"]),
            str(figure["samples"]) if figure["samples"] else "-",
            age_text(figure["age_s"]),
        )
    return rows


def _column(stage: Answer) -> Column:
    curve = {int(batch): p50_s for batch, p50_s in stage["p50_s"].items()}  # names, in JSON
    return Column(name=stage["name"], open_s=stage["open_s"], p50_s=curve, ready=stage["ready"])


def _label(name: str) -> str:
    """``p95_s[8]`` reads "p95 at batch 8"."""
    plain, _, batch = name.removesuffix("]").partition("[")
    words = plain.removesuffix("_s").removesuffix("_bytes").replace("_", " ")
    return f"{words} at batch {batch}" if batch else words


def _decision(decision: Answer) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    at = datetime.fromtimestamp(decision["at_unix_s"]).astimezone()
    change = f"{at:%H:%M:%S}  {decision['ready'] + decision['loading']} -> {decision['desired']}"
    wanted = f" (wanted {decision['wanted']})" if decision["wanted"] != decision["desired"] else ""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("  because", f"{decision['reason']}  [{decision['code']}]".replace("[", "\\["))
    rows.add_row("  with", _pairs(decision["inputs"]) or "-")
    for refused in decision["refused"]:
        rows.add_row("  not", f"{refused['desired']}: {refused['reason']}")
    if decision["expected_attainment"] is not None:
        rows.add_row("  expects", f"{decision['expected_attainment']:.1%} of requests within the goal")
    rows.add_row("  effect", "; ".join(decision["effect"]) or "none")
    from rich.console import Group

    return Group(Text.assemble((change, "bold"), wanted), rows)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(_pair(name, value) for name, value in values.items() if value is not None)


def _pair(name: str, value: Any) -> str:
    shown = figure_text(name, value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    return f"{name.removesuffix('_s').removesuffix('_bytes')}={shown}".replace("_per=", "/s=")
