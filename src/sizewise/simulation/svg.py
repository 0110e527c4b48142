"""Small charts as SVG text: lines, bands and points over two axes; no scripts, no fonts, no files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 300, 64, 40, 16, 16
COLORS = ("#0b6e99", "#c4541b", "#5b8c2a", "#7b4ea3", "#b3862b", "#a3325c", "#3a7d7c", "#6b6b6b")
Points = Sequence[tuple[float, float]]


@dataclass(slots=True, kw_only=True)
class Chart:
    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    lines: list[tuple[str, Points]] = field(default_factory=list)
    """(name, points); one of the same name has the same color."""
    dots: list[tuple[str, Points]] = field(default_factory=list)
    bands: list[tuple[str, Points, Points]] = field(default_factory=list)
    """(name, lower edge, upper edge): what lies between."""


def draw(chart: Chart, names: Sequence[str]) -> str:
    """``names`` fixes who has which color."""
    everything = [p for _, points in (*chart.lines, *chart.dots) for p in points]
    everything += [p for _, low, high in chart.bands for p in (*low, *high)]
    usable = [p for p in everything if (p[0] > 0 or not chart.log_x) and (p[1] > 0 or not chart.log_y)]
    if not usable:
        return f"<figure><figcaption>{escape(chart.title)}: nothing to show</figcaption></figure>"
    axes = _Axes(chart, usable)
    parts = [axes.frame()]
    for name, low, high in chart.bands:
        outline = [*low, *reversed(high)]
        parts.append(f'<polygon points="{axes.path(outline)}" fill="{_color(name, names)}" opacity="0.18"/>')
    for name, points in chart.lines:
        color = _color(name, names)
        parts.append(f'<polyline points="{axes.path(points)}" fill="none" stroke="{color}" stroke-width="1.6"/>')
    for name, points in chart.dots:
        for point in points:
            x, y = axes.at(point)
            title = f"<title>{escape(name)}: {point[0]:.4g}, {point[1]:.4g}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_color(name, names)}">{title}</circle>')
    body = "".join(parts)
    label = escape(chart.title)
    return (
        f'<figure><figcaption>{label}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}">{body}</svg></figure>'
    )


def stacked(title: str, bars: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Bars of (label, pieces) below each other; the n-th piece of each has the same color."""
    longest = max((sum(pieces) for _, pieces in bars), default=0.0) or 1.0
    scale, high, parts = (WIDTH - 2 * RIGHT) / longest, 44, []
    for row, (label, pieces) in enumerate(bars):
        x, y = float(RIGHT), TOP + row * high
        parts.append(f'<text x="{RIGHT}" y="{y + 10}">{escape(label)}</text>')
        for i, piece in enumerate(pieces):
            wide, color = piece * scale, COLORS[i % len(COLORS)]
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 14}" width="{wide:.1f}" height="20" fill="{color}" opacity="0.75"/>'
            )
            x += wide
    label = escape(title)
    return (
        f'<figure><figcaption>{label}</figcaption><svg viewBox="0 0 {WIDTH} {TOP + high * len(bars)}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg></figure>'
    )


def _color(name: str, names: Sequence[str]) -> str:
    return COLORS[names.index(name) % len(COLORS)] if name in names else COLORS[-1]


class _Axes:
    def __init__(self, chart: Chart, points: Points) -> None:
        self._chart = chart
        self._x = _range([p[0] for p in points], log=chart.log_x)
        self._y = _range([p[1] for p in points], log=chart.log_y)

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        x = _share(point[0], self._x, log=self._chart.log_x)
        y = _share(point[1], self._y, log=self._chart.log_y)
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)

    def path(self, points: Points) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))

    def frame(self) -> str:
        chart, parts = self._chart, []
        for value in _ticks(self._x, log=chart.log_x):
            x, y = self.at((value, self._y[0]))
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y:.1f}" class="g"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle">{value:.4g}</text>')
        for value in _ticks(self._y, log=chart.log_y):
            x, y = self.at((self._x[0], value))
            parts.append(f'<line x1="{x:.1f}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>')
            parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(chart.x)}</text>')
        parts.append(f'<text x="4" y="{TOP - 4}">{escape(chart.y)}</text>')
        return "".join(parts)


def _range(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        return low, high if high > low else low * 10
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return (low if low == 0 else low - margin), high + margin


def _share(value: float, ends: tuple[float, float], *, log: bool) -> float:
    if log:
        low, high = math.log(ends[0]), math.log(ends[1])
        return (math.log(max(value, ends[0])) - low) / (high - low)
    return (value - ends[0]) / (ends[1] - ends[0])


def _ticks(ends: tuple[float, float], *, log: bool) -> list[float]:
    if log:
        first, last = math.ceil(math.log10(ends[0]) - 1e-9), math.floor(math.log10(ends[1]) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]
    step = 10 ** math.floor(math.log10((ends[1] - ends[0]) / 4))
    step *= next((factor for factor in (1, 2, 5) if (ends[1] - ends[0]) / (step * factor) <= 6), 10)
    first = math.ceil(ends[0] / step)
    return [step * i for i in range(first, math.floor(ends[1] / step) + 1)]
