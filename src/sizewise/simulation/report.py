"""A comparison as one HTML file that needs nothing else."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from sizewise.core.units import format_bytes, format_seconds
from sizewise.protocols.errors import UsageError
from sizewise.simulation.comparing import Compared
from sizewise.simulation.figures import FIGURES, figures, headline
from sizewise.simulation.frontiers import hull
from sizewise.simulation.pools import LATENCY_LOW_S, PER_DECADE
from sizewise.simulation.regret import Rung
from sizewise.simulation.running import Outcome
from sizewise.simulation.svg import COLORS, Chart, Points, draw, stacked

DECISIONS = 200
SIZES = (0, *(10 * 1024**2 * 10**power for power in range(5)), 1 << 60)
"""Classes of bytes, tenfold from 10 MiB: what is below loads alike."""
_STYLE = """body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1360px;padding:0 1rem;color:#1c1c1c}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
figure{display:inline-block;width:640px;max-width:100%;margin:0 1rem 1rem 0}figcaption{font-weight:600}
svg{width:100%}svg text{font-size:11px;fill:#555}svg .g{stroke:#e4e4e4}.k{display:inline-block;width:.8em;height:.8em;
border-radius:2px;margin-right:.4em}.s{overflow-x:auto}
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}td,th{border-color:#444}svg text{fill:#bbb}
svg .g{stroke:#333}}"""


def as_html(compared: Compared) -> str:
    outcomes = compared.outcomes
    names = [outcome.label for outcome in outcomes]
    legend = " ".join(
        f'<span><span class="k" style="background:{COLORS[i % len(COLORS)]}"></span>{escape(name)}</span>&emsp;'
        for i, name in enumerate(names)
    )
    requests = max(outcome.requests for outcome in outcomes)
    head = headline(requests, compared.models, compared.end_s)
    charts = [draw(chart, names) for chart in (_cost(compared), *_over_time(outcomes), _ccdf(outcomes))]
    charts += [draw(chart, names) for chart in _cold(outcomes)]
    charts += [_ladder(compared.ladder)] if compared.ladder else []
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(head)}</title><style>{_STYLE}</style><h1>{escape(head)}</h1>"
        f"<p>{escape(compared.scenario.file)}, seed {compared.scenario.seed}, shedding "
        f"{'on' if compared.scenario.shedding else 'off'} for all</p><div class=s>{_table(outcomes)}</div>"
        f"<h2>Policies</h2><p>{legend}</p>{''.join(charts)}{_decisions(outcomes)}</html>\n"
    )


def chart_of(compared: Compared, name: str) -> str:
    """One chart alone. Raises UsageError for a name that is none."""
    outcomes = compared.outcomes
    demand, both, *_ = _over_time(outcomes)
    charts = {"cost": [_cost(compared)], "replicas": [both], "demand": [demand], "latency": [_ccdf(outcomes)]}
    charts["cold_starts"] = _cold(outcomes)
    if name == "ladder" and compared.ladder:
        return _ladder(compared.ladder)
    if name not in charts:
        raise UsageError(f"there is no chart {name!r}: there are {', '.join(charts)}, and ladder after full=True")
    return "".join(draw(chart, [outcome.label for outcome in outcomes]) for chart in charts[name])


