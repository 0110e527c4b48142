"""Medians and spread of what was measured, and the ratios that are aimed at. Pure: reads records, returns values."""

from dataclasses import dataclass
from statistics import median
from typing import Any

Record = dict[str, Any]
MEASURES = ("requests_per_s", "p50_ms", "p99_ms", "requests_per_core_s")


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One peer, one body, one number of connections, over all repeats."""

    requests_per_s: Spread
    p50_ms: Spread
    p99_ms: Spread
    requests_per_core_s: Spread
    errors: int


Cells = dict[tuple[str, str, int], Cell]
"""By body, peer and connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A figure of Sizewise over one of a peer, or alone, that is to be ``at_least`` or ``at_most`` something."""

    body: str
    connections: int
    measure: str
    peer: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def title(self) -> str:
        beside = f" / {self.peer}" if self.peer else ""
        return f"{self.measure}{beside}, {self.body}, {self.connections} connection{'s' * (self.connections > 1)}"

    def bound(self) -> str:
        return f">= {self.at_least:,g}" if self.at_least is not None else f"<= {self.at_most:,g}"

    def holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def _beside_fastapi(peer: str) -> tuple[Aim, ...]:
    return (
        Aim(body="small", connections=64, measure="requests_per_s", peer=peer, at_least=4),
        Aim(body="small", connections=64, measure="requests_per_core_s", peer=peer, at_least=3),
        Aim(body="small", connections=64, measure="p99_ms", peer=peer, at_most=0.5),
        Aim(body="small", connections=1, measure="p50_ms", peer=peer, at_most=1),
    )


AIMS = (
    *_beside_fastapi("fastapi-lean"),
    *_beside_fastapi("fastapi-lean-1"),
    Aim(body="small", connections=64, measure="requests_per_s", at_least=30_000),
    Aim(body="small", connections=64, measure="requests_per_s", peer="inline", at_least=0.6),
    Aim(body="small", connections=64, measure="requests_per_s", peer="pytriton", at_least=8),
    Aim(body="medium", connections=64, measure="requests_per_s", at_least=4000),
    Aim(body="medium", connections=64, measure="requests_per_s", peer="pytriton", at_least=2.5),
)


def cells_of(record: Record) -> Cells:
    return {(row["body"], row["peer"], row["connections"]): _cell(row["windows"]) for row in record["rows"]}


def reached(cells: Cells, aim: Aim) -> float | None:
    """The figure of an aim, or None when a part of it was not measured."""
    ours = cells.get((aim.body, "sizewise", aim.connections))
    beside = cells.get((aim.body, aim.peer, aim.connections)) if aim.peer else None
    if ours is None or (aim.peer and beside is None):
        return None
    value: float = getattr(ours, aim.measure).median
    if beside is None:
        return value
    other: float = getattr(beside, aim.measure).median
    return value / other if other else None


def _cell(windows: list[dict[str, float]]) -> Cell:
    def spread(measure: str) -> Spread:
        values = [window[measure] for window in windows]
        return Spread(median(values), min(values), max(values))

    measured = {measure: spread(measure) for measure in MEASURES}
    return Cell(**measured, errors=round(sum(window["errors"] for window in windows)))
