"""A result as Markdown, as docs/performance.md shows it."""

import re

from benchmarks.serving.summary import AIMS, Cells, Record, Spread, cells_of, reached

FIGURES = re.compile(r"<!-- figures of (?P<result>\S+) -->\n(?P<text>.*)<!-- end of figures -->\n", re.DOTALL)


def replaced(page: str, figures: str, *, result: str) -> str:
    """The page with these figures between its two marks."""
    new = f"<!-- figures of {result} -->\n{figures}<!-- end of figures -->\n"
    made, count = FIGURES.subn(lambda _: new, page)
    if count != 1:
        raise ValueError("the page has no pair of marks: <!-- figures of RESULT --> and <!-- end of figures -->")
    return made


def markdown(record: Record) -> str:
    cells = cells_of(record)
    parts = [_conditions(record)]
    parts += [_body(record, cells, name) for name in record["bodies"]]
    parts += [_aims(cells), _peers(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


def ranked(cells: Cells, body: str) -> list[str]:
    """Peers that answered this body, the most requests at the most connections first."""
    found = {key[1] for key in cells if key[0] == body}
    most = max((key[2] for key in cells if key[0] == body), default=0)

    def speed(peer: str) -> float:
        cell = cells.get((body, peer, most))
        return cell.requests_per_s.median if cell else 0.0

    return sorted(found, key=speed, reverse=True)


def levels(cells: Cells, body: str) -> list[int]:
    return sorted({key[2] for key in cells if key[0] == body})


def number(value: float) -> str:
    """Three digits, or the whole of what is larger."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _conditions(record: Record) -> str:
    machine = record["machine"]
    cpus, gib = machine["cpus"], machine["memory_bytes"] / 2**30
    return (
        f"Measured on {record['date']}: {cpus} cores of {machine['cpu']}, {gib:.0f} GiB, {record['wrk']}. "
        f"Medians of {record['repeats']} windows of {record['seconds']:g} s, each of a server newly started; "
        f"the least and the most in brackets. {record['note']}".rstrip()
    )


def _body(record: Record, cells: Cells, body: str) -> str:
    counts = levels(cells, body)
    if not counts:
        return ""
    most = counts[-1]
    heads = [f"requests/s at {count}" for count in counts]
    heads += [f"p50 at {counts[0]}, ms", f"p99 at {most}, ms", f"requests per core-second at {most}", "errors"]
    lines = [f"**{body}**: {record['bodies'][body]}", "", _row(["", *heads]), _row(["---", *["---:"] * len(heads)])]
    for peer in ranked(cells, body):
        row = [cells.get((body, peer, count)) for count in counts]
        first, last = row[0], row[-1]
        figures = [_spread(cell.requests_per_s) if cell else "-" for cell in row]
        figures += [number(first.p50_ms.median) if first else "-", _spread(last.p99_ms) if last else "-"]
        figures += [_spread(last.requests_per_core_s) if last else "-"]
        figures += [f"{sum(cell.errors for cell in row if cell):,}"]
        lines.append(_row([_name(record, peer), *figures]))
    return "\n".join(lines)


def _aims(cells: Cells) -> str:
    lines = [_row(["aim", "wanted", "reached"]), _row(["---", "---:", "---:"])]
    for aim in AIMS:
        value = reached(cells, aim)
        if value is not None:
            verdict = "" if aim.holds(value) else ", missed"
            lines.append(_row([aim.title().replace("_", " "), aim.bound(), f"{value:,.2f}{verdict}"]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _peers(record: Record) -> str:
    lines = [_row(["peer", "processes", "versions", "starts in, s", "memory, MiB"])]
    lines.append(_row(["---", "---", "---", "---:", "---:"]))
    for name, peer in record["peers"].items():
        versions = ", ".join(f"{package} {version}" for package, version in peer["versions"].items())
        failed = [f"{body}: {why}" for body, why in peer["failed"].items()]
        starts = _spread(_of(peer["starts_s"])) if peer["starts_s"] else "-"
        memory = _spread(_of(peer["memory_mib"])) if peer["memory_mib"] else "-"
        said = [peer["processes"], *(f"**failed** on {each}" for each in failed)]
        lines.append(_row([_name(record, name), "; ".join(said), versions, starts, memory]))
    return "\n".join(lines)


def _of(values: list[float]) -> Spread:
    ordered = sorted(values)
    return Spread(ordered[len(ordered) // 2], ordered[0], ordered[-1])


def _name(record: Record, peer: str) -> str:
    if record["peers"][peer]["bound"]:
        return f"*{peer} (a bound)*"
    return f"**{peer}**" if peer == "sizewise" else peer


def _spread(spread: Spread) -> str:
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)} to {number(spread.most)})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