def _table(outcomes: Sequence[Outcome]) -> str:
    rows = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in FIGURES) + "</tr>"]
    for outcome in outcomes:
        cells = (figures(outcome)[name] for name in FIGURES)
        rows.append("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _cost(compared: Compared) -> Chart:
    """A dot for each policy as it is, and where it was run in other settings, the line through the best of them."""
    chart = Chart(title="Cost against attainment", x="mean replicas", y="share of model-minutes' requests in SLO")
    for each in compared.outcomes:
        chart.dots.append((each.label, [(each.mean_replicas, each.attainment_model_minutes)]))
    for label, points in compared.frontiers.items():
        chart.lines.append((label, [(point.cost, point.attainment) for point in hull(points)]))
    return chart


def _ladder(rungs: Sequence[Rung]) -> str:
    """Each bar is what a rung costs, in pieces: what the rungs below it cost, one on the other."""
    costs = [rung.cost for rung in rungs]
    # A rung may come out a little dearer than the one above it: then it is worth nothing
    rising = np.maximum.accumulate(costs[::-1])
    pieces = [float(piece) for piece in np.diff(rising, prepend=0.0)]
    bars = [
        (f"{rung.name}: {rung.cost:,.4g} at {rung.attainment:.2%}", pieces[: len(rungs) - i])
        for i, rung in enumerate(rungs)
    ]
    return stacked("Regret ladder: cost at equal attainment", bars)


def _over_time(outcomes: Sequence[Outcome]) -> list[Chart]:
    both = Chart(title="Replicas that answer", x="hours", y="replicas")
    charts = []
    for each in outcomes:
        at_h = [at_s / 3600 for at_s in each.curves.at_s]
        ready = [float(count) for count in each.curves.ready]
        all_ = [a + b for a, b in zip(ready, each.curves.loading, strict=True)]
        both.lines.append((each.label, list(zip(at_h, ready, strict=True))))
        own = Chart(title=f"{each.label}: replicas, loading shaded", x="hours", y="replicas")
        own.lines.append((each.label, list(zip(at_h, ready, strict=True))))
        own.bands.append((each.label, list(zip(at_h, ready, strict=True)), list(zip(at_h, all_, strict=True))))
        charts.append(own)
    demand = Chart(title="Demand", x="hours", y="requests per second")
    first = outcomes[0]
    points = [((i + 0.5) / 60, count / 60) for i, count in enumerate(first.per_minute)]
    every = max(1, len(points) // 1000)
    demand.lines.append(("demand", points[::every]))
    return [demand, both, *charts]


def _ccdf(outcomes: Sequence[Outcome]) -> Chart:
    chart = Chart(title="Requests slower than", x="seconds", y="share of the served", log_x=True, log_y=True)
    for each in outcomes:
        total = each.latency.sum()
        if total:
            above = 1.0 - np.cumsum(each.latency) / total
            bins = np.flatnonzero(each.latency)
            points: Points = [
                (float(LATENCY_LOW_S * 10 ** ((i + 1) / PER_DECADE)), float(above[i])) for i in bins if above[i] > 1e-9
            ]
            chart.lines.append((each.label, points))
    return chart


def _cold(outcomes: Sequence[Outcome]) -> list[Chart]:
    charts = []
    for low, high in pairwise(SIZES):
        size = f"{format_bytes(low)} to {format_bytes(high)}"
        if low == 0 or high == SIZES[-1]:
            size = f"below {format_bytes(high)}" if low == 0 else f"{format_bytes(low)} and more"
        chart = Chart(title=f"Cold starts of models of {size}", x="seconds from order to ready", y="share within")
        for each in outcomes:
            took_s = sorted(seconds for _, bytes_, seconds in each.cold_loads if low <= bytes_ < high)
            if took_s:
                chart.lines.append((each.label, [(s, (i + 1) / len(took_s)) for i, s in enumerate(took_s)]))
        if chart.lines:
            charts.append(chart)
    return charts


def _decisions(outcomes: Sequence[Outcome]) -> str:
    parts = []
    for each in outcomes:
        rows = "".join(
            f"<tr><td>{format_seconds(at_s)}</td><td>{escape(model)}</td><td>{desired}</td>"
            f'<td style="text-align:left">{escape(why)}</td></tr>'
            for at_s, model, desired, why in each.decisions[:DECISIONS]
        )
        if rows:
            shown = f"the first {DECISIONS} of {len(each.decisions):,}" if len(each.decisions) > DECISIONS else "all"
            parts.append(
                f"<details><summary>{escape(each.label)}: decisions that changed something ({shown})</summary>"
                f"<table><tr><th>at</th><th>model</th><th>desired</th><th>why</th></tr>{rows}</table></details>"
            )
    return f"<h2>Decisions</h2>{''.join(parts)}" if parts else ""
