"""The sessions on a load-ready form side by side: how soon each is open, and how fast it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sizewise.cli.printing import table
from sizewise.core.units import format_seconds

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One session. ``ready`` is how many replicas answer from it, where there is a system to ask."""

    name: str
    open_s: float | None
    p50_s: Mapping[int, float]
    ready: int | None = None


def stages_view(stages: Sequence[Column], *, indent: str = "") -> "Table":
    names = [stage.name.upper() for stage in stages]
    rows = table(f"{indent}FORM", *names, right=names)
    if any(stage.ready is not None for stage in stages):
        rows.add_row(f"{indent}replicas that answer from it", *(str(stage.ready or 0) for stage in stages))
    rows.add_row(f"{indent}open, first call included", *(format_seconds(stage.open_s) for stage in stages))
    for batch in sorted({batch for stage in stages for batch in stage.p50_s}):
        cells = (format_seconds(stage.p50_s.get(batch)) for stage in stages)
        rows.add_row(f"{indent}p50 at batch {batch}", *cells)
    return rows
