"""What one replay shows, and how far a simulated one is from two real ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

P95_SHARE, REPLICA_SHARE, ATTAINMENT_POINTS = 0.20, 0.10, 2.0
"""Aims: the most by which the simulator may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One decision that changed something."""

    at_s: float
    model: str
    desired: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    requests: int
    attainment: float
    """Share of requests answered in time."""
    by_model: dict[str, float]
    """The same of each."""
    p50_s: float
    p95_s: float
    """Of those that were answered."""
    replica_s: float
    cold_starts: int
    changes: tuple[Change, ...]

    @property
    def peak(self) -> int:
        """Most replicas that were wanted at once."""
        wanted: dict[str, int] = {}
        most = 0
        for change in sorted(self.changes, key=lambda each: each.at_s):
            wanted[change.model] = change.desired
            most = max(most, sum(wanted.values()))
        return most

    @property
    def evictions(self) -> int:
        return sum(change.why.startswith("made room") for change in self.changes)

    @property
    def shrunk(self) -> int:
        """Decisions that left a model with fewer replicas than before."""
        before: dict[str, int] = {}
        found = 0
        for change in sorted(self.changes, key=lambda each: each.at_s):
            found += change.desired < before.get(change.model, 0)
            before[change.model] = change.desired
        return found


def quantile_s(histogram: Iterable[tuple[float, int]], share: float) -> float:
    """Of (seconds, count) pairs in any order; 0 without any."""
    ordered = sorted(histogram)
    wanted, seen = share * sum(count for _, count in ordered), 0
    for seconds, count in ordered:
        seen += count
        if seen >= wanted:
            return seconds
    return 0.0


def compared(real: Sequence[Figures], simulated: Figures) -> list[dict[str, Any]]:
    """One row a figure: both real runs, the simulated one, how far it is from their mean, and the aim."""
    first, second = real[0], real[-1]

    def mean(name: str) -> float:
        return float(getattr(first, name) + getattr(second, name)) / 2

    points = 100 * abs(simulated.attainment - mean("attainment"))
    p95_off = abs(simulated.p95_s / mean("p95_s") - 1)
    p95_aim = max(P95_SHARE, abs(first.p95_s - second.p95_s) / mean("p95_s"))
    replicas_off = abs(simulated.replica_s / mean("replica_s") - 1)
    aims: dict[str, tuple[float, float]] = {
        "attainment": (points, ATTAINMENT_POINTS),
        "p95_s": (p95_off, p95_aim),
        "replica_s": (replicas_off, REPLICA_SHARE),
    }
    rows: list[dict[str, Any]] = []
    names = ("requests", "attainment", "p50_s", "p95_s", "replica_s", "cold_starts", "peak", "evictions", "shrunk")
    for name in names:
        row = {"figure": name, "real": _short(getattr(first, name)), "real_again": _short(getattr(second, name))}
        row["simulated"] = _short(getattr(simulated, name))
        if name in aims:
            off, aim = aims[name]
            row |= {"off": round(off, 4), "aim": round(aim, 4), "met": off <= aim}
        rows.append(row)
    for model in sorted(simulated.by_model):
        row = {"figure": f"attainment of {model}", "real": _short(first.by_model[model])}
        row |= {"real_again": _short(second.by_model[model]), "simulated": _short(simulated.by_model[model])}
        rows.append(row)
    return rows


def _short(value: float) -> float:
    return round(value, 4)
