"""A result as one SVG picture: for each body a row for each peer, with speed, speed per core, and latency."""

import math
from collections.abc import Callable
from html import escape

from benchmarks.serving.summary import Cell, Cells, Record, Spread, cells_of
from benchmarks.serving.table import levels, number, ranked

WIDTH, ROW, HEAD, GAP = 1000, 24, 62, 26
NAMES, BAR, BETWEEN = 130, 176, 92
"""Room for names, for the longest bar, and for the figure behind it."""
OURS, PEER, BOUND, INK, FAINT = "#1d63d8", "#9aa8bc", "#e3e7ee", "#1c2430", "#66707f"
STYLE = (
    f"text{{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:{INK}}}"
    f".t{{font-size:15px;font-weight:600}}.f{{fill:{FAINT};font-size:11px}}.b{{font-weight:600}}.e{{text-anchor:end}}"
    ".m{text-anchor:middle}"
)
Bars = Callable[[Cell], Spread]


def svg(record: Record) -> str:
    cells = cells_of(record)
    parts, y = [_text(16, 28, "Sizewise and other model servers", "t"), _text(16, 46, _under(record), "f")], 66
    for body, kind in record["bodies"].items():
        peers = ranked(cells, body)
        if peers:
            parts.append(_body(record, cells, body, f"{body}: {kind}", y=y))
            y += HEAD + ROW * len(peers) + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    return "\n".join(
        [head, f"<style>{STYLE}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""]
    )


def _under(record: Record) -> str:
    machine = record["machine"]
    repeats = f"medians of {record['repeats']} windows, least and most as lines"
    return f"{record['date']}, {machine['cpus']} cores of {machine['cpu']}, load from the same machine; {repeats}"


def _body(record: Record, cells: Cells, body: str, title: str, *, y: int) -> str:
    most = levels(cells, body)[-1]
    peers = [peer for peer in ranked(cells, body) if (body, peer, most) in cells]
    shown = {peer: cells[body, peer, most] for peer in peers}
    lefts = [16 + NAMES + i * (BAR + BETWEEN) for i in range(3)]
    heads = (f"requests/s, {most} connections", "requests per core-second", "latency p50 to p99, ms (log)")
    parts = [_text(16, y + 16, title, "b")]
    parts += [_text(left, y + 42, head, "f") for left, head in zip(lefts, heads, strict=True)]
    top = y + HEAD - 10
    for i, peer in enumerate(peers):
        about = record["peers"][peer]
        style = "b e" if peer == "sizewise" else "e"
        name = f"{peer} (bound)" if about["bound"] else peer
        parts.append(_text(16 + NAMES - 10, top + i * ROW + 16, name, style))
    colors = [OURS if peer == "sizewise" else BOUND if record["peers"][peer]["bound"] else PEER for peer in peers]
    values = list(shown.values())
    parts += _bars(values, colors, lambda cell: cell.requests_per_s, left=lefts[0], top=top)
    parts += _bars(values, colors, lambda cell: cell.requests_per_core_s, left=lefts[1], top=top)
    parts += _latencies(values, colors, left=lefts[2], top=top)
    return "\n".join(parts)


def _bars(cells: list[Cell], colors: list[str], of: Bars, *, left: int, top: int) -> list[str]:
    most = max(of(cell).most for cell in cells) or 1
    parts = []
    for i, (cell, color) in enumerate(zip(cells, colors, strict=True)):
        spread, y = of(cell), top + i * ROW
        length, low, high = (BAR * value / most for value in (spread.median, spread.least, spread.most))
        edge = ' stroke="#aab3c0" stroke-dasharray="3 2"' if color == BOUND else ""
        parts.append(f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="{ROW - 8}" fill="{color}"{edge}/>')
        if spread.most > spread.least:
            parts.append(_line(left + low, left + high, y + ROW / 2))
        label = number(spread.median) + (f", {cell.errors:,} errors" if cell.errors else "")
        parts.append(_text(left + max(high, length) + 6, y + 16, label, "b" if color == OURS else ""))
    return parts


def _latencies(cells: list[Cell], colors: list[str], *, left: int, top: int) -> list[str]:
    low = math.floor(math.log10(max(0.01, min(cell.p50_ms.median for cell in cells))))
    high = max(low + 1, math.ceil(math.log10(max(0.1, *(cell.p99_ms.median for cell in cells)))))

    def x(ms: float) -> float:
        return left + BAR * (math.log10(max(ms, 10.0**low)) - low) / (high - low)

    bottom = top + ROW * len(cells)
    parts = []
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{bottom}" stroke="#e6e9ee"/>')
        parts.append(_text(at, bottom + 13, f"{10.0**power:g}", "f m"))
    for i, (cell, color) in enumerate(zip(cells, colors, strict=True)):
        y, fill = top + i * ROW + ROW / 2, PEER if color == BOUND else color
        begin, end = x(cell.p50_ms.median), x(cell.p99_ms.median)
        parts.append(f'<line x1="{begin:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}" stroke="{fill}" stroke-width="3"/>')
        parts.append(f'<circle cx="{begin:.1f}" cy="{y}" r="4" fill="#fff" stroke="{fill}" stroke-width="2"/>')
        parts.append(f'<circle cx="{end:.1f}" cy="{y}" r="5" fill="{fill}"/>')
        label = f"{number(cell.p50_ms.median)} to {number(cell.p99_ms.median)}"
        parts.append(_text(left + BAR + 10, y + 4, label, "b" if color == OURS else ""))
    return parts


def _line(begin: float, end: float, y: float) -> str:
    return f'<line x1="{begin:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}" stroke="{INK}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(text)}</text>'
