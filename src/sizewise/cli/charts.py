"""Line charts as SVG, for pages that must be one file: no script, no font, no address."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 920, 62, 14, 12, 36
"""Pixels of a chart, and what is left around its lines for numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From value to place, and the places that get a number."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: Callable[[float], str]
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one; what lies outside is put on the edge."""
        kept = min(self.high, max(self.low, value))
        if self.log:
            return math.log(kept / self.low) / math.log(self.high / self.low)
        return (kept - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``points`` of (x, y), broken where y is None."""

    points: Sequence[tuple[float, float | None]]
    color: str
    dashed: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A part of the x axis with a name over it."""

    begin: float
    end: float
    name: str


def log_axis(values: Sequence[float], label: Callable[[float], str]) -> Axis:
    """Whole powers of ten around the values, with a tick at each."""
    found = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(found)) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(max(found)) - 1e-9))
    ticks = tuple(10.0**power for power in range(low, high + 1))
    return Axis(low=ticks[0], high=ticks[-1], ticks=ticks, label=label, log=True)


def linear_axis(high: float, label: Callable[[float], str], *, about: int = 5) -> Axis:
    """From nought, with ticks at 1, 2 or 5 times a power of ten."""
    high = high or 1.0
    raw = high / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    count = math.ceil(high / step - 1e-9)
    return Axis(low=0.0, high=step * count, ticks=tuple(step * i for i in range(count + 1)), label=label)


def chart(x: Axis, y: Axis, lines: Sequence[Line], *, height: int = 240, bands: Sequence[Band] = ()) -> str:
    frame = _Frame(x, y, height)
    parts = [*frame.banded(bands), *frame.grid(), *(part for line in lines for part in frame.drawn(line))]
    opened = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
    return "\n".join([opened, *parts, "</svg>"])


class _Frame:
    def __init__(self, x: Axis, y: Axis, height: int) -> None:
        self._x, self._y, self._bottom = x, y, height - BOTTOM

    def _across(self, value: float) -> float:
        return LEFT + self._x.share(value) * (WIDTH - LEFT - RIGHT)

    def _up(self, value: float) -> float:
        return self._bottom - self._y.share(value) * (self._bottom - TOP)

    def grid(self) -> Iterator[str]:
        for value in self._y.ticks:
            y = self._up(value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{escape(self._y.label(value))}</text>'
        for value in self._x.ticks:
            x = self._across(value)
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{self._bottom}"/>'
            # A number at the very edge would be cut in half
            place = "end" if x > WIDTH - RIGHT - 20 else "middle"
            yield f'<text class="{place}" x="{x:.1f}" y="{self._bottom + 18}">{escape(self._x.label(value))}</text>'

    def banded(self, bands: Sequence[Band]) -> Iterator[str]:
        for i, band in enumerate(bands):
            begin, end = self._across(band.begin), self._across(band.end)
            size = f'width="{end - begin:.1f}" height="{self._bottom - TOP}"'
            yield f'<rect class="band{i % 2}" x="{begin:.1f}" y="{TOP}" {size}/>'
            yield f'<text class="middle strong" x="{(begin + end) / 2:.1f}" y="{TOP + 14}">{escape(band.name)}</text>'

    def drawn(self, line: Line) -> Iterator[str]:
        dashes = ' stroke-dasharray="4 3"' if line.dashed else ""
        title = f"<title>{escape(line.title)}</title>" if line.title else ""
        for run in _unbroken(line.points):
            path = " ".join(f"{self._across(x):.1f},{self._up(y):.1f}" for x, y in run)
            if len(run) == 1:
                x, y = path.split(",")
                yield f'<circle cx="{x}" cy="{y}" r="2" fill="{line.color}">{title}</circle>'
            else:
                yield f'<polyline points="{path}" fill="none" stroke="{line.color}"{dashes}>{title}</polyline>'


def _unbroken(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run
