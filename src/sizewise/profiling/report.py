"""What is said about a profile: estimate beside measurement, the straight line's error, what one replica sustains."""

from collections.abc import Callable
from dataclasses import dataclass

from sizewise.core.profiles import LatencyCurve, ModelProfile, Source
from sizewise.core.sizing import capacity_of, sustainable_per_s
from sizewise.core.slo import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure as estimated from the file and as measured; None where it was not."""

    name: str
    estimated: float
    measured: float | None

    @property
    def error(self) -> float | None:
        """How far the estimate is off, as a share of the measurement: 0.5 is half too much. None where one is zero."""
        return (self.estimated - self.measured) / self.measured if self.estimated and self.measured else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """Seconds of a call as ``fixed_s + per_row_s * batch``; ``worst`` is its largest relative error at a point."""

    fixed_s: float
    per_row_s: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """One replica inside the goal (or, without one, at a safe utilization), by ``core.sizing``."""

    batch: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that ``profile`` shows of one model."""

    path: str
    hash: str
    estimate: ModelProfile
    measured: ModelProfile | None
    reused: bool
    """The measurement is from before; the files have not changed since."""
    slo: Slo | None
    figures: tuple[Figure, ...]
    line: LineFit | None
    sustained: Sustained
    formed: ModelProfile | None = None
    """Of its load-ready form, where a system has measured that: a replica runs it rather than the files."""

    @property
    def profile(self) -> ModelProfile:
        """The best that is known."""
        return self.measured or self.estimate


_FIGURES: dict[str, Callable[[ModelProfile], float | None]] = {
    "start_s": lambda p: p.load.start_s,
    "fetch_s": lambda p: p.load.fetch_s,
    "load_s": lambda p: p.load.load_s,
    "warmup_s": lambda p: p.load.warmup_s,
    "ready_s": lambda p: p.load.total_s,
    "ready_cold_s": lambda p: p.load_cold.total_s if p.load_cold else None,
    "base_bytes": lambda p: p.memory.base_bytes,
    "resident_bytes": lambda p: p.memory.resident_bytes,
    "mapped_bytes": lambda p: p.memory.mapped_bytes,
    "per_request_bytes": lambda p: p.memory.per_request_bytes,
    "peak_bytes": lambda p: p.memory.peak_bytes,
    "call_p50_s": lambda p: p.curve.points[0].p50_s,
    "call_p95_s": lambda p: p.curve.points[0].p95_s,
}


def report(
    path: str,
    content_hash: str,
    *,
    estimate: ModelProfile,
    measured: ModelProfile | None,
    slo: Slo | None,
    reused: bool,
) -> Report:
    best = measured or estimate
    capacity = capacity_of(best, slo)
    return Report(
        path=path,
        hash=content_hash,
        estimate=estimate,
        measured=measured,
        reused=reused,
        slo=slo,
        figures=tuple(
            Figure(name=name, estimated=read(estimate) or 0.0, measured=None if measured is None else read(measured))
            for name, read in _FIGURES.items()
        ),
        line=line_fit(best.curve) if best.source is not Source.ESTIMATED else None,
        sustained=Sustained(batch=capacity.batch, per_s=sustainable_per_s(capacity)),
    )


def line_fit(curve: LatencyCurve) -> LineFit | None:
    """Least squares on relative errors over the medians; None for fewer than three points, which say nothing.

    Only ever printed: CPUs do not follow a straight line, so decisions read the points.
    """
    points = [(float(p.batch), p.p50_s, 1.0 / p.p50_s**2) for p in curve.points]
    if len(points) < 3:
        return None
    total = sum(w for _, _, w in points)
    mean_x = sum(w * x for x, _, w in points) / total
    mean_y = sum(w * y for _, y, w in points) / total
    spread = sum(w * (x - mean_x) ** 2 for x, _, w in points)
    slope = sum(w * (x - mean_x) * (y - mean_y) for x, y, w in points) / spread
    fixed = mean_y - slope * mean_x
    worst = max(abs(fixed + slope * x - y) / y for x, y, _ in points)
    return LineFit(fixed_s=fixed, per_row_s=slope, worst=worst)
