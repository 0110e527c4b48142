"""``bench -o html``: one page that can be sent and kept. Its pictures are drawn here, nothing is fetched."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate

from sizewise.cli.charts import Axis, Band, Line, chart, linear_axis, log_axis
from sizewise.cli.show_bench import head_lines, reasons
from sizewise.core.units import format_seconds
from sizewise.core.version import VERSION
from sizewise.loadgen.bench import BenchReport, Level
from sizewise.loadgen.tally import Latency

COLORS = ("#d9822b", "#3f9d6b", "#2b6fd6", "#b3418f", "#8a6d3b", "#4b9fb5")
PEAK_COLOR = "#8a93a1"
SLOWEST = 1e-5
"""Share of requests at the foot of the picture of latency, at most: one in 100,000."""
_SHARES = {1.0: "all", 0.5: "p50", 0.1: "p90", 0.01: "p99", 1e-3: "p99.9", 1e-4: "p99.99", SLOWEST: "p99.999"}
_QUANTILES = ("p50_s", "p90_s", "p95_s", "p99_s", "p99_9_s", "max_s")
_HEADS = ("load", "wanted/s", "answered/s", "sent", "errors", "in goal", "p50", "p90", "p95", "p99", "p99.9", "longest")
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--faint:#66707f;--line:#e3e7ed;--back:#fff;--a:#f4f6f9;--b:#fbfcfd}
@media(prefers-color-scheme:dark){
:root{--ink:#e4e8ee;--faint:#98a2b1;--line:#2e3641;--back:#151a21;--a:#1d242d;--b:#191f27}}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--back);
max-width:960px;margin:32px auto;padding:0 20px}
h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:16px;margin:32px 0 4px}
p{margin:4px 0;color:var(--faint)}
.verdict{border-left:4px solid #3f9d6b;padding:6px 12px;margin:16px 0;color:var(--ink);background:var(--a)}
.verdict.bad{border-color:#d64545}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:500;color:var(--faint);font-size:13px}th:first-child,td:first-child{text-align:left}
.key{display:inline-block;margin-right:18px;color:var(--ink)}
.key i{display:inline-block;width:18px;margin-right:6px;vertical-align:4px;border-top:3px solid}
.key i.dashed{border-top-style:dashed}.scroll{overflow-x:auto}
svg{width:100%;min-width:640px;height:auto}svg text{font-size:12px;fill:var(--faint)}svg .end{text-anchor:end}
svg .middle{text-anchor:middle}svg .strong{fill:var(--ink)}svg .grid{stroke:var(--line)}
svg polyline{stroke-width:2;stroke-linejoin:round}svg .band0{fill:var(--a)}svg .band1{fill:var(--b)}
"""


def bench_page(report: BenchReport, *, now: str) -> str:
    """``now`` is the date as it is to be read."""
    verdict = report.bottleneck
    said = (
        f"The load generator was the limit, not the server ({verdict}): these figures say more about it."
        if verdict
        else "The load generator kept up: these figures are the server's."
    )
    parts = [
        f"<title>{escape(report.url)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(report.url)}</h1>",
        f"<p>{escape(now)}, sizewise {VERSION}; {escape('; '.join(head_lines(report)))}</p>",
        f'<p class="verdict{" bad" if verdict else ""}">{escape(said)}</p>',
        _table(report.levels),
        *_distribution(report.levels),
        *_over_time(report.levels),
    ]
    opened = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    view = '<meta name="viewport" content="width=device-width,initial-scale=1">'
    return "\n".join([opened + view + parts[0] + "</head><body>", *parts[1:], "</body></html>"])


def _table(levels: Sequence[Level]) -> str:
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    rows = []
    for level in levels:
        window = level.window
        wanted = "-" if window.offered_per_s is None else f"{window.offered_per_s:,.0f}"
        cells = [level.name, wanted, f"{window.answered_per_s:,.0f}", f"{window.sent:,}", f"{window.errors:,}"]
        cells.append("-" if window.attainment is None else f"{window.attainment:.2%}")
        cells += [format_seconds(getattr(window.latency, each)) for each in _QUANTILES]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        if window.errors:
            why = escape(", ".join(reasons(window)))
            rows.append(f'<tr><td colspan="{len(_HEADS)}">errors at {escape(level.name)}: {why}</td></tr>')
    return f'<div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def _distribution(levels: Sequence[Level]) -> Iterator[str]:
    """The share of requests that took longer than so long, down to the rarest."""
    colors = _colors(levels)
    lines = [
        Line(points=_slower(level.window.latency), color=color, title=level.name)
        for level, color in zip(levels, colors, strict=True)
    ]
    found = [(x, y) for line in lines for x, y in line.points if y]
    if not found:
        return
    least = max(SLOWEST, min(y for _, y in found))
    ticks = tuple(share for share in _SHARES if share >= least * 0.999)
    shares = Axis(low=least, high=1.0, ticks=ticks, label=lambda share: _SHARES[share], log=True)
    yield "<h2>Latency</h2>"
    yield "<p>From when requests were due. A line is the share of requests that took longer: the lower, the rarer.</p>"
    yield _keys([(level.name, color, False) for level, color in zip(levels, colors, strict=True)])
    yield _scrolled(chart(log_axis([x for x, _ in found], format_seconds), shares, lines, height=320))


