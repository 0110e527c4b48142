"""What production shows beside what was profiled, a line a model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sizewise.cli.printing import table
from sizewise.core.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.table import Table

Answer = Mapping[str, Any]
COLUMNS = ("LIVE", "CALL", "PROFILED", "LOAD", "PROFILED", "MEMORY", "PROFILED", "AGE")
LEAST_NAME = 8


def live_view(models: Sequence[Answer], *, width: int, gap: int) -> "Table | None":
    """The call at the batch that is seen most, the load and the memory of one replica; None while nothing is live.

    ``AGE`` is that of the newest sample. ``explain`` has it of each figure, and every batch.
    """
    cells = [_cells(model) for model in models if _seen(model["figures"])]
    if not cells:
        return None
    rows = table(*COLUMNS, right=COLUMNS[1:], gap=gap)
    sizes = [max(len(header), *(len(row[i]) for row in cells)) for i, header in enumerate(COLUMNS)]
    rows.columns[0].width = max(LEAST_NAME, min(sizes[0], width - sum(sizes[1:]) - gap * len(sizes)))
    for row in cells:
        rows.add_row(*row)
    return rows


def age_text(seconds: float | None) -> str:
    return "now" if seconds is not None and seconds < 1 else format_seconds(seconds)


def _seen(figures: Mapping[str, Answer]) -> list[Answer]:
    return [figure for figure in figures.values() if figure["live"] is not None]


def _cells(model: Answer) -> tuple[str, ...]:
    figures: Mapping[str, Answer] = model["figures"]
    calls = [figure for name, figure in figures.items() if name.startswith("p50_s[") and figure["live"] is not None]
    call = max(calls, key=lambda figure: figure["samples"], default={})
    load, memory = figures.get("load_s", {}), figures.get("replica_bytes", {})
    ages_s = [figure["age_s"] for figure in _seen(figures) if figure["age_s"] is not None]
    return (
        model["name"],
        *(format_seconds(figure.get(side)) for figure in (call, load) for side in ("live", "profiled")),
        *(format_bytes(memory.get(side)) for side in ("live", "profiled")),
        age_text(min(ages_s, default=None)),
    )