def _slower(latency: Latency) -> list[tuple[float, float | None]]:
    """(seconds, share of requests above them), from all to the last but one."""
    total = sum(count for _, count in latency.histogram)
    passed = accumulate(count for _, count in latency.histogram)
    points: list[tuple[float, float | None]] = []
    before = 0
    for (upper_s, _), count in zip(latency.histogram, passed, strict=True):
        # The most that a bound can be is the longest that was seen
        points.append((min(upper_s, latency.max_s or upper_s), (total - before) / total))
        before = count
    return points


def _over_time(levels: Sequence[Level]) -> Iterator[str]:
    begins = list(accumulate((level.window.seconds for level in levels), initial=0.0))
    bands = [Band(begin=a, end=b, name=level.name) for a, b, level in zip(begins, begins[1:], levels, strict=False)]
    moments = [
        (begin + moment.at_s + level.window.seconds / len(level.window.moments) / 2, moment)
        for begin, level in zip(begins, levels, strict=False)
        for moment in level.window.moments
    ]
    times = linear_axis(begins[-1], lambda s: f"{s:g} s", about=10)
    times = Axis(low=0.0, high=begins[-1], ticks=tuple(t for t in times.ticks if t <= begins[-1]), label=times.label)
    slice_s = [level.window.seconds / len(level.window.moments) for level in levels for _ in level.window.moments]
    due = Line(points=[(at_s, m.due_per_s) for at_s, m in moments], color=PEAK_COLOR, dashed=True, title="due")
    good = Line(points=[(at_s, m.answered_per_s) for at_s, m in moments], color=COLORS[2], title="answered")
    bad_points = [(at_s, m.errors / s if m.errors else None) for (at_s, m), s in zip(moments, slice_s, strict=True)]
    bad = Line(points=bad_points, color="#d64545", title="errors")
    highest = max(max(m.due_per_s, m.answered_per_s) for _, m in moments)
    yield "<h2>Over time</h2>"
    yield "<p>Requests a second. What was measured one after the other stands side by side; warm-up is left out.</p>"
    yield _keys([("due", PEAK_COLOR, True), ("answered", COLORS[2], False), ("errors", "#d64545", False)])
    rates = linear_axis(highest * 1.15, lambda n: f"{n:,.0f}")
    yield _scrolled(chart(times, rates, [due, good, bad], bands=bands))
    latencies = [value for _, m in moments for value in (m.p50_s, m.p99_s) if value]
    if latencies:
        yield "<p>Latency from when requests were due.</p>"
        yield _keys([("p99", COLORS[0], False), ("p50", COLORS[1], False)])
        p99 = Line(points=[(at_s, m.p99_s) for at_s, m in moments], color=COLORS[0], title="p99")
        p50 = Line(points=[(at_s, m.p50_s) for at_s, m in moments], color=COLORS[1], title="p50")
        yield _scrolled(chart(times, log_axis(latencies, format_seconds), [p99, p50], bands=bands))


def _scrolled(svg: str) -> str:
    """On a telephone a picture keeps its size: its numbers could not be read otherwise."""
    return f'<div class="scroll">{svg}</div>'


def _colors(levels: Sequence[Level]) -> list[str]:
    """The peak is gray: it is the measure of the others, not one of them."""
    others = iter(COLORS * (len(levels) // len(COLORS) + 1))
    return [PEAK_COLOR if level.window.kind == "closed" and len(levels) > 1 else next(others) for level in levels]


def _keys(keys: Sequence[tuple[str, str, bool]]) -> str:
    styles = {False: "", True: " class=dashed"}
    marks = [f'<i{styles[dashed]} style="border-color:{color}"></i>{escape(name)}' for name, color, dashed in keys]
    return f"<p>{''.join(f'<span class=key>{mark}</span>' for mark in marks)}</p>"
